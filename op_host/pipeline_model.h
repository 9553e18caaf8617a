// When the blocks of one core group finish: the pipeline of flash_attention_fwd.cpp (scores run `preload` blocks ahead)
// replayed stage by stage over the pipes of its cube core and of one vector core. A model of the schedule for a few
// microseconds of host time, not a simulation: pipes of a stage overlap by whole tiles and strips.
#pragma once
#include "block_cost.h"

namespace fastattn {

struct PipelineTime {
    double cycles = 0;          // until the last of the blocks is done
    double intervalCycles = 0;  // from one block to the next in the steady state
};

// Time of a run of equal blocks.
PipelineTime RunPipeline(const FlashAttentionTiling& tiling, const SocSpec& soc, const BlockCost& block, double blocks);

}  // namespace fastattn
