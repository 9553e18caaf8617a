// Matrix API: L1 to L0, Mmad, Fixpipe.
#pragma once
#include "params.h"

namespace AscendC {

template <class T>
void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2DParams& p, ASCENDC_HERE)
{
    Here("LoadData", file, line);
    static_assert(sizeof(T) == 2, "LoadData of 2-byte elements only");
    Require(InL1(src.GetPosition()), "LoadData needs a source in L1");
    Require(dst.GetPosition() == TPosition::A2 || dst.GetPosition() == TPosition::B2,
            "LoadData needs a destination in L0A (A2) or L0B (B2)");
    const auto load = dst.GetPosition() == TPosition::A2 ? load_cbuf_to_ca : load_cbuf_to_cb;
    load(dst.template Address<half>(), src.template Address<half>(), p.startIndex.Get("startIndex"),
         p.repeatTimes.Get("repeatTimes"), p.srcStride.Get("srcStride"), p.dstGap.Get("dstGap"),
         static_cast<uint8_t>(p.sid.Get("sid")), p.ifTranspose, p.addrMode.Get("addrMode") == 0 ? inc : dec);
}

template <class T, class U, class S>
void Mmad(const LocalTensor<T>& dst, const LocalTensor<U>& fm, const LocalTensor<S>& filter, const MmadParams& p,
          ASCENDC_HERE)
{
    Here("Mmad", file, line);
    static_assert(std::is_same_v<T, float>, "Mmad of half and bfloat16_t accumulates in float");
    Require(dst.GetPosition() == TPosition::CO1, "Mmad needs a destination in L0C (CO1)");
    Require(fm.GetPosition() == TPosition::A2, "Mmad needs its left operand in L0A (A2)");
    Require(filter.GetPosition() == TPosition::B2, "Mmad needs its right operand in L0B (B2)");
    mad(dst.Address(), fm.Address(), filter.Address(), p.m.Get("m"), p.k.Get("k"), p.n.Get("n"),
        p.unitFlag.Get("unitFlag"), p.kDirectionAlign, p.cmatrixSource, p.cmatrixInitVal && !p.isBias);
}

template <class T, class U, const FixpipeConfig& config = CFG_ROW_MAJOR>
void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsV220& p, ASCENDC_HERE)
{
    Here("Fixpipe", file, line);
    Require(src.GetPosition() == TPosition::CO1, "Fixpipe needs a source in L0C (CO1)");
    const bool narrow = std::is_same_v<T, half>         ? p.quantPre == F322F16
                        : std::is_same_v<T, bfloat16_t> ? p.quantPre == F322BF16
                                                        : p.quantPre == NoQuant;
    Require(narrow, "quantPre does not fit the destination type (half: F322F16, bfloat16_t: F322BF16, float: NoQuant)");
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

}  // namespace AscendC
