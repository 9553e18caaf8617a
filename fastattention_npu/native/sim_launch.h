// A kernel call on a simulated NPU, from Python values: options, kernel builds, operands and workspace, and the report
// back. Shared by the launches of one NPU (bind_sim.cpp) and of several (bind_fused.cpp).
#pragma once
#include <nanobind/nanobind.h>
#include <sys/mman.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../sim/machine/launch.h"
#include "../sim/machine/report.h"
#include "../sim/machine/timeline.h"
#include "sim_kernels.h"

namespace fastattn {

namespace nb = nanobind;

using Operands = std::map<std::string, std::pair<uint64_t, uint64_t>>;  // name -> address, bytes

struct SimulateOptions {
    ascend_sim::LaunchOptions launch;
    ascend_sim::TimelineOptions timeline;
    ascend_sim::TimingOptions timing;
    std::string aicLibrary;
    std::string aivLibrary;
};

SimulateOptions OptionsFromDict(const nb::dict& dict);

// A kernel build and the library that keeps it mapped.
class KernelLibrary {
public:
    KernelLibrary(const std::string& path, const SimKernel& kernel);
    ~KernelLibrary();
    KernelLibrary(const KernelLibrary&) = delete;
    KernelLibrary& operator=(const KernelLibrary&) = delete;
    void* Entry() const { return entry_; }

private:
    void* handle_ = nullptr;
    void* entry_;
};

// The builds of both kinds of core.
struct KernelBuild {
    KernelBuild(const SimulateOptions& options, const SimKernel& kernel)
        : aic(options.aicLibrary, kernel), aiv(options.aivLibrary, kernel)
    {
    }
    KernelLibrary aic;
    KernelLibrary aiv;
};

struct Unmap {
    size_t bytes = 0;
    void operator()(void* p) const { munmap(p, bytes); }
};
using MappedBytes = std::unique_ptr<void, Unmap>;

// One launch's operands, its workspace, poisoned if anything is computed, and its tiling struct.
class KernelCall {
public:
    KernelCall(const SimKernel& kernel, const nb::bytes& tiling, const Operands& operands, uint64_t workspaceBytes,
               ascend_sim::Launch& launch);
    // On the core that runs.
    void Run(const KernelBuild& build) const;
    const std::vector<char>& Tiling() const { return tiling_; }

private:
    const SimKernel& kernel_;
    std::vector<char> tiling_;
    MappedBytes workspace_;
    std::vector<uint8_t*> addresses_;
};

nb::dict ReportDict(const ascend_sim::Report& report);
// What every core issued, by core: "0.aic", "0.aiv0", ...
std::map<std::string, std::vector<std::string>> Listings(ascend_sim::Launch& launch);

}  // namespace fastattn
