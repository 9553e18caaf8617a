// Cycles that one level-1 block occupies each pipe of a core group, stage by stage: Q·K^T, softmax, P·V, update of O.
// Rates come from SocSpec; instruction and pass counts are the kernel's and stand as constants in block_cost.cpp.
// Contention between cores is pipeline_model.h's and cost_model.h's business.
#pragma once
#include "../op_kernel/flash_attention/tiling.h"
#include "soc_spec.h"

namespace fastattn {

// Busy cycles per pipe. Of the two vector cores one is counted: they work side by side on half of the rows each.
struct PipeCycles {
    double cube = 0;
    double mte1 = 0;
    double mte2Cube = 0;
    double fixpipe = 0;
    double vector = 0;
    double mte2Vector = 0;
    double mte3 = 0;
};

// Where a pipe's name in reports and its member meet.
struct PipeField {
    const char* name;
    double PipeCycles::* member;
};

inline constexpr PipeField PIPE_FIELDS[] = {
    {"cube", &PipeCycles::cube},       {"mte1", &PipeCycles::mte1},     {"mte2_cube", &PipeCycles::mte2Cube},
    {"fixpipe", &PipeCycles::fixpipe}, {"vector", &PipeCycles::vector}, {"mte2_vector", &PipeCycles::mte2Vector},
    {"mte3", &PipeCycles::mte3},
};

void AddCycles(const PipeCycles& addend, double times, PipeCycles& sum);
double Longest(const PipeCycles& cycles);

struct BlockShape {
    uint32_t rows;
    uint32_t cols;  // keys computed
    bool masked;
    bool last = false;  // of its task: where the right window cuts it, query tiles before the last need fewer keys
};

// K and V on their way to L1: rate of a core's path, lower while they miss the L2, and the shares that are loaded, not
// found in L1.
struct MemoryRates {
    double keysBytesPerCycle;
    double loadedK = 1;
    double loadedV = 1;
};

// A stage of a block: what it costs each pipe, and in how many steps, so that pipes overlap by steps.
struct StageCost {
    PipeCycles pipes;
    double l1Tiles = 0;  // copies into L1 that MTE1 waits for
    double l0Tiles = 0;  // Mmads
    double strips = 0;   // of the vector core
};

struct BlockCost {
    StageCost qk;
    StageCost softmax;
    StageCost pv;
    StageCost update;
    double l2Bytes = 0;  // moved between the group's cores and the L2, both ways
};

BlockCost CostOfBlock(const FlashAttentionTiling& tiling, const SocSpec& soc, const BlockShape& shape,
                      const MemoryRates& rates);

// sum += times * addend, stage by stage.
void AddBlock(const BlockCost& addend, double times, BlockCost& sum);
PipeCycles BusyOf(const BlockCost& block);

// Once per query block: load of Q, reset of the statistics, normalisation and store of O and lse.
PipeCycles RowOverhead(const FlashAttentionTiling& tiling, const SocSpec& soc, uint32_t rows);

// Adding a part of a split task to the one that its group has kept, and storing the result.
double CombineCycles(const FlashAttentionTiling& tiling, const SocSpec& soc, uint32_t rows);

// Vector cycles of 64 score elements over the passes that every block needs (no mask), without bank conflicts.
double SoftmaxCyclesPerRepeat(const FlashAttentionTiling& tiling, const SocSpec& soc);

}  // namespace fastattn
