// Kernels whose results the tests compare with numpy: the parts of the API that the attention kernels do not use.
#include "rule_kernel.h"

using namespace rules;

namespace {

constexpr uint32_t SIDE = 64;

// SIDE x SIDE in 2-byte elements -> L1 strips.
void ToL1(GM_ADDR in, uint32_t l1Byte)
{
    Nd2NzParams p;
    p.ndNum = 1;
    p.nValue = SIDE;
    p.dValue = SIDE;
    p.srcDValue = SIDE;
    p.dstNzC0Stride = SIDE;
    p.dstNzNStride = 1;
    DataCopy(L1<half>(l1Byte), Gm<half>(in), p);
}

template <class T>
LoadData3DParamsV2<T> Whole(bool transpose)
{
    LoadData3DParamsV2<T> p;
    p.l1H = 1;
    p.l1W = SIDE;
    p.channelSize = SIDE;
    p.kExtension = SIDE;
    p.mExtension = SIDE;
    p.enTranspose = transpose;
    return p;
}

void Multiply(uint32_t unitFlag = 0, bool first = true, uint32_t k = SIDE)
{
    MmadParams p;
    p.m = p.n = SIDE;
    p.k = k;
    p.unitFlag = unitFlag;
    p.cmatrixInitVal = first;
    Mmad(L0c(0), L0a<half>(0), L0b<half>(0), p);
}

FixpipeParamsV220 Out()
{
    FixpipeParamsV220 p;
    p.nSize = SIDE;
    p.mSize = SIDE;
    p.srcStride = SIDE;
    p.dstStride = SIDE;
    return p;
}

void Load0(uint32_t a, uint32_t b, bool transposeA)
{
    Pass<HardEvent::MTE2_MTE1>();
    LoadData(L0a<half>(0), L1<half>(a), Whole<half>(transposeA));
    LoadData(L0b<half>(0), L1<half>(b), Whole<half>(false));
    Pass<HardEvent::MTE1_M>();
}

}  // namespace

// out = A · B, or A^T · B (1), with 3D loads; A and B are the two 64 x 64 matrices of the input.
RULE_KERNEL(product_3d)
{
    ToL1(in, 0);
    ToL1(in + SIDE * SIDE * 2, 16384);
    Load0(0, 16384, variant == 1);
    Multiply();
    Pass<HardEvent::M_FIX>();
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), Out());
}

// The same with LoadDataWithTranspose for B, square by square.
RULE_KERNEL(product_transpose)
{
    ToL1(in, 0);
    ToL1(in + SIDE * SIDE * 2, 16384);
    Pass<HardEvent::MTE2_MTE1>();
    LoadData(L0a<half>(0), L1<half>(0), Whole<half>(false));
    for (uint32_t i = 0; i < SIDE / 16; ++i) {
        LoadData2dTransposeParams p;
        p.startIndex = i;
        p.repeatTimes = SIDE / 16;
        p.srcStride = SIDE / 16;
        LoadDataWithTranspose(L0b<half>(i * SIDE * 32), L1<half>(16384), p);
    }
    Pass<HardEvent::MTE1_M>();
    Multiply();
    Pass<HardEvent::M_FIX>();
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), Out());
}

// A · B · B: the first product goes back to L1 without leaving the core.
RULE_KERNEL(product_chained)
{
    ToL1(in, 0);
    ToL1(in + SIDE * SIDE * 2, 16384);
    Load0(0, 16384, false);
    Multiply(3);
    FixpipeParamsV220 p = Out();
    p.quantPre = F322F16;
    p.unitFlag = 3;
    p.dstStride = SIDE;
    Fixpipe<half, float, CFG_NZ>(L1<half>(32768), L0c(0), p);
    Pass<HardEvent::FIX_MTE1>();
    Pass<HardEvent::M_MTE1>();
    LoadData(L0a<half>(0), L1<half>(32768), Whole<half>(false));
    Pass<HardEvent::MTE1_M>(1);
    Multiply(2, true, SIDE / 2);
    PipeBarrier<PIPE_M>();
    FixpipeParamsV220 last = Out();
    last.unitFlag = 3;
    Multiply(3, true);
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), last);
}

// NZ output, and relu.
RULE_KERNEL(fixpipe_nz)
{
    ToL1(in, 0);
    ToL1(in + SIDE * SIDE * 2, 16384);
    Load0(0, 16384, false);
    Multiply();
    Pass<HardEvent::M_FIX>();
    FixpipeParamsV220 p = Out();
    p.dstStride = SIDE * 16 * 4 / 32;
    p.reluEn = true;
    Fixpipe<float, float, CFG_NZ>(Gm<float>(out), L0c(0), p);
}

// Two 16 x 16 matrices in one ND2NZ, the second turned by the 3D load, through the cube with the identity.
RULE_KERNEL(nd2nz_many)
{
    Nd2NzParams p;
    p.ndNum = 4;
    p.nValue = 16;
    p.dValue = SIDE;
    p.srcNdMatrixStride = 16 * SIDE;
    p.srcDValue = SIDE;
    p.dstNzC0Stride = SIDE;
    p.dstNzNStride = 1;
    p.dstNzMatrixStride = 16 * 16;
    DataCopy(L1<half>(0), Gm<half>(in), p);
    ToL1(in + SIDE * SIDE * 2, 16384);
    Load0(0, 16384, false);
    Multiply();
    Pass<HardEvent::M_FIX>();
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), Out());
}

// GM -> L1 as it lies, twice with a gap.
RULE_KERNEL(gm_to_l1)
{
    DataCopyParams p(SIDE / 16, SIDE, 0, 0);
    DataCopy(L1<half>(0), Gm<half>(in), p);
    ToL1(in + SIDE * SIDE * 2, 16384);
    Load0(0, 16384, false);
    Multiply();
    Pass<HardEvent::M_FIX>();
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), L0c(0), Out());
}

// 8 repeats of the input, in fp32 or in half (1), reduced in every way.
template <class T>
void Reductions(GM_ADDR in, GM_ADDR out)
{
    constexpr uint32_t LANES = 256 / sizeof(T);
    constexpr uint32_t BLOCK = 512;
    DataCopy(Ub<T>(0), Gm<T>(in), 8 * LANES);
    Pass<HardEvent::MTE2_V>();
    Duplicate(Ub<T>(8192), static_cast<T>(0.0F), static_cast<int32_t>(7 * BLOCK / sizeof(T)));
    PipeBarrier<PIPE_V>();
    const auto result = [](uint32_t i) { return Ub<T>(8192 + i * BLOCK); };
    WholeReduceMax<T>(result(0), Ub<T>(0), LANES, 8, 1, 1, 8, ReduceOrder::ORDER_VALUE_INDEX);
    WholeReduceMin<T>(result(1), Ub<T>(0), LANES, 8, 1, 1, 8, ReduceOrder::ORDER_INDEX_VALUE);
    WholeReduceMax<T>(result(2), Ub<T>(0), LANES, 8, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
    WholeReduceMax<T>(result(3), Ub<T>(0), LANES, 8, 1, 1, 8, ReduceOrder::ORDER_ONLY_INDEX);
    WholeReduceSum<T>(result(4), Ub<T>(0), LANES / 2, 8, 1, 1, 8);
    BlockReduceMax<T>(result(5), Ub<T>(0), 8, LANES, 1, 1, 8);
    BlockReduceSum<T>(result(6), Ub<T>(0), 8, LANES, 1, 1, 8);
    Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<T>(out), Ub<T>(8192), 7 * BLOCK / sizeof(T));
    ResetMask();
}

RULE_KERNEL(reductions)
{
    if (variant == 0) {
        Reductions<float>(in, out);
    } else {
        Reductions<half>(in, out);
    }
}

// 256 bytes widened to half, in counter mode and in repeats of which the last half is masked.
RULE_KERNEL(bytes_to_half)
{
    DataCopy(Ub<uint8_t>(0), Gm<uint8_t>(in), 256);
    Pass<HardEvent::MTE2_V>();
    Duplicate(Ub<half>(4096), static_cast<half>(-1.0F), 512);
    PipeBarrier<PIPE_V>();
    Cast(Ub<half>(4096), Ub<uint8_t>(0), RoundMode::CAST_NONE, 256);
    Cast(Ub<half>(4608), Ub<uint8_t>(0), RoundMode::CAST_NONE, 64, 2, UnaryRepeatParams(1, 1, 8, 4));
    Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<half>(out), Ub<half>(4096), 512);
    ResetMask();
}

// Two tensors of 256 floats compared in mode `variant`, then chosen from by the bits.
RULE_KERNEL(compare_select)
{
    DataCopy(Ub<float>(0), Gm<float>(in), 512);
    Pass<HardEvent::MTE2_V>();
    const auto a = Ub<float>(0);
    const auto b = Ub<float>(1024);
    Compare(Ub<uint8_t>(4096), a, b, static_cast<CMPMODE>(variant % 6), 256);
    Compares(Ub<uint8_t>(4128), a, 0.5F, static_cast<CMPMODE>(variant % 6), 256);
    PipeBarrier<PIPE_V>();
    Select(Ub<float>(8192), Ub<uint8_t>(4096), a, b, SELMODE::VSEL_TENSOR_TENSOR_MODE, 256);
    Select(Ub<float>(9216), Ub<uint8_t>(4096), a, b, SELMODE::VSEL_CMPMASK_SPR, 256);
    PipeBarrier<PIPE_V>();
    Select(Ub<float>(10240), Ub<uint8_t>(4128), a, -1.0F, SELMODE::VSEL_TENSOR_SCALAR_MODE, 256);
    PipeBarrier<PIPE_V>();
    Copy(Ub<float>(11264), Ub<float>(8192), 60, 4, CopyRepeatParams(1, 1, 8, 8));
    DataCopy(Ub<float>(12288), Ub<float>(8192), 256);
    PipeBarrier<PIPE_V>();
    Copy(Ub<float>(11264 + 224), Ub<float>(0), 8, 4, CopyRepeatParams(1, 1, 8, 8));
    Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<float>(out), Ub<float>(8192), 1280);
    DataCopy(Gm<uint8_t>(out + 8192), Ub<uint8_t>(4096), 64);
    ResetMask();
}
