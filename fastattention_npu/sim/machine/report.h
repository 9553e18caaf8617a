// What a launch says about itself once it has run: time, load of every pipe, traffic, hazards.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "clock.h"
#include "launch.h"

namespace ascend_sim {

struct Report {
    double cycles = 0;
    double timeUs = 0;
    std::map<std::string, double> pipeBusy;  // "aic.m": fraction of the time, mean over the cores
    std::string bottleneck;                  // the busiest pipe
    double cubeMacs = 0;                     // multiply-adds that the cubes did, padding included
    std::vector<double> groupCubeMacs;       // of each core group
    double peakTflops = 0;
    uint64_t gmBytesRead = 0;
    uint64_t gmBytesWritten = 0;
    uint64_t l2HitBytes = 0;
    uint64_t hbmBytesRead = 0;
    uint64_t hbmBytesWritten = 0;
    uint64_t instructions = 0;
    HostWork work;
    std::vector<std::string> hazards;
    std::vector<std::string> warnings;
    Timing timing;
};

Report MakeReport(const fastattn::SocSpec& soc, Launch& launch, const TimingOptions& options = {});
// The same with times from elsewhere.
Report MakeTimedReport(const fastattn::SocSpec& soc, Launch& launch, Timing timing);

}  // namespace ascend_sim
