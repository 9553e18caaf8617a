// Which set let which wait through, and when. Read after the run from the records and their times, so that it works
// with any clock: the k-th wait of a flag belongs to its k-th set.
#pragma once
#include <vector>

#include "clock.h"
#include "trace.h"

namespace ascend_sim {

struct RecordRef {
    uint32_t trace = 0;
    uint32_t record = 0;
};

struct SyncEdge {
    RecordRef set;
    RecordRef wait;
    bool cross = false;  // between cores
};

struct SyncView {
    std::vector<SyncEdge> edges;
    // Per trace and record: when a set was done, a wait let through, a barrier passed; the end of everything else.
    std::vector<std::vector<float>> times;
};

SyncView ResolveSync(const std::vector<const CoreTrace*>& traces, const Timing& timing);

}  // namespace ascend_sim
