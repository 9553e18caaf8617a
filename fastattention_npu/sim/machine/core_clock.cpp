// See core_clock.h.
#include "core_clock.h"

#include <algorithm>

namespace ascend_sim {

CoreClock::CoreClock(const fastattn::SocSpec& soc, const CoreTrace& trace, uint32_t index, bool keepSpans)
    : soc_(soc),
      trace_(trace),
      index_(index),
      queueDepth_(std::clamp<uint32_t>(static_cast<uint32_t>(soc.queueDepth), 1, MAX_QUEUE)),
      spans_(keepSpans ? trace.records.size() : 0)
{
    for (const UnitWait& wait : trace.unitWaits) UnitsOf(trace.records[wait.record].pipe).waits.push_back(wait);
}

double CoreClock::End() const
{
    double end = scalar_;
    for (const PipeState& pipe : pipes_) end = std::max(end, pipe.done);
    return end;
}

// Counts the time that the pipe has something under way, overlapping latencies once.
void CoreClock::Busy(PipeState& pipe, double start, double end)
{
    pipe.busy += std::max(0.0, end - std::max(start, pipe.counted));
    pipe.counted = std::max(pipe.counted, end);
    pipe.done = std::max(pipe.done, end);
}

bool CoreClock::Take(Flag& flag, double& time)
{
    if (flag.count == 0) return false;
    time = std::max(time, flag.times[flag.first % flag.times.size()]);
    ++flag.first;
    --flag.count;
    return true;
}

void CoreClock::Set(const Record& record, double time)
{
    Flag& flag = FlagOf(record);
    flag.times[(flag.first + flag.count++) % flag.times.size()] = time;
    flagless_ &= ~BitOf(static_cast<uint32_t>(record.peer));
}

void CoreClock::CompleteTask(uint32_t ordinal, double time) { taskEnds_.resize(ordinal, time); }

void CoreClock::Advance(std::vector<CopyRequest>& copies, std::vector<CrossPost>& posts, std::vector<HcclPost>& commits)
{
    bool progress = true;
    while (progress) {
        progress = false;
        while (IssueNext(commits)) progress = true;
        for (uint32_t p = 1; p < PIPES; ++p) {
            while ((queued_ & ~copying_ & ~flagless_ & BitOf(p)) != 0 && RunHead(p, copies, posts)) progress = true;
        }
    }
}

// Work that the scalar unit does itself or must wait for; false while it cannot go on.
bool CoreClock::IssueScalar(const Record& record, std::vector<HcclPost>& commits)
{
    const double before = scalar_;
    double time = scalar_ + soc_.scalarIssueCycles + record.scalarCycles;
    if (record.step == Step::CROSS_WAIT) {
        if (posts_[record.id].empty()) return false;
        time = std::max(time, posts_[record.id].front());
        posts_[record.id].pop_front();
        scalarBusy_ += soc_.scalarIssueCycles;
    } else if (record.step == Step::HCCL_WAIT) {
        if (taskEnds_.size() < record.id) return false;
        time = std::max(time, taskEnds_[record.id - 1]);
    } else if (record.step == Step::BARRIER) {
        if ((queued_ | copying_) != 0) return false;
        for (const PipeState& pipe : pipes_) time = std::max(time, pipe.done);
    } else if (record.step == Step::WAIT_FLAG) {
        if (!Take(FlagOf(record), time)) return false;
    } else {
        if (record.step == Step::OP) time += record.cycles + record.latencyCycles;
        scalarBusy_ += time - before;
    }
    scalar_ = time;
    if (record.step == Step::HCCL_COMMIT) commits.push_back({record.id, time});
    if (record.step == Step::SET_FLAG) Set(record, scalar_ + soc_.flagCycles);
    NoteSpan(next_, before, scalar_);
    return true;
}

bool CoreClock::IssueNext(std::vector<HcclPost>& commits)
{
    if (next_ == trace_.records.size()) return false;
    const Record& record = trace_.records[next_];
    const Pipe target = record.step == Step::WAIT_FLAG ? record.peer : record.pipe;
    const bool all = record.step == Step::BARRIER && record.pipe == Pipe::ALL;
    if (target == Pipe::S || all || record.step == Step::CROSS_WAIT) {
        if (!IssueScalar(record, commits)) return false;
        ++next_;
        return true;
    }
    PipeState& pipe = At(target);
    if (pipe.count == queueDepth_) return false;
    const uint32_t slot = Wrapped(pipe.head + pipe.count);
    const double cycles = soc_.scalarIssueCycles + record.scalarCycles;
    Queued& queued = pipe.queue[slot];
    scalar_ = std::max(scalar_ + cycles, queued.time);
    scalarBusy_ += cycles;
    queued = {static_cast<uint32_t>(next_), scalar_};
    ++pipe.count;
    queued_ |= BitOf(static_cast<uint32_t>(target));
    if (record.step == Step::SET_FLAG || record.step == Step::WAIT_FLAG) __builtin_prefetch(&FlagOf(record));
    if (record.transfer != 0) __builtin_prefetch(&trace_.transfers[record.transfer - 1]);
    ++next_;
    return true;
}

bool CoreClock::RunHead(uint32_t index, std::vector<CopyRequest>& copies, std::vector<CrossPost>& posts)
{
    PipeState& pipe = pipes_[index];
    const Queued item = pipe.queue[pipe.head];
    const Record& record = trace_.records[item.record];
    double start = std::max(pipe.free, item.time);
    double end = 0;
    const bool units = record.step == Step::OP && record.mode != 0;
    if (units && !FollowUnits(item.record, start, end)) return false;
    if (record.step == Step::WAIT_FLAG && !Take(FlagOf(record), start)) {
        flagless_ |= BitOf(index);
        return false;
    }
    if (record.transfer != 0) {
        copying_ |= BitOf(index);
        pipe.copyRecord = item.record;
        pipe.copyStart = start;
        const double request = start + trace_.transfers[record.transfer - 1].headCycles;
        copies.push_back({request, index_ * PIPES + static_cast<uint32_t>(record.pipe), item.record, end - request});
    } else if (record.step == Step::WAIT_FLAG) {
        pipe.free = start;
    } else if (record.step == Step::CROSS_SET) {
        posts.push_back({index_, item.record, std::max(pipe.done, start)});
    } else {
        Run(pipe, record, item, start, end);
    }
    pipe.queue[pipe.head].time = start;
    pipe.head = Wrapped(pipe.head + 1);
    if (--pipe.count == 0) queued_ &= ~BitOf(index);
    return true;
}

// When the record ran, or nullptr. What is followed is mostly one of the last.
const CoreClock::UnitTimes* CoreClock::TimesOf(const UnitState& state, uint32_t record)
{
    for (auto times = state.times.rbegin(); times != state.times.rend() && times->record >= record; ++times) {
        if (times->record == record) return &*times;
    }
    return nullptr;
}

bool CoreClock::FollowUnits(uint32_t record, double& start, double& end)
{
    const Pipe pipe = trace_.records[record].pipe;
    UnitState& own = UnitsOf(pipe);
    const UnitState& others = UnitsOf(pipe == Pipe::M ? Pipe::FIX : Pipe::M);
    while (own.next < own.waits.size() && own.waits[own.next].record < record) ++own.next;
    for (size_t i = own.next; i < own.waits.size() && own.waits[i].record == record; ++i) {
        const UnitWait& wait = own.waits[i];
        const UnitTimes* const other = TimesOf(others, wait.on);
        if (other == nullptr) return false;
        // The head of a Fixpipe runs while its first unit is being made.
        const double head = pipe == Pipe::FIX ? soc_.fixpipeHeadCycles : 0;
        start = std::max(start, pipe == Pipe::M ? other->end : other->start + wait.first - head);
        end = std::max(end, pipe == Pipe::M ? 0 : other->start + wait.last);
    }
    return true;
}

void CoreClock::Run(PipeState& pipe, const Record& record, const Queued& item, double notBefore, double notDoneBefore)
{
    const double start = std::max({pipe.free, item.time, notBefore});
    if (record.step == Step::OP) {
        // A pipe that had run dry pays its start-up again.
        const bool dry = start > pipe.done || pipe.done == 0;
        pipe.free = start + record.cycles + (dry && record.pipe == Pipe::MTE1 ? soc_.mte1StartCycles : 0);
        pipe.free = std::max(pipe.free, notDoneBefore);
        if (record.mode != 0) UnitsOf(record.pipe).times.push_back({item.record, start, pipe.free});
        Busy(pipe, start, pipe.free + record.latencyCycles);
        NoteSpan(item.record, start, pipe.free);
    } else if (record.step == Step::BARRIER) {
        pipe.free = std::max(start, pipe.done);
    } else {
        Set(record, std::max(start, pipe.done) + soc_.flagCycles);
    }
}

void CoreClock::EndCopy(Pipe name, double time, double latencyCycles)
{
    PipeState& pipe = At(name);
    copying_ &= ~BitOf(static_cast<uint32_t>(name));
    pipe.free = time;
    // What is on its way to the core keeps whoever waits for it, not the pipe; a store does until it is there.
    Busy(pipe, pipe.copyStart, name == Pipe::MTE2 ? time : time + latencyCycles);
    pipe.done = std::max(pipe.done, time + latencyCycles);
    NoteSpan(pipe.copyRecord, pipe.copyStart, time);
    if (trace_.records[pipe.copyRecord].mode != 0)
        UnitsOf(name).times.push_back({pipe.copyRecord, pipe.copyStart, time});
}

}  // namespace ascend_sim
