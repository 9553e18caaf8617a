// How a kernel is launched on an NPU stream, in plain C, so that neither side needs the other's compiler or torch. Two
// libraries provide it: CANN's build of op_kernel (launch.asc) and the stand-in CANN runtime (sim/acl). The caller is
// the torch_npu glue (glue.cpp), which loads one of them by path.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {

// An operand in the device's memory, in the kernel's order; address 0: absent. The NPU ignores the size.
struct FastattnOperand {
    uint64_t address;
    uint64_t bytes;
};

// Queues the kernel on the stream (an aclrtStream) and returns at once. The tiling is copied.
// Returns null, or why there was no launch; the text stays valid until the thread's next call.
const char* fastattn_npu_launch(const char* kernel, uint32_t blockDim, void* stream, const FastattnOperand* operands,
                                size_t operandCount, const void* tiling, size_t tilingBytes);

// What runs the kernels: "npu", "sim" or "cpu" as CANN's run modes have it, or "embedded simulator".
const char* fastattn_npu_runner();
}

using FastattnLaunch = decltype(&fastattn_npu_launch);
using FastattnRunner = decltype(&fastattn_npu_runner);
