// The least time of a problem on a SoC, whatever the tiling: the useful work spread perfectly over all cores, pipe by
// pipe, and what must pass the L2's ports and the HBM. The largest term is the limit that `efficiency` refers to.
// docs/performance.md has the terms in words. Modelled, never to be mixed with simulated figures; launch is no part.
#pragma once
#include "block_cost.h"

namespace fastattn {

struct LowerBound {
    PipeCycles pipes;
    double l2Cycles = 0;
    double hbmCycles = 0;
    double cycles = 0;
    const char* bottleneck = "";  // name of a pipe, "l2" or "hbm"
};

// tiling: the problem's; its sizes do not matter. Every key of the capacity counts as used.
LowerBound ModelLimit(const FlashAttentionTiling& tiling, const SocSpec& soc);

}  // namespace fastattn
