// Python face of op_host/schedule.h: what each core group of a planned launch gets to do.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "../../op_host/schedule.h"

namespace fastattn {
namespace {

namespace nb = nanobind;

std::vector<Sequence> SequencesOf(const FlashAttentionTiling& tiling,
                                  const std::vector<std::pair<uint32_t, uint32_t>>& lengths)
{
    if (!lengths.empty() && lengths.size() != tiling.batch) {
        throw nb::value_error("lengths: one (queries, keys) pair for each batch entry, or none");
    }
    std::vector<Sequence> sequences;
    Sequence next{};
    for (const auto& [queries, keys] : lengths) {
        if (queries > tiling.seqQ || keys > tiling.seqKv) {
            throw nb::value_error("lengths: at most the s_q and s_kv of the plan");
        }
        next.lengthQ = queries;
        next.lengthKv = keys;
        sequences.push_back(next);
        next.startQ += queries;
        next.startKv += keys;
    }
    return sequences;
}

nb::list GroupWorkList(const nb::bytes& tilingBytes, const std::vector<std::pair<uint32_t, uint32_t>>& lengths)
{
    FlashAttentionTiling tiling{};
    if (tilingBytes.size() != sizeof(tiling)) {
        throw nb::value_error("tiling_bytes has the wrong size");
    }
    std::memcpy(&tiling, tilingBytes.c_str(), sizeof(tiling));
    nb::list rows;
    for (const GroupWork& work : WorkOfGroups(tiling, HostLengths(tiling, SequencesOf(tiling, lengths)))) {
        nb::dict row;
        row["share"] = work.share;
        row["units"] = work.units;
        row["blocks"] = work.blocks;
        row["pieces"] = work.pieces;
        row["parts"] = work.parts;
        row["score_fractals"] = work.scoreFractals;
        row["output_fractals"] = work.outputFractals;
        rows.append(row);
    }
    return rows;
}

}  // namespace

void BindSchedule(nb::module_& m)
{
    m.def(
        "group_work", &GroupWorkList, nb::arg("tiling_bytes"),
        nb::arg("lengths") = std::vector<std::pair<uint32_t, uint32_t>>{},
        "Work of each core group of a plan: share and units (of 32 keys x 16 rows), blocks, pieces, parts, fractals of "
        "16 x 16. lengths: "
        "(queries, keys) "
        "of each batch entry; none: all as long as the plan allows.");
}

}  // namespace fastattn
