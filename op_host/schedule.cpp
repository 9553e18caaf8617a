// Exact block counts from the geometry; the same arithmetic as mask_window.h, in closed form for a whole row of blocks.
#include "schedule.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "../op_kernel/common/hardware.h"
#include "../op_kernel/flash_attention/key_blocks.h"
#include "../op_kernel/flash_attention/visible_columns.h"

namespace fastattn {
namespace {

// Beyond as many tasks the groups are not walked one by one: whole tasks in such numbers spread evenly.
constexpr uint64_t WALKED_TASKS = 16384;

uint64_t NumTasks(const FlashAttentionTiling& t)
{
    return static_cast<uint64_t>(t.batch) * TaskHeads(t) * t.numBlocksQ;
}

// A piece's part of its task's units.
double ShareOf(const FlashAttentionTiling& t, const Piece& piece)
{
    const QueryBlock& queries = piece.queries;
    const double columns = CeilDiv(queries.keysEnd - queries.keysBegin, UNIT_KEYS);
    return static_cast<double>(UnitsOf(t, queries)) * CeilDiv(piece.keysEnd - piece.keysBegin, UNIT_KEYS) / columns;
}

}  // namespace

RowOfBlocks BlocksOfRow(const FlashAttentionTiling& t, uint32_t blockIndexQ)
{
    const QueryBlock q = MakeQueryBlock(t, {0, 0, t.seqQ, t.seqKv}, blockIndexQ);
    if (q.Empty()) {
        return {0, 0, 0};
    }
    const int64_t size = t.blockKv;
    const int64_t begin = q.keysBegin;
    const int64_t end = q.keysEnd;
    const int64_t blocks = static_cast<int64_t>(CeilDiv(static_cast<uint64_t>(end - begin), t.blockKv));
    const int64_t right = t.windowRight >= 0 ? q.rowOffset + t.windowRight : end;  // last key of the first row
    const int64_t left =
        t.windowLeft >= 0 ? q.rowOffset + q.tokens - 1 - t.windowLeft : 0;  // first key of the last row
    // Blocks that every row sees whole: those that start at or after `left` and end at or before `right`.
    const int64_t firstWhole = std::clamp<int64_t>((std::max(left, begin) - begin + size - 1) / size, 0, blocks);
    const int64_t endWhole = right >= end - 1 ? blocks : std::clamp<int64_t>((right + 1 - begin) / size, 0, blocks);
    const int64_t visible = std::max<int64_t>(endWhole - firstWhole, 0);
    return {static_cast<uint32_t>(blocks), static_cast<uint32_t>(blocks - visible),
            static_cast<uint32_t>(end - begin - (blocks - 1) * size)};
}

namespace {

// Pairs of 16 rows and 16 keys that the cube core computes for a run of keys, the first block with at most firstKeys.
void AddFractals(const FlashAttentionTiling& t, const Piece& piece, uint32_t firstKeys, GroupWork& work)
{
    const QueryBlock& run = piece.queries;
    KeyBlocks blocks(t, piece, firstKeys);
    while (!blocks.Done()) {
        const KeyRun keys = blocks.Next();
        const BlockColumns block{keys.end - keys.begin, run.rowOffset - keys.begin + t.windowRight};
        for (uint32_t row = 0; row < run.rows; row += t.l0TileQ) {
            const uint32_t rows = std::min(run.rows - row, t.l0TileQ);
            const uint32_t cols = ColumnsOfTile(t, run, block, row);
            work.outputFractals += CeilDiv(rows, FRACTAL_ROWS) * CeilDiv(cols, FRACTAL_ROWS);
            for (uint32_t col = 0; col < cols; col += t.l0TileKv) {
                work.scoreFractals += CeilDiv(rows - RowsWithout(t, run, block, row, col), FRACTAL_ROWS) *
                                      CeilDiv(std::min(cols - col, t.l0TileKv), FRACTAL_ROWS);
            }
        }
    }
}

}  // namespace

std::vector<GroupWork> WorkOfGroups(const FlashAttentionTiling& t, const HostLengths& lengths)
{
    std::vector<GroupWork> groups(t.blockDim);
    for (uint32_t group = 0; group < t.blockDim; ++group) {
        GroupWork& work = groups[group];
        PieceWalk<HostLengths> walk;
        walk.Init(t, lengths, group);
        while (walk.Next(false)) {
            const Piece& piece = walk.Current();
            QueryBlock run = piece.queries;
            run.keysBegin = piece.keysBegin;
            run.keysEnd = piece.keysEnd;
            work.units += UnitsOf(t, run);
            work.share += ShareOf(t, piece);
            work.blocks += CeilDiv(run.keysEnd - run.keysBegin, t.blockKv);
            work.parts += piece.Split() ? 1 : 0;
            AddFractals(t, piece, work.pieces == 0 ? FirstBlockKeys(t, group) : t.blockKv, work);
            ++work.pieces;
        }
    }
    return groups;
}

double Imbalance(const FlashAttentionTiling& t)
{
    if (t.schedule == RANGES || NumTasks(t) > WALKED_TASKS) {
        return 1;
    }
    uint64_t most = 0;
    uint64_t total = 0;
    for (const GroupWork& work : WorkOfGroups(t, HostLengths(t))) {
        most = std::max(most, work.units);
        total += work.units;
    }
    return total == 0 ? 1 : static_cast<double>(most) * t.blockDim / static_cast<double>(total);
}

GroupLoad BusiestGroup(const FlashAttentionTiling& t)
{
    GroupLoad load;
    std::map<std::tuple<uint32_t, bool, bool>, double> counts;
    const double heads = static_cast<double>(t.batch) * TaskHeads(t);
    const double share = heads / t.blockDim * Imbalance(t);
    const auto add = [&](uint32_t cols, bool masked, bool last, double count) {
        // Problems shorter than a step keep their own width.
        const uint32_t step = std::min(static_cast<uint32_t>(RoundUp(cols, REPEAT_FP32_ELEMS)), t.seqKv);
        if (count > 0) {
            counts[{step, masked, last}] += count * share;
        }
    };
    for (uint32_t i = 0; i < t.numBlocksQ; ++i) {
        const RowOfBlocks row = BlocksOfRow(t, i);
        load.tasks += share;
        load.blocks += row.blocks * share;
        load.maskedBlocks += row.masked * share;
        if (row.blocks > 0) {
            const uint32_t maskedWhole = row.masked > 0 ? row.masked - 1 : 0;
            add(t.blockKv, false, false, row.blocks - 1 - maskedWhole);
            add(t.blockKv, true, false, maskedWhole);
            add(row.lastCols, row.masked > 0, true, 1);
        }
    }
    for (const auto& [kind, count] : counts) {
        load.kinds.push_back({std::get<0>(kind), std::get<1>(kind), std::get<2>(kind), count});
    }
    return load;
}

}  // namespace fastattn
