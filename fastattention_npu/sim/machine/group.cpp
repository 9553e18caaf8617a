// See group.h. Cross-core flags (CrossCoreSetFlag page): mode 0 releases every core of a kind once all have set, mode 1
// the two AIVs of a group, mode 2 goes from the AIC to both AIVs, or from both AIVs together to the AIC.
#include "group.h"

#include "hccl.h"
#include "launch.h"

namespace ascend_sim {

namespace {

constexpr uint32_t AIC = 0;
constexpr uint32_t FIRST_AIV = 1;
constexpr uint32_t LAST_AIV = 2;

}  // namespace

Group::Group(const fastattn::SocSpec& soc, Launch& launch, uint32_t index)
    : launch_(launch), index_(index), races_(launch.Options().checks)
{
    waitingFor_.fill(-1);
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        cores_[i] = std::make_unique<Core>(soc, i == AIC ? CoreKind::AIC : CoreKind::AIV, i, *this);
    }
}

bool Group::Runs(uint32_t coreInGroup) const
{
    switch (launch_.Options().type) {
        case KernelType::AIC_ONLY: return coreInGroup == AIC;
        case KernelType::AIV_ONLY: return coreInGroup == FIRST_AIV;
        default: return true;
    }
}

bool Group::Done(uint32_t coreInGroup) const { return !Runs(coreInGroup) || fibers_[coreInGroup]->Done(); }

void Group::Start(const std::function<void()>& program)
{
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        if (!Runs(i)) continue;
        cores_[i]->PowerOn();
        fibers_[i] = std::make_unique<Fiber>([this, i, &program] {
            try {
                program();
                cores_[i]->Finish();
            } catch (...) {
                if (error_ == nullptr) error_ = std::current_exception();
            }
        });
    }
    started_ = true;
}

// What a group that has finished keeps is its record: with many groups, memory in use at a time stays small.
void Group::Stop()
{
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        cores_[i]->PowerOff();
        if (fibers_[i] != nullptr) fibers_[i]->FreeStack();
    }
    races_.Forget();
}

bool Group::Run(const std::function<void()>& program)
{
    if (!started_) Start(program);
    bool progress = true;
    bool finished = false;
    while (progress && !finished) {
        progress = false;
        finished = true;
        for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
            if (Done(i)) continue;
            const bool flagMissing = waitingFor_[i] >= 0 && !Consume(*cores_[i], static_cast<uint32_t>(waitingFor_[i]));
            const bool turnMissing = waitsForTurn_[i] && !launch_.AtomicTurn(index_);
            if (!flagMissing && !turnMissing && !TaskMissing(i)) {
                waitingFor_[i] = -1;
                waitsForTask_[i] = 0;
                waitsForTurn_[i] = false;
                progress = true;
                SetCurrentCore(cores_[i].get());
                fibers_[i]->Resume();
                SetCurrentCore(nullptr);
                if (error_ != nullptr) std::rethrow_exception(error_);
            }
            finished = finished && Done(i);
        }
    }
    if (finished) RequireDrained();
    if (finished) Stop();
    return finished;
}

uint32_t Group::PendingReleases(uint32_t coreInGroup, uint32_t id) const
{
    return static_cast<uint32_t>(launchSets_[coreInGroup][id].size()) - launchConsumed_[coreInGroup][id];
}

// A counter counts whatever was set with its id: modes must not mix while sets are pending.
void Group::RequireMode(const Core& setter, uint32_t target, uint32_t id, uint32_t mode) const
{
    const Counter& counter = counters_[target][id];
    const bool otherPosts = !counter.empty() && counter.back().mode != mode;
    const bool otherReleases = mode != 0 && PendingReleases(target, id) != 0;
    if (!otherPosts && !otherReleases) return;
    setter.Refuse(Rule::CROSS_MODE_MIXED,
                  Format("flag id %u is set in mode %u while sets in mode %u are pending on %s", id, mode,
                         otherPosts ? counter.back().mode : 0, cores_[target]->Name().c_str()));
}

void Group::Post(uint32_t coreInGroup, uint32_t id, const Set& set, const Core& setter)
{
    Counter& counter = counters_[coreInGroup][id];
    RequireMode(setter, coreInGroup, id, set.mode);
    if (counter.size() >= CROSS_CORE_COUNTER_MAX) {
        setter.Refuse(Rule::CROSS_OVERFLOW, Format("cross-core flag %u of %s overflows: %u sets without a wait", id,
                                                   cores_[coreInGroup]->Name().c_str(), CROSS_CORE_COUNTER_MAX + 1));
    }
    if (!counter.empty()) RequireOnePipe(setter, id, counter.back(), set);
    counter.push_back(set);
}

// The order of two sets is that of the pipe they are queued on; a wait between them cannot tell which it saw.
void Group::RequireOnePipe(const Core& setter, uint32_t id, const Set& pending, const Set& set) const
{
    if (pending.pipe == set.pipe) return;
    setter.Warn(Rule::CROSS_ORDER, Format("flag id %u is set on %s while a set on %s is pending", id,
                                          PipeName(set.pipe), PipeName(pending.pipe)));
}

void Group::PostWhenAllSet(const Core& core, uint32_t id, const Set& set, uint32_t firstTarget, uint32_t lastTarget)
{
    Counter& mine = halves_[core.InGroup()][id];
    if (!mine.empty()) RequireOnePipe(core, id, mine.back(), set);
    mine.push_back(set);
    Counter& first = halves_[FIRST_AIV][id];
    Counter& second = halves_[LAST_AIV][id];
    if (halves_[core.InGroup()][id].size() > CROSS_CORE_COUNTER_MAX) {
        core.Refuse(Rule::CROSS_TWIN, Format("cross-core flag %u: %u sets by %s while its twin has set none", id,
                                             CROSS_CORE_COUNTER_MAX + 1, core.Name().c_str()));
    }
    if (first.empty() || second.empty()) return;
    Set both = first.front();
    both.clock.Join(second.front().clock);
    first.pop_front();
    second.pop_front();
    for (uint32_t target = firstTarget; target <= lastTarget; ++target) Post(target, id, both, core);
}

void Group::SetForAllGroups(Core& core, uint32_t id, const Set& set)
{
    const VectorClock& clock = set.clock;
    const uint32_t self = core.InGroup();
    if (PendingReleases(self, id) != 0) RequireOnePipe(core, id, {{}, 0, launchPipe_[self][id]}, set);
    launchPipe_[self][id] = set.pipe;
    RequireMode(core, self, id, 0);
    if (PendingReleases(self, id) >= CROSS_CORE_COUNTER_MAX) {
        core.Refuse(Rule::CROSS_OVERFLOW, Format("cross-core flag %u of %s overflows: %u sets without a wait", id,
                                                 core.Name().c_str(), CROSS_CORE_COUNTER_MAX + 1));
    }
    launchSets_[self][id].push_back(clock);
    const auto turn = static_cast<uint32_t>(launchSets_[self][id].size());
    const uint32_t slot = launch_.CountSet(core.Kind(), id, turn, clock);
    gmLog_.NoteSet(slot, turn, clock);
}

void Group::CrossSet(Core& core, Pipe pipe, uint32_t mode, uint32_t id, const VectorClock& clock)
{
    const Set set{clock, mode, pipe};
    const bool aic = core.Kind() == CoreKind::AIC;
    if (mode == 0) {
        SetForAllGroups(core, id, set);
    } else if (mode == 1) {
        if (aic) core.Refuse(Rule::CROSS_MODE, "mode 1 synchronises the AIVs of a group; an AIC cannot set it");
        PostWhenAllSet(core, id, set, FIRST_AIV, LAST_AIV);
    } else if (aic) {
        Post(FIRST_AIV, id, set, core);
        Post(LAST_AIV, id, set, core);
    } else {
        PostWhenAllSet(core, id, set, AIC, AIC);
    }
}

bool Group::Consume(const Core& core, uint32_t id)
{
    const uint32_t self = core.InGroup();
    VectorClock& scalar = races_.Clock(ThreadOf(self, Pipe::S));
    Counter& counter = counters_[self][id];
    if (!counter.empty()) {
        scalar.Join(counter.front().clock);
        counter.pop_front();
        return true;
    }
    const uint32_t turn = launchConsumed_[self][id] + 1;
    if (PendingReleases(self, id) == 0 || !launch_.JoinRelease(core.Kind(), id, turn, scalar)) return false;
    launchConsumed_[self][id] = turn;
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        if (cores_[i]->Kind() == core.Kind()) scalar.Join(launchSets_[i][id][turn - 1]);
    }
    return true;
}

void Group::CrossWait(Core& core, uint32_t id)
{
    if (Consume(core, id)) return;
    waitingFor_[core.InGroup()] = static_cast<int32_t>(id);
    fibers_[core.InGroup()]->Yield();
}

void Group::TakeAtomicTurn(Core& core)
{
    if (launch_.AtomicTurn(index_)) return;
    waitsForTurn_[core.InGroup()] = true;
    fibers_[core.InGroup()]->Yield();
}

void Group::WaitHccl(Core& core, const HcclRank& rank, uint32_t ordinal)
{
    if (rank.Done(ordinal)) return;
    hccl_ = &rank;
    waitsForTask_[core.InGroup()] = ordinal;
    fibers_[core.InGroup()]->Yield();
}

bool Group::TaskMissing(uint32_t coreInGroup) const
{
    return waitsForTask_[coreInGroup] != 0 && !hccl_->Done(waitsForTask_[coreInGroup]);
}

bool Group::WaitsForHccl() const
{
    for (const uint32_t task : waitsForTask_) {
        if (task != 0) return true;
    }
    return false;
}

bool Group::WaitsForTurn() const
{
    for (const bool waits : waitsForTurn_) {
        if (waits) return true;
    }
    return false;
}

bool Group::Stuck() const
{
    if (WaitsForTurn()) return false;
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        if (waitsForTask_[i] != 0 && !TaskMissing(i)) return false;
        if (waitingFor_[i] < 0) continue;
        const auto id = static_cast<uint32_t>(waitingFor_[i]);
        if (launch_.Released(cores_[i]->Kind(), id, launchConsumed_[i][id] + 1)) return false;
    }
    return true;
}

std::vector<std::string> Group::WaitingCores() const
{
    std::vector<std::string> cores;
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        if (waitingFor_[i] >= 0 || waitsForTask_[i] != 0) cores.push_back(cores_[i]->Waiting());
    }
    return cores;
}

void Group::RequireDrained() const
{
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        for (uint32_t id = 0; id < CROSS_CORE_FLAGS; ++id) {
            const size_t halves = halves_[i][id].size();
            const size_t left = counters_[i][id].size() + PendingReleases(i, id);
            if (halves != 0) {
                throw SimulatorError(Rule::CROSS_TWIN,
                                     Format("%s: cross-core flag %u was set %zu times more than by its twin at kernel "
                                            "exit; whoever waits for both would hang",
                                            cores_[i]->Name().c_str(), id, halves));
            }
            if (left == 0) continue;
            throw SimulatorError(
                Rule::CROSS_LEFT,
                Format("%s: cross-core flag %u has %zu sets left that nobody waited for at kernel exit",
                       cores_[i]->Name().c_str(), id, left));
        }
    }
}

}  // namespace ascend_sim
