// Candidates (a small first block, then equal tokens, equal computing, or growing blocks; the same reversed), then
// steps downhill: one boundary moved, one block split or merged. Costs come from a fluid model of the two pipelines.
#include "token_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace fastattn {
namespace {

constexpr double MB = 1024.0 * 1024.0;
constexpr int MAX_DESCENTS = 60;

double ComputeUpTo(const BlockProblem& p, int64_t tokens)
{
    const double at = static_cast<double>(tokens) / static_cast<double>(p.granule);
    const auto whole = static_cast<size_t>(at);
    const double before = whole == 0 ? 0 : p.computeUs[std::min(whole, p.computeUs.size()) - 1];
    if (whole >= p.computeUs.size()) return before;
    return before + (p.computeUs[whole] - before) * (at - static_cast<double>(whole));
}

// Both pipelines in time: computing goes on without waiting, a block's AllReduce follows its commit and its
// predecessor, and what runs side by side runs slower.
class Fluid {
public:
    Fluid(const BlockProblem& p, const TokenBlocks& blocks) : p_(p), blocks_(blocks) {}

    OverlapCost Run()
    {
        double done = 0;  // computing, at full rate
        size_t sent = 0;
        double linkLeft = 0;
        Commits();
        const double total = ready_.back();
        while (sent < blocks_.size() || linkLeft > 0) {
            if (linkLeft <= 0 && done >= ready_[sent]) {
                linkLeft = p_.link.Us(static_cast<double>(blocks_[sent++]) * p_.bytesPerToken);
                continue;
            }
            const bool computes = done < total;
            const bool sends = linkLeft > 0;
            const double rate = computes && sends ? 1 / p_.slowdown : 1;
            double step = sends ? linkLeft / rate : std::numeric_limits<double>::infinity();
            const double next = sends || sent >= blocks_.size() ? total : ready_[sent];
            if (computes) step = std::min(step, (next - done) / rate);
            cost_.pipelinedUs += step;
            if (computes) done = step * rate >= next - done ? next : done + step * rate;
            if (sends) {
                cost_.linkBusyUs += step;
                linkLeft -= step * rate;
                if (linkLeft < 1e-9) linkLeft = 0;
            }
            if (sends && computes) cost_.hiddenUs += step;
        }
        return cost_;
    }

private:
    // Where in the computing each block is committed.
    void Commits()
    {
        int64_t tokens = 0;
        const double blocksUs = static_cast<double>(blocks_.size()) * p_.blockUs;
        const double total = ComputeUpTo(p_, p_.tokens) + blocksUs;
        for (size_t i = 0; i < blocks_.size(); ++i) {
            tokens += blocks_[i];
            const double at = ComputeUpTo(p_, tokens) + static_cast<double>(i + 1) * p_.blockUs;
            const double late = std::min(total, at + p_.lagUsPerToken * static_cast<double>(blocks_[i]));
            ready_.push_back(ready_.empty() ? late : std::max(late, ready_.back()));
        }
    }

    const BlockProblem& p_;
    const TokenBlocks& blocks_;
    std::vector<double> ready_;
    OverlapCost cost_;
};

int64_t RoundGranule(const BlockProblem& p, double tokens)
{
    const double granules = std::round(tokens / static_cast<double>(p.granule));
    return std::max<int64_t>(1, static_cast<int64_t>(granules)) * p.granule;
}

// Cuts what is left after the last whole block off; a short rest joins its neighbour.
void TakeRest(const BlockProblem& p, TokenBlocks& blocks, int64_t left)
{
    if (left <= 0) return;
    if (!blocks.empty() && 2 * left < p.granule) {
        blocks.back() += left;
    } else {
        blocks.push_back(left);
    }
}

TokenBlocks EqualTokens(const BlockProblem& p, int64_t first, int64_t size)
{
    TokenBlocks blocks;
    int64_t left = p.tokens;
    for (int64_t next = first; left >= next; next = size) {
        blocks.push_back(next);
        left -= next;
    }
    TakeRest(p, blocks, left);
    return blocks;
}

TokenBlocks Growing(const BlockProblem& p, int64_t first, double ratio)
{
    TokenBlocks blocks;
    int64_t left = p.tokens;
    for (auto next = static_cast<double>(first); left > 0; next *= ratio) {
        const int64_t size = std::min(left, RoundGranule(p, next));
        blocks.push_back(size);
        left -= size;
    }
    return blocks;
}

// A first block, and `count` more of equal computing.
TokenBlocks EqualCompute(const BlockProblem& p, int64_t first, int64_t count)
{
    TokenBlocks blocks;
    int64_t begin = std::min(first, p.tokens);
    blocks.push_back(begin);
    const double start = ComputeUpTo(p, begin);
    const double total = ComputeUpTo(p, p.tokens);
    for (int64_t i = 1; i <= count && begin < p.tokens; ++i) {
        const double target = start + (total - start) * static_cast<double>(i) / static_cast<double>(count);
        int64_t end = begin;
        while (end < p.tokens && ComputeUpTo(p, end) < target) end = std::min(p.tokens, end + p.granule);
        if (end > begin) blocks.push_back(end - begin);
        begin = end;
    }
    TakeRest(p, blocks, p.tokens - begin);
    return blocks;
}

std::vector<TokenBlocks> Candidates(const BlockProblem& p)
{
    std::vector<TokenBlocks> all = {{p.tokens}};
    for (int64_t first = p.granule; first < p.tokens; first *= 2) {
        for (int64_t size = p.granule; size < p.tokens; size *= 2) all.push_back(EqualTokens(p, first, size));
        for (const double ratio : {1.25, 1.5, 2.0, 3.0}) all.push_back(Growing(p, first, ratio));
        for (int64_t count = 1; count <= 32; count += count < 8 ? 1 : 4) all.push_back(EqualCompute(p, first, count));
    }
    const size_t forward = all.size();
    for (size_t i = 0; i < forward; ++i) all.emplace_back(all[i].rbegin(), all[i].rend());
    return all;
}

bool Fits(const TokenBlocks& blocks, size_t maxRuns)
{
    return RunsOf(blocks).size() <= maxRuns &&
           std::all_of(blocks.begin(), blocks.end(), [](int64_t tokens) { return tokens > 0; });
}

// Every schedule one step away.
std::vector<TokenBlocks> Neighbours(const BlockProblem& p, const TokenBlocks& blocks)
{
    std::vector<TokenBlocks> all;
    for (size_t i = 0; i < blocks.size(); ++i) {
        for (const int64_t shift : {-4 * p.granule, -p.granule, p.granule, 4 * p.granule}) {
            if (i + 1 == blocks.size()) break;
            TokenBlocks moved = blocks;
            moved[i] += shift;
            moved[i + 1] -= shift;
            all.push_back(moved);
        }
        if (i + 1 < blocks.size()) {
            TokenBlocks merged = blocks;
            merged[i] += merged[i + 1];
            merged.erase(merged.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            all.push_back(merged);
        }
        const int64_t half = RoundGranule(p, static_cast<double>(blocks[i]) / 2);
        if (half < blocks[i]) {
            TokenBlocks split = blocks;
            split[i] -= half;
            split.insert(split.begin() + static_cast<std::ptrdiff_t>(i), half);
            all.push_back(split);
        }
    }
    return all;
}

}  // namespace

double LinkCurve::Us(double bytes) const
{
    if (bytes < switchBytes) return (smallUsPerByte - smallBendUsPerByte2 * bytes) * bytes + smallUs;
    return largeUsPerByte * bytes + largeUs;
}

LinkCurve CurveOf(const SocSpec& soc, int64_t ranks)
{
    const double mb = soc.linkMeasuredRanks / static_cast<double>(ranks) / MB;  // of the measured curve, per byte
    if (ranks < 2) return {};
    return {soc.linkSwitchMb / mb, soc.linkSmallUsPerMb * mb, soc.linkSmallBendUsPerMb2 * mb * mb,
            soc.linkSmallUs,       soc.linkLargeUsPerMb * mb, soc.linkLargeUs};
}

Reasons CheckBlockProblem(const BlockProblem& p)
{
    Reasons reasons;
    if (p.tokens < 1) reasons.push_back({"tokens", std::to_string(p.tokens), "at least 1", "pass some tokens"});
    if (p.granule < 1) reasons.push_back({"granule", std::to_string(p.granule), "at least 1", "correct it"});
    if (p.slowdown < 1) reasons.push_back({"slowdown", NumberText(p.slowdown), "at least 1", "correct it"});
    const int64_t granules = p.granule < 1 ? 0 : (p.tokens + p.granule - 1) / p.granule;
    if (static_cast<int64_t>(p.computeUs.size()) != granules ||
        !std::is_sorted(p.computeUs.begin(), p.computeUs.end())) {
        reasons.push_back({"compute_us", std::to_string(p.computeUs.size()) + " values",
                           "one for each granule, " + std::to_string(granules) + ", not decreasing", "correct it"});
    }
    return reasons;
}

OverlapCost CostOfBlocks(const BlockProblem& p, const TokenBlocks& blocks)
{
    OverlapCost cost = Fluid(p, blocks).Run();
    cost.computeUs = ComputeUpTo(p, p.tokens) + p.blockUs;
    cost.linkUs = p.link.Us(static_cast<double>(p.tokens) * p.bytesPerToken);
    cost.sequentialUs = cost.computeUs + cost.linkUs;
    return cost;
}

TokenBlocks ChooseTokenBlocks(const BlockProblem& p, size_t maxRuns)
{
    TokenBlocks best = {p.tokens};
    const double sequential = CostOfBlocks(p, best).sequentialUs;
    double least = sequential;
    const auto consider = [&](const std::vector<TokenBlocks>& all) {
        bool better = false;
        for (const TokenBlocks& blocks : all) {
            if (!Fits(blocks, maxRuns)) continue;
            const double us = Fluid(p, blocks).Run().pipelinedUs;
            if (us >= least * (1 - 1e-9)) continue;
            least = us;
            best = blocks;
            better = true;
        }
        return better;
    };
    consider(Candidates(p));
    for (int i = 0; i < MAX_DESCENTS && consider(Neighbours(p, TokenBlocks(best))); ++i) {
    }
    return least < sequential * (1 - MIN_GAIN) ? best : TokenBlocks{p.tokens};
}

std::vector<std::pair<int64_t, int64_t>> RunsOf(const TokenBlocks& blocks)
{
    std::vector<std::pair<int64_t, int64_t>> runs;
    for (const int64_t tokens : blocks) {
        if (!runs.empty() && runs.back().first == tokens && runs.back().second < 255) {
            ++runs.back().second;
        } else {
            runs.emplace_back(tokens, 1);
        }
    }
    return runs;
}

}  // namespace fastattn
