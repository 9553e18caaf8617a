// Names of pipes and memories, and the arithmetic of regions.
#include "types.h"

namespace ascend_sim {

const char* PipeName(Pipe pipe)
{
    static const char* const names[] = {"PIPE_S",    "PIPE_V",    "PIPE_M",   "PIPE_MTE1",
                                        "PIPE_MTE2", "PIPE_MTE3", "PIPE_FIX", "PIPE_ALL"};
    return names[static_cast<uint32_t>(pipe)];
}

const char* SpaceName(Space space)
{
    static const char* const names[] = {"GM", "UB", "L1", "L0A", "L0B", "L0C", "BT", "FB"};
    return names[static_cast<uint32_t>(space)];
}

void Region::Normalise()
{
    if (count1 > 1 && pitch1 == bytes) {
        bytes *= count1;
        count1 = 1;
    }
    if (count1 == 1 && count2 > 1) {
        count1 = count2;
        pitch1 = pitch2;
        count2 = 1;
        if (pitch1 == bytes) {
            bytes *= count1;
            count1 = 1;
        }
    }
}

namespace {

bool Contiguous(const Region& r) { return r.count1 == 1 && r.count2 == 1; }

// Does the run [start, start + bytes) meet region r?
bool RunMeets(uint64_t start, uint64_t bytes, const Region& r)
{
    bool hit = false;
    r.ForEachRun([&](uint64_t s, uint64_t n) { hit = hit || (start < s + n && s < start + bytes); });
    return hit;
}

}  // namespace

bool Overlap(const Region& a, const Region& b)
{
    if (a.space != b.space || a.Empty() || b.Empty()) return false;
    if (a.start >= b.End() || b.start >= a.End()) return false;
    if (Contiguous(a) && Contiguous(b)) return true;
    bool hit = false;
    a.ForEachRun([&](uint64_t s, uint64_t n) { hit = hit || RunMeets(s, n, b); });
    return hit;
}

}  // namespace ascend_sim
