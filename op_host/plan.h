// The plan: op_host's answer to a problem on a SoC. Pure and deterministic; throws Refusal with every reason if there
// is none. This is the entry point of op_host.
#pragma once
#include <cstdint>
#include <vector>

#include "cost_model.h"
#include "lower_bound.h"
#include "problem.h"
#include "tiling_check.h"
#include "tiling_fields.h"

namespace fastattn {

struct Plan {
    FlashAttentionTiling tiling;
    uint64_t workspaceBytes;  // of all core groups
    std::vector<PlacedBuffer> buffers;
    ModelledCost cost;
    LowerBound limit;
};

// Every candidate that fits, cheapest modelled cost first; among equals the order of preference.
struct RankedTiling {
    FlashAttentionTiling tiling;
    double cycles;
};
std::vector<RankedTiling> RankTilings(const Problem& problem, const SocSpec& soc, const Overrides& overrides);

Plan MakePlan(const Problem& problem, const SocSpec& soc, const Overrides& overrides);

}  // namespace fastattn
