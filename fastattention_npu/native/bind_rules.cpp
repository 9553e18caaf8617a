// The table of rules, and a launcher for the small kernels that test them: void entry(in, out, workspace, variant).
#include <dlfcn.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "../sim/machine/ranks.h"
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
                            uint32_t threads, uint32_t ranks)
{
    const SocSpec soc = SocFromDict(socDict);
    ascend_sim::LaunchOptions options;
    options.blockDim = blockDim;
    options.threads = threads;
    options.type = TypeOf(kind);
    const Entry kernel = EntryOf(library, entry);
    // Every rank has its share of each operand.
    const auto address = [&](const char* name, uint32_t rank) {
        const auto& [base, bytes] = operands.at(name);
        return reinterpret_cast<uint8_t*>(base + bytes / ranks * rank);
    };
    std::vector<std::string> hazards;
    std::vector<std::string> warnings;
    double cycles = 0;
    {
        const nb::gil_scoped_release release;
        ascend_sim::Ranks world(soc, options, ranks);
        for (uint32_t rank = 0; rank < ranks; ++rank) {
            for (const auto& [name, range] : operands) {
                world.At(rank).Gm().Register(name, range.first + range.second / ranks * rank, range.second / ranks,
                                             name != "in", name == "workspace");
            }
        }
        world.Run([&](uint32_t rank) {
            kernel(address("in", rank), address("out", rank), address("workspace", rank), variant);
        });
        for (uint32_t rank = 0; rank < ranks; ++rank) {
            const ascend_sim::Report report = ascend_sim::MakeReport(soc, world.At(rank));
            hazards.insert(hazards.end(), report.hazards.begin(), report.hazards.end());
            warnings.insert(warnings.end(), report.warnings.begin(), report.warnings.end());
            cycles = std::max(cycles, report.cycles);
        }
    }
    nb::dict dict;
    dict["hazards"] = hazards;
    dict["warnings"] = warnings;
    dict["cycles"] = cycles;
    return dict;
}

}  // namespace

void BindRules(nb::module_& m)
{
    m.def("rules", &Rules, "The rules of the chip that the simulator checks: id, severity, statement and vendor page.");
    m.def("simulate_test_kernel", &SimulateTestKernel, nb::arg("soc"), nb::arg("library"), nb::arg("entry"),
          nb::arg("operands"), nb::arg("block_dim"), nb::arg("kind"), nb::arg("variant"), nb::arg("threads") = 1,
          nb::arg("ranks") = 1,
          "Runs entry(in, out, workspace, variant) of a shared library on simulated chips, the ranks of one "
          "communicator.");
}

}  // namespace fastattn
