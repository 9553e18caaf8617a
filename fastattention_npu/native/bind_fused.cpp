// Python face of the fused AllReduce: token blocks from measured or modelled times, the kernel's plan, and several
// simulated ranks that run a kernel together.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../../op_host/fused_plan.h"
#include "../sim/machine/ranks.h"
#include "../sim/machine/world_clock.h"
#include "bind_timeline.h"
#include "problem_from_dict.h"
#include "python_values.h"
#include "sim_launch.h"
#include "soc_from_dict.h"

namespace fastattn {
namespace {

nb::dict CostDict(const OverlapCost& cost)
{
    nb::dict dict;
    dict["pipelined_us"] = cost.pipelinedUs;
    dict["sequential_us"] = cost.sequentialUs;
    dict["compute_us"] = cost.computeUs;
    dict["link_us"] = cost.linkUs;
    dict["hidden_us"] = cost.hiddenUs;
    dict["link_busy_us"] = cost.linkBusyUs;
    return dict;
}

// What PlanTokenBlocks takes.
nb::dict BlockProblemDict(const BlockProblem& problem)
{
    nb::dict link;
    link["switch_bytes"] = problem.link.switchBytes;
    link["small_us_per_byte"] = problem.link.smallUsPerByte;
    link["small_bend_us_per_byte2"] = problem.link.smallBendUsPerByte2;
    link["small_us"] = problem.link.smallUs;
    link["large_us_per_byte"] = problem.link.largeUsPerByte;
    link["large_us"] = problem.link.largeUs;
    nb::dict dict;
    dict["tokens"] = problem.tokens;
    dict["granule"] = problem.granule;
    dict["compute_us"] = problem.computeUs;
    dict["lag_us_per_token"] = problem.lagUsPerToken;
    dict["block_us"] = problem.blockUs;
    dict["bytes_per_token"] = problem.bytesPerToken;
    dict["slowdown"] = problem.slowdown;
    dict["link"] = link;
    return dict;
}

template <class T>
void Take(const nb::dict& values, const char* key, T& into)
{
    if (values.contains(key)) into = nb::cast<T>(values[key]);
}

LinkCurve LinkFromDict(const nb::dict& values)
{
    LinkCurve link;
    Take(values, "switch_bytes", link.switchBytes);
    Take(values, "small_us_per_byte", link.smallUsPerByte);
    Take(values, "small_bend_us_per_byte2", link.smallBendUsPerByte2);
    Take(values, "small_us", link.smallUs);
    Take(values, "large_us_per_byte", link.largeUsPerByte);
    Take(values, "large_us", link.largeUs);
    return link;
}

nb::dict PlanTokenBlocks(const nb::dict& values)
{
    BlockProblem problem;
    Take(values, "tokens", problem.tokens);
    Take(values, "granule", problem.granule);
    Take(values, "compute_us", problem.computeUs);
    Take(values, "lag_us_per_token", problem.lagUsPerToken);
    Take(values, "block_us", problem.blockUs);
    Take(values, "bytes_per_token", problem.bytesPerToken);
    Take(values, "slowdown", problem.slowdown);
    problem.link = LinkFromDict(nb::cast<nb::dict>(values["link"]));
    Reasons reasons = CheckBlockProblem(problem);
    if (!reasons.empty()) throw Refusal("no token blocks", std::move(reasons));
    TokenBlocks blocks;
    Take(values, "blocks", blocks);
    if (blocks.empty()) blocks = ChooseTokenBlocks(problem, MAX_BLOCK_RUNS);
    nb::dict answer;
    answer["blocks"] = blocks;
    answer["model"] = CostDict(CostOfBlocks(problem, blocks));
    return answer;
}

nb::dict PlanFused(const nb::dict& problemDict, const nb::dict& fused, const nb::dict& socDict,
                   const nb::dict& overrideValues)
{
    const SocSpec soc = SocFromDict(socDict);
    Reasons reasons;
    FusedProblem problem;
    problem.attention = ProblemFromDict(problemDict, reasons);
    const Overrides overrides = OverridesFromDict(overrideValues, reasons);
    if (!reasons.empty()) throw Refusal("no plan of the fused AllReduce on " + soc.name, std::move(reasons));
    Take(fused, "hidden", problem.hidden);
    Take(fused, "ranks", problem.ranks);
    Take(fused, "has_bias", problem.hasBias);
    if (fused.contains("blocks")) problem.blocks = nb::cast<TokenBlocks>(fused["blocks"]);
    if (fused.contains("tiles_per_step")) problem.tilesPerStep = nb::cast<int64_t>(fused["tiles_per_step"]);
    const FusedPlan plan = MakeFusedPlan(problem, soc, overrides);
    nb::dict answer;
    answer["tiling_bytes"] = nb::bytes(&plan.tiling, sizeof(plan.tiling));
    answer["workspace_bytes"] = plan.workspaceBytes;
    answer["block_dim"] = plan.tiling.attention.blockDim;
    answer["mask_block"] = plan.tiling.attention.maskBlock;
    answer["mask"] = FindTilingField("mask")->names.at(plan.tiling.attention.maskMode);
    answer["block_q"] = plan.tiling.attention.blockQ;
    answer["tiles_per_step"] = plan.tiling.tilesPerStep;
    answer["tile"] = nb::make_tuple(plan.tiling.linear.baseM, plan.tiling.linear.baseN, plan.tiling.linear.baseK);
    answer["blocks"] = plan.blocks;
    answer["block_problem"] = BlockProblemDict(plan.blockProblem);
    answer["launch_us"] = plan.launchUs;
    answer["model"] = CostDict(plan.cost);
    return answer;
}

nb::dict WorldDict(const SocSpec& soc, const ascend_sim::WorldTiming& world, uint32_t ranks)
{
    nb::dict dict;
    dict["ranks"] = ranks;
    dict["time_us"] = world.cycles / soc.clockMhz;
    dict["compute_us"] = world.computeCycles / soc.clockMhz;
    dict["link_us"] = world.linkCycles / soc.clockMhz;
    dict["overlap_us"] = world.overlapCycles / soc.clockMhz;
    nb::list tasks;
    for (const ascend_sim::LinkTask& task : world.tasks) {
        nb::dict row;
        row["bytes"] = task.bytes;
        row["start_us"] = task.start / soc.clockMhz;
        row["end_us"] = task.end / soc.clockMhz;
        tasks.append(row);
    }
    dict["tasks"] = tasks;
    return dict;
}

// One entry of tilings and operands a rank simulated. ranks: as many, or one entry stands for all, which are then taken
// to do the same at the same time.
nb::dict SimulateRanks(const std::string& name, const nb::dict& socDict, const std::vector<nb::bytes>& tilings,
                       uint32_t blockDim, const std::vector<Operands>& operands, uint64_t workspaceBytes,
                       const nb::dict& optionsDict, uint32_t ranks)
{
    const SimKernel& kernel = FindSimKernel(name);
    const SocSpec soc = SocFromDict(socDict);
    SimulateOptions options = OptionsFromDict(optionsDict);
    options.launch.blockDim = blockDim;
    if (!options.launch.functional) options.launch.checks = false;
    const size_t count = operands.size();
    if (count == 0 || tilings.size() != count || (ranks != count && count != 1)) {
        throw nb::value_error("tilings and operands must be those of every rank, or of one that stands for all");
    }
    const KernelBuild build(options, kernel);
    ascend_sim::Ranks world(soc, options.launch, static_cast<uint32_t>(count));
    std::vector<KernelCall> calls;
    for (uint32_t rank = 0; rank < count; ++rank) {
        calls.emplace_back(kernel, tilings[rank], operands[rank], workspaceBytes, world.At(rank));
    }
    ascend_sim::WorldTiming timing;
    std::vector<ascend_sim::Report> reports;
    std::vector<ascend_sim::Timeline> timelines;
    std::map<std::string, std::vector<std::string>> listings;
    {
        const nb::gil_scoped_release release;
        world.Run([&](uint32_t rank) { calls[rank].Run(build); });
        std::vector<uint64_t> taskBytes;
        for (uint32_t i = 1; i <= world.Server().Rank(0).Tasks(); ++i) {
            taskBytes.push_back(world.Server().Rank(0).BytesOf(i));
        }
        std::vector<std::vector<const ascend_sim::CoreTrace*>> traces;
        for (uint32_t rank = 0; rank < count; ++rank) traces.push_back(world.At(rank).Traces());
        if (options.timing.wanted) {
            timing = ascend_sim::ComputeWorldTiming(soc, traces, ranks, taskBytes, options.timing.spans);
        }
        timing.ranks.resize(count);
        for (uint32_t rank = 0; options.timeline.wanted && rank < count; ++rank) {
            ascend_sim::Launch& launch = world.At(rank);
            timelines.push_back(
                ascend_sim::MakeTimeline(launch, launch.Result(), timing.ranks[rank], options.timeline));
        }
        if (options.launch.listing) listings = Listings(world.At(0));
        for (uint32_t rank = 0; rank < count; ++rank) {
            reports.push_back(ascend_sim::MakeTimedReport(soc, world.At(rank), std::move(timing.ranks[rank])));
        }
    }
    nb::dict answer = WorldDict(soc, timing, ranks);
    nb::list rows;
    for (const ascend_sim::Report& report : reports) rows.append(ReportDict(report));
    answer["reports"] = rows;
    if (options.launch.listing) answer["listing"] = listings;
    nb::list tracks;
    for (ascend_sim::Timeline& timeline : timelines) tracks.append(TimelineDict(std::move(timeline)));
    if (options.timeline.wanted) answer["timelines"] = tracks;
    return answer;
}

double AllReduceUs(const nb::dict& socDict, uint32_t ranks, double bytes)
{
    const SocSpec soc = SocFromDict(socDict);
    return ascend_sim::AllReduceCycles(soc, ranks, bytes) / soc.clockMhz;
}

}  // namespace

void BindFused(nb::module_& m)
{
    m.def("plan_token_blocks", &PlanTokenBlocks, nb::arg("problem"),
          "Token blocks of a pipelined AllReduce and their modelled times, from times of computing and of the links.");
    m.def("plan_fused", &PlanFused, nb::arg("problem"), nb::arg("fused"), nb::arg("soc"), nb::arg("overrides"),
          "The plan of the attention_linear_allreduce kernel.");
    m.def("simulate_ranks", &SimulateRanks, nb::arg("kernel"), nb::arg("soc"), nb::arg("tilings"), nb::arg("block_dim"),
          nb::arg("operands"), nb::arg("workspace_bytes"), nb::arg("options"), nb::arg("ranks"),
          "Runs a kernel on several simulated NPUs that share a communicator.");
    m.def("all_reduce_us", &AllReduceUs, nb::arg("soc"), nb::arg("ranks"), nb::arg("bytes"),
          "Modelled time of one AllReduce by itself.");
}

}  // namespace fastattn
