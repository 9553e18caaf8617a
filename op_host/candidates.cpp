// Grids per field. The public schedule (128 x 512, ring 3, preload 2) is among the candidates of every long problem.
#include "candidates.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "../op_kernel/flash_attention/packing.h"
#include "../op_kernel/flash_attention/storage.h"
#include "limits.h"
#include "mask.h"
#include "problem.h"
#include "range_weights.h"
#include "schedule.h"

namespace fastattn {
namespace {

constexpr uint32_t MAX_BLOCK_Q = 256;
constexpr uint32_t MAX_L0_TILE_Q = 128;
constexpr uint32_t MAX_BLOCK_KV = 1024;
constexpr uint32_t WIDE_HEAD_DIM = 128;
// Blocks in slices: heads so narrow that L1 holds all of a block's K and V beside Q, UB the output of so many rows.
constexpr uint32_t SLICED_BLOCK_Q = 512;
constexpr uint32_t SLICED_HEAD_DIM = 64;
constexpr double MIN_SLICED_BLOCKS = 4;  // of a core group: with fewer of them groups are unevenly loaded
constexpr uint32_t MAX_L1_TILE_KV = 512;
constexpr uint32_t MIN_L1_TILE_KV = 128;  // shorter tiles pay the DMA head too often

constexpr uint32_t STAGGER = 8;             // phases of a block
constexpr double MIN_STAGGERED_BLOCKS = 8;  // of a core group: the block that its phase costs is then worth it
constexpr uint32_t MIN_PART_KEYS = 512;     // a shorter part costs more to combine than it saves

using Values = std::vector<uint32_t>;

// The overridden value if there is one, otherwise the grid without what lies above the limit; never empty.
Values Choose(const Overrides& overrides, const char* name, const Values& grid, uint64_t atMost)
{
    const auto found = overrides.find(name);
    if (found != overrides.end()) {
        return {static_cast<uint32_t>(found->second)};
    }
    Values values;
    for (uint32_t value : grid) {
        if (value <= atMost) {
            values.push_back(value);
        }
    }
    if (values.empty()) {
        values.push_back(*std::min_element(grid.begin(), grid.end()));
    }
    return values;
}

// The largest divisor of whole fractals.
uint32_t LargestTile(uint32_t rows, uint32_t atMost)
{
    uint32_t tile = std::min(rows, atMost);
    while (rows % tile != 0) {
        tile -= FRACTAL_ROWS;
    }
    return tile;
}

bool PaysSlicing(const FlashAttentionTiling& base, const SocSpec& soc, const Overrides& overrides)
{
    const auto schedule = overrides.find("schedule");
    if (schedule != overrides.end() && schedule->second != RANGES) {
        return false;  // keys stay in L1 for equal ranges only
    }
    const double tasks = 1.0 * base.batch * TaskHeads(base) * base.seqQ / SLICED_BLOCK_Q;
    return base.seqQ >= SLICED_BLOCK_Q &&
           std::max(PaddedDim(base.headDimQk), PaddedDim(base.headDimV)) <= SLICED_HEAD_DIM &&
           tasks * KeysOfQuery(base) / MAX_BLOCK_KV >= MIN_SLICED_BLOCKS * soc.aicCores;
}

// Of a task's heads. Lengths known on the device only: on average, lseHeadStride is their sum.
uint64_t RowsOfSequence(const FlashAttentionTiling& t)
{
    const uint64_t tokens = t.hasCuSeqlens != 0 ? CeilDiv(t.lseHeadStride, t.batch) : t.seqQ;
    return tokens * PackedHeads(t);
}

Values BlockQValues(const FlashAttentionTiling& base, const SocSpec& soc, const Overrides& overrides)
{
    const uint64_t rows = RoundUp(static_cast<uint64_t>(base.seqQ) * PackedHeads(base), FRACTAL_ROWS);
    Values grid;
    if (PaysSlicing(base, soc, overrides)) {
        grid.push_back(SLICED_BLOCK_Q);
    }
    for (const uint32_t large : {MAX_BLOCK_Q, MAX_L0_TILE_Q}) {
        // More rows than sequences have on average would mostly be missing.
        if (large <= rows && (large == MAX_L0_TILE_Q || large <= RowsOfSequence(base))) {
            grid.push_back(large);
        }
    }
    if (grid.empty()) {
        grid = {static_cast<uint32_t>(rows)};
    }
    // Wide heads leave L0A and L0C no room for larger tiles.
    const bool wide = std::max(PaddedDim(base.headDimQk), PaddedDim(base.headDimV)) > WIDE_HEAD_DIM;
    // Too few blocks to occupy every core: smaller ones spread the work.
    for (const auto& [small, tooLarge] : {std::pair{64u, MAX_L0_TILE_Q}, {32u, 64u}, {16u, 64u}}) {
        const double tasks = 1.0 * base.batch * TaskHeads(base) * static_cast<double>(CeilDiv(rows, tooLarge));
        if (small < rows && (tasks < soc.aicCores || (wide && small == 64))) {
            grid.push_back(small);
        }
    }
    return Choose(overrides, "block_q", grid, SLICED_BLOCK_Q);
}

// Packing pays where one head's queries do not fill a block: K and V are then read once for all heads of a group.
Values PackValues(const FlashAttentionTiling& base, const Overrides& overrides)
{
    const bool short_ = base.headsQ > base.headsKv && base.seqQ < MAX_BLOCK_Q;
    return Choose(overrides, "pack_gqa", short_ ? Values{1, 0} : Values{0}, 1);
}

Values BlockKvValues(const FlashAttentionTiling& base, const Overrides& overrides)
{
    Values grid = {MAX_BLOCK_KV, 512, 768, 256};
    const auto l1Tile = overrides.find("l1_tile_kv");
    if (l1Tile != overrides.end()) {
        const uint64_t step = std::lcm<uint64_t>(MASK_ROW_ALIGN_ELEMS, static_cast<uint64_t>(l1Tile->second));
        if (step <= static_cast<uint64_t>(LimitOf("block_kv").max)) {
            grid = {static_cast<uint32_t>(step)};
            for (uint64_t keys = 2 * step; keys <= MAX_BLOCK_KV; keys += step) {
                grid.insert(grid.begin(), static_cast<uint32_t>(keys));
            }
        }
    }
    return Choose(overrides, "block_kv", grid, RoundUp(base.seqKv, MASK_ROW_ALIGN_ELEMS));
}

Values L0TileValues(uint32_t blockQ, uint32_t blockKv, const Overrides& overrides)
{
    // Of slices the smallest that L0 holds twice: the products alternate.
    Values grid = blockQ > MAX_BLOCK_Q ? Values{64, 128} : Values{128, 256, 64};
    const auto l1Tile = overrides.find("l1_tile_kv");
    if (l1Tile != overrides.end() && l1Tile->second % 64 != 0) {
        // None of the usual tiles divides this one: take its own divisors, the widest first.
        grid.clear();
        for (int64_t parts = 1; parts <= l1Tile->second / FRACTAL_ROWS; ++parts) {
            const int64_t keys = l1Tile->second / parts;
            if (l1Tile->second % parts == 0 && keys % FRACTAL_ROWS == 0 && keys <= 256) {
                grid.push_back(static_cast<uint32_t>(keys));
            }
        }
    }
    return Choose(overrides, "l0_tile_kv", grid, blockKv);
}

Values L1TileValues(uint32_t blockKv, uint32_t l0TileKv, const Overrides& overrides)
{
    Values grid;
    for (uint32_t keys = l0TileKv; keys <= std::min(blockKv, MAX_L1_TILE_KV); keys += l0TileKv) {
        if (blockKv % keys == 0 && keys >= MIN_L1_TILE_KV) {
            grid.insert(grid.begin(), keys);
        }
    }
    if (grid.empty()) {
        grid.push_back(l0TileKv);
    }
    return Choose(overrides, "l1_tile_kv", grid, blockKv);
}

std::vector<std::pair<uint32_t, uint32_t>> RingPreloadValues(uint32_t blockQ, const Overrides& overrides)
{
    const auto ring = overrides.find("ring");
    const auto preload = overrides.find("preload");
    const auto value = [](auto entry) { return static_cast<uint32_t>(entry->second); };
    if (ring != overrides.end() && preload != overrides.end()) {
        return {{value(ring), value(preload)}};
    }
    if (ring != overrides.end()) {
        return {{value(ring), value(ring) - 1}};
    }
    if (preload != overrides.end()) {
        return {{value(preload) + 1, value(preload)}};
    }
    std::vector<std::pair<uint32_t, uint32_t>> values = {{4, 3}, {3, 2}, {2, 1}};
    if (blockQ > MAX_BLOCK_Q) {
        values.insert(values.begin(), {6, 5});  // of slices, which are smaller
    }
    return values;
}

}  // namespace

void DeriveFields(const SocSpec& soc, const Overrides& overrides, FlashAttentionTiling& t)
{
    if (overrides.count("slice_q") == 0) {
        t.sliceQ = t.blockQ > MAX_BLOCK_Q ? LargestTile(t.blockQ, MAX_L0_TILE_Q) : t.blockQ;
    }
    if (overrides.count("l0_tile_q") == 0) {
        t.l0TileQ = LargestTile(t.sliceQ, MAX_L0_TILE_Q);
    }
    if (overrides.count("l1_tile_v") == 0) {
        // Events are few: V of a block that several query tiles share takes two.
        t.l1TileV = SharesKeys(t) ? std::max(t.blockKv / STAGES, t.l1TileKv) : t.l1TileKv;
    }
    if (overrides.count("l1_tile_p") == 0) {
        t.l1TileP = t.sliceQ < t.blockQ && t.blockKv % (2 * t.l0TileKv) == 0 ? 2 * t.l0TileKv : t.l0TileKv;
    }
    if (overrides.count("p_slots") == 0) {
        // Two hardly gain; one leaves room for longer strips.
        t.pSlots = STAGES;
        t.pSlots = UbEndBytes(t) <= UbLimitBytes(soc) ? STAGES : 1;
    }
    t.numBlocksQ = static_cast<uint32_t>(CeilDiv(t.seqQ, std::max<uint32_t>(BlockTokens(t), 1)));
    const double tasks = static_cast<double>(t.batch) * TaskHeads(t) * t.numBlocksQ;
    const RangeWeights weights = WeightsOf(t, soc);
    if (overrides.count("block_units") == 0) {
        t.blockUnits = weights.blockUnits;
    }
    if (overrides.count("task_units") == 0) {
        t.taskUnits = weights.taskUnits;
    }
    if (overrides.count("schedule") == 0) {
        t.schedule = RANGES;
    }
    if (overrides.count("block_dim") == 0) {
        const double parts = std::max(1.0, static_cast<double>(CeilDiv(t.seqKv, MIN_PART_KEYS)));
        t.blockDim = static_cast<uint32_t>(std::min(soc.aicCores, t.schedule == RANGES ? tasks * parts : tasks));
    }
    if (overrides.count("stagger") == 0) {
        const double visible = t.windowRight >= 0 ? 0.5 : 1;
        const double blocks = tasks * static_cast<double>(CeilDiv(t.seqKv, t.blockKv)) * visible;
        t.stagger = blocks >= MIN_STAGGERED_BLOCKS * t.blockDim ? STAGGER : 1;
    }
    if (overrides.count("mask_block") == 0) {
        t.maskBlock = static_cast<uint32_t>(RoundUp(std::max(t.blockQ, t.blockKv), MASK_ROW_ALIGN_ELEMS));
    }
    DeriveMaskTensor(t);
    const WorkspaceMap map = MakeWorkspaceMap(t);
    t.workspaceBytesPerGroup = map.bytesPerGroup;
    t.workspaceSOffsetBytes = map.sOffsetBytes;
    t.workspacePOffsetBytes = map.pOffsetBytes;
    t.workspaceOOffsetBytes = map.oOffsetBytes;
    t.workspacePartOffsetBytes = map.partOffsetBytes;
}

namespace {

void AddCandidates(const FlashAttentionTiling& base, const SocSpec& soc, const Overrides& overrides,
                   std::vector<FlashAttentionTiling>& candidates)
{
    FlashAttentionTiling t = base;
    for (const uint32_t blockQ : BlockQValues(base, soc, overrides)) {
        t.blockQ = blockQ;
        for (const uint32_t blockKv : BlockKvValues(base, overrides)) {
            t.blockKv = blockKv;
            for (const uint32_t l0TileKv : L0TileValues(blockQ, blockKv, overrides)) {
                t.l0TileKv = l0TileKv;
                for (const uint32_t l1TileKv : L1TileValues(blockKv, l0TileKv, overrides)) {
                    t.l1TileKv = l1TileKv;
                    for (const uint32_t stripRows : Choose(overrides, "strip_rows", {32, 16, 8},
                                                           RowsPerVectorCore(std::min(blockQ, MAX_BLOCK_Q)))) {
                        t.stripRows = stripRows;
                        for (const auto& [ring, preload] : RingPreloadValues(blockQ, overrides)) {
                            t.ring = ring;
                            t.preload = preload;
                            for (const uint32_t interleave : Choose(overrides, "interleave", {1, 0}, 1)) {
                                t.interleave = interleave;
                                DeriveFields(soc, overrides, t);
                                candidates.push_back(t);
                            }
                        }
                    }
                }
            }
        }
    }
}

}  // namespace

std::vector<FlashAttentionTiling> MakeCandidates(const FlashAttentionTiling& base, const SocSpec& soc,
                                                 const Overrides& overrides)
{
    std::vector<FlashAttentionTiling> candidates;
    FlashAttentionTiling t = base;
    ApplyOverrides(overrides, t);
    for (const uint32_t packGqa : PackValues(base, overrides)) {
        t.packGqa = packGqa;
        AddCandidates(t, soc, overrides, candidates);
    }
    return candidates;
}

}  // namespace fastattn
