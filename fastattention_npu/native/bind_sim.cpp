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
#include "sim_kernels.h"
#include "soc_from_dict.h"

namespace fastattn {
namespace {

namespace nb = nanobind;

using Operands = std::map<std::string, std::pair<uint64_t, uint64_t>>;  // name -> address, bytes

constexpr size_t WORKSPACE_ALIGN_BYTES = 512;
const std::string FLASH_ATTENTION = "flash_attention_fwd";

struct SimulateOptions {
    ascend_sim::LaunchOptions launch;
    ascend_sim::TimelineOptions timeline;
    ascend_sim::TimingOptions timing;
    std::string aicLibrary;
    std::string aivLibrary;
};

// A kernel build and the library that keeps it mapped.
class KernelLibrary {
public:
    KernelLibrary(const std::string& path, const SimKernel& kernel) : entry_(kernel.entry)
    {
        if (path.empty()) return;
        handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ == nullptr) throw std::runtime_error("cannot load kernel library: " + std::string(dlerror()));
        entry_ = dlsym(handle_, kernel.name);
        if (entry_ == nullptr) throw std::runtime_error(path + " has no entry point " + kernel.name);
    }
    ~KernelLibrary()
    {
        if (handle_ != nullptr) dlclose(handle_);
    }
    KernelLibrary(const KernelLibrary&) = delete;
    KernelLibrary& operator=(const KernelLibrary&) = delete;
    void* Entry() const { return entry_; }

private:
    void* handle_ = nullptr;
    void* entry_;
};

struct FreeDeleter {
    void operator()(void* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<void, FreeDeleter>;

AlignedBytes PoisonedWorkspace(size_t bytes)
{
    const size_t whole = (bytes + WORKSPACE_ALIGN_BYTES - 1) / WORKSPACE_ALIGN_BYTES * WORKSPACE_ALIGN_BYTES;
    AlignedBytes memory(std::aligned_alloc(WORKSPACE_ALIGN_BYTES, whole));
    if (memory == nullptr) throw std::bad_alloc();
    std::memset(memory.get(), 0xFF, whole);
    return memory;
}

SimulateOptions OptionsFromDict(const nb::dict& dict)
{
    SimulateOptions options;
    for (const auto& [key, value] : dict) {
        const auto name = nb::cast<std::string>(key);
        if (name == "threads") {
            options.launch.threads = nb::cast<uint32_t>(value);
        } else if (name == "checks") {
            options.launch.checks = nb::cast<bool>(value);
        } else if (name == "functional") {
            options.launch.functional = nb::cast<bool>(value);
        } else if (name == "warm_l2") {
            options.timing.warmL2 = nb::cast<bool>(value);
        } else if (name == "kernel_library") {
            options.aicLibrary = options.aivLibrary = nb::cast<std::string>(value);
        } else if (name == "kernel_library_aic") {
            options.aicLibrary = nb::cast<std::string>(value);
        } else if (name == "kernel_library_aiv") {
            options.aivLibrary = nb::cast<std::string>(value);
        } else if (name == "listing") {
            options.launch.listing = nb::cast<bool>(value);
        } else if (!TakeTimelineOption(name, value, options.timeline)) {
            throw nb::value_error(("unknown simulator option '" + name + "'").c_str());
        }
    }
    options.launch.keepGmAccesses = options.timeline.wanted;
    return options;
}

uint8_t* AddressOf(const Operands& operands, const std::string& name)
{
    const auto found = operands.find(name);
    return found == operands.end() ? nullptr : reinterpret_cast<uint8_t*>(found->second.first);
}

void RegisterOperands(ascend_sim::GlobalMemory& gm, const SimKernel& kernel, const Operands& operands)
{
    std::set<std::string> known;
    for (const SimOperand& operand : kernel.operands) {
        known.insert(operand.name);
        const auto found = operands.find(operand.name);
        if (found == operands.end()) continue;
        gm.Register(operand.name, found->second.first, found->second.second, operand.written, false);
    }
    for (const auto& [name, range] : operands) {
        if (known.count(name) == 0 || name == WORKSPACE) {
            throw nb::value_error((std::string(kernel.name) + " has no operand '" + name + "'").c_str());
        }
    }
}

nb::dict ReportDict(const ascend_sim::Report& report)
{
    nb::dict dict;
    dict["cycles"] = report.cycles;
    dict["time_us"] = report.timeUs;
    nb::dict busy;
    for (const auto& [pipe, fraction] : report.pipeBusy) busy[pipe.c_str()] = fraction;
    dict["pipe_busy"] = busy;
    dict["bottleneck"] = report.bottleneck;
    dict["cube_macs"] = report.cubeMacs;
    dict["peak_tflops"] = report.peakTflops;
    dict["gm_bytes_read"] = report.gmBytesRead;
    dict["gm_bytes_written"] = report.gmBytesWritten;
    dict["l2_hit_bytes"] = report.l2HitBytes;
    dict["hbm_bytes_read"] = report.hbmBytesRead;
    dict["hbm_bytes_written"] = report.hbmBytesWritten;
    dict["instructions"] = report.instructions;
    dict["hazards"] = report.hazards.size();
    dict["hazard_texts"] = report.hazards;
    dict["warning_texts"] = report.warnings;
    dict["host_target"] = ascend_sim::HostLanes().target;
    return dict;
}

// What every core issued, by core: "0.aic", "0.aiv0", ...
std::map<std::string, std::vector<std::string>> Listings(ascend_sim::Launch& launch)
{
    std::map<std::string, std::vector<std::string>> listings;
    for (const ascend_sim::CoreTrace* trace : launch.Result().traces) {
        const bool cube = trace->kind == ascend_sim::CoreKind::AIC;
        const std::string core = cube ? "aic" : "aiv" + std::to_string(trace->coreInGroup - 1);
        listings[std::to_string(trace->group) + "." + core] = trace->listing;
    }
    return listings;
}

nb::dict Simulate(const std::string& name, const nb::dict& socDict, const nb::bytes& tilingBytes, uint32_t blockDim,
                  const Operands& operands, uint64_t workspaceBytes, const nb::dict& optionsDict)
{
    const SimKernel& kernel = FindSimKernel(name);
    const SocSpec soc = SocFromDict(socDict);
    SimulateOptions options = OptionsFromDict(optionsDict);
    options.launch.blockDim = blockDim;
    if (!options.launch.functional) options.launch.checks = false;
    if (tilingBytes.size() != kernel.tilingBytes) throw nb::value_error("tiling_bytes has the wrong size");
    const std::vector<char> tiling(tilingBytes.c_str(), tilingBytes.c_str() + tilingBytes.size());
    const KernelLibrary aic(options.aicLibrary, kernel);
    const KernelLibrary aiv(options.aivLibrary, kernel);
    if (tilingBytes.size() == sizeof(FlashAttentionTiling) && std::string(kernel.name) == FLASH_ATTENTION) {
        FlashAttentionTiling flash{};
        std::memcpy(&flash, tiling.data(), sizeof(flash));
        options.timeline.gmParts = WorkspaceParts(flash);
    }
    const AlignedBytes workspace = PoisonedWorkspace(workspaceBytes);
    ascend_sim::Launch launch(soc, options.launch);
    RegisterOperands(launch.Gm(), kernel, operands);
    std::vector<uint8_t*> addresses;
    for (const SimOperand& operand : kernel.operands) {
        addresses.push_back(operand.name == WORKSPACE ? static_cast<uint8_t*>(workspace.get())
                                                      : AddressOf(operands, operand.name));
    }
    if (workspaceBytes != 0) {
        launch.Gm().Register(WORKSPACE, reinterpret_cast<uint64_t>(workspace.get()), workspaceBytes, true, true);
    }
    ascend_sim::Report report;
    std::map<std::string, std::vector<std::string>> listings;
    ascend_sim::Timeline timeline;
    {
        const nb::gil_scoped_release release;
        launch.Run([&] { kernel.call(is_aic() ? aic.Entry() : aiv.Entry(), addresses.data(), tiling.data()); });
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
