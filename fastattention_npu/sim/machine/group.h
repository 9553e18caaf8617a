// One core group: an AIC and its two AIVs with their cross-core counters, run as three fibers on one thread. Which
// fiber runs next depends only on the counters, so a run is the same whatever the number of threads.
#pragma once
#include <array>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core.h"
#include "fiber.h"
#include "gm_races.h"
#include "race.h"

namespace ascend_sim {

class HcclRank;
class Launch;

class Group {
public:
    Group(const fastattn::SocSpec& soc, Launch& launch, uint32_t index);

    // Runs until every core has finished (true) or all that are left wait for other groups (false). Rethrows a core's
    // error.
    bool Run(const std::function<void()>& program);

    Core& At(uint32_t coreInGroup) { return *cores_[coreInGroup]; }
    RaceDetector& Races() { return races_; }
    std::vector<Hazard>& Hazards() { return hazards_; }
    GmLog& Gm() { return gmLog_; }
    Launch& Owner() { return launch_; }
    uint32_t Index() const { return index_; }

    void CrossSet(Core& core, Pipe pipe, uint32_t mode, uint32_t id, const VectorClock& clock);
    void CrossWait(Core& core, uint32_t id);
    void TakeAtomicTurn(Core& core);
    void WaitHccl(Core& core, const HcclRank& rank, uint32_t ordinal);
    bool WaitsForHccl() const;
    // For a group that is parked: does a core of it wait for its turn, and can none go on before other groups do?
    bool WaitsForTurn() const;
    bool Stuck() const;
    std::vector<std::string> WaitingCores() const;

private:
    // Posts of a flag that a core has not consumed yet, each with what it orders.
    struct Set {
        VectorClock clock;
        uint32_t mode;
        Pipe pipe = Pipe::S;  // that the set was queued on
    };
    using Counter = std::deque<Set>;

    void Post(uint32_t coreInGroup, uint32_t id, const Set& set, const Core& setter);
    void PostWhenAllSet(const Core& core, uint32_t id, const Set& set, uint32_t firstTarget, uint32_t lastTarget);
    void SetForAllGroups(Core& core, uint32_t id, const Set& set);
    void RequireOnePipe(const Core& setter, uint32_t id, const Set& pending, const Set& set) const;
    void RequireMode(const Core& setter, uint32_t target, uint32_t id, uint32_t mode) const;
    uint32_t PendingReleases(uint32_t coreInGroup, uint32_t id) const;
    bool Runs(uint32_t coreInGroup) const;
    bool Done(uint32_t coreInGroup) const;
    bool Consume(const Core& core, uint32_t id);
    bool TaskMissing(uint32_t coreInGroup) const;
    void Start(const std::function<void()>& program);
    void Stop();
    void RequireDrained() const;

    Launch& launch_;
    uint32_t index_;
    std::array<std::unique_ptr<Core>, CORES_PER_GROUP> cores_;
    std::array<std::unique_ptr<Fiber>, CORES_PER_GROUP> fibers_;
    bool started_ = false;
    std::array<int32_t, CORES_PER_GROUP> waitingFor_;  // flag id, or -1
    std::array<bool, CORES_PER_GROUP> waitsForTurn_{};
    std::array<uint32_t, CORES_PER_GROUP> waitsForTask_{};  // of the communication server, counted from 1; 0: none
    const HcclRank* hccl_ = nullptr;
    std::exception_ptr error_;
    std::array<std::array<Counter, CROSS_CORE_FLAGS>, CORES_PER_GROUP> counters_;
    // Sets by an AIV that count only when its twin has set as well (modes 1 and 2).
    std::array<std::array<Counter, CROSS_CORE_FLAGS>, CORES_PER_GROUP> halves_;
    // Mode 0: what each core had done at its k-th set, and how many releases it has consumed.
    std::array<std::array<std::vector<VectorClock>, CROSS_CORE_FLAGS>, CORES_PER_GROUP> launchSets_;
    std::array<std::array<uint32_t, CROSS_CORE_FLAGS>, CORES_PER_GROUP> launchConsumed_{};
    std::array<std::array<Pipe, CROSS_CORE_FLAGS>, CORES_PER_GROUP> launchPipe_{};
    RaceDetector races_;
    GmLog gmLog_;
    std::vector<Hazard> hazards_;
};

}  // namespace ascend_sim
