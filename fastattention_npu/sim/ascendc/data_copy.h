// Copies between GM and local memories.
#pragma once
#include "params.h"

namespace AscendC {

template <class T>
constexpr ascend_sim::AtomicElement AtomicOf()
{
    if constexpr (std::is_same_v<T, float>) return ascend_sim::AtomicElement::FLOAT;
    if constexpr (std::is_same_v<T, half>) return ascend_sim::AtomicElement::HALF;
    if constexpr (std::is_same_v<T, bfloat16_t>) return ascend_sim::AtomicElement::BFLOAT16;
    return ascend_sim::AtomicElement::OTHER;
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const Nd2NzParams& p, ASCENDC_HERE)
{
    Here("DataCopy(Nd2NzParams)", file, line, PIPE_MTE2);
    static_assert(sizeof(T) == 2, "ND2NZ of 2-byte elements only");
    Require(InL1(dst.GetPosition()), "ND2NZ needs a destination in L1 (A1 or B1)");
    copy_gm_to_cbuf_multi_nd2nz_b16(dst.Address(), src.GetPhyAddr(), 0, p.ndNum.Get("ndNum"), p.nValue.Get("nValue"),
                                    p.dValue.Get("dValue"), p.srcNdMatrixStride.Get("srcNdMatrixStride"),
                                    p.srcDValue.Get("srcDValue"), p.dstNzC0Stride.Get("dstNzC0Stride"),
                                    p.dstNzNStride.Get("dstNzNStride"), p.dstNzMatrixStride.Get("dstNzMatrixStride"));
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyParams& p, ASCENDC_HERE)
{
    Here("DataCopy", file, line, PIPE_MTE2);
    const int64_t count = p.blockCount.Get("blockCount");
    const int64_t len = p.blockLen.Get("blockLen");
    const int64_t srcStride = p.srcStride.Get("srcStride");
    const int64_t dstStride = p.dstStride.Get("dstStride");
    if (InL1(dst.GetPosition())) {
        copy_gm_to_cbuf(dst.Address(), src.GetPhyAddr(), 0, count, len, srcStride, dstStride, PAD_NONE);
        return;
    }
    Require(InUb(dst.GetPosition()), "DataCopy from GM needs a destination in UB or L1");
    copy_gm_to_ubuf(dst.Address(), src.GetPhyAddr(), 0, count, len, srcStride, dstStride);
}

template <class T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& p, ASCENDC_HERE)
{
    Here("DataCopy", file, line, PIPE_MTE3);
    Require(InUb(src.GetPosition()), "DataCopy to GM needs a source in UB");
    ascend_sim::RequireAtomicType(AtomicOf<T>());
    copy_ubuf_to_gm(dst.GetPhyAddr(), src.Address(), 0, p.blockCount.Get("blockCount"), p.blockLen.Get("blockLen"),
                    p.srcStride.Get("srcStride"), p.dstStride.Get("dstStride"));
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& p, ASCENDC_HERE)
{
    Here("DataCopy", file, line, PIPE_V);
    Require(InUb(src.GetPosition()) && InUb(dst.GetPosition()), "DataCopy between local tensors needs both in UB");
    copy_ubuf_to_ubuf(dst.Address(), src.Address(), 0, p.blockCount.Get("blockCount"), p.blockLen.Get("blockLen"),
                      p.srcStride.Get("srcStride"), p.dstStride.Get("dstStride"));
}

// The chip copies whole 32 B blocks and silently drops a tail; here a tail is refused.
inline int64_t WholeBlocks(uint64_t bytes)
{
    Require(bytes % 32 == 0, "count * sizeof(T) is not a multiple of 32 B: the tail would be dropped; use DataCopyPad",
            ascend_sim::Rule::TAIL_DROPPED);
    return static_cast<int64_t>(bytes / 32);
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, uint32_t count, ASCENDC_HERE)
{
    Here("DataCopy(count)", file, line, PIPE_MTE2);
    const DataCopyParams p(1, WholeBlocks(uint64_t{count} * sizeof(T)), 0, 0);
    DataCopy(dst, src, p, file, line);
}

template <class T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count, ASCENDC_HERE)
{
    Here("DataCopy(count)", file, line, PIPE_MTE3);
    const DataCopyParams p(1, WholeBlocks(uint64_t{count} * sizeof(T)), 0, 0);
    DataCopy(dst, src, p, file, line);
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count, ASCENDC_HERE)
{
    Here("DataCopy(count)", file, line, PIPE_V);
    const DataCopyParams p(1, WholeBlocks(uint64_t{count} * sizeof(T)), 0, 0);
    DataCopy(dst, src, p, file, line);
}

template <class T>
void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyExtParams& p,
                 const DataCopyPadExtParams<T>& pad, ASCENDC_HERE)
{
    Here("DataCopyPad", file, line, PIPE_MTE2);
    Require(InUb(dst.GetPosition()), "DataCopyPad needs a destination in UB");
    if (pad.isPad) {
        uint64_t value = 0;
        __builtin_memcpy(&value, &pad.paddingValue, sizeof(T));
        set_mov_pad_val(value);
    }
    copy_gm_to_ubuf_align(sizeof(T), dst.Address(), src.GetPhyAddr(), 0, p.blockCount.Get("blockCount"),
                          p.blockLen.Get("blockLen"), pad.leftPadding.Get("leftPadding"),
                          pad.rightPadding.Get("rightPadding"), p.srcStride.Get("srcStride"),
                          p.dstStride.Get("dstStride"));
}

template <class T>
void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyExtParams& p, ASCENDC_HERE)
{
    Here("DataCopyPad", file, line, PIPE_MTE3);
    Require(InUb(src.GetPosition()), "DataCopyPad to GM leaves from UB");
    ascend_sim::RequireAtomicType(AtomicOf<T>());
    copy_ubuf_to_gm_align(sizeof(T), dst.GetPhyAddr(), src.Address(), 0, p.blockCount.Get("blockCount"),
                          p.blockLen.Get("blockLen"), 0, 0, p.srcStride.Get("srcStride"), p.dstStride.Get("dstStride"));
}

}  // namespace AscendC
