// See clock.h. Cores are replayed round robin; one stops at a cross-core wait whose set has no time yet. Without shared
// resources the order of replay does not change any time.
#include "clock.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

namespace ascend_sim {

namespace {

struct PipeState {
    double free = 0;  // when the next instruction may start
    double done = 0;  // when everything issued so far has finished
    double busy = 0;
    std::optional<uint32_t> blockedOn;
    std::deque<std::pair<size_t, double>> queue;  // records behind a wait, with their issue times
};

uint32_t FlagKey(const Record& r)
{
    return (static_cast<uint32_t>(r.pipe) * PIPES + static_cast<uint32_t>(r.peer)) * 8 + r.id;
}

// Sets of a mode-0 flag by all cores of one kind: the k-th release is at the latest k-th set.
struct LaunchFlag {
    std::vector<std::pair<uint32_t, double>> releases;  // sets so far, latest time
};

class Replay {
public:
    Replay(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces) : soc_(soc), traces_(traces)
    {
        cores_.resize(traces.size());
        for (size_t i = 0; i < traces.size(); ++i) cores_[i].spans.resize(traces[i]->records.size());
        for (const CoreTrace* trace : traces) ++coresOfKind_[static_cast<uint32_t>(trace->kind)];
    }

    Timing Run()
    {
        bool progress = true;
        while (progress) {
            progress = false;
            for (size_t i = 0; i < cores_.size(); ++i) progress = Advance(i) || progress;
        }
        return Collect();
    }

private:
    struct CoreState {
        size_t next = 0;
        double scalar = 0;
        std::array<PipeState, PIPES> pipes;
        std::map<uint32_t, double> flags;
        std::array<std::deque<double>, 16> posts;
        std::array<uint32_t, 16> launchSets{};
        std::array<uint32_t, 16> launchWaits{};
        std::vector<Span> spans;
    };

    PipeState& PipeOf(CoreState& core, Pipe pipe) { return core.pipes[static_cast<uint32_t>(pipe)]; }

    bool Advance(size_t index)
    {
        CoreState& core = cores_[index];
        const auto& records = traces_[index]->records;
        const size_t before = core.next;
        while (core.next < records.size()) {
            const Record& record = records[core.next];
            if (record.step == Step::CROSS_WAIT && !TakePost(index, record.id)) break;
            core.scalar += soc_.scalarIssueCycles + record.scalarCycles;
            Issue(index, core.next);
            ++core.next;
        }
        return core.next != before;
    }

    void Issue(size_t index, size_t at)
    {
        CoreState& core = cores_[index];
        const Record& record = traces_[index]->records[at];
        if (record.step == Step::CROSS_WAIT) {
            core.spans[at] = {static_cast<float>(core.scalar), static_cast<float>(core.scalar)};
            return;
        }
        if (record.step == Step::BARRIER && record.pipe == Pipe::ALL) {
            for (const PipeState& pipe : core.pipes) core.scalar = std::max(core.scalar, pipe.done);
            return;
        }
        PipeState& pipe = PipeOf(core, record.step == Step::WAIT_FLAG ? record.peer : record.pipe);
        if (pipe.blockedOn.has_value()) {
            pipe.queue.emplace_back(at, core.scalar);
        } else {
            Execute(index, at, core.scalar);
        }
    }

    void Execute(size_t index, size_t at, double issued)
    {
        CoreState& core = cores_[index];
        const Record& record = traces_[index]->records[at];
        PipeState& pipe = PipeOf(core, record.pipe);
        if (record.pipe == Pipe::S) pipe.done = pipe.free = core.scalar;
        switch (record.step) {
            case Step::OP: {
                const double start = std::max(pipe.free, issued);
                pipe.free = start + record.cycles;
                pipe.done = std::max(pipe.done, pipe.free + record.latencyCycles);
                pipe.busy += record.cycles;
                core.spans[at] = {static_cast<float>(start), static_cast<float>(pipe.free)};
                if (record.pipe == Pipe::S) core.scalar = std::max(core.scalar, pipe.done);
                break;
            }
            case Step::BARRIER: pipe.free = std::max({pipe.free, pipe.done, issued}); break;
            case Step::SET_FLAG: Set(index, record, std::max(pipe.done, issued) + soc_.flagCycles); break;
            case Step::WAIT_FLAG: Wait(index, record, issued); break;
            case Step::CROSS_SET: Post(index, record, std::max(pipe.done, issued) + soc_.crossCoreCycles); break;
            case Step::CROSS_WAIT: break;
        }
    }

    void Set(size_t index, const Record& record, double time)
    {
        CoreState& core = cores_[index];
        core.flags[FlagKey(record)] = time;
        PipeState& peer = PipeOf(core, record.peer);
        if (peer.blockedOn != FlagKey(record)) return;
        peer.blockedOn.reset();
        peer.free = std::max(peer.free, time);
        core.flags.erase(FlagKey(record));
        while (!peer.blockedOn.has_value() && !peer.queue.empty()) {
            const auto [at, issued] = peer.queue.front();
            peer.queue.pop_front();
            Execute(index, at, issued);
        }
    }

    void Wait(size_t index, const Record& record, double issued)
    {
        CoreState& core = cores_[index];
        PipeState& peer = PipeOf(core, record.peer);
        const auto flag = core.flags.find(FlagKey(record));
        if (flag == core.flags.end()) {
            peer.blockedOn = FlagKey(record);
            peer.free = std::max(peer.free, issued);
            return;
        }
        peer.free = std::max({peer.free, flag->second, issued});
        if (record.peer == Pipe::S) core.scalar = std::max(core.scalar, flag->second);
        core.flags.erase(flag);
    }

    void Post(size_t index, const Record& record, double time)
    {
        const CoreTrace& trace = *traces_[index];
        const size_t base = index - trace.coreInGroup;
        if (record.mode == 0) {
            CoreState& core = cores_[index];
            auto& releases = launchFlags_[{static_cast<uint32_t>(trace.kind), record.id}].releases;
            const uint32_t turn = core.launchSets[record.id]++;
            if (releases.size() <= turn) releases.resize(turn + 1, {0, 0.0});
            ++releases[turn].first;
            releases[turn].second = std::max(releases[turn].second, time + soc_.syncAllCycles - soc_.crossCoreCycles);
            return;
        }
        if (trace.kind == CoreKind::AIC) {
            cores_[base + 1].posts[record.id].push_back(time);
            cores_[base + 2].posts[record.id].push_back(time);
            return;
        }
        halves_[index][record.id].push_back(time);
        auto& first = halves_[base + 1][record.id];
        auto& second = halves_[base + 2][record.id];
        if (first.empty() || second.empty()) return;
        const double both = std::max(first.front(), second.front());
        first.pop_front();
        second.pop_front();
        if (record.mode == 2) {
            cores_[base].posts[record.id].push_back(both);
        } else {
            cores_[base + 1].posts[record.id].push_back(both);
            cores_[base + 2].posts[record.id].push_back(both);
        }
    }

    bool TakePost(size_t index, uint32_t id)
    {
        CoreState& core = cores_[index];
        if (!core.posts[id].empty()) {
            core.scalar = std::max(core.scalar, core.posts[id].front());
            core.posts[id].pop_front();
            return true;
        }
        const auto kind = static_cast<uint32_t>(traces_[index]->kind);
        const auto found = launchFlags_.find({kind, id});
        const uint32_t turn = core.launchWaits[id];
        if (found == launchFlags_.end() || found->second.releases.size() <= turn) return false;
        if (found->second.releases[turn].first < coresOfKind_[kind]) return false;
        core.scalar = std::max(core.scalar, found->second.releases[turn].second);
        ++core.launchWaits[id];
        return true;
    }

    Timing Collect()
    {
        Timing timing;
        for (size_t i = 0; i < cores_.size(); ++i) {
            CoreState& core = cores_[i];
            const bool aic = traces_[i]->kind == CoreKind::AIC;
            auto& busy = aic ? timing.aicBusyCycles : timing.aivBusyCycles;
            timing.cycles = std::max(timing.cycles, core.scalar);
            for (uint32_t p = 0; p < PIPES; ++p) {
                timing.cycles = std::max(timing.cycles, core.pipes[p].done);
                busy[p] += core.pipes[p].busy / coresOfKind_[static_cast<uint32_t>(traces_[i]->kind)];
            }
            timing.spans.push_back(std::move(core.spans));
        }
        timing.cycles += soc_.launchCycles;
        return timing;
    }

    const fastattn::SocSpec& soc_;
    const std::vector<const CoreTrace*>& traces_;
    std::vector<CoreState> cores_;
    std::map<size_t, std::array<std::deque<double>, 16>> halves_;
    std::map<std::pair<uint32_t, uint32_t>, LaunchFlag> launchFlags_;
    std::array<uint32_t, 2> coresOfKind_{};
};

}  // namespace

Timing ComputeTiming(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces)
{
    return Replay(soc, traces).Run();
}

}  // namespace ascend_sim
