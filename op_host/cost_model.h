// Modelled time of a tiling on a SoC, term by term. Figures are modelled, never to be mixed with simulated or measured
// ones. Penultimate stage of op_host: the plan takes the cheapest candidate.
#pragma once
#include <cstdint>

#include "block_cost.h"
#include "schedule.h"

namespace fastattn {

struct ModelledCost {
    PipeCycles busy;            // of the busiest core group
    double stallCycles = 0;     // of the steady state: no pipe is the limit, for cores wait for one another
    double fillCycles = 0;      // the first block's way through all stages and the last ones' way out
    double pipelineCycles = 0;  // all blocks of the group through its pipeline, contention left out
    double l2Cycles = 0;        // what all cores move through the ports of the L2
    double hbmCycles = 0;       // operands once over the HBM, all cores together
    double launchCycles = 0;
    double cycles = 0;  // launch + epilogue + the longest of (pipeline, busiest pipe, L2, HBM)
    double tasks = 0;   // of the busiest core group
    double blocks = 0;
    double maskedBlocks = 0;
};

// load: BusiestGroup(tiling), passed in because many candidates share it.
ModelledCost ModelCost(const FlashAttentionTiling& tiling, const SocSpec& soc, const GroupLoad& load);

}  // namespace fastattn
