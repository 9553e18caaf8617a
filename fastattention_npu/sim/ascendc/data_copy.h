// Copies between GM and local memories.
#pragma once
#include "params.h"

namespace AscendC {

template <class T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const Nd2NzParams& p, ASCENDC_HERE)
{
    Here("DataCopy(Nd2NzParams)", file, line);
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
    Here("DataCopy", file, line);
    Require(InUb(dst.GetPosition()), "GM to L1 without ND2NZ is not simulated yet");
    copy_gm_to_ubuf(dst.Address(), src.GetPhyAddr(), 0, p.blockCount.Get("blockCount"), p.blockLen.Get("blockLen"),
                    p.srcStride.Get("srcStride"), p.dstStride.Get("dstStride"));
}

template <class T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& p, ASCENDC_HERE)
{
    Here("DataCopy", file, line);
    Require(InUb(src.GetPosition()), "copies to GM leave from UB");
    copy_ubuf_to_gm(dst.GetPhyAddr(), src.Address(), 0, p.blockCount.Get("blockCount"), p.blockLen.Get("blockLen"),
                    p.srcStride.Get("srcStride"), p.dstStride.Get("dstStride"));
}

// The chip copies whole 32 B blocks and silently drops a tail; here a tail is refused.
inline int64_t WholeBlocks(uint64_t bytes)
{
    Require(bytes % 32 == 0, "count * sizeof(T) is not a multiple of 32 B: the tail would be dropped; use DataCopyPad");
    return static_cast<int64_t>(bytes / 32);
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, uint32_t count, ASCENDC_HERE)
{
    Here("DataCopy(count)", file, line);
    Require(InUb(dst.GetPosition()), "GM to L1 without ND2NZ is not simulated yet");
    copy_gm_to_ubuf(dst.Address(), src.GetPhyAddr(), 0, 1, WholeBlocks(uint64_t{count} * sizeof(T)), 0, 0);
}

template <class T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count, ASCENDC_HERE)
{
    Here("DataCopy(count)", file, line);
    copy_ubuf_to_gm(dst.GetPhyAddr(), src.Address(), 0, 1, WholeBlocks(uint64_t{count} * sizeof(T)), 0, 0);
}

template <class T>
void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyExtParams& p,
                 const DataCopyPadExtParams<T>& pad, ASCENDC_HERE)
{
    Here("DataCopyPad", file, line);
    Require(InUb(dst.GetPosition()), "DataCopyPad needs a destination in UB");
    Require(!pad.isPad, "DataCopyPad with isPad is not simulated yet");
    copy_gm_to_ubuf_align(sizeof(T), dst.Address(), src.GetPhyAddr(), 0, p.blockCount.Get("blockCount"),
                          p.blockLen.Get("blockLen"), pad.leftPadding.Get("leftPadding"),
                          pad.rightPadding.Get("rightPadding"), p.srcStride.Get("srcStride"),
                          p.dstStride.Get("dstStride"));
}

template <class T>
void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyExtParams& p, ASCENDC_HERE)
{
    Here("DataCopyPad", file, line);
    Require(InUb(src.GetPosition()), "DataCopyPad to GM leaves from UB");
    copy_ubuf_to_gm_align(sizeof(T), dst.GetPhyAddr(), src.Address(), 0, p.blockCount.Get("blockCount"),
                          p.blockLen.Get("blockLen"), 0, 0, p.srcStride.Get("srcStride"), p.dstStride.Get("dstStride"));
}

}  // namespace AscendC
