// See clock.h.
#include "clock.h"

#include "replay.h"

namespace ascend_sim {

namespace {

constexpr double NEVER = 1e300;

// One launch on its own; nothing comes from outside.
Timing Run(Replay& replay)
{
    for (double time = replay.NextTime(); time <= NEVER; time = replay.NextTime()) replay.AdvanceTo(time);
    return replay.Collect();
}

}  // namespace

Timing ComputeTiming(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces,
                     const TimingOptions& options)
{
    L2Cache l2(soc.l2Bytes, AddressEnd(traces));
    if (options.warmL2) {
        Replay earlier(soc, traces, std::move(l2), false);
        Run(earlier);
        l2 = earlier.TakeL2();
    }
    Replay replay(soc, traces, std::move(l2), options.spans);
    return Run(replay);
}

}  // namespace ascend_sim
