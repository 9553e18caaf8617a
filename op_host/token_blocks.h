// Cutting the tokens into blocks whose AllReduce is sent while the next is computed: modelled time of a schedule, and
// the schedule with the least. Knows times only: op_host fills them in from its cost model, the torch engines from
// measurements. Definitions and equations: docs/allreduce.md.
#pragma once
#include <cstdint>
#include <vector>

#include "refusal.h"
#include "soc_spec.h"

namespace fastattn {

// Time of one AllReduce: of x bytes, (small - bend * x) * x + constant below the switch, large * x + constant above.
struct LinkCurve {
    double switchBytes = 0;
    double smallUsPerByte = 0;
    double smallBendUsPerByte2 = 0;
    double smallUs = 0;
    double largeUsPerByte = 0;
    double largeUs = 0;

    double Us(double bytes) const;
};

// The curve of a SoC's links for so many ranks.
LinkCurve CurveOf(const SocSpec& soc, int64_t ranks);

struct BlockProblem {
    int64_t tokens = 0;
    int64_t granule = 0;            // blocks are multiples of it, but for the last
    std::vector<double> computeUs;  // of the tokens before each granule's end: cumulative
    double lagUsPerToken = 0;       // between a block's computing and its commit
    double blockUs = 0;             // what a block costs by itself: launches, synchronisation
    double bytesPerToken = 0;
    double slowdown = 1;  // of computing and of the links, side by side
    LinkCurve link;
};

struct OverlapCost {
    double pipelinedUs = 0;
    double sequentialUs = 0;  // everything computed, then one AllReduce
    double computeUs = 0;
    double linkUs = 0;      // one AllReduce of everything
    double hiddenUs = 0;    // in which links and cores are busy together
    double linkBusyUs = 0;  // of the pipelined form
};

using TokenBlocks = std::vector<int64_t>;

Reasons CheckBlockProblem(const BlockProblem& problem);
OverlapCost CostOfBlocks(const BlockProblem& problem, const TokenBlocks& blocks);

// The cheapest blocks found; a single one where cutting gains less than MIN_GAIN.
constexpr double MIN_GAIN = 0.05;  // simulated, cuts that the model says gain 2 to 4 % lose
TokenBlocks ChooseTokenBlocks(const BlockProblem& problem, size_t maxRuns);

// Runs of equal blocks: (tokens, blocks).
std::vector<std::pair<int64_t, int64_t>> RunsOf(const TokenBlocks& blocks);

}  // namespace fastattn
