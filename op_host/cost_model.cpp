// The busiest group's blocks in turn, each at the pipeline's interval, against what all groups together ask of L2 and
// HBM.
#include "cost_model.h"

#include <algorithm>

#include "../op_kernel/flash_attention/packing.h"
#include "../op_kernel/flash_attention/storage.h"
#include "pipeline_model.h"
#include "problem.h"
#include "schedule.h"

namespace fastattn {
namespace {

// Share of a head's cores that read the same keys at one time. Fitted to the simulator; windows give tasks different
// lengths, so that cores fall out of step.
constexpr double IN_STEP = 0.6;
constexpr double IN_STEP_WINDOWED = 0.2;

// Rate of K and V on their way to L1: what is touched first misses the L2, and cores of a round of whole tasks that
// work on one head read the same addresses together.
double KeysBytesPerCycle(const FlashAttentionTiling& t, const SocSpec& soc, const GroupLoad& load)
{
    double loaded = 0;
    for (const BlockKind& kind : load.kinds) {
        loaded += kind.count * kind.cols * t.blockDim;
    }
    const double keys = static_cast<double>(t.batch) * t.headsKv * t.seqKv;
    const double misses = std::min(1.0, keys / std::max(loaded, 1.0));
    const double rate = 1 / ((1 - misses) / soc.mte2L1BytesPerCycle + misses / soc.missBytesPerCycleAic);
    const double oneHead = std::max(1.0, 1.0 * t.blockDim / (1.0 * t.batch * t.headsKv));
    const double inStep = t.schedule == RANGES ? 0 : t.windowRight < 0 && t.windowLeft < 0 ? IN_STEP : IN_STEP_WINDOWED;
    return std::min(rate, soc.l2SliceBytesPerCycle / (1 + inStep * (oneHead - 1)));
}

// Share of their keys that the query blocks of a head load into a ring of L1: of the one before they find the last
// tiles there, but where they turn at the diagonal the first of theirs is new. With a left window tiles begin at other
// keys in each of them.
double LoadedShare(const FlashAttentionTiling& t, double tiles, double tileKeys)
{
    if (t.schedule != RANGES || t.windowLeft >= 0) {
        return 1;
    }
    double keys = 0;
    double found = 0;
    double before = 0;
    for (uint32_t i = 0; i < t.numBlocksQ; ++i) {
        const RowOfBlocks row = BlocksOfRow(t, i);
        const double own = row.blocks == 0 ? 0 : (row.blocks - 1.0) * t.blockKv + row.lastCols;
        const bool atDiagonal = i % 2 != 0 && t.windowRight >= 0;
        found += std::min({(atDiagonal ? tiles - 1 : tiles) * tileKeys, before, own});
        keys += own;
        before = own;
    }
    return keys > 0 ? 1 - found / keys : 1;
}

// How often a block's slices load its keys: once if they find them in L1.
double LoadsOfSlices(const FlashAttentionTiling& t, uint32_t rows, uint32_t keysInL1)
{
    const bool found = t.schedule == RANGES && keysInL1 >= t.blockKv;
    return found ? 1 : static_cast<double>(CeilDiv(rows, t.sliceQ));
}

// Once at the end of a split launch: the last part is told of, then a part is added to the one that a group has kept.
double EpilogueCycles(const FlashAttentionTiling& t, const SocSpec& soc, uint32_t rows)
{
    return t.schedule == RANGES ? soc.syncAllCycles + CombineCycles(t, soc, rows) : 0;
}

}  // namespace

ModelledCost ModelCost(const FlashAttentionTiling& t, const SocSpec& soc, const GroupLoad& load)
{
    const uint32_t rows = BlockRows(t);
    const L1Map l1 = MakeL1Map(t);
    const auto loaded = [&](const Buffer& ring, uint32_t tileKeys) {
        return LoadedShare(t, ring.slots, tileKeys) * LoadsOfSlices(t, rows, ring.slots * tileKeys);
    };
    const MemoryRates rates{KeysBytesPerCycle(t, soc, load), loaded(l1.k, t.l1TileKv), loaded(l1.v, t.l1TileV)};
    BlockCost all;
    for (const BlockKind& kind : load.kinds) {
        AddBlock(CostOfBlock(t, soc, {rows, kind.cols, kind.masked, kind.last}, rates), kind.count, all);
    }
    ModelledCost model;
    model.tasks = load.tasks;
    model.blocks = load.blocks;
    model.maskedBlocks = load.maskedBlocks;
    model.busy = BusyOf(all);
    model.l2Cycles = all.l2Bytes * t.blockDim / L2BytesPerCycle(soc);
    model.hbmCycles = OperandBytes(t) / HbmBytesPerCycle(soc);
    model.launchCycles = soc.launchCycles;
    const PipeCycles overhead = RowOverhead(t, soc, rows);
    AddCycles(overhead, load.tasks, model.busy);
    if (load.blocks > 0) {
        BlockCost mean;
        const double slices = load.blocks * static_cast<double>(CeilDiv(rows, t.sliceQ));
        AddBlock(all, 1 / slices, mean);
        for (StageCost* stage : {&mean.qk, &mean.softmax, &mean.pv, &mean.update}) {
            for (double StageCost::* steps : {&StageCost::l1Tiles, &StageCost::l0Tiles, &StageCost::strips}) {
                stage->*steps = std::max(1.0, stage->*steps);  // a slice may share one with others
            }
        }
        const PipelineTime time = RunPipeline(t, soc, mean, slices);
        model.stallCycles = slices * std::max(0.0, time.intervalCycles - Longest(BusyOf(mean)));
        model.fillCycles = std::max(0.0, time.cycles - slices * time.intervalCycles);
        model.pipelineCycles = time.cycles + load.tasks * overhead.vector;
    }
    model.cycles = model.launchCycles + EpilogueCycles(t, soc, rows) +
                   std::max({model.pipelineCycles, Longest(model.busy), model.l2Cycles, model.hbmCycles});
    return model;
}

}  // namespace fastattn
