// See timeline.h. The chosen core groups are written out event by event; sums are over all of them.
#include "timeline.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <unordered_set>

namespace ascend_sim {

namespace {

constexpr int64_t NONE = -1;

// "op_kernel/a/../b.h" reads better without the detour.
std::string SiteText(const CallSite& site)
{
    std::string text = Describe(site);
    for (size_t up = text.find("/../"); up != std::string::npos && up > 0; up = text.find("/../")) {
        const size_t folder = text.rfind('/', up - 1);
        if (folder == std::string::npos) break;
        text.erase(folder, up + 3 - folder);
    }
    return text;
}

class Builder {
public:
    Builder(Launch& launch, const LaunchResult& result, const Timing& timing, const TimelineOptions& options)
        : result_(result),
          timing_(timing),
          options_(options),
          sync_(ResolveSync(result.traces, timing)),
          gm_(launch.Gm(), options.gmParts)
    {
        timeline_.kernelCycles = KernelEnd(timing);
        timeline_.bins = options.bins;
        timeline_.names = result.names;
        MergeSites(result.sites);
    }

    Timeline Run()
    {
        ChooseCores();
        FindCut();
        for (size_t i = 0; i < timeline_.cores.size(); ++i) AddCore(static_cast<uint16_t>(i));
        AddArrows();
        AddHazards();
        AddTotals();
        return std::move(timeline_);
    }

private:
    const CoreTrace& TraceAt(uint32_t trace) const { return *result_.traces[trace]; }

    std::vector<Gap> GapsOf(uint32_t trace) const
    {
        return FindGaps(TraceAt(trace), timing_.spans[trace], sync_.times[trace],
                        static_cast<float>(timeline_.kernelCycles));
    }

    // Every host thread interned the call sites for itself; a reader wants one id a kernel line.
    void MergeSites(const std::vector<CallSite>& sites)
    {
        std::map<std::string, uint32_t> known;
        for (const CallSite& site : sites) {
            const std::string text = SiteText(site);
            const auto [entry, added] = known.emplace(text, static_cast<uint32_t>(timeline_.sites.size()));
            if (added) timeline_.sites.push_back(text);
            mergedSite_.push_back(entry->second);
        }
    }

    void ChooseCores()
    {
        const std::unordered_set<uint32_t> wanted(options_.groups.begin(), options_.groups.end());
        for (uint32_t t = 0; t < result_.traces.size(); ++t) {
            const CoreTrace& trace = TraceAt(t);
            if (!options_.allGroups && wanted.count(trace.group) == 0) continue;
            timeline_.cores.push_back({t, trace.group, trace.coreInGroup});
        }
        eventOfRecord_.resize(result_.traces.size());
    }

    // Keeps the events that start first, so that what is shown is complete up to some moment.
    void FindCut()
    {
        std::vector<float> starts;
        for (const TimelineCore& core : timeline_.cores) {
            const auto& records = TraceAt(core.trace).records;
            for (size_t i = 0; i < records.size(); ++i) {
                const bool shown = records[i].step == Step::OP || records[i].step == Step::CROSS_WAIT;
                if (shown) starts.push_back(timing_.spans[core.trace][i].start);
            }
            for (const Gap& gap : GapsOf(core.trace)) starts.push_back(gap.start);
        }
        cut_ = std::numeric_limits<float>::infinity();
        timeline_.untilCycles = timeline_.kernelCycles;
        if (starts.size() <= options_.maxEvents) return;
        const auto nth = starts.begin() + static_cast<std::ptrdiff_t>(options_.maxEvents);
        std::nth_element(starts.begin(), nth, starts.end());
        cut_ = *nth;
        timeline_.untilCycles = cut_;
        timeline_.omittedEvents = static_cast<uint64_t>(
            std::count_if(starts.begin(), starts.end(), [this](float start) { return start >= cut_; }));
    }

    struct Row {
        uint16_t core;
        Pipe pipe;
        EventKind kind;
        Span span;
        uint16_t name = 0;
        uint32_t site = 0;
        int16_t detail = -1;
        Pipe from = Pipe::S;
        uint64_t gmBytes = 0;
    };

    void Append(const Row& row)
    {
        EventColumns& events = timeline_.events;
        events.core.push_back(row.core);
        events.pipe.push_back(static_cast<uint8_t>(row.pipe));
        events.kind.push_back(static_cast<uint8_t>(row.kind));
        events.start.push_back(row.span.start);
        events.end.push_back(row.span.end);
        events.name.push_back(row.name);
        events.site.push_back(mergedSite_[row.site]);
        events.detail.push_back(row.detail);
        events.from.push_back(static_cast<uint8_t>(row.from));
        events.gmBytes.push_back(row.gmBytes);
    }

    void AddCore(uint16_t index)
    {
        const uint32_t t = timeline_.cores[index].trace;
        const CoreTrace& trace = TraceAt(t);
        std::vector<int64_t>& events = eventOfRecord_[t];
        events.assign(trace.records.size(), NONE);
        size_t access = 0;
        for (uint32_t i = 0; i < trace.records.size(); ++i) {
            const Record& record = trace.records[i];
            const Span span = timing_.spans[t][i];
            Row row{index, record.pipe, EventKind::INSTRUCTION, span, record.name, record.site};
            if (record.step == Step::CROSS_WAIT) {
                row.kind = EventKind::CROSS_WAIT;
                row.detail = static_cast<int16_t>(record.id);
            } else if (record.step != Step::OP) {
                continue;
            }
            for (; access < trace.gmAccesses.size() && trace.gmAccesses[access].record <= i; ++access) {
                if (trace.gmAccesses[access].record < i) continue;
                row.detail = static_cast<int16_t>(gm_.PartOf(trace.gmAccesses[access].address));
                row.gmBytes += trace.gmAccesses[access].bytes;
            }
            if (span.start >= cut_) continue;
            events[i] = static_cast<int64_t>(timeline_.events.start.size());
            Append(row);
        }
        for (const Gap& gap : GapsOf(t)) {
            if (gap.start >= cut_) continue;
            const auto kind =
                static_cast<EventKind>(static_cast<uint8_t>(EventKind::FIRST_STALL) + static_cast<uint8_t>(gap.cause));
            Append({index, gap.pipe, kind, {gap.start, gap.end}, 0, gap.site, static_cast<int16_t>(gap.id), gap.from});
        }
    }

    // Per record of a set: the event of the last instruction before it on its pipe. Of a wait: of the next one after
    // it on the pipe that waits; a cross-core wait is an event itself.
    std::vector<int64_t> Anchors(uint32_t t) const
    {
        const auto& records = TraceAt(t).records;
        std::vector<int64_t> anchors(records.size(), NONE);
        std::array<int64_t, PIPES> last;
        std::array<std::vector<uint32_t>, PIPES> waiting;
        last.fill(NONE);
        for (uint32_t i = 0; i < records.size(); ++i) {
            const Record& record = records[i];
            const auto pipe = static_cast<uint32_t>(record.pipe);
            if (record.step == Step::OP) {
                last[pipe] = eventOfRecord_[t][i];
                for (const uint32_t wait : waiting[pipe]) anchors[wait] = last[pipe];
                waiting[pipe].clear();
            } else if (record.step == Step::SET_FLAG || record.step == Step::CROSS_SET) {
                anchors[i] = last[pipe];
            } else if (record.step == Step::WAIT_FLAG) {
                waiting[static_cast<uint32_t>(record.peer)].push_back(i);
            } else if (record.step == Step::CROSS_WAIT) {
                anchors[i] = eventOfRecord_[t][i];
            }
        }
        return anchors;
    }

    void AddArrows()
    {
        std::vector<std::vector<int64_t>> anchors(result_.traces.size());
        for (const TimelineCore& core : timeline_.cores) anchors[core.trace] = Anchors(core.trace);
        for (const SyncEdge& edge : sync_.edges) {
            if (anchors[edge.set.trace].empty() || anchors[edge.wait.trace].empty()) continue;
            const int64_t from = anchors[edge.set.trace][edge.set.record];
            const int64_t to = anchors[edge.wait.trace][edge.wait.record];
            AddArrow(from, to, edge.cross ? 1 : 0, TraceAt(edge.set.trace).records[edge.set.record].id);
        }
        constexpr uint8_t UNITS = 2;
        for (const TimelineCore& core : timeline_.cores) {
            const std::vector<int64_t>& events = eventOfRecord_[core.trace];
            for (const UnitWait& wait : TraceAt(core.trace).unitWaits) {
                AddArrow(events[wait.on], events[wait.record], UNITS, 0);
            }
        }
    }

    void AddArrow(int64_t from, int64_t to, uint8_t kind, uint16_t id)
    {
        if (from == NONE || to == NONE) {
            ++timeline_.setsWithoutArrow;
            return;
        }
        ArrowColumns& arrows = timeline_.arrows;
        arrows.from.push_back(static_cast<uint32_t>(from));
        arrows.to.push_back(static_cast<uint32_t>(to));
        arrows.cross.push_back(kind);
        arrows.id.push_back(id);
    }

    int64_t EventAt(uint32_t group, const InstructionPlace& place) const
    {
        if (place.ordinal == 0) return NONE;
        const uint32_t t = group * CORES_PER_GROUP + place.thread / PIPES;
        if (t >= eventOfRecord_.size() || eventOfRecord_[t].empty()) return NONE;
        const auto pipe = static_cast<Pipe>(place.thread % PIPES);
        const auto& records = TraceAt(t).records;
        uint32_t left = place.ordinal;
        for (size_t i = 0; i < records.size(); ++i) {
            if (records[i].step != Step::OP || records[i].pipe != pipe) continue;
            if (--left == 0) return eventOfRecord_[t][i];
        }
        return NONE;
    }

    void AddHazards()
    {
        for (const auto& [group, hazard] : result_.groupHazards) {
            timeline_.hazards.push_back(
                {hazard.text, group, EventAt(group, hazard.later), EventAt(group, hazard.earlier)});
        }
    }

    void Spread(const Span& span, double binCycles, float* bins) const
    {
        const auto first = static_cast<uint32_t>(span.start / binCycles);
        for (uint32_t b = first; b < timeline_.bins && b * binCycles < span.end; ++b) {
            const double from = std::max<double>(span.start, b * binCycles);
            const double to = std::min<double>(span.end, (b + 1) * binCycles);
            bins[b] += static_cast<float>(std::max(0.0, to - from) / binCycles);
        }
    }

    void AddTotals()
    {
        const size_t traces = result_.traces.size();
        const uint32_t bins = timeline_.bins;
        const double binCycles = std::max(timeline_.kernelCycles, 1.0) / bins;
        timeline_.utilisation.assign(2UL * PIPES * bins, 0);
        timeline_.busyCycles.assign(traces * PIPES, 0);
        timeline_.finishCycles.assign(traces, 0);
        std::array<uint32_t, 2> coresOfKind{};
        for (size_t t = 0; t < traces; ++t) {
            const CoreTrace& trace = TraceAt(static_cast<uint32_t>(t));
            const auto kind = static_cast<uint32_t>(trace.kind);
            ++coresOfKind[kind];
            gm_.Count(trace);
            for (size_t i = 0; i < trace.records.size(); ++i) {
                const Span& span = timing_.spans[t][i];
                timeline_.finishCycles[t] = std::max(timeline_.finishCycles[t], span.end);
                if (trace.records[i].step != Step::OP) continue;
                const auto pipe = static_cast<uint32_t>(trace.records[i].pipe);
                timeline_.busyCycles[t * PIPES + pipe] += span.end - span.start;
                Spread(span, binCycles, &timeline_.utilisation[(kind * PIPES + pipe) * bins]);
            }
        }
        for (size_t i = 0; i < timeline_.utilisation.size(); ++i) {
            timeline_.utilisation[i] /= static_cast<float>(std::max(1U, coresOfKind[i / (PIPES * bins)]));
        }
        timeline_.gm = gm_.Parts();
        timeline_.stalls = SumStalls(result_.traces, timing_, sync_, mergedSite_);
    }

    const LaunchResult& result_;
    const Timing& timing_;
    const TimelineOptions& options_;
    SyncView sync_;
    GmSplit gm_;
    Timeline timeline_;
    float cut_ = 0;
    std::vector<uint32_t> mergedSite_;                 // per interned site: index into Timeline::sites
    std::vector<std::vector<int64_t>> eventOfRecord_;  // per trace; empty for cores that are not shown
};

}  // namespace

Timeline MakeTimeline(Launch& launch, const LaunchResult& result, const Timing& timing, const TimelineOptions& options)
{
    return Builder(launch, result, timing, options).Run();
}

}  // namespace ascend_sim
