// Python face of the simulator: runs the FlashAttention kernel on a simulated SoC over operands given by address. The
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
#include <optional>
#include <string>

#include "../../op_kernel/flash_attention/tiling.h"
#include "../sim/isa/intrinsics.h"
#include "../sim/isa/lanes.h"
#include "../sim/machine/launch.h"
#include "../sim/machine/report.h"
#include "soc_from_dict.h"

extern "C" void flash_attention_fwd(uint8_t* q, uint8_t* k, uint8_t* v, uint8_t* mask, uint8_t* seqUsedKv, uint8_t* o,
                                    uint8_t* lse, uint8_t* workspace, fastattn::FlashAttentionTiling tiling);

namespace fastattn {
namespace {

namespace nb = nanobind;

using Kernel = decltype(&flash_attention_fwd);
using Operands = std::map<std::string, std::pair<uint64_t, uint64_t>>;  // name -> address, bytes

constexpr size_t WORKSPACE_ALIGN_BYTES = 512;

struct SimulateOptions {
    ascend_sim::LaunchOptions launch;
    bool timing = true;
    std::string aicLibrary;
    std::string aivLibrary;
};

// A kernel build and the library that keeps it mapped.
class KernelLibrary {
public:
    explicit KernelLibrary(const std::string& path)
    {
        if (path.empty()) return;
        handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ == nullptr) throw std::runtime_error("cannot load kernel library: " + std::string(dlerror()));
        entry_ = reinterpret_cast<Kernel>(dlsym(handle_, "flash_attention_fwd"));
        if (entry_ == nullptr) throw std::runtime_error(path + " has no entry point flash_attention_fwd");
    }
    ~KernelLibrary()
    {
        if (handle_ != nullptr) dlclose(handle_);
    }
    KernelLibrary(const KernelLibrary&) = delete;
    KernelLibrary& operator=(const KernelLibrary&) = delete;
    Kernel Entry() const { return entry_; }

private:
    void* handle_ = nullptr;
    Kernel entry_ = &flash_attention_fwd;
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
        } else if (name == "timing") {
            options.timing = nb::cast<bool>(value);
        } else if (name == "kernel_library") {
            options.aicLibrary = options.aivLibrary = nb::cast<std::string>(value);
        } else if (name == "kernel_library_aic") {
            options.aicLibrary = nb::cast<std::string>(value);
        } else if (name == "kernel_library_aiv") {
            options.aivLibrary = nb::cast<std::string>(value);
        } else if (name == "trace") {
            options.launch.listing = nb::cast<bool>(value);
        } else {
            throw nb::value_error(("unknown simulator option '" + name + "'").c_str());
        }
    }
    return options;
}

uint8_t* AddressOf(const Operands& operands, const std::string& name)
{
    const auto found = operands.find(name);
    return found == operands.end() ? nullptr : reinterpret_cast<uint8_t*>(found->second.first);
}

void RegisterOperands(ascend_sim::GlobalMemory& gm, const Operands& operands)
{
    for (const auto& [name, range] : operands) {
        const bool output = name == "o" || name == "lse";
        gm.Register(name, range.first, range.second, output, false);
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

nb::dict SimulateFlashAttention(const nb::dict& socDict, const nb::bytes& tilingBytes, uint32_t blockDim,
                                const Operands& operands, uint64_t workspaceBytes, const nb::dict& optionsDict)
{
    const SocSpec soc = SocFromDict(socDict);
    SimulateOptions options = OptionsFromDict(optionsDict);
    options.launch.blockDim = blockDim;
    FlashAttentionTiling tiling{};
    if (tilingBytes.size() != sizeof(tiling)) throw nb::value_error("tiling_bytes has the wrong size");
    std::memcpy(&tiling, tilingBytes.c_str(), sizeof(tiling));
    ascend_sim::Report report;
    std::map<std::string, std::vector<std::string>> listings;
    {
        const nb::gil_scoped_release release;
        const KernelLibrary aic(options.aicLibrary);
        const KernelLibrary aiv(options.aivLibrary);
        const AlignedBytes workspace = PoisonedWorkspace(workspaceBytes);
        auto* slots = static_cast<uint8_t*>(workspace.get());
        ascend_sim::Launch launch(soc, options.launch);
        RegisterOperands(launch.Gm(), operands);
        launch.Gm().Register("workspace", reinterpret_cast<uint64_t>(slots), workspaceBytes, true, true);
        launch.Run([&] {
            const Kernel entry = is_aic() ? aic.Entry() : aiv.Entry();
            entry(AddressOf(operands, "q"), AddressOf(operands, "k"), AddressOf(operands, "v"),
                  AddressOf(operands, "mask"), AddressOf(operands, "seqused_k"), AddressOf(operands, "o"),
                  AddressOf(operands, "lse"), slots, tiling);
        });
        report = ascend_sim::MakeReport(soc, launch);
        if (options.launch.listing) listings = Listings(launch);
    }
    nb::dict dict = ReportDict(report);
    if (options.launch.listing) dict["trace"] = listings;
    return dict;
}

}  // namespace

void BindSim(nb::module_& m)
{
    nb::exception<ascend_sim::SimulatorError>(m, "SimulatorError", PyExc_RuntimeError);
    m.def("simulate_flash_attention", &SimulateFlashAttention, nb::arg("soc"), nb::arg("tiling_bytes"),
          nb::arg("block_dim"), nb::arg("operands"), nb::arg("workspace_bytes"), nb::arg("options"),
          "Runs the FlashAttention forward kernel on a simulated SoC.");
}

}  // namespace fastattn
