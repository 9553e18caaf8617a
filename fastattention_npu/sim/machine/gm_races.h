// Happens-before across core groups. Groups share GM and nothing else, and only a release of a mode-0 flag (SyncAll)
// orders one after another. Each group keeps a short log of its accesses to writable GM; when all have finished, the
// logs are compared: two accesses that meet, one of them writing, need a release that follows the one and precedes the
// other.
#pragma once
#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "race.h"

namespace ascend_sim {

// Equal accesses of one pipe that know of the same releases are one entry.
struct GmEntry {
    Access access;  // its time is the latest
    uint32_t thread = 0;
    uint32_t known = 0;  // index into the log's releases
};

class GmLog {
public:
    using Known = std::array<uint32_t, RELEASE_SLOTS>;

    void Note(uint32_t thread, const Access& access, const VectorClock& clock);
    // A set of a core group's core that takes part in release `turn` (1, 2, ...) of a slot.
    void NoteSet(uint32_t slot, uint32_t turn, const VectorClock& clock);

    const std::vector<GmEntry>& Entries() const { return entries_; }
    const Known& KnownBy(const GmEntry& entry) const { return known_[entry.known]; }
    // Is the entry complete before something that knows of these releases?
    bool CoveredBy(const GmEntry& entry, const Known& known) const;

private:
    std::vector<GmEntry> entries_;
    std::unordered_map<uint64_t, std::vector<uint32_t>> byKey_;
    std::vector<Known> known_;
    // Per slot and turn: what this group's cores had done at their sets.
    std::array<std::vector<VectorClock>, RELEASE_SLOTS> sets_;
};

// Hazards between groups, each with the group of its first access; logs in the order of the groups.
std::vector<std::pair<uint32_t, Hazard>> CompareGroups(const std::vector<const GmLog*>& logs);

}  // namespace ascend_sim
