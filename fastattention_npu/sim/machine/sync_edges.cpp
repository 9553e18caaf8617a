// See sync_edges.h. Cross-core flags: mode 2 of an AIC posts to both AIVs; a set by an AIV counts when its twin has set
// as well and then draws two edges; mode 0 releases when the last core of the kind has set.
#include "sync_edges.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace ascend_sim {

namespace {

// One post of a cross-core flag: who set it and when it was complete.
struct Post {
    float time = 0;
    std::vector<RecordRef> sets;
};

uint32_t FlagKey(const Record& r)
{
    return (static_cast<uint32_t>(r.pipe) * PIPES + static_cast<uint32_t>(r.peer)) * EVENT_IDS + r.id;
}

// Times of everything but waits, from the record's span or from what its pipe had finished by then.
std::vector<float> OwnTimes(const CoreTrace& trace, const std::vector<Span>& spans)
{
    std::vector<float> times(trace.records.size(), 0);
    std::array<float, PIPES> done{};
    for (size_t i = 0; i < trace.records.size(); ++i) {
        const Record& record = trace.records[i];
        const auto pipe = static_cast<uint32_t>(record.pipe);
        times[i] = spans[i].end;
        if (record.step == Step::OP) {
            done[pipe] = std::max(done[pipe], spans[i].end + record.latencyCycles);
        } else if (times[i] == 0 && record.step == Step::BARRIER && record.pipe == Pipe::ALL) {
            times[i] = *std::max_element(done.begin(), done.end());
        } else if (times[i] == 0 && record.step != Step::WAIT_FLAG && record.step != Step::CROSS_WAIT) {
            times[i] = done[pipe];
        }
    }
    return times;
}

class Resolver {
public:
    Resolver(const std::vector<const CoreTrace*>& traces, const Timing& timing) : traces_(traces)
    {
        for (size_t t = 0; t < traces.size(); ++t) {
            view_.times.push_back(OwnTimes(*traces[t], timing.spans[t]));
            std::vector<uint32_t>& crossCore = crossCore_.emplace_back();
            for (uint32_t i = 0; i < traces[t]->records.size(); ++i) {
                const Step step = traces[t]->records[i].step;
                if (step == Step::CROSS_SET || step == Step::CROSS_WAIT) crossCore.push_back(i);
            }
        }
    }

    SyncView Run()
    {
        for (uint32_t t = 0; t < traces_.size(); ++t) MatchFlags(t);
        for (uint32_t base = 0; base + CORES_PER_GROUP <= traces_.size(); base += CORES_PER_GROUP) MatchGroup(base);
        MatchLaunchFlags();
        return std::move(view_);
    }

private:
    using Refs = std::vector<RecordRef>;

    float& TimeOf(const RecordRef& ref) { return view_.times[ref.trace][ref.record]; }

    // Sets or waits of one cross-core flag, in program order.
    Refs Collect(uint32_t trace, Step step, uint32_t id) const
    {
        Refs found;
        for (const uint32_t i : crossCore_[trace]) {
            const Record& record = traces_[trace]->records[i];
            if (record.step == step && record.id == id) found.push_back({trace, i});
        }
        return found;
    }

    void Connect(const RecordRef& set, const RecordRef& wait, bool cross)
    {
        view_.edges.push_back({set, wait, cross});
        TimeOf(wait) = std::max(TimeOf(wait), TimeOf(set));
    }

    void MatchFlags(uint32_t trace)
    {
        std::map<uint32_t, std::pair<Refs, Refs>> flags;  // key -> sets, waits
        const auto& records = traces_[trace]->records;
        for (uint32_t i = 0; i < records.size(); ++i) {
            if (records[i].step == Step::SET_FLAG) flags[FlagKey(records[i])].first.push_back({trace, i});
            if (records[i].step == Step::WAIT_FLAG) flags[FlagKey(records[i])].second.push_back({trace, i});
        }
        for (const auto& [key, lists] : flags) {
            const auto& [sets, waits] = lists;
            for (size_t k = 0; k < std::min(sets.size(), waits.size()); ++k) Connect(sets[k], waits[k], false);
        }
    }

    Refs SetsOf(uint32_t trace, uint32_t id, bool launchWide) const
    {
        Refs sets = Collect(trace, Step::CROSS_SET, id);
        sets.erase(std::remove_if(sets.begin(), sets.end(),
                                  [&](const RecordRef& ref) {
                                      return (traces_[trace]->records[ref.record].mode == 0) != launchWide;
                                  }),
                   sets.end());
        return sets;
    }

    void MatchGroup(uint32_t base)
    {
        for (uint32_t id = 0; id < CROSS_CORE_FLAGS; ++id) {
            std::array<std::vector<Post>, CORES_PER_GROUP> posts;
            for (const RecordRef& set : SetsOf(base, id, false)) {
                posts[1].push_back({TimeOf(set), {set}});
                posts[2].push_back({TimeOf(set), {set}});
            }
            const Refs first = SetsOf(base + 1, id, false);
            const Refs second = SetsOf(base + 2, id, false);
            for (size_t k = 0; k < std::min(first.size(), second.size()); ++k) {
                const Post post{std::max(TimeOf(first[k]), TimeOf(second[k])), {first[k], second[k]}};
                if (traces_[base + 1]->records[first[k].record].mode == 2) {
                    posts[0].push_back(post);
                } else {
                    posts[1].push_back(post);
                    posts[2].push_back(post);
                }
            }
            for (uint32_t core = 0; core < CORES_PER_GROUP; ++core) Serve(base + core, id, posts[core]);
        }
    }

    void Serve(uint32_t trace, uint32_t id, std::vector<Post>& posts)
    {
        if (posts.empty()) return;
        std::stable_sort(posts.begin(), posts.end(), [](const Post& a, const Post& b) { return a.time < b.time; });
        const Refs waits = Collect(trace, Step::CROSS_WAIT, id);
        for (size_t k = 0; k < std::min(posts.size(), waits.size()); ++k) {
            for (const RecordRef& set : posts[k].sets) Connect(set, waits[k], true);
        }
    }

    // The last core to set is the one that everybody waited for.
    void MatchLaunchFlags()
    {
        for (const CoreKind kind : {CoreKind::AIC, CoreKind::AIV}) {
            for (uint32_t id = 0; id < CROSS_CORE_FLAGS; ++id) {
                std::vector<RecordRef> last;
                for (uint32_t t = 0; t < traces_.size(); ++t) {
                    if (traces_[t]->kind != kind) continue;
                    const Refs sets = SetsOf(t, id, true);
                    if (last.size() < sets.size()) last.resize(sets.size(), sets.empty() ? RecordRef{} : sets[0]);
                    for (size_t k = 0; k < sets.size(); ++k) {
                        if (TimeOf(sets[k]) >= TimeOf(last[k])) last[k] = sets[k];
                    }
                }
                for (uint32_t t = 0; t < traces_.size() && !last.empty(); ++t) {
                    if (traces_[t]->kind != kind) continue;
                    const Refs waits = Collect(t, Step::CROSS_WAIT, id);
                    for (size_t k = 0; k < std::min(last.size(), waits.size()); ++k) Connect(last[k], waits[k], true);
                }
            }
        }
    }

    const std::vector<const CoreTrace*>& traces_;
    std::vector<std::vector<uint32_t>> crossCore_;  // per trace: records of cross-core flags
    SyncView view_;
};

}  // namespace

SyncView ResolveSync(const std::vector<const CoreTrace*>& traces, const Timing& timing)
{
    return Resolver(traces, timing).Run();
}

}  // namespace ascend_sim
