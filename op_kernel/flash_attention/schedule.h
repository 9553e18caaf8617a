// Who does what. A task is one query block of one head; its keys are the units of work, 64 keys of a 16-row fractal
// each. Two schedules: whole tasks go back and forth over the core groups, heaviest first; or the units of all tasks,
// laid end to end, are cut into equal ranges, so that a task may be split between neighbouring groups and their parts
// are combined at the end (combine.h). Everything is computed on the device, because lengths may be known only there.
#pragma once
#include "kernel_operator.h"
#include "packing.h"
#include "storage.h"

namespace fastattn {

// Lengths of one batch entry and where its tokens start.
struct Sequence {
    uint32_t startQ;
    uint32_t startKv;
    uint32_t lengthQ;
    uint32_t lengthKv;
};

class Lengths {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, GM_ADDR cuSeqlensQ, GM_ADDR cuSeqlensKv,
                                GM_ADDR seqUsedKv)
    {
        tiling_ = &tiling;
        gmCuSeqlensQ_.SetGlobalBuffer((__gm__ int32_t*)cuSeqlensQ);
        gmCuSeqlensKv_.SetGlobalBuffer((__gm__ int32_t*)cuSeqlensKv);
        gmSeqUsedKv_.SetGlobalBuffer((__gm__ int32_t*)seqUsedKv);
    }

    __aicore__ inline Sequence Of(uint32_t batch) const
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

private:
    const FlashAttentionTiling* tiling_ = nullptr;
    AscendC::GlobalTensor<int32_t> gmCuSeqlensQ_;
    AscendC::GlobalTensor<int32_t> gmCuSeqlensKv_;
    AscendC::GlobalTensor<int32_t> gmSeqUsedKv_;
};

// A query block of a sequence and the keys that any of its rows sees; the same for every head.
struct QueryBlock {
    uint32_t row0;    // first token
    uint32_t tokens;  // of each of the task's heads
    uint32_t rows;    // of all of them
    uint32_t keysBegin;
    uint32_t keysEnd;
    int64_t rowOffset;  // first row's position on the key axis: windows are aligned to the sequences' ends

    __aicore__ inline bool Empty() const { return rows == 0 || keysEnd <= keysBegin; }
};

__aicore__ inline QueryBlock MakeQueryBlock(const FlashAttentionTiling& t, const Sequence& s, uint32_t index)
{
    QueryBlock block{};
    block.row0 = index * BlockTokens(t);
    const uint32_t tokensLeft = s.lengthQ > block.row0 ? s.lengthQ - block.row0 : 0;
    block.tokens = tokensLeft < BlockTokens(t) ? tokensLeft : BlockTokens(t);
    block.rows = block.tokens * PackedHeads(t);
    const int64_t keys = s.lengthKv;
    block.rowOffset = static_cast<int64_t>(block.row0) + keys - s.lengthQ;
    int64_t begin = 0;
    int64_t end = keys;
    if (t.windowRight >= 0) {
        const int64_t limit = block.rowOffset + block.tokens + t.windowRight;
        end = limit < end ? limit : end;
    }
    if (t.windowLeft >= 0) {
        const int64_t limit = block.rowOffset - t.windowLeft;
        begin = limit > begin ? limit / FRACTAL_ROWS * FRACTAL_ROWS : begin;
    }
    block.keysBegin = static_cast<uint32_t>(begin);
    block.keysEnd = end < 0 ? 0 : static_cast<uint32_t>(end);
    return block;
}

constexpr uint32_t UNIT_KEYS = 64;

__aicore__ inline uint64_t UnitsOf(const QueryBlock& block)
{
    if (block.Empty()) {
        return 0;
    }
    return CeilDiv(block.keysEnd - block.keysBegin, UNIT_KEYS) * CeilDiv(block.rows, FRACTAL_ROWS);
}

// A run of one task's keys that a group works on.
struct Piece {
    Sequence sequence;
    QueryBlock queries;
    uint32_t batch;
    uint32_t head;  // the first, if the task has several
    uint32_t keysBegin;
    uint32_t keysEnd;
    bool empty;     // a task without visible keys: only its output is to be written
    bool begins;    // holds the task's first key
    bool ends;      // ... its last
    uint32_t slot;  // of the partial result, if the task is split: 0 of a group's first task, 1 of its last

    __aicore__ inline bool Split() const { return !begins || !ends; }
};

// Walks the pieces of one group.
class PieceCursor {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Lengths& lengths, uint32_t group)
    {
        tiling_ = &tiling;
        lengths_ = &lengths;
        group_ = group;
        numTasks_ = tiling.batch * TaskHeads(tiling) * tiling.numBlocksQ;
        if (tiling.splitTasks != 0) {
            total_ = TotalUnits();
            rangeBegin_ = BoundaryOf(total_, group);
            rangeEnd_ = BoundaryOf(total_, group + 1);
        }
    }

    // empty: also stop at tasks without visible keys.
    __aicore__ inline bool Next(bool empty) { return tiling_->splitTasks != 0 ? NextInRange(empty) : NextWhole(empty); }

    __aicore__ inline const Piece& Current() const { return piece_; }

    __aicore__ inline uint64_t TotalUnits() const
    {
        uint64_t total = 0;
        for (uint32_t batch = 0; batch < tiling_->batch; ++batch) {
            const Sequence s = lengths_->Of(batch);
            for (uint32_t i = 0; i < tiling_->numBlocksQ; ++i) {
                total += UnitsOf(MakeQueryBlock(*tiling_, s, i)) * TaskHeads(*tiling_);
            }
        }
        return total;
    }
    // The unit at which a group begins.
    __aicore__ inline uint64_t BoundaryOf(uint64_t total, uint32_t group) const
    {
        return total * group / tiling_->blockDim;
    }
    // Does a group work on a part of the current piece's task?
    __aicore__ inline bool HasPart(uint32_t group) const
    {
        const uint64_t taskEnd = taskBegin_ + UnitsOf(piece_.queries);
        const uint64_t from = BoundaryOf(total_, group);
        const uint64_t to = BoundaryOf(total_, group + 1);
        const uint64_t begin = taskBegin_ > from ? taskBegin_ : from;
        const uint64_t end = taskEnd < to ? taskEnd : to;
        return begin < end && KeyAt(end - taskBegin_) > KeyAt(begin - taskBegin_);
    }

private:
    __aicore__ inline void SetWhole()
    {
        piece_.keysBegin = piece_.queries.keysBegin;
        piece_.keysEnd = piece_.queries.keysEnd;
        piece_.begins = piece_.ends = true;
        piece_.empty = piece_.queries.Empty();
    }

    // Heaviest query blocks first; groups take tasks back and forth so that the loads stay even.
    __aicore__ inline bool NextWhole(bool empty)
    {
        for (;;) {
            const uint32_t place = round_ % 2 == 0 ? group_ : tiling_->blockDim - 1 - group_;
            const uint32_t task = round_ * tiling_->blockDim + place;
            ++round_;
            if (task >= numTasks_) {
                return false;  // only the last round is incomplete
            }
            const uint32_t taskHeads = TaskHeads(*tiling_);
            const uint32_t heads = tiling_->batch * taskHeads;
            const uint32_t index = task % heads;
            piece_.batch = index / taskHeads;
            piece_.head = index % taskHeads * PackedHeads(*tiling_);
            piece_.sequence = lengths_->Of(piece_.batch);
            piece_.queries = MakeQueryBlock(*tiling_, piece_.sequence, tiling_->numBlocksQ - 1 - task / heads);
            SetWhole();
            if (!piece_.empty || (empty && piece_.queries.rows != 0)) {
                return true;
            }
        }
    }

    // Tasks in the order batch, query block, head; empty ones belong to the group whose range they fall into.
    __aicore__ inline bool NextInRange(bool empty)
    {
        const uint32_t taskHeads = TaskHeads(*tiling_);
        for (; batch_ < tiling_->batch; ++batch_, query_ = 0) {
            if (query_ == 0 && head_ == 0) {
                piece_.sequence = lengths_->Of(batch_);
            }
            for (; query_ < tiling_->numBlocksQ; ++query_, head_ = 0) {
                piece_.batch = batch_;
                piece_.queries = MakeQueryBlock(*tiling_, piece_.sequence, query_);
                const uint64_t units = UnitsOf(piece_.queries);
                if (head_ == 0 && units != 0 && unit_ + units * taskHeads <= rangeBegin_) {
                    unit_ += units * taskHeads;  // this row of tasks lies before the range
                    continue;
                }
                if (!empty && unit_ >= rangeEnd_ && units != 0) {
                    return false;
                }
                while (head_ < taskHeads) {
                    piece_.head = head_++ * PackedHeads(*tiling_);
                    taskBegin_ = unit_;
                    unit_ += units;
                    if (Clip(units, empty)) {
                        return true;
                    }
                }
            }
        }
        return false;
    }

    __aicore__ inline bool Clip(uint64_t units, bool empty)
    {
        SetWhole();
        if (units == 0) {
            // Owned by the group that holds the unit before it (the last group at the very end).
            const bool mine = (taskBegin_ > rangeBegin_ || taskBegin_ == 0) && taskBegin_ <= rangeEnd_ &&
                              (taskBegin_ != 0 || group_ == 0);
            return empty && mine && piece_.queries.rows != 0;
        }
        const uint64_t begin = taskBegin_ > rangeBegin_ ? taskBegin_ : rangeBegin_;
        const uint64_t end = taskBegin_ + units < rangeEnd_ ? taskBegin_ + units : rangeEnd_;
        if (begin >= end) {
            return false;
        }
        piece_.keysBegin = KeyAt(begin - taskBegin_);
        piece_.keysEnd = KeyAt(end - taskBegin_);
        piece_.begins = piece_.keysBegin == piece_.queries.keysBegin;
        piece_.ends = piece_.keysEnd == piece_.queries.keysEnd;
        piece_.slot = piece_.begins ? 1 : 0;
        return piece_.keysEnd > piece_.keysBegin;
    }

    // The key at which `units` units of the task end: whole columns of units only, rounded down.
    __aicore__ inline uint32_t KeyAt(uint64_t units) const
    {
        const uint64_t width = CeilDiv(piece_.queries.rows, FRACTAL_ROWS);
        const uint64_t key = piece_.queries.keysBegin + units / width * UNIT_KEYS;
        return key < piece_.queries.keysEnd ? static_cast<uint32_t>(key) : piece_.queries.keysEnd;
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    const Lengths* lengths_ = nullptr;
    uint32_t group_ = 0;
    uint32_t numTasks_ = 0;
    uint32_t round_ = 0;
    uint32_t batch_ = 0;
    uint32_t query_ = 0;
    uint32_t head_ = 0;
    uint64_t unit_ = 0;
    uint64_t taskBegin_ = 0;
    uint64_t total_ = 0;
    uint64_t rangeBegin_ = 0;
    uint64_t rangeEnd_ = 0;
    Piece piece_{};
};

}  // namespace fastattn
