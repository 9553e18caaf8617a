// The cycle model: reads what every core issued and says when each step ran. An instruction starts no earlier than its
// pipe, its flags and the scalar unit that issued it allow; a pipe works in order; the kernel's time is the last end.
// Shared bandwidth is not divided yet: every core has the per-core rates of the SoC file to itself.
#pragma once
#include <array>
#include <vector>

#include "op_host/soc_spec.h"
#include "trace.h"

namespace ascend_sim {

// When one record occupied its pipe, in cycles from the kernel's start.
struct Span {
    float start = 0;
    float end = 0;
};

struct Timing {
    double cycles = 0;                          // with launch
    std::array<double, PIPES> aicBusyCycles{};  // mean over the AICs
    std::array<double, PIPES> aivBusyCycles{};  // mean over the AIVs
    std::vector<std::vector<Span>> spans;       // per trace and record
};

Timing ComputeTiming(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces);

}  // namespace ascend_sim
