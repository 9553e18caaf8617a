// Exact block counts from the geometry; the same arithmetic as mask_window.h, in closed form for a whole row of blocks.
#include "schedule.h"

#include <algorithm>
#include <map>
#include <utility>

#include "../op_kernel/common/hardware.h"
#include "../op_kernel/flash_attention/packing.h"

namespace fastattn {

RowOfBlocks BlocksOfRow(const FlashAttentionTiling& t, uint32_t blockIndexQ)
{
    const int64_t row0 = static_cast<int64_t>(blockIndexQ) * BlockTokens(t);
    const int64_t rows = std::min<int64_t>(BlockTokens(t), t.seqQ - row0);
    const int64_t keys = t.seqKv;
    const int64_t offset = row0 + keys - static_cast<int64_t>(t.seqQ);
    const int64_t right = t.windowRight >= 0 ? offset + t.windowRight : keys;       // last key of the first row
    const int64_t left = t.windowLeft >= 0 ? offset + rows - 1 - t.windowLeft : 0;  // first key of the last row
    const int64_t end = std::clamp<int64_t>(t.windowRight >= 0 ? right + rows : keys, 0, keys);
    int64_t begin = t.windowLeft >= 0 ? std::max<int64_t>(offset - t.windowLeft, 0) : 0;
    begin = begin / FRACTAL_ROWS * FRACTAL_ROWS;
    if (end <= begin) {
        return {0, 0, 0};
    }
    const int64_t size = t.blockKv;
    const int64_t blocks = static_cast<int64_t>(CeilDiv(static_cast<uint64_t>(end - begin), t.blockKv));
    // Blocks that every row sees whole: those that start at or after `left` and end at or before `right`.
    const int64_t firstWhole = std::clamp<int64_t>((std::max(left, begin) - begin + size - 1) / size, 0, blocks);
    const int64_t endWhole = right >= end - 1 ? blocks : std::clamp<int64_t>((right + 1 - begin) / size, 0, blocks);
    const int64_t visible = std::max<int64_t>(endWhole - firstWhole, 0);
    return {static_cast<uint32_t>(blocks), static_cast<uint32_t>(blocks - visible),
            static_cast<uint32_t>(end - begin - (blocks - 1) * size)};
}

uint64_t TaskOfGroup(const FlashAttentionTiling& t, uint32_t round, uint32_t group)
{
    const uint32_t place = round % 2 == 0 ? group : t.blockDim - 1 - group;
    return static_cast<uint64_t>(round) * t.blockDim + place;
}

uint32_t BlockIndexQ(const FlashAttentionTiling& t, uint64_t task)
{
    const uint64_t batchHeads = static_cast<uint64_t>(t.batch) * TaskHeads(t);
    return static_cast<uint32_t>(t.numBlocksQ - 1 - task / batchHeads);
}

namespace {

// Calls visit(row of blocks) for each task of the group.
template <class Visit>
void ForTasks(const FlashAttentionTiling& t, const std::vector<RowOfBlocks>& rows, uint32_t group, const Visit& visit)
{
    const uint64_t numTasks = static_cast<uint64_t>(t.batch) * TaskHeads(t) * t.numBlocksQ;
    for (uint32_t round = 0; static_cast<uint64_t>(round) * t.blockDim < numTasks; ++round) {
        const uint64_t task = TaskOfGroup(t, round, group);
        if (task < numTasks) {
            visit(rows[BlockIndexQ(t, task)]);
        }
    }
}

}  // namespace

namespace {

uint32_t GroupWithMostBlocks(const FlashAttentionTiling& t, const std::vector<RowOfBlocks>& rows)
{
    uint32_t busiest = 0;
    uint64_t most = 0;
    for (uint32_t group = 0; group < t.blockDim; ++group) {
        uint64_t blocks = 0;
        ForTasks(t, rows, group, [&](const RowOfBlocks& row) { blocks += row.blocks; });
        if (blocks > most) {
            most = blocks;
            busiest = group;
        }
    }
    return busiest;
}

}  // namespace

GroupLoad BusiestGroup(const FlashAttentionTiling& t)
{
    std::vector<RowOfBlocks> rows(t.numBlocksQ);
    for (uint32_t i = 0; i < t.numBlocksQ; ++i) {
        rows[i] = BlocksOfRow(t, i);
    }
    // Equal ranges of all tasks' keys, or the whole tasks of the group that has most blocks.
    GroupLoad load;
    std::map<std::pair<uint32_t, bool>, uint64_t> counts;
    const auto add = [&](uint32_t cols, bool masked, uint64_t count) {
        // Problems shorter than a step keep their own width.
        const uint32_t step = std::min(static_cast<uint32_t>(RoundUp(cols, REPEAT_FP32_ELEMS)), t.seqKv);
        if (count > 0) {
            counts[{step, masked}] += count;
        }
    };
    const auto take = [&](const RowOfBlocks& row) {
        ++load.tasks;
        load.blocks += row.blocks;
        load.maskedBlocks += row.masked;
        if (row.blocks > 0) {
            const uint32_t maskedWhole = row.masked > 0 ? row.masked - 1 : 0;
            add(t.blockKv, false, row.blocks - 1 - maskedWhole);
            add(t.blockKv, true, maskedWhole);
            add(row.lastCols, row.masked > 0, 1);
        }
    };
    uint64_t sharers = 1;
    if (t.splitTasks != 0) {
        sharers = t.blockDim;
        for (uint32_t group = 0; group < t.blockDim; ++group) {
            ForTasks(t, rows, group, take);
        }
        load.tasks = CeilDiv(load.tasks, sharers);
        load.blocks = CeilDiv(load.blocks, sharers);
        load.maskedBlocks = CeilDiv(load.maskedBlocks, sharers);
    } else {
        ForTasks(t, rows, GroupWithMostBlocks(t, rows), take);
    }
    for (const auto& [kind, count] : counts) {
        load.kinds.push_back({kind.first, kind.second, CeilDiv(count, sharers)});
    }
    return load;
}

}  // namespace fastattn
