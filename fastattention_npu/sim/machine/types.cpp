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

// Does the run [start, start + bytes) meet region r? Solved per level, not run by run: this is the inner loop of the
// race detector.
bool RunMeets(uint64_t start, uint64_t bytes, const Region& r)
{
    for (uint32_t j = 0; j < r.count2; ++j) {
        const uint64_t base = r.start + j * r.pitch2;
        if (base >= start + bytes) {
            if (r.pitch2 != 0) return false;
            continue;
        }
        // The first run of this level that ends behind `start`.
        uint64_t i = 0;
        if (base + r.bytes <= start) {
            if (r.count1 == 1 || r.pitch1 == 0) continue;
            i = (start - base - r.bytes) / r.pitch1 + 1;
        }
        if (i < r.count1 && base + i * r.pitch1 < start + bytes) return true;
    }
    return false;
}

// Equal pitches: the runs of both repeat with it, so that only the distance of the starts matters.
bool CombsMeet(const Region& a, const Region& b)
{
    const auto pitch = static_cast<int64_t>(a.pitch1);
    const auto distance = static_cast<int64_t>(b.start) - static_cast<int64_t>(a.start);
    // Run i of a meets run j of b where -b.bytes < distance + (j - i) * pitch < a.bytes.
    const auto most = static_cast<int64_t>(b.count1) - 1;
    const auto least = -(static_cast<int64_t>(a.count1) - 1);
    const int64_t above = distance + static_cast<int64_t>(b.bytes) - 1;  // k * pitch >= -above
    int64_t k = above >= 0 ? -(above / pitch) : (-above + pitch - 1) / pitch;
    k = k < least ? least : k;
    return k <= most && distance + k * pitch < static_cast<int64_t>(a.bytes);
}

}  // namespace

bool Overlap(const Region& a, const Region& b)
{
    if (a.space != b.space || a.Empty() || b.Empty()) return false;
    if (a.start >= b.End() || b.start >= a.End()) return false;
    if (Contiguous(a) && Contiguous(b)) return true;
    if (a.count2 == 1 && b.count2 == 1 && a.pitch1 == b.pitch1 && a.pitch1 != 0) return CombsMeet(a, b);
    const bool fewer = a.count1 * a.count2 <= b.count1 * b.count2;
    const Region& runs = fewer ? a : b;
    const Region& other = fewer ? b : a;
    for (uint32_t j = 0; j < runs.count2; ++j) {
        for (uint32_t i = 0; i < runs.count1; ++i) {
            if (RunMeets(runs.start + j * runs.pitch2 + i * runs.pitch1, runs.bytes, other)) return true;
        }
    }
    return false;
}

}  // namespace ascend_sim
