// The grid of tilings worth modelling for a problem. Overridden fields keep their one value; the others take values
// that suit the problem's size and the overridden ones. Nothing here asks whether a candidate fits: tiling_check.h
// does.
#pragma once
#include <vector>

#include "soc_spec.h"
#include "tiling_fields.h"

namespace fastattn {

// base: the tiling of a problem (TilingOfProblem). The order is that of preference where the modelled cost
// does not decide: blocks that move fewer bytes first, then what public schedules have been seen to run well with.
std::vector<FlashAttentionTiling> MakeCandidates(const FlashAttentionTiling& base, const SocSpec& soc,
                                                 const Overrides& overrides);

// Fields that follow from the others: query blocks, core groups, mask side, workspace offsets. Overridden ones are
// kept.
void DeriveFields(const SocSpec& soc, const Overrides& overrides, FlashAttentionTiling& tiling);

}  // namespace fastattn
