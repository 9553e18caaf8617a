// The table of rules, and a launcher for the small kernels that test them: void entry(in, out, workspace, variant).
#include <dlfcn.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>

#include "../sim/machine/launch.h"
#include "../sim/machine/report.h"
#include "../sim/machine/rules.h"
#include "soc_from_dict.h"

namespace fastattn {
namespace {

namespace nb = nanobind;

using Entry = void (*)(uint8_t*, uint8_t*, uint8_t*, int64_t);
using Operands = std::map<std::string, std::pair<uint64_t, uint64_t>>;  // in, out, workspace -> address, bytes

nb::list Rules()
{
    nb::list rows;
    for (uint32_t i = 0; i < static_cast<uint32_t>(ascend_sim::Rule::COUNT); ++i) {
        const ascend_sim::RuleInfo& info = ascend_sim::InfoOf(static_cast<ascend_sim::Rule>(i));
        nb::dict row;
        row["id"] = info.id;
        row["severity"] = ascend_sim::SeverityName(info.severity);
        row["statement"] = info.statement;
        row["page"] = info.page;
        rows.append(row);
    }
    return rows;
}

ascend_sim::KernelType TypeOf(const std::string& kind)
{
    if (kind == "mix") return ascend_sim::KernelType::MIX;
    if (kind == "aic") return ascend_sim::KernelType::AIC_ONLY;
    if (kind == "aiv") return ascend_sim::KernelType::AIV_ONLY;
    throw nb::value_error(("kernel type '" + kind + "' is none of mix, aic, aiv").c_str());
}

Entry EntryOf(const std::string& library, const std::string& entry)
{
    // Stays loaded: reports point into its strings.
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error("cannot load kernel library: " + std::string(dlerror()));
    const auto found = reinterpret_cast<Entry>(dlsym(handle, entry.c_str()));
    if (found == nullptr) throw std::runtime_error(library + " has no entry point " + entry);
    return found;
}

nb::dict SimulateTestKernel(const nb::dict& socDict, const std::string& library, const std::string& entry,
                            const Operands& operands, uint32_t blockDim, const std::string& kind, int64_t variant,
                            uint32_t threads)
{
    const SocSpec soc = SocFromDict(socDict);
    ascend_sim::LaunchOptions options;
    options.blockDim = blockDim;
    options.threads = threads;
    options.type = TypeOf(kind);
    const Entry kernel = EntryOf(library, entry);
    const auto address = [&](const char* name) { return reinterpret_cast<uint8_t*>(operands.at(name).first); };
    ascend_sim::Report report;
    {
        const nb::gil_scoped_release release;
        ascend_sim::Launch launch(soc, options);
        for (const auto& [name, range] : operands) {
            launch.Gm().Register(name, range.first, range.second, name != "in", name == "workspace");
        }
        launch.Run([&] { kernel(address("in"), address("out"), address("workspace"), variant); });
        report = ascend_sim::MakeReport(soc, launch);
    }
    nb::dict dict;
    dict["hazards"] = report.hazards;
    dict["warnings"] = report.warnings;
    dict["cycles"] = report.cycles;
    return dict;
}

}  // namespace

void BindRules(nb::module_& m)
{
    m.def("rules", &Rules, "The rules of the chip that the simulator checks: id, severity, statement and vendor page.");
    m.def("simulate_test_kernel", &SimulateTestKernel, nb::arg("soc"), nb::arg("library"), nb::arg("entry"),
          nb::arg("operands"), nb::arg("block_dim"), nb::arg("kind"), nb::arg("variant"), nb::arg("threads") = 1,
          "Runs entry(in, out, workspace, variant) of a shared library on the simulated chip.");
}

}  // namespace fastattn
