// See launch.h. Interning goes through a per-thread cache, because every instruction asks for its name and site.
#include "launch.h"

#include <algorithm>
#include <thread>
#include <unordered_map>

namespace ascend_sim {

namespace {

// Ids that this thread has looked up for one launch; literals are compared by address.
struct InternCache {
    uint64_t serial = 0;
    std::unordered_map<const void*, uint16_t> names;
    std::unordered_map<uint64_t, uint32_t> sites;
};
thread_local InternCache internCache;

uint64_t SiteKey(const CallSite& site)
{
    return reinterpret_cast<uint64_t>(site.api) * 0x9E3779B97F4A7C15ULL ^
           reinterpret_cast<uint64_t>(site.file) * 0xC2B2AE3D27D4EB4FULL ^ site.line;
}

std::atomic<uint64_t> launchSerial{0};

}  // namespace

Launch::Launch(const fastattn::SocSpec& soc, const LaunchOptions& options)
    : soc_(soc), options_(options), errors_(options.blockDim), serial_(++launchSerial)
{
    for (uint32_t i = 0; i < options.blockDim; ++i) {
        groups_.push_back(std::make_unique<Group>(soc, *this, i));
        ready_.push_back(options.blockDim - 1 - i);
    }
}

Launch::~Launch() = default;

void Launch::Run(const std::function<void()>& program)
{
    const uint32_t threads = std::max(1U, std::min(options_.threads, options_.blockDim));
    std::vector<std::thread> pool;
    for (uint32_t i = 1; i < threads; ++i) pool.emplace_back([this, &program] { Work(program); });
    Work(program);
    for (std::thread& thread : pool) thread.join();
    ThrowFirstError();
    if (!parked_.empty()) ThrowDeadlock();
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
        const uint64_t generation = generation_;
        lock.unlock();
        bool finished = true;
        try {
            finished = groups_[group]->Run(program);
        } catch (...) {
            errors_[group] = std::current_exception();
        }
        lock.lock();
        --running_;
        if (!finished) parked_.push_back(group);
        if (generation_ != generation) {
            ready_.insert(ready_.end(), parked_.begin(), parked_.end());
            parked_.clear();
        }
        changed_.notify_all();
    }
    changed_.notify_all();
}

void Launch::ThrowFirstError()
{
    for (const std::exception_ptr& error : errors_) {
        if (error != nullptr) std::rethrow_exception(error);
    }
}

void Launch::ThrowDeadlock()
{
    constexpr size_t SHOWN = 12;
    std::sort(parked_.begin(), parked_.end());
    std::string text = "deadlock: no core can go on.";
    size_t shown = 0;
    size_t total = 0;
    for (const uint32_t group : parked_) {
        for (const std::string& core : groups_[group]->WaitingCores()) {
            if (shown < SHOWN) text += "\n  " + core;
            shown += shown < SHOWN ? 1 : 0;
            ++total;
        }
    }
    if (total > shown) text += Format("\n  and %zu more cores", total - shown);
    throw SimulatorError(text);
}

void Launch::CountSet(CoreKind kind, uint32_t id)
{
    const uint32_t perGroup = kind == CoreKind::AIC ? 1 : 2;
    const uint32_t count = ++sets_[static_cast<uint32_t>(kind)][id];
    if (count % (perGroup * options_.blockDim) == 0) ++generation_;
}

uint32_t Launch::Releases(CoreKind kind, uint32_t id) const
{
    const uint32_t perGroup = kind == CoreKind::AIC ? 1 : 2;
    return sets_[static_cast<uint32_t>(kind)][id] / (perGroup * options_.blockDim);
}

uint16_t Launch::InternName(const char* name)
{
    if (internCache.serial != serial_) internCache = InternCache{serial_, {}, {}};
    const auto known = internCache.names.find(name);
    if (known != internCache.names.end()) return known->second;
    const std::lock_guard<std::mutex> lock(internMutex_);
    const auto found = std::find(names_.begin(), names_.end(), name);
    const auto id = static_cast<uint16_t>(found - names_.begin());
    if (found == names_.end()) names_.emplace_back(name);
    internCache.names.emplace(name, id);
    return id;
}

uint32_t Launch::InternSite(const CallSite& site)
{
    if (internCache.serial != serial_) internCache = InternCache{serial_, {}, {}};
    const uint64_t key = SiteKey(site);
    const auto known = internCache.sites.find(key);
    if (known != internCache.sites.end()) return known->second;
    const std::lock_guard<std::mutex> lock(internMutex_);
    sites_.push_back(site);
    const auto id = static_cast<uint32_t>(sites_.size() - 1);
    internCache.sites.emplace(key, id);
    return id;
}

LaunchResult Launch::Result()
{
    LaunchResult result;
    result.names = names_;
    result.sites = sites_;
    for (const auto& group : groups_) {
        for (uint32_t i = 0; i < CORES_PER_GROUP; ++i) {
            const CoreTrace& trace = group->At(i).Trace();
            result.traces.push_back(&trace);
            result.traffic.gmBytesRead += trace.traffic.gmBytesRead;
            result.traffic.gmBytesWritten += trace.traffic.gmBytesWritten;
            result.traffic.instructions += trace.traffic.instructions;
            result.traffic.cubeMacs += trace.traffic.cubeMacs;
        }
        for (const Hazard& hazard : group->Hazards()) {
            result.hazards.push_back(Format("group %u: ", group->Index()) + hazard.text);
            result.groupHazards.push_back({group->Index(), hazard});
        }
    }
    return result;
}

}  // namespace ascend_sim
