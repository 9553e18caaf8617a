// Python face of op_host: soc_fields, limits, plan, m_mask and mask_window of the _core module. Conversion only; every
// decision and every check is op_host's. Refusals become ValueError with all reasons in the text.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <utility>

#include "../../op_host/limits.h"
#include "../../op_host/mask.h"
#include "../../op_host/plan.h"
#include "../../op_kernel/flash_attention/mask_window.h"
#include "problem_from_dict.h"
#include "python_values.h"
#include "soc_from_dict.h"

namespace fastattn {
namespace {

namespace nb = nanobind;

nb::list SocFieldNames()
{
    nb::list names;
    for (const SocField& field : SocFields()) {
        names.append(field.key);
    }
    return names;
}

nb::dict LimitsDict()
{
    nb::dict rows;
    for (const Limit& limit : Limits()) {
        nb::dict row;
        row["group"] = limit.group == LimitGroup::PROBLEM ? "problem" : "tiling";
        row["min"] = limit.min;
        row["max"] = limit.max;
        row["multiple"] = limit.multiple;
        row["why"] = limit.why;
        row["text"] = DescribeLimit(limit);
        nb::list names;
        const TilingField* field = FindTilingField(limit.key);
        for (const char* name : field != nullptr ? field->names : std::vector<const char*>()) names.append(name);
        row["names"] = names;
        rows[limit.key] = row;
    }
    return rows;
}

nb::dict TilingDict(const FlashAttentionTiling& tiling)
{
    nb::dict fields;
    for (const TilingField& field : TilingFields()) {
        const uint32_t value = tiling.*field.member;
        if (field.names.empty()) {
            fields[field.name] = value;
        } else {
            fields[field.name] = field.names.at(value);
        }
    }
    fields["softmax_scale"] = tiling.softmaxScale;
    for (const TilingOffsetField& field : TilingOffsetFields()) {
        fields[field.name] = tiling.*field.member;
    }
    for (const TilingStridesField& field : TilingStridesFields()) {
        const TensorStrides& strides = tiling.*field.member;
        fields[field.name] = nb::make_tuple(strides.batch, strides.seq, strides.head);
    }
    return fields;
}

nb::list BufferList(const std::vector<PlacedBuffer>& buffers)
{
    nb::list rows;
    for (const PlacedBuffer& buffer : buffers) {
        nb::dict row;
        row["memory"] = buffer.memory;
        row["name"] = buffer.name;
        row["offset_bytes"] = buffer.offsetBytes;
        row["slot_bytes"] = buffer.slotBytes;
        row["slots"] = buffer.slots;
        row["end_bytes"] = buffer.EndBytes();
        row["limit_bytes"] = buffer.limitBytes;
        rows.append(row);
    }
    return rows;
}

nb::dict PipeDict(const PipeCycles& cycles)
{
    nb::dict terms;
    for (const PipeField& field : PIPE_FIELDS) {
        terms[field.name] = cycles.*field.member;
    }
    return terms;
}

nb::dict ModelDict(const ModelledCost& cost, const LowerBound& limit)
{
    nb::dict limitTerms = PipeDict(limit.pipes);
    limitTerms["l2"] = limit.l2Cycles;
    limitTerms["hbm"] = limit.hbmCycles;
    nb::dict model;
    model["cycles"] = cost.cycles;
    model["limit_cycles"] = limit.cycles;
    model["bottleneck"] = limit.bottleneck;
    model["pipe_cycles"] = PipeDict(cost.busy);
    model["limit_pipe_cycles"] = limitTerms;
    model["stall_cycles"] = cost.stallCycles;
    model["fill_cycles"] = cost.fillCycles;
    model["pipeline_cycles"] = cost.pipelineCycles;
    model["l2_cycles"] = cost.l2Cycles;
    model["hbm_cycles"] = cost.hbmCycles;
    model["launch_cycles"] = cost.launchCycles;
    model["tasks"] = cost.tasks;
    model["blocks"] = cost.blocks;
    model["masked_blocks"] = cost.maskedBlocks;
    return model;
}

struct PlanRequest {
    Problem problem;
    SocSpec soc;
    Overrides overrides;
};

PlanRequest ReadRequest(nb::dict problemValues, nb::dict socValues, nb::dict overrideValues)
{
    const SocSpec soc = SocFromDict(socValues);
    Reasons reasons;
    const Problem problem = ProblemFromDict(problemValues, reasons);
    Overrides overrides = OverridesFromDict(overrideValues, reasons);
    if (!reasons.empty()) {
        for (const Reasons& more : {CheckProblem(problem, soc), TakeBadOverrides(overrides)}) {
            reasons.insert(reasons.end(), more.begin(), more.end());
        }
        throw Refusal("no flash attention plan on " + soc.name, std::move(reasons));
    }
    return {problem, soc, overrides};
}

nb::list CandidateList(nb::dict problemValues, nb::dict socValues, nb::dict overrideValues)
{
    const PlanRequest request = ReadRequest(problemValues, socValues, overrideValues);
    nb::list rows;
    for (const RankedTiling& ranked : RankTilings(request.problem, request.soc, request.overrides)) {
        nb::dict row;
        row["tiling"] = TilingDict(ranked.tiling);
        row["cycles"] = ranked.cycles;
        rows.append(row);
    }
    return rows;
}

nb::dict PlanDict(nb::dict problemValues, nb::dict socValues, nb::dict overrideValues)
{
    const PlanRequest request = ReadRequest(problemValues, socValues, overrideValues);
    const Plan plan = MakePlan(request.problem, request.soc, request.overrides);
    nb::dict answer;
    answer["tiling"] = TilingDict(plan.tiling);
    answer["tiling_bytes"] = nb::bytes(&plan.tiling, sizeof(plan.tiling));
    answer["workspace_bytes"] = plan.workspaceBytes;
    answer["block_dim"] = plan.tiling.blockDim;
    answer["buffers"] = BufferList(plan.buffers);
    answer["model"] = ModelDict(plan.cost, plan.limit);
    return answer;
}

nb::ndarray<nb::numpy, uint8_t> Own(std::vector<uint8_t> bytes, std::vector<size_t> shape)
{
    auto* data = new std::vector<uint8_t>(std::move(bytes));
    const nb::capsule owner(data, [](void* p) noexcept { delete static_cast<std::vector<uint8_t>*>(p); });
    return nb::ndarray<nb::numpy, uint8_t>(data->data(), shape.size(), shape.data(), owner);
}

uint32_t CheckedMaskBlock(int64_t maskBlock)
{
    Reasons reasons;
    CheckLimit(LimitOf("mask_block"), "mask_block", maskBlock, reasons);
    if (!reasons.empty()) {
        throw Refusal("no M-mask", std::move(reasons));
    }
    return static_cast<uint32_t>(maskBlock);
}

nb::ndarray<nb::numpy, uint8_t> MMaskArray(int64_t maskBlock)
{
    const size_t side = 2 * static_cast<size_t>(maskBlock);
    return Own(BuildMMask(CheckedMaskBlock(maskBlock)), {side, side / 8});
}

nb::ndarray<nb::numpy, uint8_t> DeviceConstantsArray(int64_t maskBlock, const std::string& mask)
{
    const TilingField& field = *FindTilingField("mask");
    const auto mode = ValueOfName(field, mask);
    if (!mode) {
        throw Refusal("no device constants", {{"mask", "'" + mask + "'", "one of " + JoinNames(field), "name one"}});
    }
    std::vector<uint8_t> bytes = BuildDeviceConstants(CheckedMaskBlock(maskBlock), static_cast<uint32_t>(*mode));
    const size_t size = bytes.size();
    return Own(std::move(bytes), {size});
}

nb::ndarray<nb::numpy, uint8_t> WindowsMaskArray(uint32_t seqQ, uint32_t seqKv, int64_t left, int64_t right)
{
    return Own(BuildWindowsMask(seqQ, seqKv, left, right), {seqQ, seqKv});
}

nb::tuple MaskWindowTuple(int64_t delta, uint32_t rows, uint32_t cols)
{
    const MaskWindow window = MakeMaskWindow(delta, rows, cols);
    const char* kinds[] = {"visible", "skipped", "partial"};
    return nb::make_tuple(kinds[static_cast<uint32_t>(window.kind)], window.row, window.col);
}

}  // namespace

void BindPlan(nb::module_& m)
{
    m.def("soc_fields", &SocFieldNames, "Keys that a SoC description must have, besides its name.");
    m.def("limits", &LimitsDict, "The table of limits: key -> group, min, max, multiple, why, text.");
    m.def("plan", &PlanDict, nb::arg("problem"), nb::arg("soc"), nb::arg("overrides") = nb::dict(),
          "Chooses the tiling of a problem on a SoC; raises ValueError with every reason if there is none.");
    m.def("candidates", &CandidateList, nb::arg("problem"), nb::arg("soc"), nb::arg("overrides") = nb::dict(),
          "The tilings that op_host chooses from, cheapest modelled cost first: tiling and modelled cycles of each.");
    m.def("m_mask", &MMaskArray, nb::arg("mask_block"), "Packed bits of the M-mask, uint8 [2M, 2M / 8].");
    m.def("device_constants", &DeviceConstantsArray, nb::arg("mask_block"), nb::arg("mask") = "tiling",
          "What the kernel's mask operand points to: the M-mask's bits, for mask 'tiling' only, and behind them the "
          "ramp in fp32.");
    m.def("windows_mask", &WindowsMaskArray, nb::arg("s_q"), nb::arg("s_kv"), nb::arg("window_left"),
          nb::arg("window_right"),
          "The S x S tensor of the mask mode full: uint8 [s_q, s_kv], 1 where a query sees a key.");
    m.def("mask_window", &MaskWindowTuple, nb::arg("delta"), nb::arg("rows"), nb::arg("cols"),
          "Window of the M-mask for a block: (\"visible\" | \"skipped\" | \"partial\", row, col).");
}

}  // namespace fastattn
