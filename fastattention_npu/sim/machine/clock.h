// The cycle model's clock: reads what every core issued and says when each step ran. The scalar unit issues in program
// order into bounded queues; a pipe takes its queue in order, as its flags allow; copies from and to GM meet in the
// shared memory system (shared_memory.h), which alone needs one time for all cores. It decides nothing about results,
// and its answer depends on nothing but the records.
#pragma once
#include <array>
#include <vector>

#include "op_host/soc_spec.h"
#include "shared_memory.h"
#include "trace.h"

namespace ascend_sim {

// When one record occupied its pipe, in cycles from the kernel's start.
struct Span {
    float start = 0;
    float end = 0;
};

struct Timing {
    double cycles = 0;                          // with launch
    std::array<double, PIPES> aicBusyCycles{};  // mean over the AICs, from first issue to last result of each pipe
    std::array<double, PIPES> aivBusyCycles{};  // mean over the AIVs
    SharedTraffic traffic;
    std::vector<std::vector<Span>> spans;  // per trace and record, if asked for
};

struct TimingOptions {
    bool wanted = true;   // false: no times, for runs that only check
    bool spans = false;   // note when each record ran, for a timeline
    bool warmL2 = false;  // the same launch has run before and left its lines, clean and dirty, in the L2
};

Timing ComputeTiming(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces,
                     const TimingOptions& options = {});

}  // namespace ascend_sim
