// The level-1 blocks of a core group: the runs of keys that the cube core and its two vector cores exchange. All three
// walk the same sequence without talking about it.
#pragma once
#include "../common/hardware.h"
#include "kernel_operator.h"
#include "key_blocks.h"
#include "schedule.h"
#include "storage.h"
#include "visible_columns.h"

namespace fastattn {

// Operands in GM; those that the tiling says are absent may be null.
struct Operands {
    GM_ADDR q;
    GM_ADDR k;
    GM_ADDR v;
    GM_ADDR mask;         // what does not depend on the data: the M-mask's bits, then the ramp 0, 1, 2 ... in fp32
    GM_ADDR cuSeqlensQ;   // int32 [batch + 1]
    GM_ADDR cuSeqlensKv;  // int32 [batch + 1]
    GM_ADDR seqUsedKv;    // int32 [batch]
    GM_ADDR sinks;        // fp32 [headsQ]
    GM_ADDR alibiSlopes;  // fp32 [batch or 1, headsQ]
    GM_ADDR attnMask;     // MaskTensor, with the strides that the tiling says
    GM_ADDR o;
    GM_ADDR lse;
    GM_ADDR workspace;  // of all core groups

    __aicore__ inline GM_ADDR GroupWorkspace(const FlashAttentionTiling& tiling, uint32_t group) const
    {
        return workspace + group * tiling.workspaceBytesPerGroup;
    }
};

// One level-1 block, or where the tiling cuts it into slices one of those: rows queries from row0 on against cols keys.
// It is what the cores hand over to each other; stages and flags call it a block either way.
struct Block {
    Piece piece;
    uint32_t row0;  // within the query block
    uint32_t rows;
    uint32_t col0;  // first key within its sequence
    uint32_t cols;
    int64_t deltaRight;  // row r of the query block sees column c only if c <= r + deltaRight
    int64_t deltaLeft;   // ... and only if c >= r + deltaLeft
    bool back;           // its piece takes its keys from the last block to the first
    bool first;          // of its rows in its piece, in the order of work
    bool last;
    bool begins;     // of its piece
    bool ends;       // ... the last
    uint32_t task;   // how many pieces came before, counting those that have blocks
    uint32_t index;  // how many blocks, or slices, came before
};

class WorkCursor {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Lengths& lengths, uint32_t group)
    {
        tiling_ = &tiling;
        firstKeys_ = FirstBlockKeys(tiling, group);
        pieces_.Init(tiling, lengths, group);
    }

    // Moves to the next block; false when there is none.
    __aicore__ inline bool Next()
    {
        if (started_ && !block_.ends) {
            Advance();
            return true;
        }
        if (!pieces_.Next(false)) {
            return false;
        }
        started_ = true;
        block_.piece = pieces_.Current();
        block_.row0 = block_.rows = 0;
        block_.back = TakesKeysBack(*tiling_, block_.piece);
        block_.task = nextTask_++;
        blocks_ = KeyBlocks(*tiling_, block_.piece, nextIndex_ == 0 ? firstKeys_ : tiling_->blockKv);
        Advance();
        return true;
    }

    __aicore__ inline const Block& Current() const { return block_; }

private:
    __aicore__ inline void Advance()
    {
        const Piece& piece = block_.piece;
        block_.index = nextIndex_++;
        block_.row0 += block_.rows;
        if (block_.row0 == piece.queries.rows || block_.rows == 0) {
            block_.row0 = 0;
            TakeKeys();
        }
        const uint32_t left = piece.queries.rows - block_.row0;
        block_.rows = left < tiling_->sliceQ ? left : tiling_->sliceQ;
        block_.cols = ColumnsOfTile(*tiling_, piece.queries, {keys_, block_.deltaRight}, block_.row0 + block_.rows - 1);
        block_.begins = block_.first && block_.row0 == 0;
        block_.ends = block_.last && block_.rows == left;
    }

    __aicore__ inline void TakeKeys()
    {
        const Piece& piece = block_.piece;
        const KeyRun run = blocks_.Next();
        const uint32_t col0 = run.begin;
        block_.col0 = col0;
        keys_ = run.end - run.begin;
        block_.first = run.first;
        block_.last = run.last;
        // Without a window every row sees every column of the block.
        block_.deltaRight = tiling_->windowRight >= 0 ? piece.queries.rowOffset - col0 + tiling_->windowRight
                                                      : static_cast<int64_t>(keys_);
        block_.deltaLeft = tiling_->windowLeft >= 0 ? piece.queries.rowOffset - col0 - tiling_->windowLeft
                                                    : -static_cast<int64_t>(piece.queries.rows);
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    uint32_t firstKeys_ = 0;
    PieceCursor pieces_;
    bool started_ = false;
    uint32_t nextTask_ = 0;
    uint32_t nextIndex_ = 0;
    KeyBlocks blocks_;
    uint32_t keys_ = 0;  // of the block, all that some row sees
    Block block_{};
};

__aicore__ inline uint32_t ColumnsOfTile(const FlashAttentionTiling& t, const Block& block, uint32_t row)
{
    return ColumnsOfTile(t, block.piece.queries, {block.cols, block.deltaRight}, row);
}
__aicore__ inline uint32_t ColumnsOfStrip(const FlashAttentionTiling& t, const Block& block, uint32_t row)
{
    return ColumnsOfStrip(t, block.piece.queries, {block.cols, block.deltaRight}, row);
}
__aicore__ inline uint32_t RowsWithout(const FlashAttentionTiling& t, const Block& block, uint32_t tileRow,
                                       uint32_t col)
{
    return RowsWithout(t, block.piece.queries, {block.cols, block.deltaRight}, tileRow, col);
}

// Element offset of a token of a head in an operand; start is the sequence's first token.
__aicore__ inline uint64_t TokenOffset(const TensorStrides& strides, const Piece& piece, uint32_t start, uint32_t token,
                                       uint32_t head)
{
    return piece.batch * strides.batch + (static_cast<uint64_t>(start) + token) * strides.seq + head * strides.head;
}

// Consecutive rows of a piece's block that lie at one pitch in an operand.
struct RowSpan {
    uint32_t rows;
    uint64_t offset;  // elements
    uint64_t pitch;   // elements
};

// The span that starts at a row of the block, cut off at row `end`: the tokens of one head, or the heads of one token.
__aicore__ inline RowSpan SpanAt(const TensorStrides& strides, const Piece& piece, uint32_t start, uint32_t row,
                                 uint32_t end)
{
    const HeadRun run = RunAt(piece.queries.tokens, row, end);
    const uint64_t offset = TokenOffset(strides, piece, start, piece.queries.row0 + run.token, piece.head + run.head);
    if (piece.queries.tokens == 1) {
        return {end - row, offset, strides.head};
    }
    return {run.rows, offset, strides.seq};
}

// Where a row of the query block lies among those of the ring's slots in the workspace.
__aicore__ inline uint64_t SlotRow(const FlashAttentionTiling& t, const Block& block, uint32_t row)
{
    return static_cast<uint64_t>(block.index % t.ring) * t.sliceQ + row - block.row0;
}

// Element offset in the workspace of P(row, col), col a multiple of l1TileP: P lies there tile by tile of l1TileP keys
// and all rows, so that the cube core reads a tile as one run.
__aicore__ inline uint64_t ProbabilityOffset(const FlashAttentionTiling& t, const Block& block, uint32_t row,
                                             uint32_t col)
{
    const uint64_t slot = static_cast<uint64_t>(block.index % t.ring) * t.blockKv + col;
    return slot * t.sliceQ + static_cast<uint64_t>(row - block.row0) * t.l1TileP;
}

// A type as an argument.
template <class E>
struct ElementTag {
    using Element = E;
};

// Calls body(ElementTag of the type in which S crosses).
template <class Body>
__aicore__ inline void WithExchangeType(const FlashAttentionTiling& t, const Body& body)
{
    if (t.sExchange == EXCHANGE_FP32) {
        body(ElementTag<float>{});
    } else if (t.sExchange == EXCHANGE_FP16) {
        body(ElementTag<half>{});
    } else {
        body(ElementTag<bfloat16_t>{});
    }
}

template <class E>
__aicore__ inline AscendC::GlobalTensor<E> GmTensor(GM_ADDR address)
{
    AscendC::GlobalTensor<E> gm;
    gm.SetGlobalBuffer((__gm__ E*)address);
    return gm;
}

// Cross-core flags of the attention kernel: mode 2, one cube core with its two vector cores, one set a struct Block;
// the last one mode 0, all vector cores of the launch, one set a launch.
enum CrossCoreFlag : uint16_t {
    S_READY = 0,      // cube -> vector: scores of a block are in the workspace
    P_READY = 1,      // vector -> cube: probabilities are in the workspace
    O_READY = 2,      // cube -> vector: P·V of a block is in the workspace
    PART_STORED = 3,  // vector -> vectors: what a group's first piece is to another group's task is in its workspace
};

}  // namespace fastattn
