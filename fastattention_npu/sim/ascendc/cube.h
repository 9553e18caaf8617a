// Matrix API: L1 to L0, Mmad, Fixpipe.
#pragma once
#include "data_copy.h"

namespace AscendC {

template <class T>
void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2DParams& p, ASCENDC_HERE)
{
    Here("LoadData", file, line, PIPE_MTE1);
    Require(!p.ifTranspose || sizeof(T) == 2, "ifTranspose takes 2-byte elements", ascend_sim::Rule::LOAD_TRANSPOSE);
    Require(InL1(src.GetPosition()), "LoadData needs a source in L1");
    Require(dst.GetPosition() == TPosition::A2 || dst.GetPosition() == TPosition::B2,
            "LoadData needs a destination in L0A (A2) or L0B (B2)");
    const auto load = [&](auto instruction) {
        instruction(dst.template Address<half>(), src.template Address<half>(), p.startIndex.Get("startIndex"),
                    p.repeatTimes.Get("repeatTimes"), p.srcStride.Get("srcStride"), p.dstGap.Get("dstGap"),
                    static_cast<uint8_t>(p.sid.Get("sid")), p.ifTranspose, p.addrMode.Get("addrMode") == 0 ? inc : dec);
    };
    if (dst.GetPosition() == TPosition::A2) {
        load([](auto... args) { load_cbuf_to_ca(args...); });
    } else {
        load([](auto... args) { load_cbuf_to_cb(args...); });
    }
}

template <class T>
void RequireL1ToL0(const LocalTensor<T>& dst, const LocalTensor<T>& src)
{
    Require(InL1(src.GetPosition()), "the load needs a source in L1");
    Require(dst.GetPosition() == TPosition::A2 || dst.GetPosition() == TPosition::B2,
            "the load needs a destination in L0A (A2) or L0B (B2)");
}

// Squares of 16 x 16 (2 and 4 bytes) or 32 x 32 (1 byte), each turned.
template <class T>
void LoadDataWithTranspose(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2dTransposeParams& p,
                           ASCENDC_HERE)
{
    Here("LoadDataWithTranspose", file, line, PIPE_MTE1);
    RequireL1ToL0(dst, src);
    const auto load = [&](auto&& intrinsic) {
        intrinsic(dst.Address(), src.Address(), p.startIndex.Get("startIndex"), p.repeatTimes.Get("repeatTimes"),
                  p.srcStride.Get("srcStride"), p.dstGap.Get("dstGap"), inc, p.dstFracGap.Get("dstFracGap"));
    };
    if (dst.GetPosition() == TPosition::A2) {
        load([](auto... a) { load_cbuf_to_ca_transpose(a...); });
    } else {
        load([](auto... a) { load_cbuf_to_cb_transpose(a...); });
    }
}

// Image to columns, as a mover of matrices.
template <class T>
void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData3DParamsV2<T>& p, ASCENDC_HERE)
{
    Here("LoadData(LoadData3DParamsV2)", file, line, PIPE_MTE1);
    RequireL1ToL0(dst, src);
    ascend_sim::Load3d form{};
    form.l1H = p.l1H.Get("l1H");
    form.l1W = p.l1W.Get("l1W");
    form.channelSize = p.channelSize.Get("channelSize");
    form.kExtension = p.kExtension.Get("kExtension");
    form.mExtension = p.mExtension.Get("mExtension");
    form.kStartPt = p.kStartPt.Get("kStartPt");
    form.mStartPt = p.mStartPt.Get("mStartPt");
    form.strideW = p.strideW.Get("strideW");
    form.strideH = p.strideH.Get("strideH");
    form.filterW = p.filterW.Get("filterW");
    form.filterH = p.filterH.Get("filterH");
    form.dilationW = p.dilationFilterW.Get("dilationFilterW");
    form.dilationH = p.dilationFilterH.Get("dilationFilterH");
    form.transpose = p.enTranspose;
    const bool left = dst.GetPosition() == TPosition::A2;
    set_fmatrix(static_cast<uint64_t>(form.l1H) << 16 | static_cast<uint64_t>(form.l1W));
    ascend_sim::LoadImage(left, sizeof(T), ascend_sim::AddressOf(dst.Address()), ascend_sim::AddressOf(src.Address()),
                          form);
}

template <class T, class U, class S>
void Mmad(const LocalTensor<T>& dst, const LocalTensor<U>& fm, const LocalTensor<S>& filter, const MmadParams& p,
          ASCENDC_HERE)
{
    Here("Mmad", file, line, PIPE_M);
    static_assert(std::is_same_v<T, float>, "Mmad of half and bfloat16_t accumulates in float");
    Require(dst.GetPosition() == TPosition::CO1, "Mmad needs a destination in L0C (CO1)");
    Require(fm.GetPosition() == TPosition::A2, "Mmad needs its left operand in L0A (A2)");
    Require(filter.GetPosition() == TPosition::B2, "Mmad needs its right operand in L0B (B2)");
    mad(dst.Address(), fm.Address(), filter.Address(), p.m.Get("m"), p.k.Get("k"), p.n.Get("n"),
        p.unitFlag.Get("unitFlag"), p.kDirectionAlign, p.cmatrixSource, p.cmatrixInitVal && !p.isBias);
}

// In which order Mmad makes the fractals of its result: along the rows (N first), or down the columns (M first).
inline void SetMMLayoutTransform(bool rowMajor, ASCENDC_HERE)
{
    Here("SetMMLayoutTransform", file, line);
    constexpr int64_t MM_LAYOUT_BIT = 51;
    set_ctrl(rowMajor ? sbitset1(get_ctrl(), MM_LAYOUT_BIT) : sbitset0(get_ctrl(), MM_LAYOUT_BIT));
}
inline void SetMMRowMajor(ASCENDC_HERE) { SetMMLayoutTransform(true, file, line); }
inline void SetMMColumnMajor(ASCENDC_HERE) { SetMMLayoutTransform(false, file, line); }

// Of its uses only the reset of all unit flags, with a tensor in L0C, is simulated.
template <class T, bool setRelu = false>
void SetFixPipeConfig(const LocalTensor<T>& preData, bool isUnitFlag = false, ASCENDC_HERE)
{
    Here("SetFixPipeConfig", file, line, PIPE_FIX);
    static_assert(!setRelu, "SetFixPipeConfig takes no tensor for relu yet (its page)");
    Require(preData.GetPosition() == TPosition::CO1 && isUnitFlag,
            "SetFixPipeConfig is simulated with a tensor in L0C (CO1) and isUnitFlag = true, the reset of unit flags");
    set_fpc((ascend_sim::AddressOf(preData.Address()) >> 7) << 8 | uint64_t{1} << 63);
}

template <class T>
void RequireQuant(QuantMode_t quantPre)
{
    const bool fits = std::is_same_v<T, half>         ? quantPre == F322F16
                      : std::is_same_v<T, bfloat16_t> ? quantPre == F322BF16
                                                      : quantPre == NoQuant;
    Require(fits, "quantPre does not fit the destination type (half: F322F16, bfloat16_t: F322BF16, float: NoQuant)",
            ascend_sim::Rule::FIX_QUANT);
}

// Into L1, for a following matrix product: narrowed, in NZ.
template <class T, class U, const FixpipeConfig& config = CFG_ROW_MAJOR>
void Fixpipe(const LocalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsV220& p, ASCENDC_HERE)
{
    Here("Fixpipe", file, line, PIPE_FIX);
    Require(src.GetPosition() == TPosition::CO1, "Fixpipe needs a source in L0C (CO1)");
    Require(InL1(dst.GetPosition()), "Fixpipe needs a destination in GM or L1");
    if constexpr (!std::is_same_v<T, float>) RequireQuant<T>(p.quantPre);
    copy_matrix_cc_to_cbuf(dst.Address(), src.Address(), 0, p.nSize.Get("nSize"), p.mSize.Get("mSize"),
                           p.dstStride.Get("dstStride"), p.srcStride.Get("srcStride"), p.unitFlag.Get("unitFlag"),
                           p.quantPre, p.reluEn ? 1 : 0, p.isChannelSplit, config.format == CO2Layout::ROW_MAJOR);
}

template <class T, class U, const FixpipeConfig& config = CFG_ROW_MAJOR>
void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsV220& p, ASCENDC_HERE)
{
    Here("Fixpipe", file, line, PIPE_FIX);
    Require(src.GetPosition() == TPosition::CO1, "Fixpipe needs a source in L0C (CO1)");
    RequireQuant<T>(p.quantPre);
    ascend_sim::RequireAtomicType(AtomicOf<T>());
    constexpr bool nz2nd = config.format == CO2Layout::ROW_MAJOR;
    if constexpr (nz2nd) {
        set_nd_para(static_cast<uint64_t>(p.ndNum.Get("ndNum")) |
                    static_cast<uint64_t>(p.srcNdStride.Get("srcNdStride")) << 16 |
                    static_cast<uint64_t>(p.dstNdStride.Get("dstNdStride")) << 32);
    }
    pipe_barrier(PIPE_FIX);
    copy_matrix_cc_to_gm(dst.GetPhyAddr(), src.Address(), 0, p.nSize.Get("nSize"), p.mSize.Get("mSize"),
                         p.dstStride.Get("dstStride"), p.srcStride.Get("srcStride"), p.unitFlag.Get("unitFlag"),
                         p.quantPre, p.reluEn ? 1 : 0, p.isChannelSplit, nz2nd);
}

// What a following DataCopy with nz2ndEn uses.
inline void SetFixpipeNz2ndFlag(uint16_t ndNum, uint16_t srcNdStride, uint16_t dstNdStride)
{
    set_nd_para(static_cast<uint64_t>(ndNum) | static_cast<uint64_t>(srcNdStride) << 16 |
                static_cast<uint64_t>(dstNdStride) << 32);
}

// Without the barrier of Fixpipe: copies follow each other at once.
template <class T, class U>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<U>& src, const DataCopyCO12DstParams& p, ASCENDC_HERE)
{
    Here("DataCopy", file, line, PIPE_FIX);
    Require(src.GetPosition() == TPosition::CO1, "DataCopy with DataCopyCO12DstParams needs a source in L0C (CO1)");
    RequireQuant<T>(p.quantPre);
    Require(p.nSize.Get("nSize") % 16 == 0, "nSize of DataCopy out of L0C must be a multiple of 16",
            ascend_sim::Rule::FIX_NZ_SIZE);
    ascend_sim::RequireAtomicType(AtomicOf<T>());
    copy_matrix_cc_to_gm(dst.GetPhyAddr(), src.Address(), p.sid, p.nSize.Get("nSize"), p.mSize.Get("mSize"),
                         p.dstStride.Get("dstStride"), p.srcStride.Get("srcStride"), p.unitFlag.Get("unitFlag"),
                         p.quantPre, p.reluPre, p.channelSplit, p.nz2ndEn);
}

}  // namespace AscendC
