// What a core group has to do: its tasks (one query block of one head) and, within a task, the runs of keys that make a
// level-1 block. The cube core and the two vector cores walk the same sequence without talking about it.
#pragma once
#include "../common/hardware.h"
#include "kernel_operator.h"
#include "storage.h"

namespace fastattn {

// Operands in GM; those that the tiling says are absent may be null.
struct Operands {
    GM_ADDR q;
    GM_ADDR k;
    GM_ADDR v;
    GM_ADDR mask;         // M-mask, packed bits, and behind it the ramp 0, 1, 2 ... in fp32
    GM_ADDR cuSeqlensQ;   // int32 [batch + 1]
    GM_ADDR cuSeqlensKv;  // int32 [batch + 1]
    GM_ADDR seqUsedKv;    // int32 [batch]
    GM_ADDR sinks;        // fp32 [headsQ]
    GM_ADDR alibiSlopes;  // fp32 [batch or 1, headsQ]
    GM_ADDR o;
    GM_ADDR lse;
    GM_ADDR workspace;  // of this core group
};

// Lengths of one batch entry and where its tokens start.
struct Sequence {
    uint32_t startQ;
    uint32_t startKv;
    uint32_t lengthQ;
    uint32_t lengthKv;
};

// One level-1 block: rows queries against cols keys.
struct Block {
    Sequence sequence;
    uint32_t batch;
    uint32_t headQ;
    uint32_t headKv;
    uint32_t row0;  // first query within its sequence
    uint32_t rows;
    uint32_t col0;  // first key within its sequence
    uint32_t cols;
    int64_t deltaRight;  // row r of the block sees its column c only if c <= r + deltaRight
    int64_t deltaLeft;   // ... and only if c >= r + deltaLeft
    bool first;          // of its task
    bool last;
    uint32_t task;   // how many tasks came before, counting those that have blocks
    uint32_t index;  // how many blocks came before
};

class WorkCursor {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Operands& operands, uint32_t group)
    {
        tiling_ = &tiling;
        gmCuSeqlensQ_.SetGlobalBuffer((__gm__ int32_t*)operands.cuSeqlensQ);
        gmCuSeqlensKv_.SetGlobalBuffer((__gm__ int32_t*)operands.cuSeqlensKv);
        gmSeqUsedKv_.SetGlobalBuffer((__gm__ int32_t*)operands.seqUsedKv);
        group_ = group;
        numTasks_ = tiling.batch * tiling.headsQ * tiling.numBlocksQ;
        round_ = 0;
        started_ = false;
        nextTask_ = 0;
        nextIndex_ = 0;
    }

    // Moves to the next block; false when there is none. With empty set, stops at tasks without any visible key as well
    // (cols = 0), because their output must still be written.
    __aicore__ inline bool Next(bool empty = false)
    {
        if (started_ && !block_.last) {
            Advance(block_.col0 + tiling_->blockKv);
            return true;
        }
        while (BeginTask()) {
            started_ = true;
            if (keysEnd_ > keysBegin_ && block_.rows != 0) {
                block_.task = nextTask_++;
                Advance(keysBegin_);
                return true;
            }
            block_.cols = 0;
            block_.last = true;
            if (empty && block_.rows != 0) {
                return true;
            }
        }
        return false;
    }

    __aicore__ inline const Block& Current() const { return block_; }

private:
    // Heaviest query blocks first; groups take tasks back and forth so that the loads stay even.
    __aicore__ inline bool BeginTask()
    {
        const uint32_t blockDim = tiling_->blockDim;
        const uint32_t place = round_ % 2 == 0 ? group_ : blockDim - 1 - group_;
        const uint32_t task = round_ * blockDim + place;
        ++round_;
        if (task >= numTasks_) {
            return false;  // only the last round is incomplete
        }
        const uint32_t heads = tiling_->batch * tiling_->headsQ;
        const uint32_t head = task % heads;
        block_.batch = head / tiling_->headsQ;
        block_.headQ = head % tiling_->headsQ;
        block_.headKv = block_.headQ / (tiling_->headsQ / tiling_->headsKv);
        block_.row0 = (tiling_->numBlocksQ - 1 - task / heads) * tiling_->blockQ;
        block_.sequence = SequenceOf(block_.batch);
        const uint32_t length = block_.sequence.lengthQ;
        const uint32_t rowsLeft = length > block_.row0 ? length - block_.row0 : 0;
        block_.rows = rowsLeft < tiling_->blockQ ? rowsLeft : tiling_->blockQ;
        FindVisibleKeys();
        return true;
    }

    __aicore__ inline Sequence SequenceOf(uint32_t batch) const
    {
        Sequence s{0, 0, tiling_->seqQ, tiling_->seqKv};
        if (tiling_->hasCuSeqlens != 0) {
            s.startQ = static_cast<uint32_t>(gmCuSeqlensQ_.GetValue(batch));
            s.startKv = static_cast<uint32_t>(gmCuSeqlensKv_.GetValue(batch));
            s.lengthQ = static_cast<uint32_t>(gmCuSeqlensQ_.GetValue(batch + 1)) - s.startQ;
            s.lengthKv = static_cast<uint32_t>(gmCuSeqlensKv_.GetValue(batch + 1)) - s.startKv;
        }
        if (tiling_->hasSeqUsedKv != 0) {
            const int32_t used = gmSeqUsedKv_.GetValue(batch);
            const uint32_t keys = used < 0 ? 0 : static_cast<uint32_t>(used);
            s.lengthKv = keys < s.lengthKv ? keys : s.lengthKv;
        }
        return s;
    }

    // The keys that any row of the block sees; the windows are aligned to the sequences' ends.
    __aicore__ inline void FindVisibleKeys()
    {
        const int64_t keys = block_.sequence.lengthKv;
        rowOffset_ = static_cast<int64_t>(block_.row0) + keys - block_.sequence.lengthQ;
        int64_t begin = 0;
        int64_t end = keys;
        if (tiling_->windowRight >= 0) {
            const int64_t limit = rowOffset_ + block_.rows + tiling_->windowRight;
            end = limit < end ? limit : end;
        }
        if (tiling_->windowLeft >= 0) {
            const int64_t limit = rowOffset_ - tiling_->windowLeft;
            begin = limit > begin ? limit / FRACTAL_ROWS * FRACTAL_ROWS : begin;
        }
        keysBegin_ = static_cast<uint32_t>(begin);
        keysEnd_ = end < 0 ? 0 : static_cast<uint32_t>(end);
    }

    __aicore__ inline void Advance(uint32_t col0)
    {
        const uint32_t colsLeft = keysEnd_ - col0;
        block_.col0 = col0;
        block_.cols = colsLeft < tiling_->blockKv ? colsLeft : tiling_->blockKv;
        block_.first = col0 == keysBegin_;
        block_.last = col0 + block_.cols == keysEnd_;
        // Without a window every row sees every column of the block.
        block_.deltaRight =
            tiling_->windowRight >= 0 ? rowOffset_ - col0 + tiling_->windowRight : static_cast<int64_t>(block_.cols);
        block_.deltaLeft =
            tiling_->windowLeft >= 0 ? rowOffset_ - col0 - tiling_->windowLeft : -static_cast<int64_t>(block_.rows);
        block_.index = nextIndex_++;
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    AscendC::GlobalTensor<int32_t> gmCuSeqlensQ_;
    AscendC::GlobalTensor<int32_t> gmCuSeqlensKv_;
    AscendC::GlobalTensor<int32_t> gmSeqUsedKv_;
    uint32_t group_ = 0;
    uint32_t numTasks_ = 0;
    uint32_t round_ = 0;
    bool started_ = false;
    uint32_t nextTask_ = 0;
    uint32_t nextIndex_ = 0;
    uint32_t keysBegin_ = 0;
    uint32_t keysEnd_ = 0;
    int64_t rowOffset_ = 0;
    Block block_{};
};

// Element offset of a token of a head in an operand.
__aicore__ inline uint64_t TokenOffset(const TensorStrides& strides, const Block& block, uint32_t start, uint32_t token,
                                       uint32_t head)
{
    return block.batch * strides.batch + (static_cast<uint64_t>(start) + token) * strides.seq + head * strides.head;
}

// Cross-core flags of the attention kernel (mode 2: one cube core with its two vector cores), one set a level-1 block.
enum CrossCoreFlag : uint16_t {
    S_READY = 0,  // cube -> vector: scores of a block are in the workspace
    P_READY = 1,  // vector -> cube: probabilities are in the workspace
    O_READY = 2,  // cube -> vector: P·V of a block is in the workspace
};

}  // namespace fastattn
