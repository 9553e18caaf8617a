// Which of a level-1 block's columns the cube core computes. Plain C++17: the kernel leaves out the others, op_host
// counts the work.
#pragma once
#include "partition.h"
#include "storage.h"

namespace fastattn {

// Keys of a block, and where its diagonal lies: row r sees column c only if c <= r + deltaRight.
struct BlockColumns {
    uint32_t cols;
    int64_t deltaRight;
};

// Keys of a group's first block, if it has that many: less than blockKv where the groups are staggered.
FASTATTN_HOST_DEVICE uint32_t FirstBlockKeys(const FlashAttentionTiling& t, uint32_t group)
{
    return t.blockKv - PhaseOf(t, group, t.blockKv) / UNIT_KEYS * UNIT_KEYS;
}

// How many of the block's columns the query tile with this row needs: what is behind them the right window hides from
// all of its rows. A multiple of 64, so that the vector cores fill nothing up, and of the keys that come into L1
// together, whose pitch there is their number; or all columns; all for the last tile.
FASTATTN_HOST_DEVICE uint32_t ColumnsOfTile(const FlashAttentionTiling& t, const QueryBlock& queries,
                                            const BlockColumns& block, uint32_t row)
{
    const bool oneHead = queries.tokens == queries.rows;
    // Strips must not reach into the next tile, which has more columns.
    const bool apart = t.l0TileQ % t.stripRows == 0 && RowsPerVectorCore(queries.rows) % t.stripRows == 0;
    const uint32_t together = t.l0TileKv;
    const bool fits = together % REPEAT_FP32_ELEMS == 0 || REPEAT_FP32_ELEMS % together == 0;
    if (t.windowRight < 0 || !oneHead || !apart || !fits) {
        return block.cols;
    }
    const int64_t least = MaxOf(together, REPEAT_FP32_ELEMS);  // every row takes part in every block
    const int64_t end = (row / t.l0TileQ + 1) * t.l0TileQ + block.deltaRight;
    const int64_t rounded = end <= 0 ? 0 : (end + least - 1) / least * least;
    const int64_t cols = rounded < least ? least : rounded;
    return cols < block.cols ? static_cast<uint32_t>(cols) : block.cols;
}

}  // namespace fastattn
