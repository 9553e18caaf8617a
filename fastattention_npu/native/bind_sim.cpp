// Python face of the simulator: runs a kernel of sim_kernels.h on a simulated SoC over operands given by address. The
// kernel is the one built with the package, or any other build of the same entry point, loaded from shared libraries:
// one for both kinds of core, or one for each, as CANN builds mixed kernels.
#include <dlfcn.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "../../op_kernel/flash_attention/tiling.h"
#include "../sim/isa/intrinsics.h"
#include "../sim/isa/lanes.h"
#include "../sim/machine/launch.h"
#include "../sim/machine/report.h"
#include "bind_timeline.h"
#include "sim_launch.h"
#include "soc_from_dict.h"

namespace fastattn {
namespace {

const std::string FLASH_ATTENTION = "flash_attention_fwd";

nb::dict Simulate(const std::string& name, const nb::dict& socDict, const nb::bytes& tilingBytes, uint32_t blockDim,
                  const Operands& operands, uint64_t workspaceBytes, const nb::dict& optionsDict)
{
    const SimKernel& kernel = FindSimKernel(name);
    const SocSpec soc = SocFromDict(socDict);
    SimulateOptions options = OptionsFromDict(optionsDict);
    options.launch.blockDim = blockDim;
    if (!options.launch.functional) options.launch.checks = false;
    const KernelBuild build(options, kernel);
    ascend_sim::Launch launch(soc, options.launch);
    const KernelCall call(kernel, tilingBytes, operands, workspaceBytes, launch);
    if (name == FLASH_ATTENTION) {
        FlashAttentionTiling flash{};
        std::memcpy(&flash, call.Tiling().data(), sizeof(flash));
        options.timeline.gmParts = WorkspaceParts(flash);
    }
    ascend_sim::Report report;
    std::map<std::string, std::vector<std::string>> listings;
    ascend_sim::Timeline timeline;
    {
        const nb::gil_scoped_release release;
        launch.Run([&] { call.Run(build); });
        report = ascend_sim::MakeReport(soc, launch, options.timing);
        if (options.launch.listing) listings = Listings(launch);
        if (options.timeline.wanted) {
            timeline = ascend_sim::MakeTimeline(launch, launch.Result(), report.timing, options.timeline);
        }
    }
    nb::dict answer = ReportDict(report);
    if (options.launch.listing) answer["listing"] = listings;
    if (options.timeline.wanted) answer["timeline"] = TimelineDict(std::move(timeline));
    return answer;
}

nb::dict SimulateFlashAttention(const nb::dict& soc, const nb::bytes& tilingBytes, uint32_t blockDim,
                                const Operands& operands, uint64_t workspaceBytes, const nb::dict& options)
{
    return Simulate(FLASH_ATTENTION, soc, tilingBytes, blockDim, operands, workspaceBytes, options);
}

nb::dict Kernels()
{
    nb::dict kernels;
    for (const SimKernel& kernel : SimKernels()) {
        nb::list operands;
        for (const SimOperand& operand : kernel.operands) operands.append(operand.name);
        nb::dict row;
        row["operands"] = operands;
        row["tiling_bytes"] = kernel.tilingBytes;
        kernels[kernel.name] = row;
    }
    return kernels;
}

}  // namespace

void BindSim(nb::module_& m)
{
    nb::exception<ascend_sim::SimulatorError>(m, "SimulatorError", PyExc_RuntimeError);
    m.def("simulate_flash_attention", &SimulateFlashAttention, nb::arg("soc"), nb::arg("tiling_bytes"),
          nb::arg("block_dim"), nb::arg("operands"), nb::arg("workspace_bytes"), nb::arg("options"),
          "Runs the FlashAttention forward kernel on a simulated SoC.");
    m.def("simulate", &Simulate, nb::arg("kernel"), nb::arg("soc"), nb::arg("tiling_bytes"), nb::arg("block_dim"),
          nb::arg("operands"), nb::arg("workspace_bytes"), nb::arg("options"),
          "Runs a kernel of kernels() on a simulated SoC.");
    m.def("kernels", &Kernels, "The kernels that simulate() knows: name -> operands and size of the tiling struct.");
}

}  // namespace fastattn
