// Positions and tensors. A LocalTensor is a byte offset into one of the core's memories, a GlobalTensor an address.
#pragma once
#include "macros.h"

namespace AscendC {

enum class TPosition : uint8_t { GM, A1, A2, B1, B2, C1, C2, CO1, CO2, VECIN, VECOUT, VECCALC, TSCM, C2PIPE2GM };
using QuePosition = TPosition;

template <class T>
class GlobalTensor {
public:
    void SetGlobalBuffer(__gm__ T* buffer) { address_ = buffer; }
    void SetGlobalBuffer(__gm__ T* buffer, uint64_t) { address_ = buffer; }
    GlobalTensor operator[](uint64_t offset) const
    {
        GlobalTensor tensor;
        tensor.address_ = address_ + offset;
        return tensor;
    }
    __gm__ T* GetPhyAddr() const { return address_; }
    T GetValue(uint64_t offset, ASCENDC_HERE) const
    {
        Here("GlobalTensor::GetValue", file, line);
        const uint64_t raw = scalar_load(address_ + offset, sizeof(T));
        T value;
        __builtin_memcpy(&value, &raw, sizeof(T));
        return value;
    }

private:
    __gm__ T* address_ = nullptr;
};

template <class T>
class LocalTensor {
public:
    LocalTensor() = default;
    LocalTensor(TPosition position, uint32_t addr, uint32_t) : position_(position), address_(addr) {}
    LocalTensor operator[](uint32_t offset) const
    {
        return LocalTensor(position_, address_ + offset * static_cast<uint32_t>(sizeof(T)), 0);
    }
    template <class U>
    LocalTensor<U> ReinterpretCast() const
    {
        return LocalTensor<U>(position_, address_, 0);
    }
    TPosition GetPosition() const { return position_; }
    uint64_t GetPhyAddr() const { return address_; }
    // The address as the instructions take it.
    template <class U = T>
    U* Address() const
    {
        return reinterpret_cast<U*>(static_cast<uint64_t>(address_));
    }

private:
    TPosition position_ = TPosition::VECCALC;
    uint32_t address_ = 0;
};

inline bool InUb(TPosition p) { return p == TPosition::VECIN || p == TPosition::VECOUT || p == TPosition::VECCALC; }
inline bool InL1(TPosition p)
{
    return p == TPosition::A1 || p == TPosition::B1 || p == TPosition::C1 || p == TPosition::TSCM;
}

// Refuses a tensor whose position the API does not take.
inline void Require(bool ok, const char* what)
{
    if (!ok) ascend_sim::Refuse(what);
}

}  // namespace AscendC
