// One rank's cores in global time: the next thing that happens is the start of a copy or the end of one. The caller
// moves the time on, so that several ranks and their communication server can share it (world_clock.h).
#pragma once
#include <deque>
#include <map>
#include <queue>
#include <utility>
#include <vector>

#include "clock.h"
#include "core_clock.h"

namespace ascend_sim {

// Earliest first; equal times in the order of the cores, so that a run is always the same.
struct Later {
    bool operator()(const CopyRequest& a, const CopyRequest& b) const
    {
        return a.time != b.time ? a.time > b.time : a.owner > b.owner;
    }
};

class Replay {
public:
    Replay(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces, L2Cache l2, bool keepSpans);

    L2Cache TakeL2() { return memory_.TakeL2(); }
    // When something happens next if nothing comes from outside; infinite when all that is left waits or has finished.
    double NextTime();
    // Moves to `time`, at most NextTime(), and lets happen what is due.
    void AdvanceTo(double time);
    // Tasks of the communication server that have been committed since the last call.
    std::vector<HcclPost> TakeCommits() { return std::exchange(commits_, {}); }
    // The server has finished a task.
    void CompleteTask(uint32_t ordinal, double time);
    // When the last thing so far ends.
    double End() const;
    Timing Collect();

private:
    void Wake(uint32_t core) { awake_.push_back(core); }
    void RunAwake();
    void StartCopy();
    double Latency(const SharedMemory::Ended& ended) const;
    void Send(const CrossPost& post);
    void SendToAll(const CrossPost& post, uint32_t kind, uint32_t id);
    void Deliver(uint32_t core, uint32_t id, double time);

    const fastattn::SocSpec& soc_;
    const std::vector<const CoreTrace*>& traces_;
    SharedMemory memory_;
    std::deque<CoreClock> cores_;
    std::priority_queue<CopyRequest, std::vector<CopyRequest>, Later> waiting_;
    std::vector<uint32_t> awake_;
    std::vector<CopyRequest> copies_;
    std::vector<CrossPost> posts_;
    std::vector<HcclPost> commits_;
    // Sets by an AIV that count only when its twin has set as well, and mode-0 sets by round.
    std::deque<std::array<std::deque<double>, CROSS_CORE_FLAGS>> halves_;
    std::map<std::pair<uint32_t, uint32_t>, std::vector<std::pair<uint32_t, double>>> launchSets_;
    std::deque<std::array<uint32_t, CROSS_CORE_FLAGS>> turns_;
    std::array<uint32_t, 2> coresOfKind_{};
};

// The first model address behind everything that the traces copy.
uint64_t AddressEnd(const std::vector<const CoreTrace*>& traces);

}  // namespace ascend_sim
