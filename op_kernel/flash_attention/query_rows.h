// Q of a block -> L1: the rows of one head, or of all heads of a group one below the other (packing.h).
#pragma once
#include "../common/cube_tiles.h"
#include "work.h"

namespace fastattn {

// rows x headDimQk as column strips of whole fractals.
template <class T>
__aicore__ inline void LoadQueryRows(const AscendC::LocalTensor<T>& l1, const AscendC::GlobalTensor<T>& gmQ,
                                     const FlashAttentionTiling& tiling, const Piece& piece)
{
    const QueryBlock& queries = piece.queries;
    const uint64_t offset = TokenOffset(tiling.q, piece, piece.sequence.startQ, queries.row0, piece.head);
    GmMatrices heads{queries.rows / queries.tokens, tiling.q.head, queries.tokens, tiling.headDimQk, tiling.q.seq};
    if (queries.tokens == 1) {
        heads = {1, 0, queries.rows, tiling.headDimQk, tiling.q.head};  // the heads of a token are rows of one matrix
    }
    LoadMatricesToL1(l1, gmQ[offset], heads, Fractals(queries.rows) * FRACTAL_ROWS);
}

}  // namespace fastattn
