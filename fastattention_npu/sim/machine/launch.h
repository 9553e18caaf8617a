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
#include <vector>

#include "group.h"
#include "memory.h"
#include "op_host/soc_spec.h"

namespace ascend_sim {

struct LaunchOptions {
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
    std::vector<GroupHazard> groupHazards;  // the same, with the instructions
    std::vector<std::string> names;
    std::vector<CallSite> sites;
    Traffic traffic;
};

class Launch {
public:
    Launch(const fastattn::SocSpec& soc, const LaunchOptions& options);
    ~Launch();

    GlobalMemory& Gm() { return gm_; }
    const LaunchOptions& Options() const { return options_; }

    // Runs the program once on every core; throws SimulatorError for the first group (in order) that was refused.
    void Run(const std::function<void()>& program);
    LaunchResult Result();

    // Mode-0 flags, called by the groups.
    void CountSet(CoreKind kind, uint32_t id);
    uint32_t Releases(CoreKind kind, uint32_t id) const;

    uint16_t InternName(const char* name);
    uint32_t InternSite(const CallSite& site);

private:
    void Work(const std::function<void()>& program);
    void ThrowFirstError();
    void ThrowDeadlock();

    const fastattn::SocSpec& soc_;
    LaunchOptions options_;
    GlobalMemory gm_;
    std::vector<std::unique_ptr<Group>> groups_;
    std::vector<std::exception_ptr> errors_;

    // Scheduling: groups that can run, groups that wait for a mode-0 release.
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<uint32_t> ready_;
    std::vector<uint32_t> parked_;
    uint32_t running_ = 0;

    std::array<std::array<std::atomic<uint32_t>, CROSS_CORE_FLAGS>, 2> sets_{};
    std::atomic<uint64_t> generation_{0};  // grows with every release

    uint64_t serial_;  // tells this launch from others in per-thread caches
    std::mutex internMutex_;
    std::vector<std::string> names_;
    std::vector<CallSite> sites_;
};

}  // namespace ascend_sim
