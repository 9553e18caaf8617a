// The pipeline: with preload p the vector cores have p block times for a softmax and its two hand-offs before the cube
// core needs P; what does not fit into them is a stall. Pipes otherwise overlap fully.
#include "cost_model.h"

#include <algorithm>

#include "../op_kernel/flash_attention/packing.h"
#include "../op_kernel/flash_attention/storage.h"
#include "problem.h"

namespace fastattn {
namespace {

double HbmCycles(const FlashAttentionTiling& t, const SocSpec& soc)
{
    const double bytesPerCycle = soc.hbmGbps * 1e9 / (soc.clockMhz * 1e6);
    return OperandBytes(t) / bytesPerCycle;
}

struct BlockCost {
    PipeCycles pipes;
    double intervalCycles = 0;  // from one block to the next in the steady state
    double latencyCycles = 0;   // through all four stages
};

BlockCost CostOfBlock(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    const PipeCycles stages[] = {QkStage(t, soc, shape), SoftmaxStage(t, soc, shape), PvStage(t, soc, shape),
                                 UpdateStage(t, soc, shape)};
    BlockCost cost;
    for (const PipeCycles& stage : stages) {
        AddCycles(stage, 1, cost.pipes);
        cost.latencyCycles += Longest(stage) + soc.gmLatencyCycles + soc.crossCoreCycles;
    }
    const double softmaxChain = Longest(stages[1]) + 2 * (soc.gmLatencyCycles + soc.crossCoreCycles);
    cost.intervalCycles = std::max(Longest(cost.pipes), softmaxChain / t.preload);
    return cost;
}

}  // namespace

ModelledCost ModelCost(const FlashAttentionTiling& t, const SocSpec& soc, const GroupLoad& load)
{
    const uint32_t rows = BlockRows(t);
    ModelledCost model;
    model.tasks = load.tasks;
    model.blocks = load.blocks;
    model.maskedBlocks = load.maskedBlocks;
    double blocksInTurn = 0;
    double readBytes = static_cast<double>(load.tasks) * RowReadBytes(t, rows);
    for (const BlockKind& kind : load.kinds) {
        const BlockShape shape{rows, kind.cols, kind.masked};
        const BlockCost cost = CostOfBlock(t, soc, shape);
        const double times = static_cast<double>(kind.count);
        readBytes += times * BlockReadBytes(t, shape);
        AddCycles(cost.pipes, times, model.busy);
        blocksInTurn += times * cost.intervalCycles;
        model.stallCycles += times * (cost.intervalCycles - Longest(cost.pipes));
        model.fillCycles = std::max(model.fillCycles, cost.latencyCycles - cost.intervalCycles);
    }
    AddCycles(RowOverhead(t, soc, rows), static_cast<double>(load.tasks), model.busy);
    model.l2Cycles = readBytes / soc.l2ReadBytesPerCyclePerAic;
    model.hbmCycles = HbmCycles(t, soc);
    model.launchCycles = soc.launchCycles;
    model.cycles = model.launchCycles + model.fillCycles +
                   std::max({blocksInTurn, Longest(model.busy), model.l2Cycles, model.hbmCycles});
    return model;
}

LowerBound ModelLimit(const FlashAttentionTiling& t, const SocSpec& soc)
{
    const double cubeCores = soc.aicCores;
    const double vectorCores = VECTOR_CORES_PER_CUBE * soc.aicCores;
    const double pairs = UsefulPairs(t);
    const double outputs = static_cast<double>(t.batch) * t.headsQ * t.seqQ * t.headDimV;
    const double fractalMacs = static_cast<double>(FRACTAL_ROWS) * FRACTAL_ROWS * C0_B16_ELEMS;
    LowerBound bound;
    bound.pipes.cube = pairs * (t.headDimQk + t.headDimV) / fractalMacs * soc.cubeFractalCycles / cubeCores;
    bound.pipes.mte1 = pairs * HALF_BYTES / soc.mte1L0aBytesPerCycle / cubeCores;     // P; tiles of K and V come on top
    bound.pipes.mte2Cube = pairs * HALF_BYTES / soc.mte2L1BytesPerCycle / cubeCores;  // P; K and V count as HBM
    bound.pipes.fixpipe = (pairs + outputs) * FLOAT_BYTES / soc.fixpipeGmBytesPerCycle / cubeCores;
    bound.pipes.vector = pairs / REPEAT_FP32_ELEMS * SoftmaxCyclesPerRepeat(soc) / vectorCores;
    bound.pipes.mte2Vector = (pairs + outputs) * FLOAT_BYTES / soc.mte2UbBytesPerCycle / vectorCores;
    bound.pipes.mte3 = (pairs + outputs) * HALF_BYTES / soc.mte3BytesPerCycle / vectorCores;
    // S and P once, and the output once as P·V: what the split between cube and vector cores costs at any block size.
    const double exchangeBytes = pairs * (FLOAT_BYTES + HALF_BYTES) + outputs * FLOAT_BYTES;
    bound.l2Cycles = exchangeBytes / soc.l2ReadBytesPerCyclePerAic / cubeCores;
    bound.hbmCycles = HbmCycles(t, soc);
    bound.cycles = bound.hbmCycles;
    bound.bottleneck = "hbm";
    if (bound.l2Cycles > bound.cycles) {
        bound.cycles = bound.l2Cycles;
        bound.bottleneck = "l2";
    }
    for (const PipeField& field : PIPE_FIELDS) {
        if (bound.pipes.*field.member > bound.cycles) {
            bound.cycles = bound.pipes.*field.member;
            bound.bottleneck = field.name;
        }
    }
    return bound;
}

}  // namespace fastattn
