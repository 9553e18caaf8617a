// See replay.h.
#include "replay.h"

#include <algorithm>

namespace ascend_sim {

uint64_t AddressEnd(const std::vector<const CoreTrace*>& traces)
{
    uint64_t end = 0;
    for (const CoreTrace* trace : traces) {
        for (const Transfer& t : trace->transfers) {
            end = std::max(end, t.address + (t.count1 - 1) * t.pitch1 + (t.count2 - 1) * t.pitch2 + t.runBytes);
        }
    }
    return end;
}

Replay::Replay(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces, L2Cache l2, bool keepSpans)
    : soc_(soc), traces_(traces), memory_(soc, std::move(l2))
{
    for (size_t i = 0; i < traces.size(); ++i) {
        const CoreTrace& trace = *traces[i];
        cores_.emplace_back(soc, trace, static_cast<uint32_t>(i), keepSpans);
        halves_.emplace_back();
        turns_.emplace_back();
        ++coresOfKind_[static_cast<uint32_t>(trace.kind)];
        Wake(static_cast<uint32_t>(i));
    }
}

double Replay::NextTime()
{
    RunAwake();
    const double end = memory_.NextEnd();
    return waiting_.empty() ? end : std::min(end, waiting_.top().time);
}

void Replay::AdvanceTo(double time)
{
    memory_.AdvanceTo(time);
    while (!waiting_.empty() && waiting_.top().time <= time) StartCopy();
    SharedMemory::Ended ended{};
    while (memory_.TakeEnded(ended)) {
        const double latency = Latency(ended);
        cores_[ended.owner / PIPES].EndCopy(static_cast<Pipe>(ended.owner % PIPES), time, latency);
        Wake(ended.owner / PIPES);
    }
}

void Replay::CompleteTask(uint32_t ordinal, double time)
{
    for (uint32_t i = 0; i < cores_.size(); ++i) {
        cores_[i].CompleteTask(ordinal, time);
        Wake(i);
    }
}

double Replay::End() const
{
    double end = 0;
    for (size_t i = 0; i < cores_.size(); ++i) {
        if (!traces_[i]->records.empty()) end = std::max(end, cores_[i].End());
    }
    return end;
}

void Replay::RunAwake()
{
    while (!awake_.empty()) {
        const uint32_t core = awake_.back();
        awake_.pop_back();
        copies_.clear();
        posts_.clear();
        cores_[core].Advance(copies_, posts_, commits_);
        for (const CopyRequest& copy : copies_) waiting_.push(copy);
        for (const CrossPost& post : posts_) Send(post);
    }
}

void Replay::StartCopy()
{
    const CopyRequest copy = waiting_.top();
    waiting_.pop();
    const CoreTrace& trace = *traces_[copy.owner / PIPES];
    const Record& record = trace.records[copy.record];
    const Transfer& transfer = trace.transfers[record.transfer - 1];
    const double coreCycles = std::max<double>(record.cycles - transfer.headCycles, copy.leastCycles);
    const bool aic = trace.kind == CoreKind::AIC;
    memory_.Start(copy.owner, transfer, coreCycles, aic ? soc_.missBytesPerCycleAic : soc_.missBytesPerCycleAiv);
}

double Replay::Latency(const SharedMemory::Ended& ended) const
{
    const auto pipe = static_cast<Pipe>(ended.owner % PIPES);
    if (pipe != Pipe::MTE2) return soc_.gmWriteLatencyCycles;
    return ended.missed ? soc_.gmLatencyCycles : soc_.l2LatencyCycles;
}

// A cross-core set: who receives it depends on its mode (CrossCoreSetFlag page).
void Replay::Send(const CrossPost& post)
{
    const CoreTrace& trace = *traces_[post.core];
    const Record& record = trace.records[post.record];
    const uint32_t base = post.core - trace.coreInGroup;
    const double time = post.time + soc_.crossCoreCycles;
    if (record.mode == 0) {
        SendToAll(post, static_cast<uint32_t>(trace.kind), record.id);
    } else if (trace.kind == CoreKind::AIC) {
        Deliver(base + 1, record.id, time);
        Deliver(base + 2, record.id, time);
    } else {
        halves_[post.core][record.id].push_back(time);
        auto& first = halves_[base + 1][record.id];
        auto& second = halves_[base + 2][record.id];
        if (first.empty() || second.empty()) return;
        const double both = std::max(first.front(), second.front());
        first.pop_front();
        second.pop_front();
        const uint32_t from = record.mode == 2 ? base : base + 1;
        const uint32_t to = record.mode == 2 ? base : base + 2;
        for (uint32_t core = from; core <= to; ++core) Deliver(core, record.id, both);
    }
}

void Replay::SendToAll(const CrossPost& post, uint32_t kind, uint32_t id)
{
    auto& rounds = launchSets_[{kind, id}];
    const uint32_t turn = turns_[post.core][id]++;
    if (rounds.size() <= turn) rounds.resize(turn + 1);
    auto& [sets, latest] = rounds[turn];
    latest = std::max(latest, post.time);
    if (++sets < coresOfKind_[kind]) return;
    for (uint32_t i = 0; i < cores_.size(); ++i) {
        if (static_cast<uint32_t>(traces_[i]->kind) == kind) Deliver(i, id, latest + soc_.syncAllCycles);
    }
}

void Replay::Deliver(uint32_t core, uint32_t id, double time)
{
    cores_[core].Post(id, time);
    Wake(core);
}

Timing Replay::Collect()
{
    Timing timing;
    const double end = End();
    for (size_t i = 0; i < cores_.size(); ++i) {
        const bool aic = traces_[i]->kind == CoreKind::AIC;
        auto& busy = aic ? timing.aicBusyCycles : timing.aivBusyCycles;
        for (uint32_t p = 0; p < PIPES; ++p) {
            busy[p] += cores_[i].Busy(p) / coresOfKind_[static_cast<uint32_t>(traces_[i]->kind)];
        }
        timing.spans.push_back(std::move(cores_[i].Spans()));
    }
    timing.cycles = end + soc_.launchCycles;
    timing.traffic = memory_.Traffic();
    return timing;
}

}  // namespace ascend_sim
