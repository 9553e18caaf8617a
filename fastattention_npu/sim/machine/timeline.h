// The timeline of a run in columns, ready to hand to Python without a copy per event: what ran on which pipe of which
// core and when, which set let which wait through, why pipes stood still, and where the hazards lie.
#pragma once
#include <string>
#include <vector>

#include "gm_split.h"
#include "launch.h"
#include "stalls.h"

namespace ascend_sim {

struct TimelineOptions {
    bool wanted = false;
    bool allGroups = true;
    std::vector<uint32_t> groups;  // unless all
    uint64_t maxEvents = 400000;   // later events are left out and counted
    uint32_t bins = 240;
    std::vector<GmPart> gmParts;
};

// What a row of the event columns is. Stalls stand after these, in the order of StallCause.
enum class EventKind : uint8_t { INSTRUCTION, CROSS_WAIT, FIRST_STALL };

struct EventColumns {
    std::vector<uint16_t> core;  // index into Timeline::cores
    std::vector<uint8_t> pipe;
    std::vector<uint8_t> kind;
    std::vector<float> start;  // cycles from the kernel's start
    std::vector<float> end;
    std::vector<uint16_t> name;
    std::vector<uint32_t> site;
    std::vector<int16_t> detail;  // instructions: GM part or -1; waits and stalls: flag id
    std::vector<uint8_t> from;    // flag stalls: the pipe that sets
    std::vector<uint64_t> gmBytes;
};

struct ArrowColumns {
    std::vector<uint32_t> from;  // event that had to end
    std::vector<uint32_t> to;    // event that could not start before
    std::vector<uint8_t> cross;  // 0: within a core, 1: between cores, 2: unit flags, whose `from` need not have ended
    std::vector<uint16_t> id;
};

struct HazardMark {
    std::string text;
    uint32_t group = 0;
    int64_t laterEvent = -1;  // -1: not among the events, or not known
    int64_t earlierEvent = -1;
};

struct TimelineCore {
    uint32_t trace = 0;
    uint32_t group = 0;
    uint32_t coreInGroup = 0;
};

struct Timeline {
    std::vector<TimelineCore> cores;
    std::vector<std::string> names;  // of instructions
    std::vector<std::string> sites;  // API and kernel line
    EventColumns events;
    ArrowColumns arrows;
    uint64_t setsWithoutArrow = 0;  // a flag set before any instruction, or waited for after the last
    uint64_t omittedEvents = 0;
    double untilCycles = 0;  // no event starts later
    double kernelCycles = 0;
    std::vector<HazardMark> hazards;
    std::vector<Stall> stalls;  // all cores
    std::vector<GmPartTraffic> gm;
    uint32_t bins = 0;
    std::vector<float> utilisation;   // [AIC, AIV] x PIPES x bins: fraction of the cores' time, all cores
    std::vector<float> busyCycles;    // all traces x PIPES
    std::vector<float> finishCycles;  // all traces
};

// `result` is launch.Result(); `timing` the clock's answer to it.
Timeline MakeTimeline(Launch& launch, const LaunchResult& result, const Timing& timing, const TimelineOptions& options);

}  // namespace ascend_sim
