// What the rule kernels share. Every kernel is one rule: variant 0 keeps it, the others break it.
#pragma once
#include "kernel_operator.h"

#define RULE_KERNEL(name)                                                                                 \
    extern "C" __global__ __aicore__ void name([[maybe_unused]] GM_ADDR in, [[maybe_unused]] GM_ADDR out, \
                                               [[maybe_unused]] GM_ADDR workspace, [[maybe_unused]] int64_t variant)

namespace rules {

using namespace AscendC;

template <class T>
LocalTensor<T> Ub(uint32_t byte)
{
    return LocalTensor<T>(TPosition::VECCALC, byte, 0);
}
template <class T>
LocalTensor<T> L1(uint32_t byte)
{
    return LocalTensor<T>(TPosition::A1, byte, 0);
}
template <class T>
LocalTensor<T> L0a(uint32_t byte)
{
    return LocalTensor<T>(TPosition::A2, byte, 0);
}
template <class T>
LocalTensor<T> L0b(uint32_t byte)
{
    return LocalTensor<T>(TPosition::B2, byte, 0);
}
inline LocalTensor<float> L0c(uint32_t byte) { return LocalTensor<float>(TPosition::CO1, byte, 0); }

template <class T>
GlobalTensor<T> Gm(GM_ADDR address)
{
    GlobalTensor<T> tensor;
    tensor.SetGlobalBuffer((__gm__ T*)address);
    return tensor;
}

template <HardEvent event>
void Pass(int32_t id = 0)
{
    SetFlag<event>(id);
    WaitFlag<event>(id);
}

// UB bytes 0 ... 4095 of a vector core hold ones.
inline void FillUb(uint32_t elems = 1024) { Duplicate(Ub<float>(0), 1.0F, static_cast<int32_t>(elems)); }

}  // namespace rules
