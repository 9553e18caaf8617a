// The simulator's timeline for Python: options in, a dict of NumPy columns out.
#pragma once
#include <nanobind/nanobind.h>

#include <string>

#include "../../op_kernel/flash_attention/tiling.h"
#include "../sim/machine/timeline.h"

namespace fastattn {

// Takes "trace" (bool or list of core groups), "trace_events" and "trace_bins"; false for any other option.
bool TakeTimelineOption(const std::string& name, nanobind::handle value, ascend_sim::TimelineOptions& options);

// The tensors of the workspace: S, P and O of every core group.
std::vector<ascend_sim::GmPart> WorkspaceParts(const FlashAttentionTiling& tiling);

nanobind::dict TimelineDict(ascend_sim::Timeline&& timeline);

}  // namespace fastattn
