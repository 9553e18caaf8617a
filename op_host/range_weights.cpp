// Two regimes. A group with much to do runs at the pace of the L2's ports: what a block's vector passes wait for hides
// behind its neighbours, and only bytes count. A group with little to do is bound by the pipe that a block keeps
// longest.
#include "range_weights.h"

#include <algorithm>
#include <cmath>

#include "../op_kernel/common/hardware.h"
#include "../op_kernel/flash_attention/packing.h"
#include "../op_kernel/flash_attention/partition.h"
#include "../op_kernel/flash_attention/storage.h"
#include "block_cost.h"
#include "problem.h"

namespace fastattn {
namespace {

// Fitted to simulated cycles, 910B2, causal and windowed problems of 1 to 32 heads with 1K to 17K keys, d = 64 and 128.
// Where the ports set the pace, 0 to 3 columns a block and a task beside their bytes are alike within 0.3 % of the
// cycles, on the average of 27 shapes.
constexpr double FILLED_PAIRS = 0.5e6;        // of query and key a group: from there on the ports set the pace
constexpr uint32_t BLOCK_CHANGE_COLUMNS = 1;  // where they do
constexpr double LEAST_TASK_COLUMNS = 2;      // where they do not

double PairsPerGroup(const FlashAttentionTiling& t, const SocSpec& soc)
{
    return static_cast<double>(t.batch) * t.headsQ * t.seqQ * KeysOfQuery(t) / soc.aicCores;
}

// A line through the cost of a block of one column and of a whole block.
struct Line {
    double column;
    double block;
};

template <typename Cost>
Line LineThrough(const FlashAttentionTiling& t, const Cost& cost)
{
    const double columns = t.blockKv / UNIT_KEYS - 1.0;
    const double least = cost(UNIT_KEYS, false);
    const double column = (cost(t.blockKv, false) - least) / std::max(columns, 1.0);
    return {column, std::max(0.0, least - column)};
}

RangeWeights InColumns(const Line& line, double taskColumns)
{
    return {static_cast<uint32_t>(std::lround(line.block / line.column)),
            static_cast<uint32_t>(std::lround(taskColumns))};
}

}  // namespace

RangeWeights WeightsOf(const FlashAttentionTiling& t, const SocSpec& soc)
{
    if (SequencesDiffer(t)) {
        return {0, 0};  // CostOf has what they cost
    }
    const uint32_t rows = BlockRows(t);
    const auto block = [&](uint32_t cols, bool masked) {
        return CostOfBlock(t, soc, {rows, cols, masked}, {soc.mte2L1BytesPerCycle});
    };
    if (PairsPerGroup(t, soc) >= FILLED_PAIRS) {
        if (t.sliceQ < t.blockQ && t.windowRight >= 0 && t.windowLeft < 0) {
            // The slices of a task's first rows leave out about as many columns. Simulated, d = 64, causal, 16K of one
            // head to 4K of 32: up to 1 % fewer cycles than with weights of 1 and 2.
            return {0, 0};
        }
        const Line bytes = LineThrough(t, [&](uint32_t cols, bool masked) { return block(cols, masked).l2Bytes; });
        const double queriesAndOutput = static_cast<double>(rows) * (t.headDimQk + t.headDimV) * HALF_BYTES;
        RangeWeights weights = InColumns(bytes, queriesAndOutput / bytes.column);
        weights.blockUnits += BLOCK_CHANGE_COLUMNS;
        return weights;
    }
    const auto cycles = [&](uint32_t cols, bool masked) { return Longest(BusyOf(block(cols, masked))); };
    const Line pace = LineThrough(t, cycles);
    double task = RowOverhead(t, soc, rows).vector;
    if (t.windowRight >= 0 || t.windowLeft >= 0) {
        task += cycles(t.blockKv, true) - cycles(t.blockKv, false);
    }
    return InColumns(pace, std::max(task / pace.column, LEAST_TASK_COLUMNS));
}

}  // namespace fastattn
