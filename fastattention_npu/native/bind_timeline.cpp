// Columns travel without a copy: each vector moves into a capsule that the NumPy array keeps.
#include "bind_timeline.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <utility>

namespace fastattn {
namespace {

namespace nb = nanobind;

template <class T>
nb::object Column(std::vector<T>&& values)
{
    auto* kept = new std::vector<T>(std::move(values));
    const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(kept->data(), {kept->size()}, owner));
}

nb::dict EventsDict(ascend_sim::EventColumns&& events)
{
    nb::dict columns;
    columns["core"] = Column(std::move(events.core));
    columns["pipe"] = Column(std::move(events.pipe));
    columns["kind"] = Column(std::move(events.kind));
    columns["start"] = Column(std::move(events.start));
    columns["end"] = Column(std::move(events.end));
    columns["name"] = Column(std::move(events.name));
    columns["site"] = Column(std::move(events.site));
    columns["detail"] = Column(std::move(events.detail));
    columns["from"] = Column(std::move(events.from));
    columns["gm_bytes"] = Column(std::move(events.gmBytes));
    return columns;
}

nb::dict ArrowsDict(ascend_sim::ArrowColumns&& arrows)
{
    nb::dict columns;
    columns["from"] = Column(std::move(arrows.from));
    columns["to"] = Column(std::move(arrows.to));
    columns["cross"] = Column(std::move(arrows.cross));
    columns["id"] = Column(std::move(arrows.id));
    return columns;
}

nb::list StallRows(const std::vector<ascend_sim::Stall>& stalls)
{
    static const char* const causes[] = {"start", "flag", "cross_core", "barrier", "issue", "end"};
    nb::list rows;
    for (const ascend_sim::Stall& stall : stalls) {
        nb::dict row;
        row["core_kind"] = stall.kind == ascend_sim::CoreKind::AIC ? "aic" : "aiv";
        row["pipe"] = static_cast<uint32_t>(stall.gap.pipe);
        row["cause"] = causes[static_cast<uint32_t>(stall.gap.cause)];
        row["from"] = static_cast<uint32_t>(stall.gap.from);
        row["id"] = stall.gap.id;
        row["site"] = stall.gap.site;
        row["cycles"] = stall.cycles;
        row["count"] = stall.count;
        rows.append(row);
    }
    return rows;
}

nb::list HazardRows(const std::vector<ascend_sim::HazardMark>& hazards)
{
    nb::list rows;
    for (const ascend_sim::HazardMark& hazard : hazards) {
        nb::dict row;
        row["text"] = hazard.text;
        row["group"] = hazard.group;
        row["later_event"] = hazard.laterEvent;
        row["earlier_event"] = hazard.earlierEvent;
        rows.append(row);
    }
    return rows;
}

nb::list GmRows(const std::vector<ascend_sim::GmPartTraffic>& parts)
{
    nb::list rows;
    for (const ascend_sim::GmPartTraffic& part : parts) {
        nb::dict row;
        row["name"] = part.name;
        row["bytes"] = part.bytes;
        row["bytes_read"] = part.bytesRead;
        row["bytes_written"] = part.bytesWritten;
        rows.append(row);
    }
    return rows;
}

nb::list CoreRows(const std::vector<ascend_sim::TimelineCore>& cores)
{
    nb::list rows;
    for (const ascend_sim::TimelineCore& core : cores) {
        nb::dict row;
        row["group"] = core.group;
        row["core_in_group"] = core.coreInGroup;
        rows.append(row);
    }
    return rows;
}

}  // namespace

bool TakeTimelineOption(const std::string& name, nb::handle value, ascend_sim::TimelineOptions& options)
{
    if (name == "trace") {
        options.wanted = true;
        if (nb::isinstance<nb::bool_>(value)) {
            options.wanted = nb::cast<bool>(value);
        } else {
            options.allGroups = false;
            options.groups = nb::cast<std::vector<uint32_t>>(value);
        }
    } else if (name == "trace_events") {
        options.maxEvents = nb::cast<uint64_t>(value);
    } else if (name == "trace_bins") {
        options.bins = nb::cast<uint32_t>(value);
        if (options.bins == 0) throw nb::value_error("trace_bins = 0: must be at least 1");
    } else {
        return false;
    }
    return true;
}

std::vector<ascend_sim::GmPart> WorkspaceParts(const FlashAttentionTiling& tiling)
{
    const uint64_t period = tiling.workspaceBytesPerGroup;
    return {{"workspace", "workspace S", tiling.workspaceSOffsetBytes, tiling.workspacePOffsetBytes, period},
            {"workspace", "workspace P", tiling.workspacePOffsetBytes, tiling.workspaceOOffsetBytes, period},
            {"workspace", "workspace O", tiling.workspaceOOffsetBytes, period, period}};
}

nb::dict TimelineDict(ascend_sim::Timeline&& timeline)
{
    nb::dict dict;
    dict["cores"] = CoreRows(timeline.cores);
    dict["events"] = EventsDict(std::move(timeline.events));
    dict["arrows"] = ArrowsDict(std::move(timeline.arrows));
    dict["names"] = nb::cast(timeline.names);
    dict["sites"] = nb::cast(timeline.sites);
    dict["sets_without_arrow"] = timeline.setsWithoutArrow;
    dict["omitted_events"] = timeline.omittedEvents;
    dict["until_cycles"] = timeline.untilCycles;
    dict["kernel_cycles"] = timeline.kernelCycles;
    dict["hazards"] = HazardRows(timeline.hazards);
    dict["stalls"] = StallRows(timeline.stalls);
    dict["gm"] = GmRows(timeline.gm);
    dict["bins"] = timeline.bins;
    dict["utilisation"] = Column(std::move(timeline.utilisation));
    dict["busy_cycles"] = Column(std::move(timeline.busyCycles));
    dict["finish_cycles"] = Column(std::move(timeline.finishCycles));
    return dict;
}

}  // namespace fastattn
