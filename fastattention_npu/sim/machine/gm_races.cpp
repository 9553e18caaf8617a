// See gm_races.h. The comparison sweeps over the entries in order of address, so that only entries whose extents meet
// are looked at.
#include "gm_races.h"

#include <algorithm>

namespace ascend_sim {

namespace {

constexpr size_t MAX_HAZARDS = 64;

uint64_t KeyOf(uint32_t thread, const Access& a, uint32_t known)
{
    uint64_t key = a.region.start;
    const uint64_t parts[] = {a.region.bytes,
                              a.region.count1,
                              a.region.pitch1,
                              a.region.count2,
                              thread * 8U + (a.write ? 1U : 0U) + (a.atomic ? 2U : 0U) + (a.line ? 4U : 0U),
                              known};
    for (const uint64_t part : parts) key = (key ^ part) * 0x9E3779B97F4A7C15ULL + (key >> 29);
    return key;
}

bool SameAccess(const GmEntry& e, uint32_t thread, const Access& a, uint32_t known)
{
    const Region& x = e.access.region;
    const Region& y = a.region;
    return e.thread == thread && e.known == known && e.access.write == a.write && e.access.atomic == a.atomic &&
           e.access.line == a.line && x.start == y.start && x.bytes == y.bytes && x.count1 == y.count1 &&
           x.count2 == y.count2 && x.pitch1 == y.pitch1 && x.pitch2 == y.pitch2;
}

std::string Side(const GmEntry& e, uint32_t group)
{
    static const char* const cores[] = {"AIC", "AIV0", "AIV1", "the HCCL server"};
    return Format("%s '%s' of %s on %s of group %u, %s", e.access.write ? "write" : "read", e.access.operand,
                  Describe(e.access.site).c_str(), cores[e.thread / PIPES], group,
                  PipeName(static_cast<Pipe>(e.thread % PIPES)));
}

struct Item {
    const GmEntry* entry;
    uint32_t group;
    uint64_t end;
};

Hazard Report(const Item& a, const Item& b)
{
    const Rule rule = RaceRule(b.entry->access, a.entry->access);
    const Region& x = a.entry->access.region;
    const Region& y = b.entry->access.region;
    return {rule, Format("%s in GM between core groups: %s is not ordered with %s; bytes [0x%llx, 0x%llx) and [0x%llx, "
                         "0x%llx); missing: group %u -> group %u (SyncAll or a mode-0 flag between them)",
                         RaceName(rule), Side(*a.entry, a.group).c_str(), Side(*b.entry, b.group).c_str(),
                         static_cast<unsigned long long>(x.start), static_cast<unsigned long long>(x.End()),
                         static_cast<unsigned long long>(y.start), static_cast<unsigned long long>(y.End()), a.group,
                         b.group) +
                      Cite(rule)};
}

// Can the two be left unordered?
bool Harmless(const Item& a, const Item& b) { return a.group == b.group || Commute(a.entry->access, b.entry->access); }

}  // namespace

void GmLog::Note(uint32_t thread, const Access& access, const VectorClock& clock)
{
    Known known;
    std::copy(clock.at.begin() + GROUP_THREADS, clock.at.end(), known.begin());
    auto index = static_cast<uint32_t>(known_.size());
    while (index > 0 && known_[index - 1] != known) --index;
    if (index == 0) {
        known_.push_back(known);
        index = static_cast<uint32_t>(known_.size());
    }
    --index;
    std::vector<uint32_t>& same = byKey_[KeyOf(thread, access, index)];
    for (const uint32_t at : same) {
        if (!SameAccess(entries_[at], thread, access, index)) continue;
        entries_[at].access.time = access.time;
        return;
    }
    same.push_back(static_cast<uint32_t>(entries_.size()));
    entries_.push_back({access, thread, index});
}

void GmLog::NoteSet(uint32_t slot, uint32_t turn, const VectorClock& clock)
{
    std::vector<VectorClock>& sets = sets_[slot];
    if (sets.size() < turn) sets.resize(turn, sets.empty() ? VectorClock{} : sets.back());
    sets[turn - 1].Join(clock);
}

bool GmLog::CoveredBy(const GmEntry& entry, const Known& known) const
{
    for (uint32_t slot = 0; slot < RELEASE_SLOTS; ++slot) {
        const size_t turns = std::min<size_t>(known[slot], sets_[slot].size());
        // Sets of later turns know more: the last one that is known decides.
        if (turns != 0 && sets_[slot][turns - 1].at[entry.thread] >= entry.access.time) return true;
    }
    return false;
}

std::vector<std::pair<uint32_t, Hazard>> CompareGroups(const std::vector<const GmLog*>& logs)
{
    std::vector<Item> items;
    for (uint32_t group = 0; group < logs.size(); ++group) {
        for (const GmEntry& e : logs[group]->Entries()) items.push_back({&e, group, e.access.region.End()});
    }
    std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
        const uint64_t x = a.entry->access.region.start;
        const uint64_t y = b.entry->access.region.start;
        return x != y ? x < y : a.group < b.group;
    });
    std::vector<std::pair<uint32_t, Hazard>> hazards;
    std::vector<Item> open;  // entries whose extent is not passed yet
    for (const Item& item : items) {
        const uint64_t start = item.entry->access.region.start;
        open.erase(std::remove_if(open.begin(), open.end(), [start](const Item& o) { return o.end <= start; }),
                   open.end());
        for (const Item& other : open) {
            if (Harmless(item, other) || !Overlap(item.entry->access.region, other.entry->access.region)) continue;
            const bool ordered = logs[item.group]->CoveredBy(*item.entry, logs[other.group]->KnownBy(*other.entry)) ||
                                 logs[other.group]->CoveredBy(*other.entry, logs[item.group]->KnownBy(*item.entry));
            if (ordered) continue;
            const bool inOrder = other.group < item.group;
            const Item& first = inOrder ? other : item;
            hazards.emplace_back(first.group, Report(first, inOrder ? item : other));
            if (hazards.size() >= MAX_HAZARDS) return hazards;
        }
        open.push_back(item);
    }
    return hazards;
}

}  // namespace ascend_sim
