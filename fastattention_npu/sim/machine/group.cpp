// See group.h. Cross-core flags (CrossCoreSetFlag page): mode 0 releases every core of a kind once all have set, mode 1
// the two AIVs of a group, mode 2 goes from the AIC to both AIVs, or from both AIVs together to the AIC.
#include "group.h"

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

void Group::Start(const std::function<void()>& program)
{
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        fibers_[i] = std::make_unique<Fiber>([this, i, &program] {
            try {
                program();
                cores_[i]->Finish();
            } catch (...) {
                if (error_ == nullptr) error_ = std::current_exception();
            }
        });
    }
}

bool Group::Run(const std::function<void()>& program)
{
    if (fibers_[0] == nullptr) Start(program);
    bool progress = true;
    bool finished = false;
    while (progress && !finished) {
        progress = false;
        finished = true;
        for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
            if (fibers_[i]->Done()) continue;
            if (waitingFor_[i] < 0 || Consume(*cores_[i], static_cast<uint32_t>(waitingFor_[i]))) {
                waitingFor_[i] = -1;
                progress = true;
                SetCurrentCore(cores_[i].get());
                fibers_[i]->Resume();
                SetCurrentCore(nullptr);
                if (error_ != nullptr) std::rethrow_exception(error_);
            }
            finished = finished && fibers_[i]->Done();
        }
    }
    if (finished) RequireDrained();
    return finished;
}

void Group::Post(uint32_t coreInGroup, uint32_t id, const VectorClock& clock, const Core& setter)
{
    Counter& counter = counters_[coreInGroup][id];
    if (counter.size() >= CROSS_CORE_COUNTER_MAX) {
        setter.Refuse(Format("cross-core flag %u of %s overflows: %u sets without a wait", id,
                             cores_[coreInGroup]->Name().c_str(), CROSS_CORE_COUNTER_MAX + 1));
    }
    counter.push_back(clock);
}

void Group::PostWhenAllSet(const Core& core, uint32_t id, const VectorClock& clock, uint32_t firstTarget,
                           uint32_t lastTarget)
{
    halves_[core.InGroup()][id].push_back(clock);
    Counter& first = halves_[FIRST_AIV][id];
    Counter& second = halves_[LAST_AIV][id];
    if (halves_[core.InGroup()][id].size() > CROSS_CORE_COUNTER_MAX) {
        core.Refuse(Format("cross-core flag %u: %u sets by %s while its twin has set none", id,
                           CROSS_CORE_COUNTER_MAX + 1, core.Name().c_str()));
    }
    if (first.empty() || second.empty()) return;
    VectorClock both = first.front();
    both.Join(second.front());
    first.pop_front();
    second.pop_front();
    for (uint32_t target = firstTarget; target <= lastTarget; ++target) Post(target, id, both, core);
}

void Group::CrossSet(Core& core, uint32_t mode, uint32_t id, const VectorClock& clock)
{
    const bool aic = core.Kind() == CoreKind::AIC;
    if (mode == 0) {
        launchSets_[core.InGroup()][id].Join(clock);
        launch_.CountSet(core.Kind(), id);
    } else if (mode == 1) {
        if (aic) core.Refuse("mode 1 synchronises the AIVs of a group; an AIC cannot set it");
        PostWhenAllSet(core, id, clock, FIRST_AIV, LAST_AIV);
    } else if (aic) {
        Post(FIRST_AIV, id, clock, core);
        Post(LAST_AIV, id, clock, core);
    } else {
        PostWhenAllSet(core, id, clock, AIC, AIC);
    }
}

bool Group::Consume(const Core& core, uint32_t id)
{
    const uint32_t self = core.InGroup();
    VectorClock& scalar = races_.Clock(ThreadOf(self, Pipe::S));
    Counter& counter = counters_[self][id];
    if (!counter.empty()) {
        scalar.Join(counter.front());
        counter.pop_front();
        return true;
    }
    if (launch_.Releases(core.Kind(), id) > launchConsumed_[self][id]) {
        ++launchConsumed_[self][id];
        for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
            if (cores_[i]->Kind() == core.Kind()) scalar.Join(launchSets_[i][id]);
        }
        return true;
    }
    return false;
}

void Group::CrossWait(Core& core, uint32_t id)
{
    if (Consume(core, id)) return;
    waitingFor_[core.InGroup()] = static_cast<int32_t>(id);
    fibers_[core.InGroup()]->Yield();
}

std::vector<std::string> Group::WaitingCores() const
{
    std::vector<std::string> cores;
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        if (waitingFor_[i] >= 0) cores.push_back(cores_[i]->Waiting());
    }
    return cores;
}

void Group::RequireDrained() const
{
    for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
        for (uint32_t id = 0; id < CROSS_CORE_FLAGS; ++id) {
            const size_t left = counters_[i][id].size() + halves_[i][id].size();
            if (left == 0) continue;
            throw SimulatorError(
                Format("%s: cross-core flag %u has %zu sets left that nobody waited for at kernel exit",
                       cores_[i]->Name().c_str(), id, left));
        }
    }
}

}  // namespace ascend_sim
