// torch_npu's side of a launch: queues a kernel of launch_abi.h on the current NPU stream, the way torch_npu's own
// operators are queued. Everything about attention is decided before: this file knows addresses, sizes and a tiling.
// It is the only part of the package that depends on torch's ABI, so it is compiled on the machine that uses it
// (glue.py). It must not synchronise, copy to the host or allocate, so that graphs can capture it.
#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "launch_abi.h"
#include "torch_npu/csrc/core/npu/NPUStream.h"
#include "torch_npu/csrc/framework/OpCommand.h"

namespace {

struct Call {
    std::string kernel;
    uint32_t blockDim;
    aclrtStream stream;
    std::vector<FastattnOperand> operands;
    std::vector<char> tiling;
    FastattnLaunch launch;
};

FastattnLaunch LaunchOf(const std::string& library)
{
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays loaded
    TORCH_CHECK(handle != nullptr, "cannot load the kernels' library: ", dlerror());
    auto launch = reinterpret_cast<FastattnLaunch>(dlsym(handle, "fastattn_npu_launch"));
    TORCH_CHECK(launch != nullptr, library, " has no fastattn_npu_launch");
    return launch;
}

int Run(const Call& call)
{
    const char* why = call.launch(call.kernel.c_str(), call.blockDim, call.stream, call.operands.data(),
                                  call.operands.size(), call.tiling.data(), call.tiling.size());
    TORCH_CHECK(why == nullptr, "no launch of ", call.kernel, ": ", why);
    return 0;
}

// Operands by address and size in bytes, in the kernel's order; the tiling is a uint8 tensor on the host. The caller
// keeps the tensors alive until this returns: after that torch_npu's allocator hands their memory only to work that is
// queued later on the same stream.
void Launch(const std::string& library, const std::string& kernel, int64_t blockDim, int64_t device,
            at::IntArrayRef addresses, at::IntArrayRef bytes, const at::Tensor& tiling)
{
    TORCH_CHECK(addresses.size() == bytes.size(), "an address and a size for every operand");
    TORCH_CHECK(tiling.is_cpu() && tiling.is_contiguous() && tiling.scalar_type() == at::kByte,
                "the tiling is a contiguous uint8 tensor on the host");
    const c10::DeviceGuard guard(c10::Device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(device)));
    const auto call = std::make_shared<Call>();
    call->kernel = kernel;
    call->blockDim = static_cast<uint32_t>(blockDim);
    call->stream = c10_npu::getCurrentNPUStream().stream(false);  // not waiting for what is queued before
    for (size_t i = 0; i < addresses.size(); ++i) {
        call->operands.push_back({static_cast<uint64_t>(addresses[i]), static_cast<uint64_t>(bytes[i])});
    }
    const char* start = static_cast<const char*>(tiling.const_data_ptr());
    call->tiling.assign(start, start + tiling.numel());
    static thread_local std::string loaded;
    static thread_local FastattnLaunch launch = nullptr;
    if (loaded != library) {
        launch = LaunchOf(library);
        loaded = library;
    }
    call->launch = launch;
    at_npu::native::OpCommand::RunOpApiV2(kernel, [call]() -> int { return Run(*call); });
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(fastattn_npu, m)
{
    m.def(
        "launch(str library, str kernel, int block_dim, int device, int[] addresses, int[] bytes, Tensor tiling) -> "
        "()");
    m.impl("launch", c10::DispatchKey::CPU, &Launch);
}
