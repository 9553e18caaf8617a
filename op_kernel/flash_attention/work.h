// What a core group has to do: its tasks (one query block of one head) and, within a task, the runs of keys that make a
// level-1 block. The cube core and the two vector cores walk the same sequence without talking about it.
#pragma once
#include "kernel_operator.h"
#include "storage.h"

namespace fastattn {

// One level-1 block: rows queries against cols keys.
struct Block {
    uint32_t batch;
    uint32_t headQ;
    uint32_t headKv;
    uint32_t row0;  // first query
    uint32_t rows;
    uint32_t col0;  // first key
    uint32_t cols;
    int64_t delta;  // row r of the block sees its column c iff c <= r + delta
    bool first;     // of its task
    bool last;
    uint32_t task;   // how many tasks came before, counting those that have blocks
    uint32_t index;  // how many blocks came before
};

class WorkCursor {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, GM_ADDR seqUsedKv, uint32_t group)
    {
        tiling_ = &tiling;
        seqUsedKv_.SetGlobalBuffer((__gm__ int32_t*)seqUsedKv);
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
            if (visibleKeys_ != 0) {
                block_.task = nextTask_++;
                Advance(0);
                return true;
            }
            block_.cols = 0;
            block_.last = true;
            if (empty) {
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
        const uint32_t blockQ = tiling_->numBlocksQ - 1 - task / heads;
        block_.batch = head / tiling_->headsQ;
        block_.headQ = head % tiling_->headsQ;
        block_.headKv = block_.headQ / (tiling_->headsQ / tiling_->headsKv);
        block_.row0 = blockQ * tiling_->blockQ;
        const uint32_t rowsLeft = tiling_->seqQ - block_.row0;
        block_.rows = rowsLeft < tiling_->blockQ ? rowsLeft : tiling_->blockQ;
        FindVisibleKeys();
        return true;
    }

    __aicore__ inline void FindVisibleKeys()
    {
        uint32_t keys = tiling_->seqKv;
        if (tiling_->hasSeqUsedKv != 0) {
            const int32_t used = seqUsedKv_.GetValue(block_.batch);
            keys = used < 0 ? 0 : static_cast<uint32_t>(used) < keys ? static_cast<uint32_t>(used) : keys;
        }
        rowOffset_ = static_cast<int64_t>(block_.row0) + keys - tiling_->seqQ;
        int64_t end = keys;
        if (tiling_->causal != 0) {
            const int64_t lastRowEnd = rowOffset_ + block_.rows;
            end = lastRowEnd < end ? lastRowEnd : end;
        }
        visibleKeys_ = end < 0 ? 0 : static_cast<uint32_t>(end);
    }

    __aicore__ inline void Advance(uint32_t col0)
    {
        const uint32_t colsLeft = visibleKeys_ - col0;
        block_.col0 = col0;
        block_.cols = colsLeft < tiling_->blockKv ? colsLeft : tiling_->blockKv;
        block_.first = col0 == 0;
        block_.last = col0 + block_.cols == visibleKeys_;
        // Without causality every row sees every column of the block.
        block_.delta = tiling_->causal != 0 ? rowOffset_ - col0 : static_cast<int64_t>(block_.cols);
        block_.index = nextIndex_++;
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    AscendC::GlobalTensor<int32_t> seqUsedKv_;
    uint32_t group_ = 0;
    uint32_t numTasks_ = 0;
    uint32_t round_ = 0;
    bool started_ = false;
    uint32_t nextTask_ = 0;
    uint32_t nextIndex_ = 0;
    uint32_t visibleKeys_ = 0;
    int64_t rowOffset_ = 0;
    Block block_{};
};

// Cross-core flags of the attention kernel (mode 2: one cube core with its two vector cores), one set a level-1 block.
enum CrossCoreFlag : uint16_t {
    S_READY = 0,  // cube -> vector: scores of a block are in the workspace
    P_READY = 1,  // vector -> cube: probabilities are in the workspace
    O_READY = 2,  // cube -> vector: P·V of a block is in the workspace
};

}  // namespace fastattn
