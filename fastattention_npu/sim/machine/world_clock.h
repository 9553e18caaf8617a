// The time of several ranks that share a communication server: each rank's cores in a clock of their own, which runs
// slower while the links are busy (and the links slower while cores compute, for both use the same memory), and the
// server's queue. A task starts when all ranks have committed it and the one before has ended. All times in cycles.
#pragma once
#include <cstdint>
#include <vector>

#include "clock.h"

namespace ascend_sim {

struct LinkTask {
    uint32_t ordinal = 0;  // in the server's queue, from 1
    uint64_t bytes = 0;    // of one rank's operand
    double committed = 0;  // by the last rank
    double start = 0;
    double end = 0;
};

struct WorldTiming {
    double cycles = 0;         // until the last rank has finished, with launch
    double computeCycles = 0;  // in which some rank computes
    double linkCycles = 0;     // in which the links move data
    double overlapCycles = 0;  // in which both
    std::vector<LinkTask> tasks;
    std::vector<Timing> ranks;  // in the time that all share
};

// What one AllReduce of so many bytes takes by itself.
double AllReduceCycles(const fastattn::SocSpec& soc, uint32_t ranks, double bytes);

// traces: of each rank simulated. ranks: how many there are, either as many, or one is simulated and stands for all.
// taskBytes: of each task in the order of the queue. keepSpans: note when each record ran, for a timeline.
WorldTiming ComputeWorldTiming(const fastattn::SocSpec& soc, const std::vector<std::vector<const CoreTrace*>>& traces,
                               uint32_t ranks, const std::vector<uint64_t>& taskBytes, bool keepSpans);

}  // namespace ascend_sim
