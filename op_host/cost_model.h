// Modelled time of a tiling on a SoC, term by term, and the problem's lower bound on that SoC. Figures are modelled,
// never to be mixed with simulated or measured ones. Penultimate stage of op_host: the plan takes the cheapest
// candidate.
#pragma once
#include <cstdint>

#include "block_cost.h"
#include "schedule.h"

namespace fastattn {

struct ModelledCost {
    PipeCycles busy;         // of the busiest core group
    double stallCycles = 0;  // time in which no pipe is the limit: the cube core waits for the vector cores
    double fillCycles = 0;   // the first block's way through all stages
    double l2Cycles = 0;     // what the three cores of the group read, at the group's share of the L2 rate
    double hbmCycles = 0;    // operands once over the HBM, all cores together
    double launchCycles = 0;
    double cycles = 0;   // launch + fill + the longest of (blocks in turn, busiest pipe, L2, HBM)
    uint64_t tasks = 0;  // of the busiest core group
    uint64_t blocks = 0;
    uint64_t maskedBlocks = 0;
};

// load: BusiestGroup(tiling), passed in because many candidates share it.
ModelledCost ModelCost(const FlashAttentionTiling& tiling, const SocSpec& soc, const GroupLoad& load);

// The least work of the problem, spread perfectly over all cores; launch is not part of it. Independent of the sizes
// that op_host chooses. Every key of the capacity counts as used.
struct LowerBound {
    PipeCycles pipes;
    double l2Cycles = 0;
    double hbmCycles = 0;
    double cycles = 0;
    const char* bottleneck = "";  // name of a pipe, "l2" or "hbm"
};

LowerBound ModelLimit(const FlashAttentionTiling& tiling, const SocSpec& soc);

}  // namespace fastattn
