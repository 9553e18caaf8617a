// Several simulated NPUs in one process: every rank is a launch of its own memory and cores, joined by one
// communication server. Ranks run in turn, each until it waits for the server or has finished, so a run does not depend
// on threads.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "hccl.h"
#include "launch.h"

namespace ascend_sim {

class Ranks {
public:
    Ranks(const fastattn::SocSpec& soc, const LaunchOptions& options, uint32_t ranks);

    Launch& At(uint32_t rank) { return *launches_[rank]; }
    uint32_t Count() const { return static_cast<uint32_t>(launches_.size()); }
    HcclServer& Server() { return server_; }

    // Runs program(rank) on every rank. Refusals name the rank; a rank that holds the others up is a deadlock.
    void Run(const std::function<void(uint32_t)>& program);

private:
    bool Step(uint32_t rank, const std::function<void()>& program);

    bool functional_;
    HcclServer server_;
    std::vector<std::unique_ptr<Launch>> launches_;
};

}  // namespace ascend_sim
