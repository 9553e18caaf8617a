// One kernel launch: blockDim core groups over a pool of host threads, the GM buffers they may touch, and the flags
// that all groups share. Results do not depend on the number of threads.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "group.h"
#include "hccl.h"
#include "memory.h"
#include "op_host/soc_spec.h"

namespace ascend_sim {

// What the launch says of itself (KERNEL_TASK_TYPE_DEFAULT): which cores run, and whether they can signal each other.
enum class KernelType : uint8_t { MIX, AIC_ONLY, AIV_ONLY };

struct LaunchOptions {
    KernelType type = KernelType::MIX;
    uint32_t blockDim = 1;
    uint32_t threads = 1;
    bool checks = true;           // unwritten bytes and missing order; limits are always checked
    bool functional = true;       // false: only what addresses and times need is run; outputs stay empty
    bool listing = false;         // keep every instruction as text, with its operands
    bool keepGmAccesses = false;  // for a timeline
};

struct GroupHazard {
    uint32_t group = 0;
    Hazard hazard;
};

struct LaunchResult {
    std::vector<const CoreTrace*> traces;
    std::vector<std::string> hazards;
    std::vector<std::string> warnings;
    std::vector<GroupHazard> groupHazards;  // the same, with the instructions
    std::vector<std::string> names;
    std::vector<CallSite> sites;
    Traffic traffic;
    HostWork work;
};

class Launch {
public:
    Launch(const fastattn::SocSpec& soc, const LaunchOptions& options);
    ~Launch();

    GlobalMemory& Gm() { return gm_; }
    const LaunchOptions& Options() const { return options_; }

    // Runs the program once on every core; throws SimulatorError for the first group (in order) that was refused.
    void Run(const std::function<void()>& program);
    // The same in steps, for a launch that is a rank of a communicator: false when all that are left wait for it.
    bool Advance(const std::function<void()>& program);
    bool WaitsForHccl() const;
    [[noreturn]] void ThrowDeadlock(const std::string& cause = "");
    void JoinCommunicator(HcclRank& rank) { hccl_ = &rank; }
    HcclRank* Hccl() const { return hccl_; }
    // Of every core, group by group.
    std::vector<const CoreTrace*> Traces() const;
    LaunchResult Result();

    // Mode-0 flags, called by the groups. `turn` counts a core's sets from 1; a turn is released once every core of
    // the kind has made its set of that turn. CountSet returns the slot of the flag in the vector clocks.
    uint32_t CountSet(CoreKind kind, uint32_t id, uint32_t turn, const VectorClock& clock);
    bool Released(CoreKind kind, uint32_t id, uint32_t turn) const;
    // Joins what the turn's setters knew of other groups; false before the release.
    bool JoinRelease(CoreKind kind, uint32_t id, uint32_t turn, VectorClock& clock) const;
    // Can no core group before this one still run up to an atomic update?
    bool AtomicTurn(uint32_t group);

    uint16_t InternName(const char* name);
    uint32_t InternSite(const CallSite& site);

private:
    void Work(const std::function<void()>& program);
    void ThrowFirstError();
    std::string MissedSyncAll() const;

    const fastattn::SocSpec& soc_;
    LaunchOptions options_;
    GlobalMemory gm_;
    HcclRank* hccl_ = nullptr;
    std::vector<std::unique_ptr<Group>> groups_;
    std::vector<std::exception_ptr> errors_;

    // Scheduling: groups that can run, groups that wait for a mode-0 release.
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<uint32_t> ready_;
    std::vector<uint32_t> parked_;
    uint32_t running_ = 0;

    enum class GroupState : uint8_t { READY, RUNNING, PARKED, FINISHED };
    bool AtomicTurnLocked(uint32_t group) const;
    void Requeue();
    std::vector<GroupState> states_;

    struct Turn {
        uint32_t sets = 0;
        VectorClock clock;  // only what the setters knew of releases
    };
    struct LaunchFlag {
        int32_t slot = -1;
        std::vector<Turn> turns;
    };
    uint32_t CoresOf(CoreKind kind) const { return (kind == CoreKind::AIC ? 1 : 2) * options_.blockDim; }
    mutable std::mutex flagMutex_;
    std::array<std::array<LaunchFlag, CROSS_CORE_FLAGS>, 2> flags_{};
    uint32_t slots_ = 0;

    std::mutex internMutex_;
    std::unordered_map<std::string, uint16_t> nameIds_;
    std::unordered_map<std::string, uint32_t> siteIds_;
    std::vector<std::string> names_;
    std::vector<CallSite> sites_;
};

}  // namespace ascend_sim
