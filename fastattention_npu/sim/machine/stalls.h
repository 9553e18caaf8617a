// Why a pipe stood still: every gap between two instructions of a pipe, split into what it waited for last and the
// rest. Works from times alone; the causes are those that the records show.
#pragma once
#include <vector>

#include "sync_edges.h"

namespace ascend_sim {

enum class StallCause : uint8_t {
    START,       // before the pipe's first instruction: launch of the pipeline
    FLAG,        // another pipe of the core had not set a flag yet
    CROSS_CORE,  // a cross-core wait held the issue of everything behind it
    BARRIER,     // an earlier instruction of the same pipe had to finish
    ISSUE,       // nothing waited for: the scalar unit had not issued yet, or a queue was full
    END,         // after its last instruction
};

// One gap of one pipe. A gap with two causes is two of these.
struct Gap {
    Pipe pipe = Pipe::S;
    StallCause cause = StallCause::ISSUE;
    Pipe from = Pipe::S;  // FLAG: the pipe that sets
    uint16_t id = 0;      // FLAG, CROSS_CORE
    uint32_t site = 0;    // of the wait, or of the instruction after the gap
    uint32_t record = 0;  // the instruction after the gap
    float start = 0;
    float end = 0;
};

// Gaps of one core in program order. kernelEnd: when the last core had finished.
std::vector<Gap> FindGaps(const CoreTrace& trace, const std::vector<Span>& spans, const std::vector<float>& times,
                          float kernelEnd);

// Sum over all cores of a kind.
struct Stall {
    CoreKind kind = CoreKind::AIC;
    Gap gap;  // its cause; start, end and record mean nothing here
    double cycles = 0;
    uint64_t count = 0;
};

// siteOf: for each site of a record, the id to sum under.
std::vector<Stall> SumStalls(const std::vector<const CoreTrace*>& traces, const Timing& timing, const SyncView& sync,
                             const std::vector<uint32_t>& siteOf);

// When the last instruction of the launch ended, without launch overhead.
float KernelEnd(const Timing& timing);

}  // namespace ascend_sim
