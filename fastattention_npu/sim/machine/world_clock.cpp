// See world_clock.h.
#include "world_clock.h"

#include <algorithm>
#include <deque>
#include <limits>

#include "replay.h"

namespace ascend_sim {

namespace {

constexpr double NEVER = std::numeric_limits<double>::infinity();
constexpr double MB = 1024.0 * 1024.0;

// A rank's own cycles against those that all ranks share: straight pieces, each with its rate.
class Dilation {
public:
    double ToShared(double own) const
    {
        const Piece& piece = *std::prev(
            std::upper_bound(pieces_.begin(), pieces_.end(), own, [](double x, const Piece& p) { return x < p.own; }));
        return piece.shared + (own - piece.own) / piece.rate;
    }
    double ToOwn(double shared) const
    {
        const Piece& piece = pieces_.back();
        return piece.own + (shared - piece.shared) * piece.rate;
    }
    void SetRate(double shared, double rate)
    {
        const double own = ToOwn(shared);
        pieces_.push_back({own, shared, rate});
    }

private:
    struct Piece {
        double own;
        double shared;
        double rate;  // own cycles a shared one
    };
    std::vector<Piece> pieces_ = {{0, 0, 1}};
};

class Rank {
public:
    Rank(const fastattn::SocSpec& soc, const std::vector<const CoreTrace*>& traces, bool keepSpans)
        : replay_(soc, traces, L2Cache(soc.l2Bytes, AddressEnd(traces)), keepSpans)
    {
        Refresh();
    }

    // In shared time: the rank's next event; infinite when it waits or has finished.
    double Next() const { return next_ < NEVER ? time_.ToShared(next_) : NEVER; }
    bool Computes() const { return next_ < NEVER; }
    uint32_t Committed() const { return committed_; }

    void Advance()
    {
        const double now = next_;
        if (!commits_.empty() && commits_.front().time <= now) {
            commits_.pop_front();
            ++committed_;
        } else if (copies_ <= now) {
            replay_.AdvanceTo(copies_);
        } else {
            quiet_ = now;
        }
        Refresh();
    }
    void Complete(uint32_t ordinal, double shared)
    {
        replay_.CompleteTask(ordinal, time_.ToOwn(shared));
        Refresh();
    }
    void SetRate(double shared, double rate) { time_.SetRate(shared, rate); }

    Timing Collect(double launchCycles)
    {
        Timing timing = replay_.Collect();
        timing.cycles = time_.ToShared(timing.cycles - launchCycles) + launchCycles;
        for (std::vector<Span>& spans : timing.spans) {
            for (Span& span : spans) {
                span = {static_cast<float>(time_.ToShared(span.start)), static_cast<float>(time_.ToShared(span.end))};
            }
        }
        return timing;
    }

private:
    // The next of: a commit, a copy's start or end, the end of everything that runs by itself.
    void Refresh()
    {
        copies_ = replay_.NextTime();
        for (const HcclPost& post : replay_.TakeCommits()) commits_.push_back(post);
        next_ = copies_;
        if (!commits_.empty()) next_ = std::min(next_, commits_.front().time);
        const double end = replay_.End();
        if (next_ == NEVER && end > quiet_) next_ = end;
    }

    Replay replay_;
    Dilation time_;
    std::deque<HcclPost> commits_;
    double copies_ = 0;
    double next_ = 0;
    double quiet_ = 0;
    uint32_t committed_ = 0;
};

class World {
public:
    World(const fastattn::SocSpec& soc, const std::vector<std::vector<const CoreTrace*>>& traces, uint32_t ranks,
          const std::vector<uint64_t>& taskBytes, bool keepSpans)
        : soc_(soc), count_(ranks), taskBytes_(taskBytes)
    {
        for (const auto& rank : traces) ranks_.emplace_back(soc, rank, keepSpans);
    }

    WorldTiming Run()
    {
        for (;;) {
            const auto first = std::min_element(ranks_.begin(), ranks_.end(),
                                                [](const Rank& a, const Rank& b) { return a.Next() < b.Next(); });
            const double end = active_ ? now_ + remaining_ / LinkRate() : NEVER;
            if (first->Next() == NEVER && end == NEVER) break;
            if (first->Next() <= end) {
                MoveTo(first->Next());
                first->Advance();
            } else {
                MoveTo(end);
                EndTask();
            }
            if (!active_) StartTask();
        }
        for (Rank& rank : ranks_) {
            result_.ranks.push_back(rank.Collect(soc_.launchCycles));
            result_.cycles = std::max(result_.cycles, result_.ranks.back().cycles);
        }
        return std::move(result_);
    }

private:
    bool Computes() const
    {
        return std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.Computes(); });
    }
    double LinkRate() const { return Computes() ? 1 / soc_.linkSlowdown : 1; }

    void MoveTo(double time)
    {
        const double cycles = std::max(0.0, time - now_);
        const bool computes = Computes();
        if (computes) result_.computeCycles += cycles;
        if (active_) result_.linkCycles += cycles;
        if (active_ && computes) result_.overlapCycles += cycles;
        if (active_) remaining_ -= cycles * LinkRate();
        now_ = std::max(now_, time);
    }

    void SetRates(double rate)
    {
        for (Rank& rank : ranks_) rank.SetRate(now_, rate);
    }

    void StartTask()
    {
        const size_t next = result_.tasks.size();
        const bool ready =
            next < taskBytes_.size() &&
            std::all_of(ranks_.begin(), ranks_.end(), [next](const Rank& r) { return r.Committed() > next; });
        if (!ready) return;
        active_ = true;
        remaining_ = AllReduceCycles(soc_, count_, static_cast<double>(taskBytes_[next]));
        result_.tasks.push_back({static_cast<uint32_t>(next + 1), taskBytes_[next], now_, now_, now_});
        SetRates(1 / soc_.linkSlowdown);
    }

    void EndTask()
    {
        active_ = false;
        result_.tasks.back().end = now_;
        SetRates(1);
        for (Rank& rank : ranks_) rank.Complete(static_cast<uint32_t>(result_.tasks.size()), now_);
    }

    const fastattn::SocSpec& soc_;
    uint32_t count_;
    const std::vector<uint64_t>& taskBytes_;
    std::deque<Rank> ranks_;
    double now_ = 0;
    bool active_ = false;
    double remaining_ = 0;  // cycles of the active task at full rate
    WorldTiming result_;
};

}  // namespace

// On a full mesh every pair of ranks has a link of its own, and each link carries 1 / ranks of the operand twice. The
// measured curve is of eight ranks; others are its value at the same bytes a link.
double AllReduceCycles(const fastattn::SocSpec& soc, uint32_t ranks, double bytes)
{
    if (ranks < 2) return 0;
    const double mb = bytes / MB * soc.linkMeasuredRanks / ranks;
    const double us = mb < soc.linkSwitchMb
                          ? (soc.linkSmallUsPerMb - soc.linkSmallBendUsPerMb2 * mb) * mb + soc.linkSmallUs
                          : soc.linkLargeUsPerMb * mb + soc.linkLargeUs;
    return us * soc.clockMhz;
}

WorldTiming ComputeWorldTiming(const fastattn::SocSpec& soc, const std::vector<std::vector<const CoreTrace*>>& traces,
                               uint32_t ranks, const std::vector<uint64_t>& taskBytes, bool keepSpans)
{
    return World(soc, traces, ranks, taskBytes, keepSpans).Run();
}

}  // namespace ascend_sim
