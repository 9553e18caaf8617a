// See race.h. Accesses of one thread are in the order of its time stamps, so those that a clock does not cover are the
// tail of its history: only what is in flight is compared.
#include "race.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace ascend_sim {

namespace {

constexpr size_t PRUNE_LENGTH = 2048;
constexpr size_t MAX_HAZARDS = 64;  // of one group; the rest would say the same

// Pipes whose instructions may overlap each other: without a barrier a later one does not see an earlier one's result.
// MTE1, M and FIX finish in order (Ascend C documentation, synchronisation within a core).
bool OverlapsItself(uint32_t thread)
{
    const auto pipe = static_cast<Pipe>(thread % PIPES);
    return pipe == Pipe::V || pipe == Pipe::MTE2 || pipe == Pipe::MTE3;
}

uint64_t RegionKey(const Access& a)
{
    uint64_t key = a.write ? 1 : 0;
    const uint64_t parts[] = {a.region.start,  a.region.bytes,  a.region.count1,
                              a.region.count2, a.region.pitch1, a.region.pitch2};
    for (const uint64_t part : parts) key = (key ^ part) * 0x9E3779B97F4A7C15ULL + (key >> 29);
    return key;
}

std::string ThreadName(uint32_t thread)
{
    static const char* const cores[] = {"AIC", "AIV0", "AIV1"};
    if (thread == GROUP_THREADS - 1) return "HCCL server";
    return std::string(cores[thread / PIPES]) + " " + PipeName(static_cast<Pipe>(thread % PIPES));
}

std::string Report(uint32_t thread, const Access& later, uint32_t other, const Access& earlier)
{
    const Rule rule = RaceRule(later, earlier);
    const std::string edge = thread == other
                                 ? Format("PipeBarrier<%s> between them", PipeName(static_cast<Pipe>(thread % PIPES)))
                                 : ThreadName(other) + " -> " + ThreadName(thread) + " (flag, barrier or counter)";
    return Format(
               "%s in %s: %s '%s' of %s on %s is not ordered after %s '%s' of %s on %s; bytes [%llu, %llu) and "
               "[%llu, %llu); missing: %s",
               RaceName(rule), SpaceName(later.region.space), later.write ? "write" : "read", later.operand,
               Describe(later.site).c_str(), ThreadName(thread).c_str(), earlier.write ? "write" : "read",
               earlier.operand, Describe(earlier.site).c_str(), ThreadName(other).c_str(),
               static_cast<unsigned long long>(later.region.start), static_cast<unsigned long long>(later.region.End()),
               static_cast<unsigned long long>(earlier.region.start),
               static_cast<unsigned long long>(earlier.region.End()), edge.c_str()) +
           Cite(rule);
}

}  // namespace

Rule RaceRule(const Access& later, const Access& earlier)
{
    if (later.line || earlier.line) return Rule::DCACHE_LINE;
    if (!later.write) return Rule::RACE_RAW;
    return earlier.write ? Rule::RACE_WAW : Rule::RACE_WAR;
}

const char* RaceName(Rule rule)
{
    const char* id = InfoOf(rule).id;
    return std::strncmp(id, "race-", 5) == 0 ? id + 5 : id;
}

VectorClock RaceDetector::Completed(uint32_t thread) const
{
    VectorClock clock = clocks_[thread];
    clock.at[thread] = issued_[thread];
    return clock;
}

void RaceDetector::CheckAgainst(uint32_t thread, uint32_t other, const Access& access, const Extent& extent,
                                const History& history, std::vector<Hazard>& hazards)
{
    const uint32_t covered = clocks_[thread].at[other];
    const bool sameThread = thread == other;
    const bool overlapsItself = OverlapsItself(thread);
    for (size_t i = history.extents.size(); i > 0; --i) {
        const Extent& earlier = history.extents[i - 1];
        if (earlier.time <= covered) return;
        ++comparisons_;
        if (extent.start >= earlier.end || earlier.start >= extent.end) continue;
        // Each waited for the other's bits, unit by unit.
        if (!sameThread && extent.unitEpoch != 0 && extent.unitEpoch == earlier.unitEpoch) continue;
        if (sameThread && (earlier.time == extent.time || (!overlapsItself && !earlier.unordered))) continue;
        const Access& met = history.accesses[i - 1];
        if (Commute(access, met)) continue;
        if (!Overlap(access.region, met.region)) continue;
        if (hazards.size() < MAX_HAZARDS) {
            hazards.push_back(
                {RaceRule(access, met), Report(thread, access, other, met), {thread, access.time}, {other, met.time}});
        }
        return;
    }
}

void RaceDetector::Forget()
{
    enabled_ = false;
    memories_ = {};
}

void RaceDetector::Prune(uint32_t space, uint32_t owner, uint32_t thread)
{
    Memory& memory = memories_[space][owner];
    uint32_t covered = UINT32_MAX;
    for (uint32_t users = memory.users; users != 0; users &= users - 1) {
        covered = std::min(covered, clocks_[static_cast<uint32_t>(__builtin_ctz(users))].at[thread]);
    }
    History& own = memory.history[thread];
    // Of equal accesses that every user is ordered after, the latest stays: a thread that comes to this memory only
    // now must be ordered after it, too.
    std::unordered_set<uint64_t> seen;
    History kept;
    for (size_t i = own.extents.size(); i > 0; --i) {
        const Access& access = own.accesses[i - 1];
        if (access.time <= covered && !seen.insert(RegionKey(access)).second) continue;
        kept.extents.push_back(own.extents[i - 1]);
        kept.accesses.push_back(access);
    }
    std::reverse(kept.extents.begin(), kept.extents.end());
    std::reverse(kept.accesses.begin(), kept.accesses.end());
    own = std::move(kept);
}

void RaceDetector::Check(uint32_t thread, uint32_t memoryOwner, const Access& access, std::vector<Hazard>& hazards)
{
    if (!enabled_) return;
    const auto space = static_cast<uint32_t>(access.region.space);
    const Region& region = access.region;
    const Extent extent{region.start,  region.End(),     access.time,     access.write,
                        access.atomic, access.unordered, access.unitEpoch};
    Memory& memory = memories_[space][memoryOwner];
    for (uint32_t users = memory.users; users != 0; users &= users - 1) {
        const auto other = static_cast<uint32_t>(__builtin_ctz(users));
        if (memory.latest[other] <= clocks_[thread].at[other]) continue;  // the history is far away, this is not
        CheckAgainst(thread, other, access, extent, memory.history[other], hazards);
    }
    memory.users |= 1U << thread;
    History& own = memory.history[thread];
    own.extents.push_back(extent);
    own.accesses.push_back(access);
    memory.latest[thread] = access.time;
    size_t& limit = memory.pruneAt[thread];
    if (own.extents.size() < std::max(limit, PRUNE_LENGTH)) return;
    Prune(space, memoryOwner, thread);
    limit = 2 * own.extents.size();
}

}  // namespace ascend_sim
