// Positions and tensors. A LocalTensor is a byte offset into one of the core's memories, a GlobalTensor an address.
#pragma once
#include "macros.h"

namespace AscendC {

enum class TPosition : uint8_t { GM, A1, A2, B1, B2, C1, C2, CO1, CO2, VECIN, VECOUT, VECCALC, TSCM, C2PIPE2GM };
using QuePosition = TPosition;

enum class CacheMode : uint8_t { CACHE_MODE_DISABLE, CACHE_MODE_NORMAL, CACHE_MODE_LAST, CACHE_MODE_PERSISTENT };
enum class CacheRwMode : uint8_t { READ = 1, WRITE = 2, RW = 3 };

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

    void SetValue(uint64_t offset, T value, ASCENDC_HERE) const
    {
        Here("GlobalTensor::SetValue", file, line);
        uint64_t raw = 0;
        __builtin_memcpy(&raw, &value, sizeof(T));
        scalar_store(address_ + offset, sizeof(T), raw);
    }
    // Says whether the tensor goes through the second-level cache: time only, and not in the clock's model.
    template <CacheRwMode rwMode = CacheRwMode::RW>
    void SetL2CacheHint(CacheMode mode, ASCENDC_HERE)
    {
        Here("GlobalTensor::SetL2CacheHint", file, line);
        if (mode == CacheMode::CACHE_MODE_DISABLE || mode == CacheMode::CACHE_MODE_NORMAL) return;
        ascend_sim::Refuse(ascend_sim::Rule::L2_CACHE_MODE, "mode is neither CACHE_MODE_DISABLE nor CACHE_MODE_NORMAL");
    }

private:
    __gm__ T* address_ = nullptr;
};

enum class CacheLine : uint8_t { SINGLE_CACHE_LINE, ENTIRE_DATA_CACHE };
enum class DcciDst : uint8_t { CACHELINE_ALL, CACHELINE_UB, CACHELINE_OUT, CACHELINE_ATOMIC };

struct TBufType;

template <class T>
class LocalTensor {
public:
    LocalTensor() = default;
    LocalTensor(TPosition position, uint32_t addr, uint32_t size) : position_(position), address_(addr), size_(size) {}
    LocalTensor operator[](uint32_t offset) const
    {
        LocalTensor tensor(*this);
        tensor.address_ += offset * static_cast<uint32_t>(sizeof(T));
        tensor.size_ = size_ > offset ? size_ - offset : 0;
        return tensor;
    }
    template <class U>
    LocalTensor<U> ReinterpretCast() const
    {
        LocalTensor<U> tensor(position_, address_, static_cast<uint32_t>(uint64_t{size_} * sizeof(T) / sizeof(U)));
        tensor.SetBufferHandle(buffer_);
        return tensor;
    }
    // Elements that the tensor was made with; what instructions touch is checked against its memory and its buffer.
    void SetSize(uint32_t size) { size_ = size; }
    uint32_t GetSize() const { return size_; }
    // The queue's buffer that the tensor came from.
    struct TBufType* GetBufferHandle() const { return buffer_; }
    void SetBufferHandle(struct TBufType* buffer) { buffer_ = buffer; }
    // The scalar unit reaches UB only, and waits for no other pipe by itself.
    T GetValue(uint32_t offset, ASCENDC_HERE) const
    {
        Here("LocalTensor::GetValue", file, line);
        RequireUb();
        const uint64_t raw = scalar_load_ub(address_ + offset * sizeof(T), sizeof(T));
        T value;
        __builtin_memcpy(&value, &raw, sizeof(T));
        return value;
    }
    void SetValue(uint32_t offset, T value, ASCENDC_HERE) const
    {
        Here("LocalTensor::SetValue", file, line);
        RequireUb();
        uint64_t raw = 0;
        __builtin_memcpy(&raw, &value, sizeof(T));
        scalar_store_ub(address_ + offset * sizeof(T), sizeof(T), raw);
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
    void RequireUb() const
    {
        const TPosition p = position_;
        if (p == TPosition::VECIN || p == TPosition::VECOUT || p == TPosition::VECCALC) return;
        ascend_sim::Refuse(ascend_sim::Rule::SCALAR_MEMORY, "the tensor does not lie in UB");
    }

    TPosition position_ = TPosition::VECCALC;
    uint32_t address_ = 0;
    uint32_t size_ = 0;
    struct TBufType* buffer_ = nullptr;
};

inline bool InUb(TPosition p) { return p == TPosition::VECIN || p == TPosition::VECOUT || p == TPosition::VECCALC; }
inline bool InL1(TPosition p)
{
    return p == TPosition::A1 || p == TPosition::B1 || p == TPosition::C1 || p == TPosition::TSCM;
}

// Refuses a tensor whose position the API does not take.
inline void Require(bool ok, const char* what, ascend_sim::Rule rule = ascend_sim::Rule::POSITION)
{
    if (!ok) ascend_sim::Refuse(rule, what);
}

template <class T, CacheLine line = CacheLine::SINGLE_CACHE_LINE, DcciDst destination = DcciDst::CACHELINE_OUT>
void DataCacheCleanAndInvalid(const GlobalTensor<T>& dst, const char* file = __builtin_FILE(),
                              uint32_t at = __builtin_LINE())
{
    Here("DataCacheCleanAndInvalid", file, at);
    dcci(dst.GetPhyAddr(),
         line == CacheLine::SINGLE_CACHE_LINE ? cache_line_t::SINGLE_CACHE_LINE : cache_line_t::ENTIRE_DATA_CACHE,
         static_cast<dcci_dst_t>(destination));
}

}  // namespace AscendC
