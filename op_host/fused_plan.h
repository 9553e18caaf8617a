// The plan of the fused attention, projection and AllReduce kernel: an attention plan whose tasks follow the tokens,
// the projection's tiles in the attention's buffers, and the token blocks. Costs are modelled.
#pragma once
#include <cstdint>
#include <optional>

#include "../op_kernel/attention_linear_allreduce/tiling.h"
#include "plan.h"
#include "token_blocks.h"

namespace fastattn {

struct FusedProblem {
    Problem attention;
    int64_t hidden = 0;  // columns of the result
    int64_t ranks = 1;
    bool hasBias = false;               // on this rank
    std::optional<TokenBlocks> blocks;  // instead of the planner's
    std::optional<int64_t> tilesPerStep;
};

struct FusedPlan {
    AttentionLinearAllReduceTiling tiling;
    uint64_t workspaceBytes;
    TokenBlocks blocks;
    BlockProblem blockProblem;  // what the blocks were chosen for
    double launchUs;            // before any computing; in none of the costs
    OverlapCost cost;
};

FusedPlan MakeFusedPlan(const FusedProblem& problem, const SocSpec& soc, const Overrides& overrides);

}  // namespace fastattn
