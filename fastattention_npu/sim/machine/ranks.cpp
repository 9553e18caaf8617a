// See ranks.h.
#include "ranks.h"

#include <algorithm>

namespace ascend_sim {

Ranks::Ranks(const fastattn::SocSpec& soc, const LaunchOptions& options, uint32_t ranks)
    : functional_(options.functional), server_(ranks)
{
    for (uint32_t i = 0; i < ranks; ++i) {
        launches_.push_back(std::make_unique<Launch>(soc, options));
        launches_.back()->JoinCommunicator(server_.Rank(i));
    }
}

bool Ranks::Step(uint32_t rank, const std::function<void()>& program)
{
    try {
        if (launches_[rank]->Advance(program)) return true;
        // What waits for no task of the communicator waits for another core of the same rank, in vain.
        if (!launches_[rank]->WaitsForHccl()) launches_[rank]->ThrowDeadlock();
        return false;
    } catch (const SimulatorError& error) {
        if (Count() == 1) throw;
        throw SimulatorError(error, Format("rank %u: ", rank));
    }
}

void Ranks::Run(const std::function<void(uint32_t)>& program)
{
    std::vector<std::function<void()>> programs;
    for (uint32_t i = 0; i < Count(); ++i) programs.emplace_back([&program, i] { program(i); });
    std::vector<bool> finished(Count(), false);
    for (;;) {
        for (uint32_t i = 0; i < Count(); ++i) {
            if (!finished[i]) finished[i] = Step(i, programs[i]);
        }
        if (server_.Advance(functional_)) continue;
        const auto waiting = std::find(finished.begin(), finished.end(), false);
        if (waiting == finished.end()) return;
        Launch& first = *launches_[static_cast<size_t>(waiting - finished.begin())];
        first.ThrowDeadlock(server_.Holdup());
    }
}

}  // namespace ascend_sim
