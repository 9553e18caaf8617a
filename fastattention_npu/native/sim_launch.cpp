// See sim_launch.h.
#include "sim_launch.h"

#include <dlfcn.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>

#include "../sim/isa/intrinsics.h"
#include "../sim/isa/lanes.h"
#include "bind_timeline.h"

namespace fastattn {
namespace {

// Whole pages. poisoned: with NaN; otherwise zero, and nothing is there until somebody touches it.
MappedBytes Workspace(size_t bytes, bool poisoned)
{
    const size_t whole = std::max<size_t>(bytes, 1);
    void* const address = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) throw std::bad_alloc();
    MappedBytes memory(address, Unmap{whole});
    if (poisoned) {
#ifdef MADV_HUGEPAGE
        madvise(address, whole, MADV_HUGEPAGE);  // all of it is touched at once
#endif
        std::memset(address, 0xFF, whole);
    }
    return memory;
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

}  // namespace

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
    options.launch.keepGmAccesses = options.timing.spans = options.timeline.wanted;
    return options;
}

KernelLibrary::KernelLibrary(const std::string& path, const SimKernel& kernel) : entry_(kernel.entry)
{
    if (path.empty()) return;
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) throw std::runtime_error("cannot load kernel library: " + std::string(dlerror()));
    entry_ = dlsym(handle_, kernel.name);
    if (entry_ == nullptr) throw std::runtime_error(path + " has no entry point " + kernel.name);
}

KernelLibrary::~KernelLibrary()
{
    if (handle_ != nullptr) dlclose(handle_);
}

KernelCall::KernelCall(const SimKernel& kernel, const nb::bytes& tiling, const Operands& operands,
                       uint64_t workspaceBytes, ascend_sim::Launch& launch)
    : kernel_(kernel),
      tiling_(tiling.c_str(), tiling.c_str() + tiling.size()),
      workspace_(Workspace(workspaceBytes, launch.Options().functional))
{
    if (tiling.size() != kernel.tilingBytes) throw nb::value_error("tiling_bytes has the wrong size");
    RegisterOperands(launch.Gm(), kernel, operands);
    for (const SimOperand& operand : kernel.operands) {
        uint8_t* address = AddressOf(operands, operand.name);
        if (operand.name == WORKSPACE) address = static_cast<uint8_t*>(workspace_.get());
        if (operand.name == HCCL_CONTEXT && launch.Hccl() != nullptr) {
            address = reinterpret_cast<uint8_t*>(launch.Hccl()->Context());
        }
        addresses_.push_back(address);
    }
    if (workspaceBytes != 0) {
        launch.Gm().Register(WORKSPACE, reinterpret_cast<uint64_t>(workspace_.get()), workspaceBytes, true,
                             launch.Options().checks);
    }
}

void KernelCall::Run(const KernelBuild& build) const
{
    kernel_.call(is_aic() ? build.aic.Entry() : build.aiv.Entry(), addresses_.data(), tiling_.data());
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
    dict["group_cube_macs"] = report.groupCubeMacs;
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
    nb::dict work;
    work["bank_repeats"] = report.work.bankRepeats;
    work["race_comparisons"] = report.work.raceComparisons;
    work["init_words"] = report.work.initWords;
    dict["host_work"] = work;
    dict["host_target"] = ascend_sim::HostLanes().target;
    return dict;
}

std::map<std::string, std::vector<std::string>> Listings(ascend_sim::Launch& launch)
{
    std::map<std::string, std::vector<std::string>> listings;
    for (const ascend_sim::CoreTrace* trace : launch.Traces()) {
        const bool cube = trace->kind == ascend_sim::CoreKind::AIC;
        const std::string core = cube ? "aic" : "aiv" + std::to_string(trace->coreInGroup - 1);
        listings[std::to_string(trace->group) + "." + core] = trace->listing;
    }
    return listings;
}

}  // namespace fastattn
