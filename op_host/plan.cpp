// problem -> candidates -> check -> modelled cost -> plan.
#include "plan.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "candidates.h"

namespace fastattn {
namespace {

// A cube core one block ahead waits for the vector cores at every block, which the model hardly sees: it takes 1.3
// to 1.6 times as long as one two blocks ahead (simulated), the model says 1.1 to 1.25.
constexpr uint32_t LEAST_PRELOAD = 2;

// Nearer costs than this do not count: among them the order of the candidates decides.
constexpr double MODEL_RESOLUTION = 0.01;

struct CostedCandidate {
    const FlashAttentionTiling* tiling;
    double cycles;
};

// Those that fit, in their order.
std::vector<CostedCandidate> CostCandidates(const std::vector<FlashAttentionTiling>& candidates, const SocSpec& soc)
{
    std::vector<CostedCandidate> costed;
    GroupLoad load;
    for (const FlashAttentionTiling& candidate : candidates) {
        if (!CheckTiling(candidate, soc).empty()) {
            continue;
        }
        // Neighbours in the list share their block sizes, so their load.
        const FlashAttentionTiling* last = costed.empty() ? nullptr : costed.back().tiling;
        if (last == nullptr || last->blockQ != candidate.blockQ || last->blockKv != candidate.blockKv) {
            load = BusiestGroup(candidate);
        }
        costed.push_back({&candidate, ModelCost(candidate, soc, load).cycles});
    }
    return costed;
}

// The first candidate whose cost the model cannot tell from the least.
std::optional<FlashAttentionTiling> Choose(const std::vector<FlashAttentionTiling>& candidates, const SocSpec& soc)
{
    std::vector<CostedCandidate> costed = CostCandidates(candidates, soc);
    const auto waits = [](const CostedCandidate& one) { return one.tiling->preload < LEAST_PRELOAD; };
    if (!std::all_of(costed.begin(), costed.end(), waits)) {
        costed.erase(std::remove_if(costed.begin(), costed.end(), waits), costed.end());
    }
    double least = std::numeric_limits<double>::infinity();
    for (const CostedCandidate& candidate : costed) {
        least = std::min(least, candidate.cycles);
    }
    for (const CostedCandidate& candidate : costed) {
        if (candidate.cycles <= least * (1 + MODEL_RESOLUTION)) {
            return *candidate.tiling;
        }
    }
    return std::nullopt;
}

// What stands in the way of the candidate that breaks the fewest rules: those that the overrides cannot help.
Reasons FewestReasons(const std::vector<FlashAttentionTiling>& candidates, const SocSpec& soc)
{
    Reasons fewest;
    for (const FlashAttentionTiling& candidate : candidates) {
        Reasons reasons = CheckTiling(candidate, soc);
        if (fewest.empty() || reasons.size() < fewest.size()) {
            fewest = std::move(reasons);
        }
    }
    return fewest;
}

}  // namespace

std::vector<RankedTiling> RankTilings(const Problem& problem, const SocSpec& soc, const Overrides& overrides)
{
    MakePlan(problem, soc, overrides);  // refuses what has no candidate
    const std::vector<FlashAttentionTiling> candidates = MakeCandidates(TilingOfProblem(problem), soc, overrides);
    std::vector<RankedTiling> ranked;
    for (const CostedCandidate& candidate : CostCandidates(candidates, soc)) {
        ranked.push_back({*candidate.tiling, candidate.cycles});
    }
    std::stable_sort(ranked.begin(), ranked.end(),
                     [](const RankedTiling& a, const RankedTiling& b) { return a.cycles < b.cycles; });
    return ranked;
}

Plan MakePlan(const Problem& problem, const SocSpec& soc, const Overrides& overrides)
{
    const std::string headline = "no flash attention plan on " + soc.name;
    Reasons reasons = CheckProblem(problem, soc);
    const bool problemOk = reasons.empty();
    Overrides usable = overrides;
    for (Reason& reason : TakeBadOverrides(usable)) {
        reasons.push_back(std::move(reason));
    }
    if (!problemOk) {
        throw Refusal(headline, std::move(reasons));
    }
    const std::vector<FlashAttentionTiling> candidates = MakeCandidates(TilingOfProblem(problem), soc, usable);
    const std::optional<FlashAttentionTiling> best = Choose(candidates, soc);
    if (!best) {
        for (Reason& reason : FewestReasons(candidates, soc)) {
            reasons.push_back(std::move(reason));
        }
    }
    if (!reasons.empty()) {
        throw Refusal(headline, std::move(reasons));
    }
    return {*best, best->workspaceBytesPerGroup * best->blockDim, PlaceBuffers(*best, soc),
            ModelCost(*best, soc, BusiestGroup(*best)), ModelLimit(*best, soc)};
}

}  // namespace fastattn
