// Rules of the cube core: loads, Mmad, Fixpipe.
#include "rule_kernel.h"

using namespace rules;

namespace {

// L1 bytes 0 ... of a 64 x 64 matrix of ones in 2-byte elements, in strips of 64 rows.
void LoadL1(GM_ADDR in, uint32_t rows = 64, uint32_t cols = 64)
{
    Nd2NzParams p;
    p.ndNum = 1;
    p.nValue = rows;
    p.dValue = cols;
    p.srcDValue = cols;
    p.dstNzC0Stride = rows;
    p.dstNzNStride = 1;
    DataCopy(L1<half>(0), Gm<half>(in), p);
    Pass<HardEvent::MTE2_MTE1>();
}

// A and B of 64 x 64 in L0.
void LoadL0(GM_ADDR in)
{
    LoadL1(in);
    LoadData2DParams p;
    p.repeatTimes = 16;
    p.srcStride = 1;
    LoadData(L0a<half>(0), L1<half>(0), p);
    LoadData(L0b<half>(0), L1<half>(0), p);
    Pass<HardEvent::MTE1_M>();
}

MmadParams Size(uint32_t m, uint32_t n, uint32_t k)
{
    MmadParams p;
    p.m = m;
    p.n = n;
    p.k = k;
    return p;
}

FixpipeParamsV220 Rows(uint32_t m, uint32_t n)
{
    FixpipeParamsV220 p;
    p.nSize = n;
    p.mSize = m;
    p.srcStride = 64;
    p.dstStride = n;
    return p;
}

void Product(GM_ADDR in)
{
    LoadL0(in);
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), Size(64, 64, 64));
    Pass<HardEvent::M_FIX>();
}

}  // namespace

RULE_KERNEL(nd2nz_field)
{
    Nd2NzParams p;
    p.ndNum = 1;
    p.nValue = 16;
    p.dValue = 16;
    p.srcDValue = variant == 1 ? 65536 : 16;
    p.dstNzC0Stride = variant == 2 ? 16385 : 16;
    p.dstNzNStride = 1;
    DataCopy(L1<half>(0), Gm<half>(in), p);
}

RULE_KERNEL(mmad_size)
{
    LoadL0(in);
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), Size(64, 64, variant == 0 ? 64 : 4096));
}

RULE_KERNEL(mmad_gemv)
{
    LoadL0(in);
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), Size(variant == 0 ? 16 : 1, 64, 64));
}

RULE_KERNEL(mmad_option)
{
    LoadL0(in);
    MmadParams p = Size(64, 64, 64);
    p.kDirectionAlign = variant == 1;
    p.unitFlag = variant == 2 ? 1 : 0;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
}

// Mmad and Fixpipe in step through unit flags alone: two tiles in one place (0), a Fixpipe of fewer columns (1), of a
// tile that no Mmad finished (2), an Mmad over a tile that was not taken (3), and a tile that nobody takes (4).
RULE_KERNEL(unit_flag)
{
    LoadL0(in);
    for (int i = 0; i < 2; ++i) {
        MmadParams p = Size(64, 64, 64);
        p.unitFlag = variant == 2 ? 2 : 3;
        Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
        if (variant == 3) continue;
        if (variant == 4) return;
        FixpipeParamsV220 f = Rows(64, variant == 1 ? 32 : 64);
        f.unitFlag = 3;
        Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), f);
    }
}

// Both Mmads are issued before the Fixpipe that makes room for the second: M waits, FIX does not.
RULE_KERNEL(unit_flag_queued)
{
    LoadL0(in);
    MmadParams p = Size(64, 64, 64);
    p.unitFlag = 3;
    FixpipeParamsV220 f = Rows(64, 64);
    f.unitFlag = 3;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
    p.k = 32;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), f);
    if (variant == 1) PipeBarrier<PIPE_ALL>();
    if (variant == 0) Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out + 64 * 64 * 4), L0c(0), f);
}

// L0A is loaded anew once Fixpipe has taken the whole tile (0, in two halves), or half of it (1): then the Mmad may
// still read. An Mmad without unitFlag does not wait for a Fixpipe with it (2).
RULE_KERNEL(unit_flag_order)
{
    LoadL0(in);
    MmadParams p = Size(64, 64, 64);
    p.unitFlag = 3;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
    FixpipeParamsV220 f = Rows(64, 32);
    f.unitFlag = 3;
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), f);
    if (variant == 1) Pass<HardEvent::FIX_MTE1>();
    LoadData2DParams load;
    load.repeatTimes = 16;
    load.srcStride = 1;
    if (variant == 1) LoadData(L0a<half>(0), L1<half>(0), load);
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out + 64 * 32 * 4), L0c(64 * 32 * 4), f);
    if (variant == 0) Pass<HardEvent::FIX_MTE1>();
    if (variant == 0) LoadData(L0a<half>(0), L1<half>(0), load);
    if (variant == 2) Mmad(L0c(0), L0a<half>(0), L0b<half>(0), Size(64, 64, 64));
}

// Flags that a Fixpipe of half the tile leaves are reset, once M has finished (0) or while it may run (1).
RULE_KERNEL(unit_flag_reset)
{
    LoadL0(in);
    SetMMRowMajor();
    MmadParams p = Size(64, 64, 64);
    p.unitFlag = 3;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
    FixpipeParamsV220 f = Rows(64, 32);
    f.unitFlag = 3;
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), f);
    if (variant == 0) Pass<HardEvent::M_FIX>();
    SetFixPipeConfig<float>(L0c(0), true);
}

// One tile from the last of two Mmads to Fixpipe, which stores rows: by a flag between the pipes (0), by unit flags with
// the result made down its columns (1) or along its rows (2).
RULE_KERNEL(unit_flag_time)
{
    LoadL0(in);
    if (variant == 2) SetMMRowMajor();
    MmadParams p = Size(64, 64, 64);
    p.unitFlag = variant == 0 ? 0 : 2;
    FixpipeParamsV220 f = Rows(64, 64);
    f.quantPre = F322F16;
    f.unitFlag = variant == 0 ? 0 : 3;
    PipeBarrier<PIPE_ALL>();
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
    p.cmatrixInitVal = false;
    p.unitFlag = f.unitFlag;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
    if (variant == 0) Pass<HardEvent::M_FIX>();
    Fixpipe<half, float, CFG_ROW_MAJOR>(Gm<half>(out), L0c(0), f);
}

RULE_KERNEL(load_transpose)
{
    LoadL1(in);
    LoadData2DParams p;
    p.repeatTimes = 1;
    p.srcStride = 1;
    p.ifTranspose = true;
    if (variant == 0) LoadData(L0b<half>(0), L1<half>(0), p);
    if (variant == 1) LoadData(L0b<float>(0), L1<float>(0), p);
    if (variant == 2) LoadData(L0b<int8_t>(0), L1<int8_t>(0), p);
}

RULE_KERNEL(load_3d)
{
    LoadL1(in);
    LoadData3DParamsV2<half> p;
    p.l1H = 1;
    p.l1W = 64;
    p.channelSize = 64;
    p.kExtension = 64;
    p.mExtension = 48;
    p.kStartPt = variant == 1 ? 8 : 0;
    p.mStartPt = variant == 2 ? 8 : 0;
    if (variant != 3) LoadData(L0b<half>(0), L1<half>(0), p);
    LoadData3DParamsV2<int8_t> bytes;
    bytes.l1H = bytes.l1W = 64;
    bytes.channelSize = bytes.kExtension = bytes.mExtension = 32;
    if (variant == 3) LoadData(L0b<int8_t>(0), L1<int8_t>(0), bytes);
}

RULE_KERNEL(fix_quant)
{
    Product(in);
    FixpipeParamsV220 p = Rows(64, 64);
    p.quantPre = variant == 0 ? F322F16 : NoQuant;
    Fixpipe<half, float, CFG_ROW_MAJOR>(Gm<half>(out), L0c(0), p);
}

RULE_KERNEL(fix_nz_size)
{
    Product(in);
    FixpipeParamsV220 p = Rows(64, variant == 0 ? 48 : 40);
    p.dstStride = 128;
    Fixpipe<float, float, CFG_NZ>(Gm<float>(out), L0c(0), p);
}

RULE_KERNEL(fix_dst_stride)
{
    Product(in);
    FixpipeParamsV220 p = Rows(64, 64);
    if (variant == 1) p.dstStride = 0;
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), p);
}

RULE_KERNEL(fix_src_stride)
{
    Product(in);
    FixpipeParamsV220 p = Rows(64, 64);
    if (variant == 1) p.srcStride = 48;
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), p);
}

RULE_KERNEL(fix_l1_type)
{
    Product(in);
    FixpipeParamsV220 p = Rows(64, 64);
    p.dstStride = 64;
    p.quantPre = F322F16;
    if (variant == 0) Fixpipe<half, float, CFG_NZ>(L1<half>(65536), L0c(0), p);
    p.quantPre = NoQuant;
    if (variant == 1) Fixpipe<float, float, CFG_NZ>(L1<float>(65536), L0c(0), p);
}

RULE_KERNEL(not_simulated)
{
    LoadL1(in);
    LoadData2DParams p;
    p.repeatTimes = 1;
    p.srcStride = 1;
    p.addrMode = variant;
    LoadData(L0b<half>(0), L1<half>(0), p);
}

RULE_KERNEL(load_wrap)
{
    LoadL1(in);
    LoadData2DParams p;
    p.repeatTimes = variant == 0 ? 16 : 256;
    p.srcStride = 0;
    LoadData(L0a<half>(0), L1<half>(0), p);
}

RULE_KERNEL(load_3d_channels)
{
    LoadL1(in);
    LoadData3DParamsV2<half> p;
    p.l1H = 1;
    p.l1W = 64;
    p.channelSize = variant == 1 ? 60 : variant == 2 ? 6 : 56;
    p.kExtension = p.mExtension = 48;
    LoadData(L0a<half>(0), L1<half>(0), p);
}
