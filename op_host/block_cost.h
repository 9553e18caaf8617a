// Cycles that one level-1 block keeps each pipe of a core group busy, stage by stage: Q·K^T, softmax, P·V, update of O.
// Rates come from SocSpec; instruction and pass counts are the kernel's and stand as constants in block_cost.cpp. This
// is a model of the schedule, not a simulation: bank conflicts, L2 misses and contention are left out.
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
};

PipeCycles QkStage(const FlashAttentionTiling& tiling, const SocSpec& soc, const BlockShape& shape);
PipeCycles SoftmaxStage(const FlashAttentionTiling& tiling, const SocSpec& soc, const BlockShape& shape);
PipeCycles PvStage(const FlashAttentionTiling& tiling, const SocSpec& soc, const BlockShape& shape);
PipeCycles UpdateStage(const FlashAttentionTiling& tiling, const SocSpec& soc, const BlockShape& shape);

// Once per query block: load of Q, reset of the statistics, normalisation and store of O and lse.
PipeCycles RowOverhead(const FlashAttentionTiling& tiling, const SocSpec& soc, uint32_t rows);

// What the three cores of a group read from GM for a block (K, V, P; S, the mask, P·V), and for Q once per query block.
double BlockReadBytes(const FlashAttentionTiling& tiling, const BlockShape& shape);
double RowReadBytes(const FlashAttentionTiling& tiling, uint32_t rows);

// Vector cycles of 64 score elements over the passes that every block needs (no mask).
double SoftmaxCyclesPerRepeat(const SocSpec& soc);

}  // namespace fastattn
