// See report.h.
#include "report.h"

#include <algorithm>
#include <utility>

namespace ascend_sim {

namespace {

std::string PipeKey(CoreKind kind, uint32_t pipe)
{
    static const char* const names[] = {"scalar", "vector", "cube", "mte1", "mte2", "mte3", "fixpipe"};
    return std::string(kind == CoreKind::AIC ? "aic." : "aiv.") + names[pipe];
}

}  // namespace

Report MakeReport(const fastattn::SocSpec& soc, Launch& launch, const TimingOptions& options)
{
    return MakeTimedReport(soc, launch, options.wanted ? ComputeTiming(soc, launch.Traces(), options) : Timing{});
}

Report MakeTimedReport(const fastattn::SocSpec& soc, Launch& launch, Timing clocked)
{
    const LaunchResult result = launch.Result();
    Report report;
    report.timing = std::move(clocked);
    const Timing& timing = report.timing;
    report.cycles = timing.cycles;
    report.timeUs = timing.cycles / soc.clockMhz;
    report.cubeMacs = result.traffic.cubeMacs;
    for (const CoreTrace* trace : result.traces) {
        if (trace->kind == CoreKind::AIC) report.groupCubeMacs.push_back(trace->traffic.cubeMacs);
    }
    report.peakTflops = fastattn::PeakTflops(soc);
    report.gmBytesRead = result.traffic.gmBytesRead;
    report.gmBytesWritten = result.traffic.gmBytesWritten;
    report.l2HitBytes = static_cast<uint64_t>(timing.traffic.l2HitBytes);
    report.hbmBytesRead = static_cast<uint64_t>(timing.traffic.hbmReadBytes);
    report.hbmBytesWritten = static_cast<uint64_t>(timing.traffic.hbmWriteBytes);
    report.instructions = result.traffic.instructions;
    report.work = result.work;
    report.hazards = result.hazards;
    report.warnings = result.warnings;
    double most = -1;
    for (const CoreKind kind : {CoreKind::AIC, CoreKind::AIV}) {
        const auto& busy = kind == CoreKind::AIC ? timing.aicBusyCycles : timing.aivBusyCycles;
        for (uint32_t pipe = 0; pipe < PIPES; ++pipe) {
            const bool exists = pipe == static_cast<uint32_t>(Pipe::S) || busy[pipe] > 0;
            if (!exists) continue;
            const double fraction = timing.cycles > 0 ? busy[pipe] / timing.cycles : 0;
            report.pipeBusy[PipeKey(kind, pipe)] = fraction;
            if (fraction > most) {
                most = fraction;
                report.bottleneck = PipeKey(kind, pipe);
            }
        }
    }
    return report;
}

}  // namespace ascend_sim
