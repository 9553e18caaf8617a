// See stalls.h. The scalar unit is left out: it runs ahead of the pipes and holds nobody up while it is idle.
#include "stalls.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace ascend_sim {

namespace {

constexpr float SHORTEST_GAP_CYCLES = 0.5F;

// What a pipe has been held up by since its last instruction: the wait that ended last.
struct Held {
    float until = 0;
    StallCause cause = StallCause::ISSUE;
    Pipe from = Pipe::S;
    uint16_t id = 0;
    uint32_t site = 0;
};

class GapFinder {
public:
    GapFinder(const CoreTrace& trace, const std::vector<Span>& spans, const std::vector<float>& times)
        : trace_(trace), spans_(spans), times_(times)
    {
    }

    std::vector<Gap> Run(float kernelEnd)
    {
        for (uint32_t i = 0; i < trace_.records.size(); ++i) Visit(i);
        for (uint32_t p = 0; p < PIPES; ++p) {
            if (used_[p]) Add(static_cast<Pipe>(p), {0, StallCause::END, Pipe::S, 0, 0}, ends_[p], kernelEnd, 0);
        }
        return std::move(gaps_);
    }

private:
    void Visit(uint32_t i)
    {
        const Record& record = trace_.records[i];
        switch (record.step) {
            case Step::OP: Instruction(i); break;
            case Step::WAIT_FLAG:
                Hold(record.peer, {times_[i], StallCause::FLAG, record.pipe, record.id, record.site});
                break;
            case Step::CROSS_WAIT: HoldAll({times_[i], StallCause::CROSS_CORE, Pipe::S, record.id, record.site}); break;
            case Step::BARRIER: {
                const Held held{times_[i], StallCause::BARRIER, record.pipe, 0, record.site};
                record.pipe == Pipe::ALL ? HoldAll(held) : Hold(record.pipe, held);
                break;
            }
            default: break;
        }
    }

    void Hold(Pipe pipe, const Held& held)
    {
        Held& now = held_[static_cast<uint32_t>(pipe)];
        if (held.until > now.until) now = held;
    }

    void HoldAll(const Held& held)
    {
        for (uint32_t p = 0; p < PIPES; ++p) Hold(static_cast<Pipe>(p), held);
    }

    void Instruction(uint32_t i)
    {
        const Record& record = trace_.records[i];
        if (record.pipe == Pipe::S) return;
        const auto p = static_cast<uint32_t>(record.pipe);
        const float start = spans_[i].start;
        if (!used_[p]) {
            Add(record.pipe, {0, StallCause::START, Pipe::S, 0, record.site}, 0, start, i);
        } else {
            const float held = std::clamp(held_[p].until, ends_[p], std::max(ends_[p], start));
            Add(record.pipe, held_[p], ends_[p], held, i);
            Add(record.pipe, {0, StallCause::ISSUE, Pipe::S, 0, record.site}, held, start, i);
        }
        used_[p] = true;
        ends_[p] = std::max(ends_[p], spans_[i].end);
        held_[p] = {};
    }

    void Add(Pipe pipe, const Held& held, float start, float end, uint32_t record)
    {
        if (end - start < SHORTEST_GAP_CYCLES) return;
        gaps_.push_back({pipe, held.cause, held.from, held.id, held.site, record, start, end});
    }

    const CoreTrace& trace_;
    const std::vector<Span>& spans_;
    const std::vector<float>& times_;
    std::array<Held, PIPES> held_{};
    std::array<float, PIPES> ends_{};
    std::array<bool, PIPES> used_{};
    std::vector<Gap> gaps_;
};

}  // namespace

std::vector<Gap> FindGaps(const CoreTrace& trace, const std::vector<Span>& spans, const std::vector<float>& times,
                          float kernelEnd)
{
    return GapFinder(trace, spans, times).Run(kernelEnd);
}

float KernelEnd(const Timing& timing)
{
    float end = 0;
    for (const std::vector<Span>& spans : timing.spans) {
        for (const Span& span : spans) end = std::max(end, span.end);
    }
    return end;
}

std::vector<Stall> SumStalls(const std::vector<const CoreTrace*>& traces, const Timing& timing, const SyncView& sync,
                             const std::vector<uint32_t>& siteOf)
{
    const float kernelEnd = KernelEnd(timing);
    std::map<std::tuple<CoreKind, Pipe, StallCause, Pipe, uint16_t, uint32_t>, Stall> sums;
    for (size_t t = 0; t < traces.size(); ++t) {
        for (Gap& gap : FindGaps(*traces[t], timing.spans[t], sync.times[t], kernelEnd)) {
            gap.site = siteOf[gap.site];
            Stall& sum = sums[{traces[t]->kind, gap.pipe, gap.cause, gap.from, gap.id, gap.site}];
            sum.kind = traces[t]->kind;
            sum.gap = gap;
            sum.cycles += static_cast<double>(gap.end) - gap.start;
            ++sum.count;
        }
    }
    std::vector<Stall> stalls;
    for (const auto& [key, sum] : sums) stalls.push_back(sum);
    return stalls;
}

}  // namespace ascend_sim
