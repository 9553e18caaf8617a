// The launch interface (npu/launch_abi.h) over the embedded simulator: a launch is a task of the stream. What the
// simulated chip refuses, and accesses that raced, become the stream's error, which the next synchronisation reports.
#include "fastattention_npu/npu/launch_abi.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "fastattention_npu/native/sim_kernels.h"
#include "fastattention_npu/sim/machine/launch.h"
#include "fastattention_npu/sim/machine/report.h"
#include "stream.h"

namespace acl_stand_in {
namespace {

struct KernelCall {
    const fastattn::SimKernel& kernel;
    uint32_t blockDim;
    std::vector<FastattnOperand> operands;
    std::vector<char> tiling;
};

void ThrowHazards(const std::vector<std::string>& hazards)
{
    std::string text = std::to_string(hazards.size()) + " hazards, accesses that no flag orders:";
    for (const std::string& hazard : hazards) text += "\n  " + hazard;
    throw std::runtime_error(text);
}

// Returns the simulated time in microseconds.
double RunKernel(const KernelCall& call)
{
    const Settings& settings = TheSettings();
    ascend_sim::LaunchOptions options;
    options.blockDim = call.blockDim;
    options.threads = settings.threads;
    options.checks = settings.checks;
    ascend_sim::Launch launch(settings.soc, options);
    std::vector<uint8_t*> addresses;
    for (size_t i = 0; i < call.operands.size(); ++i) {
        const FastattnOperand& operand = call.operands[i];
        const fastattn::SimOperand& known = call.kernel.operands[i];
        addresses.push_back(reinterpret_cast<uint8_t*>(operand.address));
        if (operand.address == 0 || operand.bytes == 0) continue;
        const bool scratch = known.name == fastattn::WORKSPACE;
        if (scratch) std::memset(addresses.back(), 0xFF, operand.bytes);
        launch.Gm().Register(known.name, operand.address, operand.bytes, known.written, scratch);
    }
    launch.Run([&] { call.kernel.call(call.kernel.entry, addresses.data(), call.tiling.data()); });
    const ascend_sim::Report report = ascend_sim::MakeReport(settings.soc, launch, {});
    if (!report.hazards.empty()) ThrowHazards(report.hazards);
    if (!report.warnings.empty()) {
        std::fprintf(stderr, "npu-sim: %s: %zu warnings of the simulator, the first: %s\n", call.kernel.name,
                     report.warnings.size(), report.warnings[0].c_str());
    }
    return report.timeUs;
}

std::string WhyNot(const fastattn::SimKernel& kernel, size_t operandCount, size_t tilingBytes)
{
    if (operandCount != kernel.operands.size()) {
        return std::string(kernel.name) + " has " + std::to_string(kernel.operands.size()) + " operands, not " +
               std::to_string(operandCount);
    }
    if (tilingBytes != kernel.tilingBytes) {
        return std::string(kernel.name) + " takes a tiling of " + std::to_string(kernel.tilingBytes) + " bytes, not " +
               std::to_string(tilingBytes);
    }
    return {};
}

}  // namespace
}  // namespace acl_stand_in

extern "C" const char* fastattn_npu_launch(const char* name, uint32_t blockDim, void* stream,
                                           const FastattnOperand* operands, size_t operandCount, const void* tiling,
                                           size_t tilingBytes)
{
    using namespace acl_stand_in;
    thread_local std::string error;
    try {
        const fastattn::SimKernel& kernel = fastattn::FindSimKernel(name);
        error = WhyNot(kernel, operandCount, tilingBytes);
        if (!error.empty()) return error.c_str();
        const char* bytes = static_cast<const char*>(tiling);
        const auto call = std::make_shared<KernelCall>(
            KernelCall{kernel, blockDim, {operands, operands + operandCount}, {bytes, bytes + tilingBytes}});
        StreamOf(stream).Push([call](double& timeUs) {
            try {
                timeUs += RunKernel(*call);
            } catch (const std::exception& failure) {
                throw std::runtime_error("the simulated chip refused " + std::string(call->kernel.name) + ": " +
                                         failure.what());
            }
        });
        return nullptr;
    } catch (const std::exception& failure) {
        error = failure.what();
        return error.c_str();
    }
}

extern "C" const char* fastattn_npu_runner() { return "embedded simulator"; }
