// Happens-before over one core group: which accesses are ordered by flags, barriers and cross-core counters. Every pipe
// of the group's three cores is a thread with a vector clock; an access that meets an earlier one that its clock does
// not cover, one of them writing, is a hazard. Time plays no part: an order that happens to come out right is refused.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "error.h"
#include "types.h"

namespace ascend_sim {

// The last thread is the communication server's (hccl.h).
constexpr uint32_t GROUP_THREADS = CORES_PER_GROUP * PIPES + 1;

inline uint32_t ThreadOf(uint32_t coreInGroup, Pipe pipe) { return coreInGroup * PIPES + static_cast<uint32_t>(pipe); }

// What joins core groups: mode-0 flags and, the last slot, tasks of the communication server. A clock knows of other
// groups how many releases of each it has seen.
constexpr uint32_t RELEASE_SLOTS = 12;
constexpr uint32_t CLOCK_ENTRIES = GROUP_THREADS + RELEASE_SLOTS;

struct VectorClock {
    std::array<uint32_t, CLOCK_ENTRIES> at{};
    void Join(const VectorClock& other)
    {
        for (uint32_t i = 0; i < CLOCK_ENTRIES; ++i) at[i] = at[i] > other.at[i] ? at[i] : other.at[i];
    }
};

// An access that later ones are compared with.
struct Access {
    uint32_t time = 0;
    bool write = false;
    bool atomic = false;     // an atomic update: unordered with others of its kind
    bool line = false;       // of a whole cache line: meets other writes only
    bool unordered = false;  // even the own pipe needs a barrier after it (small dependent Mmads)
    uint32_t unitEpoch = 0;  // unit flags order it with what has the same number, from one
    Region region;
    CallSite site;
    const char* operand = "";
};

// The n-th instruction (from 1) that a pipe of the group executed; 0 where it is not known.
struct InstructionPlace {
    uint32_t thread = 0;
    uint32_t ordinal = 0;
};

struct Hazard {
    Rule rule = Rule::RACE_RAW;
    std::string text;
    InstructionPlace later{};
    InstructionPlace earlier{};
};

Rule RaceRule(const Access& later, const Access& earlier);
// Can the two be in any order, whatever bytes they touch?
inline bool Commute(const Access& a, const Access& b)
{
    if (!a.write && !b.write) return true;
    if (a.atomic && b.atomic) return true;
    return (a.line && !b.write) || (b.line && !a.write);
}

const char* RaceName(Rule rule);

class RaceDetector {
public:
    explicit RaceDetector(bool enabled) : enabled_(enabled) {}

    // A new instruction on the thread: its time stamp.
    uint32_t Tick(uint32_t thread) { return ++issued_[thread]; }
    uint32_t Issued(uint32_t thread) const { return issued_[thread]; }
    VectorClock& Clock(uint32_t thread) { return clocks_[thread]; }
    // What is known once everything issued to the thread so far has completed.
    VectorClock Completed(uint32_t thread) const;
    // A barrier on the thread: its own earlier instructions are complete.
    void Complete(uint32_t thread) { clocks_[thread].at[thread] = issued_[thread]; }

    // Compares an access with all that it is not ordered after, then remembers it.
    // memoryOwner: the core in the group whose local memory it is (0 for GM).
    void Check(uint32_t thread, uint32_t memoryOwner, const Access& access, std::vector<Hazard>& hazards);

    // Frees what earlier accesses take; nothing is checked any more.
    void Forget();
    uint64_t Comparisons() const { return comparisons_; }

private:
    // What decides whether two accesses can meet at all; the rest of them lies beside it.
    struct Extent {
        uint64_t start;
        uint64_t end;
        uint32_t time;
        bool write;
        bool atomic;
        bool unordered;
        uint32_t unitEpoch;
    };
    struct History {
        std::vector<Extent> extents;
        std::vector<Access> accesses;
    };

    void CheckAgainst(uint32_t thread, uint32_t other, const Access& access, const Extent& extent,
                      const History& history, std::vector<Hazard>& hazards);
    void Prune(uint32_t space, uint32_t owner, uint32_t thread);

    struct Memory {
        uint32_t users = 0;  // a bit per thread with a history
        std::array<History, GROUP_THREADS> history;
        std::array<size_t, GROUP_THREADS> pruneAt{};
        std::array<uint32_t, GROUP_THREADS> latest{};  // time of the last access of each history
    };

    bool enabled_;
    uint64_t comparisons_ = 0;
    std::array<uint32_t, GROUP_THREADS> issued_{};
    std::array<VectorClock, GROUP_THREADS> clocks_{};
    std::array<std::array<Memory, CORES_PER_GROUP>, SPACES> memories_;  // by space and owning core
};

}  // namespace ascend_sim
