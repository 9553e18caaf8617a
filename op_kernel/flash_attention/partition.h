// Who does what. A task is one query block of one head. Its work is counted in units: where all sequences are as long,
// 32 keys of a 16-row fractal, with what blocks and tasks cost besides, as the tiling says; where they differ, about
// half cycles. Schedules (tiling.h): whole tasks over the core groups, back and forth or in turn; or the units of all
// tasks, laid end to end, cut into equal ranges, so that a task may be split between neighbouring groups and their
// parts are combined at the end (output.h). Plain C++17: the kernel walks it on the device, where lengths may be known
// only, and op_host to count loads.
#pragma once
#include "../common/hardware.h"
#include "packing.h"
#include "tiling.h"

namespace fastattn {

// Lengths of one batch entry and where its tokens start.
struct Sequence {
    uint32_t startQ;
    uint32_t startKv;
    uint32_t lengthQ;
    uint32_t lengthKv;
    uint32_t endKv = 0;  // where the next one's keys start: not all of this one's may be in use
};

// A query block of a sequence and the keys that any of its rows sees; the same for every head.
struct QueryBlock {
    uint32_t row0;    // first token
    uint32_t tokens;  // of each of the task's heads
    uint32_t rows;    // of all of them
    uint32_t keysBegin;
    uint32_t keysEnd;
    int64_t rowOffset;     // first row's position on the key axis: windows are aligned to the sequences' ends
    uint32_t newKeys = 0;  // of its keys, those that no query block before it sees

    FASTATTN_HOST_DEVICE bool Empty() const { return rows == 0 || keysEnd <= keysBegin; }
};

FASTATTN_HOST_DEVICE QueryBlock MakeQueryBlock(const FlashAttentionTiling& t, const Sequence& s, uint32_t index)
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
    const int64_t lastEnd = t.windowRight >= 0 ? block.rowOffset + t.windowRight : keys;
    const int64_t seen = block.row0 != 0 && lastEnd > begin ? lastEnd : begin;
    block.newKeys = end > seen ? static_cast<uint32_t>(end - seen) : 0;
    return block;
}

constexpr uint32_t UNIT_KEYS = 32;

// What a query block with fewer rows than others costs besides them, in fractals: all of its keys come for it, too, and
// waits do not shrink with the rows. Fitted to when groups end, simulated, causal, 3000 to 10000 tokens, d = 64 and
// 128.
constexpr uint64_t SHORT_BLOCK_FRACTALS = 7;

// Rows of a query block as work, in fractals.
FASTATTN_HOST_DEVICE uint64_t RowUnits(const FlashAttentionTiling& t, const QueryBlock& block)
{
    const uint64_t whole = CeilDiv(BlockRows(t), FRACTAL_ROWS);
    const uint64_t rows = CeilDiv(block.rows, FRACTAL_ROWS) + SHORT_BLOCK_FRACTALS;
    return rows < whole ? rows : whole;
}

// Where sequences differ, groups with other kinds of tasks must end together, and their kinds weigh what they cost, in
// about half cycles. Fitted to when groups end, simulated, packed batches of 3 to 128 sequences with up to 7K tokens,
// d = 64 and 128.
constexpr uint64_t ROW_COST = 18;        // a column of keys: each fractal of rows, and once more
constexpr uint64_t KEY_COST = 2;         // ... and each element of a key and its value
constexpr uint64_t NEW_KEY_COST = 3;     // the same, for keys that no query block has loaded yet
constexpr uint64_t OUTPUT_COST = 1;      // a block: each element of a row of O, of each fractal
constexpr uint64_t BLOCK_COST = 1600;    // ... and once
constexpr uint64_t TASK_COST = 1200;     // a task
constexpr uint64_t EXPOSED_INVERSE = 8;  // of the shorter of loads and work, the share that does not hide

FASTATTN_HOST_DEVICE bool SequencesDiffer(const FlashAttentionTiling& t)
{
    return t.hasCuSeqlens != 0 || t.hasSeqUsedKv != 0;
}

FASTATTN_HOST_DEVICE uint64_t CostOf(const FlashAttentionTiling& t, const QueryBlock& block, uint64_t columns,
                                     uint64_t blocks)
{
    const uint64_t rows = CeilDiv(block.rows, FRACTAL_ROWS);
    const uint64_t elems = t.headDimQk + t.headDimV;
    const uint64_t ofBlock = BLOCK_COST + rows * t.headDimV * OUTPUT_COST;
    const uint64_t work = columns * ((rows + 1) * ROW_COST + elems * KEY_COST) + blocks * ofBlock + TASK_COST;
    const uint64_t loads = CeilDiv(block.newKeys, UNIT_KEYS) * elems * NEW_KEY_COST;
    return work > loads ? work + loads / EXPOSED_INVERSE : loads + work / EXPOSED_INVERSE;
}

// Work of a run of keys: its columns of 32 keys, and columns more for each block and each task.
FASTATTN_HOST_DEVICE uint64_t UnitsOf(const FlashAttentionTiling& t, const QueryBlock& block)
{
    if (block.Empty()) {
        return 0;
    }
    const uint32_t keys = block.keysEnd - block.keysBegin;
    const uint64_t blocks = CeilDiv(keys, t.blockKv);
    const uint64_t columns = CeilDiv(keys, UNIT_KEYS) + blocks * t.blockUnits + t.taskUnits;
    return SequencesDiffer(t) ? CostOf(t, block, columns, blocks) : columns * RowUnits(t, block);
}

// The keys of a run that so many of its units pay for: its whole columns share its units evenly.
FASTATTN_HOST_DEVICE uint64_t KeysOfUnits(const FlashAttentionTiling& t, const QueryBlock& block, uint64_t units)
{
    const uint64_t all = UnitsOf(t, block);
    const uint64_t columns = CeilDiv(block.keysEnd - block.keysBegin, UNIT_KEYS);
    return (columns * units + all / 2) / all * UNIT_KEYS;
}

// A run of one task's keys that a group works on.
struct Piece {
    Sequence sequence;
    QueryBlock queries;
    uint32_t batch;
    uint32_t head;  // the first, if the task has several
    uint32_t keysBegin;
    uint32_t keysEnd;
    bool empty;   // a task without visible keys: only its output is to be written
    bool begins;  // holds the key that the task begins with: the last one if it takes them back
    bool ends;    // ... ends with

    FASTATTN_HOST_DEVICE bool Split() const { return !begins || !ends; }
    // Its group adds the other parts to this one, which is its last piece.
    FASTATTN_HOST_DEVICE bool KeepsPart() const { return begins && !ends; }
};

// In which order a head does its query blocks, by its rows (PieceWalk::QueryOf). Fitted to cycles and to when groups
// end, simulated, of causal problems of 2 to 64 heads with 384 to 4096 tokens, and of packed batches, d = 64 and 128.
constexpr uint32_t SNAKING_ROWS = 1152;          // causal, up to so many: forwards and backwards, head by head
constexpr uint32_t BACKWARDS_ROWS = 2048;        // ... and up to here: backwards
constexpr uint32_t PACKED_FORWARDS_ROWS = 4096;  // where sequences differ, up to so many: forwards

FASTATTN_HOST_DEVICE bool SnakesHeads(const FlashAttentionTiling& t)
{
    return !SequencesDiffer(t) && t.windowRight >= 0 && t.numBlocksQ * t.blockQ <= SNAKING_ROWS;
}

// RANGES: query blocks of a head follow each other and take its keys by turns from the first to the last and back, so
// that the next starts with keys that lie in L1. Which does which depends on the task alone.
FASTATTN_HOST_DEVICE bool TakesKeysBack(const FlashAttentionTiling& t, const Piece& piece)
{
    const uint32_t head = SnakesHeads(t) ? piece.head / PackedHeads(t) : 0;
    return t.schedule == RANGES && (piece.queries.row0 / BlockTokens(t) + head) % 2 != 0;
}

// Walks the pieces of one group. LengthSource: Of(batch) gives the Sequence of a batch entry, Following(previous,
// batch) the same with half the reads, from the one before it.
template <class LengthSource>
class PieceWalk {
public:
    FASTATTN_HOST_DEVICE void Init(const FlashAttentionTiling& tiling, const LengthSource& lengths, uint32_t group)
    {
        tiling_ = &tiling;
        lengths_ = &lengths;
        group_ = group;
        numTasks_ = tiling.batch * TaskHeads(tiling) * tiling.numBlocksQ;
        if (tiling.schedule == RANGES) {
            FindRange();
        }
    }

    // empty: also stop at tasks without visible keys.
    FASTATTN_HOST_DEVICE bool Next(bool empty)
    {
        return tiling_->schedule == RANGES ? NextInRange(empty) : NextWhole(empty);
    }

    FASTATTN_HOST_DEVICE const Piece& Current() const { return piece_; }

    // Does a group work on a part of the current piece's task?
    FASTATTN_HOST_DEVICE bool HasPart(uint32_t group) const
    {
        const uint64_t taskEnd = taskBegin_ + UnitsOf(*tiling_, piece_.queries);
        const uint64_t from = BoundaryOf(group);
        const uint64_t to = BoundaryOf(group + 1);
        const uint64_t begin = taskBegin_ > from ? taskBegin_ : from;
        const uint64_t end = taskEnd < to ? taskEnd : to;
        return begin < end && KeyAt(end - taskBegin_) != KeyAt(begin - taskBegin_);
    }

private:
    // The batch is gone through in turns, each with some heads of one entry after the other: all heads at once, or
    // where sequences differ one after the other, so that every group gets to do sequences of many lengths.
    FASTATTN_HOST_DEVICE uint32_t HeadsOfTurn() const { return SequencesDiffer(*tiling_) ? 1 : TaskHeads(*tiling_); }
    FASTATTN_HOST_DEVICE uint32_t Turns() const { return TaskHeads(*tiling_) / HeadsOfTurn(); }

    // Adds up all units and goes to a batch entry shortly before the range. Lengths may cost a read of GM each, which
    // the last groups would do twice for everything before their range: units before some entries are kept.
    FASTATTN_HOST_DEVICE void FindRange()
    {
        constexpr uint32_t MARKS = 32;
        uint64_t marks[MARKS];
        uint32_t step = 1;
        Sequence sequence{};
        for (uint32_t batch = 0; batch < tiling_->batch; ++batch) {
            if (batch == MARKS * step) {
                for (uint32_t i = 0; i < MARKS / 2; ++i) {
                    marks[i] = marks[2 * i];
                }
                step *= 2;
            }
            if (batch % step == 0) {
                marks[batch / step] = total_;
            }
            sequence = batch == 0 ? lengths_->Of(0) : lengths_->Following(sequence, batch);
            total_ += HeadUnits(sequence) * HeadsOfTurn();
        }
        const uint64_t ofTurn = total_;
        total_ *= Turns();
        rangeBegin_ = BoundaryOf(group_);
        rangeEnd_ = BoundaryOf(group_ + 1);
        turn_ = ofTurn == 0 ? 0 : static_cast<uint32_t>(rangeBegin_ / ofTurn);
        unit_ = turn_ * ofTurn;
        while (batch_ + step < tiling_->batch && unit_ + marks[batch_ / step + 1] < rangeBegin_) {
            batch_ += step;
        }
        unit_ += marks[batch_ / step];
    }

    // Units of a sequence's tasks with one head.
    FASTATTN_HOST_DEVICE uint64_t HeadUnits(const Sequence& s) const
    {
        uint64_t units = 0;
        for (uint32_t i = 0; i < BlocksOf(s); ++i) {
            units += UnitsOf(*tiling_, MakeQueryBlock(*tiling_, s, i));
        }
        return units;
    }

    // The unit at which a group begins.
    FASTATTN_HOST_DEVICE uint64_t BoundaryOf(uint32_t group) const { return total_ * group / tiling_->blockDim; }

    FASTATTN_HOST_DEVICE void SetWhole()
    {
        piece_.keysBegin = piece_.queries.keysBegin;
        piece_.keysEnd = piece_.queries.keysEnd;
        piece_.begins = piece_.ends = true;
        piece_.empty = piece_.queries.Empty();
    }

    // FOLDED: heaviest query blocks first. TOKEN_ORDER: one batch entry after the other.
    FASTATTN_HOST_DEVICE void SetTask(uint32_t task)
    {
        const uint32_t taskHeads = TaskHeads(*tiling_);
        uint32_t query = task / taskHeads / tiling_->batch;
        piece_.batch = task / taskHeads % tiling_->batch;
        if (tiling_->schedule == FOLDED) {
            query = tiling_->numBlocksQ - 1 - query;
        }
        if (tiling_->schedule == TOKEN_ORDER) {
            query = task / taskHeads % tiling_->numBlocksQ;
            piece_.batch = task / taskHeads / tiling_->numBlocksQ;
        }
        piece_.head = task % taskHeads * PackedHeads(*tiling_);
        piece_.sequence = lengths_->Of(piece_.batch);
        piece_.queries = MakeQueryBlock(*tiling_, piece_.sequence, query);
    }

    // Groups take tasks back and forth so that the loads stay even.
    FASTATTN_HOST_DEVICE bool NextWhole(bool empty)
    {
        const auto rounds = static_cast<uint32_t>(CeilDiv(numTasks_, tiling_->blockDim));
        while (round_ < rounds) {
            const uint32_t round = round_++;
            const bool folded = tiling_->schedule != ROUND_ROBIN;
            const uint32_t place = folded && round % 2 != 0 ? tiling_->blockDim - 1 - group_ : group_;
            const uint32_t task = round * tiling_->blockDim + place;
            if (task >= numTasks_) {
                continue;  // the lightest round may be incomplete
            }
            SetTask(task);
            SetWhole();
            if (!piece_.empty || (empty && piece_.queries.rows != 0)) {
                return true;
            }
        }
        return false;
    }

    // Tasks in the order turn, batch, head, query block, so that those of a group have keys in common. Empty tasks
    // belong to the group whose range they fall into.
    FASTATTN_HOST_DEVICE bool NextInRange(bool empty)
    {
        for (; turn_ < Turns() && !BehindRange(empty); ++turn_, batch_ = 0) {
            if (NextInTurn(empty)) {
                return true;
            }
        }
        return false;
    }

    FASTATTN_HOST_DEVICE bool NextInTurn(bool empty)
    {
        for (; batch_ < tiling_->batch && !BehindRange(empty); ++batch_, head_ = 0) {
            if (head_ == 0 && query_ == 0) {
                const bool follows = started_ && batch_ != 0;
                piece_.sequence = follows ? lengths_->Following(piece_.sequence, batch_) : lengths_->Of(batch_);
                headUnits_ = HeadUnits(piece_.sequence);
                started_ = true;
            }
            for (; head_ < HeadsOfTurn() && !BehindRange(empty); ++head_, query_ = 0) {
                if (query_ == 0 && headUnits_ != 0 && unit_ + headUnits_ <= rangeBegin_) {
                    unit_ += headUnits_;  // this head lies before the range
                    continue;
                }
                const uint32_t head = turn_ * HeadsOfTurn() + head_;
                piece_.batch = batch_;
                piece_.head = head * PackedHeads(*tiling_);
                while (query_ < BlocksOf(piece_.sequence)) {
                    piece_.queries = MakeQueryBlock(*tiling_, piece_.sequence, QueryOf(head, query_++));
                    const uint64_t units = UnitsOf(*tiling_, piece_.queries);
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

    FASTATTN_HOST_DEVICE uint32_t BlocksOf(const Sequence& s) const
    {
        return static_cast<uint32_t>(CeilDiv(s.lengthQ, BlockTokens(*tiling_)));
    }

    // The query block that a head does at a place. Groups that are some heads apart would be in light tasks at the same
    // time: each head begins with another block. But of short heads, unless there is but one, a group gets whole ones,
    // and with them light and heavy tasks. There a causal head begins with its last block, which brings all keys that
    // the others need, or the shortest do so by turns.
    FASTATTN_HOST_DEVICE uint32_t QueryOf(uint32_t head, uint32_t place) const
    {
        const uint32_t blocks = BlocksOf(piece_.sequence);
        const uint32_t rows = blocks * tiling_->blockQ;
        const bool differ = SequencesDiffer(*tiling_);
        if (differ && rows <= PACKED_FORWARDS_ROWS) {
            return place;
        }
        const bool alone = tiling_->batch * TaskHeads(*tiling_) == 1;
        if (differ || alone || tiling_->windowRight < 0 || rows > BACKWARDS_ROWS) {
            return (head + place) % blocks;
        }
        return SnakesHeads(*tiling_) && head % 2 == 0 ? place : blocks - 1 - place;
    }

    // Nothing that follows is this group's. Empty tasks at the very end of the range are.
    FASTATTN_HOST_DEVICE bool BehindRange(bool empty) const { return empty ? unit_ > rangeEnd_ : unit_ >= rangeEnd_; }

    FASTATTN_HOST_DEVICE bool Clip(uint64_t units, bool empty)
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
        const bool back = TakesKeysBack(*tiling_, piece_);
        const uint32_t from = KeyAt(begin - taskBegin_);
        const uint32_t to = KeyAt(end - taskBegin_);
        piece_.keysBegin = back ? to : from;
        piece_.keysEnd = back ? from : to;
        piece_.begins = from == KeyAt(0);
        piece_.ends = to == KeyAt(units);
        return from != to;
    }

    // Where `units` units of the task end in the order of work: the first key behind them, or the last one before that
    // is not theirs.
    FASTATTN_HOST_DEVICE uint32_t KeyAt(uint64_t units) const
    {
        const QueryBlock& queries = piece_.queries;
        const uint64_t keys = KeysOfUnits(*tiling_, queries, units);
        const bool all = keys >= queries.keysEnd - queries.keysBegin;
        if (TakesKeysBack(*tiling_, piece_)) {
            const uint64_t key = RoundUp(queries.keysEnd - keys, UNIT_KEYS);
            return keys == 0 ? queries.keysEnd : all ? queries.keysBegin : key;
        }
        return all ? queries.keysEnd : queries.keysBegin + keys;
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    const LengthSource* lengths_ = nullptr;
    uint32_t group_ = 0;
    uint32_t numTasks_ = 0;
    uint32_t round_ = 0;
    uint32_t turn_ = 0;
    uint32_t batch_ = 0;
    uint32_t query_ = 0;
    uint32_t head_ = 0;
    bool started_ = false;  // piece_ has a sequence
    uint64_t headUnits_ = 0;
    uint64_t unit_ = 0;
    uint64_t taskBegin_ = 0;
    uint64_t total_ = 0;
    uint64_t rangeBegin_ = 0;
    uint64_t rangeEnd_ = 0;
    Piece piece_{};
};

}  // namespace fastattn
