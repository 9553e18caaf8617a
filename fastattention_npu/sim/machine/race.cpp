// See race.h. Accesses of one thread are in the order of its time stamps, so those that a clock does not cover are the
// tail of its history: only what is in flight is compared.
#include "race.h"

#include <algorithm>

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

std::string ThreadName(uint32_t thread)
{
    static const char* const cores[] = {"AIC", "AIV0", "AIV1"};
    if (thread == GROUP_THREADS - 1) return "HCCL server";
    return std::string(cores[thread / PIPES]) + " " + PipeName(static_cast<Pipe>(thread % PIPES));
}

std::string Report(uint32_t thread, const Access& later, uint32_t other, const Access& earlier)
{
    const Rule rule = RaceRule(later.write, earlier.write);
    const std::string edge = thread == other
                                 ? Format("PipeBarrier<%s> between them", PipeName(static_cast<Pipe>(thread % PIPES)))
                                 : ThreadName(other) + " -> " + ThreadName(thread) + " (flag, barrier or counter)";
    return Format(
               "%s in %s: %s '%s' of %s on %s is not ordered after %s '%s' of %s on %s; bytes [%llu, %llu) and "
               "[%llu, %llu); missing: %s",
               InfoOf(rule).id + 5, SpaceName(later.region.space), later.write ? "write" : "read", later.operand,
               Describe(later.site).c_str(), ThreadName(thread).c_str(), earlier.write ? "write" : "read",
               earlier.operand, Describe(earlier.site).c_str(), ThreadName(other).c_str(),
               static_cast<unsigned long long>(later.region.start), static_cast<unsigned long long>(later.region.End()),
               static_cast<unsigned long long>(earlier.region.start),
               static_cast<unsigned long long>(earlier.region.End()), edge.c_str()) +
           Cite(rule);
}

}  // namespace

Rule RaceRule(bool laterWrites, bool earlierWrites)
{
    if (!laterWrites) return Rule::RACE_RAW;
    return earlierWrites ? Rule::RACE_WAW : Rule::RACE_WAR;
}

VectorClock RaceDetector::Completed(uint32_t thread) const
{
    VectorClock clock = clocks_[thread];
    clock.at[thread] = issued_[thread];
    return clock;
}

void RaceDetector::CheckAgainst(uint32_t thread, uint32_t other, const Access& access, const History& history,
                                std::vector<Hazard>& hazards) const
{
    const uint32_t covered = clocks_[thread].at[other];
    const bool sameThread = thread == other;
    for (size_t i = history.size(); i > 0; --i) {
        const Access& earlier = history[i - 1];
        if (earlier.time <= covered) return;
        if (sameThread && (earlier.time == access.time || (!OverlapsItself(thread) && !earlier.unordered))) continue;
        if ((!access.write && !earlier.write) || (access.atomic && earlier.atomic)) continue;
        if (!Overlap(access.region, earlier.region)) continue;
        if (hazards.size() < MAX_HAZARDS) {
            hazards.push_back({RaceRule(access.write, earlier.write),
                               Report(thread, access, other, earlier),
                               {thread, access.time},
                               {other, earlier.time}});
        }
        return;
    }
}

void RaceDetector::Prune(uint32_t space, uint32_t owner, uint32_t thread)
{
    auto& histories = history_[space][owner];
    uint32_t covered = UINT32_MAX;
    for (uint32_t other = 0; other < GROUP_THREADS; ++other) {
        const bool uses = !histories[other].empty();
        if (uses) covered = std::min(covered, clocks_[other].at[thread]);
    }
    History& own = histories[thread];
    const auto keep = std::find_if(own.begin(), own.end(), [covered](const Access& a) { return a.time > covered; });
    // At least one stays, which marks the thread as a user of this memory.
    const auto last = own.end() - 1;
    own.erase(own.begin(), std::min(keep, last));
}

void RaceDetector::Check(uint32_t thread, uint32_t memoryOwner, const Access& access, std::vector<Hazard>& hazards)
{
    if (!enabled_) return;
    const auto space = static_cast<uint32_t>(access.region.space);
    auto& histories = history_[space][memoryOwner];
    for (uint32_t other = 0; other < GROUP_THREADS; ++other) {
        if (!histories[other].empty()) CheckAgainst(thread, other, access, histories[other], hazards);
    }
    History& own = histories[thread];
    own.push_back(access);
    if (own.size() % PRUNE_LENGTH == 0) Prune(space, memoryOwner, thread);
}

}  // namespace ascend_sim
