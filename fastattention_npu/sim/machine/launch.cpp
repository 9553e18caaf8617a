// See launch.h.
#include "launch.h"

#include <algorithm>
#include <functional>
#include <thread>
#include <unordered_map>

namespace ascend_sim {

namespace {

std::string SiteKey(const CallSite& site) { return Format("%s|%s|%u", site.api, site.file, site.line); }

}  // namespace
Launch::Launch(const fastattn::SocSpec& soc, const LaunchOptions& options)
    : soc_(soc), options_(options), errors_(options.blockDim), states_(options.blockDim, GroupState::READY)
{
    for (uint32_t i = 0; i < options.blockDim; ++i) {
        groups_.push_back(std::make_unique<Group>(soc, *this, i));
        ready_.push_back(options.blockDim - 1 - i);
    }
}

Launch::~Launch() = default;

void Launch::Run(const std::function<void()>& program)
{
    if (!Advance(program)) ThrowDeadlock();
}

bool Launch::Advance(const std::function<void()>& program)
{
    Requeue();
    const uint32_t threads = std::max(1U, std::min(options_.threads, options_.blockDim));
    std::vector<std::thread> pool;
    for (uint32_t i = 1; i < threads; ++i) pool.emplace_back([this, &program] { Work(program); });
    Work(program);
    for (std::thread& thread : pool) thread.join();
    ThrowFirstError();
    if (parked_.empty() && hccl_ != nullptr) hccl_->RequireFinalized();
    return parked_.empty();
}

bool Launch::WaitsForHccl() const
{
    for (const uint32_t group : parked_) {
        if (groups_[group]->WaitsForHccl()) return true;
    }
    return false;
}

// Parked groups that can go on now. The lowest runs first, so that atomic updates wait as little as possible.
void Launch::Requeue()
{
    for (size_t i = 0; i < parked_.size();) {
        const uint32_t group = parked_[i];
        const bool goesOn = groups_[group]->WaitsForTurn() ? AtomicTurnLocked(group) : !groups_[group]->Stuck();
        if (!goesOn) {
            ++i;
            continue;
        }
        states_[group] = GroupState::READY;
        ready_.push_back(group);
        parked_.erase(parked_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    std::sort(ready_.begin(), ready_.end(), std::greater<uint32_t>());
}

void Launch::Work(const std::function<void()>& program)
{
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return !ready_.empty() || running_ == 0; });
        if (ready_.empty()) break;
        const uint32_t group = ready_.back();
        ready_.pop_back();
        ++running_;
        states_[group] = GroupState::RUNNING;
        lock.unlock();
        bool finished = true;
        try {
            finished = groups_[group]->Run(program);
        } catch (...) {
            errors_[group] = std::current_exception();
        }
        lock.lock();
        --running_;
        states_[group] = finished ? GroupState::FINISHED : GroupState::PARKED;
        if (!finished) parked_.push_back(group);
        if (!parked_.empty()) Requeue();
        changed_.notify_all();
    }
    changed_.notify_all();
}

bool Launch::AtomicTurn(uint32_t group)
{
    const std::lock_guard<std::mutex> lock(mutex_);
    return AtomicTurnLocked(group);
}

bool Launch::AtomicTurnLocked(uint32_t group) const
{
    for (uint32_t before = 0; before < group; ++before) {
        const bool blocked = states_[before] == GroupState::PARKED && groups_[before]->Stuck();
        if (states_[before] != GroupState::FINISHED && !blocked) return false;
    }
    return true;
}

void Launch::ThrowFirstError()
{
    for (const std::exception_ptr& error : errors_) {
        if (error != nullptr) std::rethrow_exception(error);
    }
}

// A core that calls SyncAll less often than the others explains why they hang.
std::string Launch::MissedSyncAll() const
{
    std::string missing;
    const auto compare = [&](bool aivOnly, uint32_t first, uint32_t last) {
        uint32_t most = 0;
        for (const auto& group : groups_) {
            for (uint32_t i = first; i <= last; ++i) most = std::max(most, group->At(i).SyncAlls(aivOnly));
        }
        for (const auto& group : groups_) {
            for (uint32_t i = first; i <= last; ++i) {
                const Core& core = group->At(i);
                if (core.SyncAlls(aivOnly) == most) continue;
                missing += Format("\n  %s called SyncAll<%s> %u times, others %u times", core.Name().c_str(),
                                  aivOnly ? "true" : "false", core.SyncAlls(aivOnly), most);
            }
        }
    };
    compare(false, 0, CORES_PER_GROUP - 1);
    compare(true, 0, 0);
    compare(true, 1, CORES_PER_GROUP - 1);
    return missing;
}

void Launch::ThrowDeadlock(const std::string& cause)
{
    std::sort(parked_.begin(), parked_.end());
    std::string text = "deadlock: no core can go on." + cause;
    for (const uint32_t group : parked_) {
        for (const std::string& core : groups_[group]->WaitingCores()) text += "\n  " + core;
    }
    const std::string missed = MissedSyncAll();
    if (!cause.empty()) throw SimulatorError(Rule::HCCL_DEADLOCK, text);
    throw SimulatorError(missed.empty() ? Rule::DEADLOCK : Rule::SYNC_ALL, text + missed);
}

uint32_t Launch::CountSet(CoreKind kind, uint32_t id, uint32_t turn, const VectorClock& clock)
{
    const std::lock_guard<std::mutex> lock(flagMutex_);
    LaunchFlag& flag = flags_[static_cast<uint32_t>(kind)][id];
    if (flag.slot < 0) {
        if (slots_ == HCCL_SLOT) {
            throw SimulatorError(Rule::NOT_SIMULATED, Format("more than %u mode-0 flags in one launch", HCCL_SLOT));
        }
        flag.slot = static_cast<int32_t>(slots_++);
    }
    if (flag.turns.size() < turn) flag.turns.resize(turn);
    Turn& current = flag.turns[turn - 1];
    ++current.sets;
    for (uint32_t i = GROUP_THREADS; i < CLOCK_ENTRIES; ++i) {
        current.clock.at[i] = std::max(current.clock.at[i], clock.at[i]);
    }
    uint32_t& own = current.clock.at[GROUP_THREADS + static_cast<uint32_t>(flag.slot)];
    own = std::max(own, turn);
    return static_cast<uint32_t>(flag.slot);
}

bool Launch::Released(CoreKind kind, uint32_t id, uint32_t turn) const
{
    const std::lock_guard<std::mutex> lock(flagMutex_);
    const LaunchFlag& flag = flags_[static_cast<uint32_t>(kind)][id];
    return flag.turns.size() >= turn && flag.turns[turn - 1].sets == CoresOf(kind);
}

bool Launch::JoinRelease(CoreKind kind, uint32_t id, uint32_t turn, VectorClock& clock) const
{
    if (!Released(kind, id, turn)) return false;
    const std::lock_guard<std::mutex> lock(flagMutex_);
    clock.Join(flags_[static_cast<uint32_t>(kind)][id].turns[turn - 1].clock);
    return true;
}

uint16_t Launch::InternName(const char* name)
{
    const std::lock_guard<std::mutex> lock(internMutex_);
    const auto [known, added] = nameIds_.emplace(name, static_cast<uint16_t>(names_.size()));
    if (added) names_.emplace_back(name);
    return known->second;
}

uint32_t Launch::InternSite(const CallSite& site)
{
    const std::lock_guard<std::mutex> lock(internMutex_);
    const auto [known, added] = siteIds_.emplace(SiteKey(site), static_cast<uint32_t>(sites_.size()));
    if (added) sites_.push_back(site);
    return known->second;
}

std::vector<const CoreTrace*> Launch::Traces() const
{
    std::vector<const CoreTrace*> traces;
    for (const auto& group : groups_) {
        for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) traces.push_back(&group->At(i).Trace());
    }
    return traces;
}

LaunchResult Launch::Result()
{
    LaunchResult result;
    result.traces = Traces();
    result.names = names_;
    result.sites = sites_;
    for (const CoreTrace* trace : result.traces) {
        result.traffic.gmBytesRead += trace->traffic.gmBytesRead;
        result.traffic.gmBytesWritten += trace->traffic.gmBytesWritten;
        result.traffic.instructions += trace->traffic.instructions;
        result.traffic.cubeMacs += trace->traffic.cubeMacs;
        result.work += trace->work;
    }
    for (const auto& group : groups_) {
        result.work.raceComparisons += group->Races().Comparisons();
        for (const Hazard& hazard : group->Hazards()) {
            const bool warning = InfoOf(hazard.rule).severity == Severity::WARNING;
            (warning ? result.warnings : result.hazards).push_back(Format("group %u: ", group->Index()) + hazard.text);
            if (!warning) result.groupHazards.push_back({group->Index(), hazard});
        }
    }
    std::vector<const GmLog*> logs;
    for (const auto& group : groups_) logs.push_back(&group->Gm());
    for (const auto& [group, hazard] : CompareGroups(logs)) {
        result.hazards.push_back(hazard.text);
        result.groupHazards.push_back({group, hazard});
    }
    return result;
}

}  // namespace ascend_sim
