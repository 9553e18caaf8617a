// Every call of the Ascend C layer, in every form that it has, once. It computes nothing: it is run through our layer
// and through genuine headers, and the instructions must be the same. It borrows the attention kernel's entry, so that
// the same launch serves; operands q, k, v are read, o, lse and the workspace written.
#include <initializer_list>

#include "kernel_operator.h"
#include "op_kernel/flash_attention/tiling.h"

using namespace AscendC;

namespace {

constexpr uint32_t ELEMS = 1024;  // elements of a working tensor
constexpr int32_t COUNTS[] = {8, 64, 72, 512};
constexpr uint64_t LANES[] = {1, 8, 63, 64, 100, 128};

template <class T>
__aicore__ inline LocalTensor<T> Ub(uint32_t index)
{
    return LocalTensor<T>(TPosition::VECCALC, index * 8192, ELEMS);
}

template <class T>
__aicore__ inline void Elementwise()
{
    const auto x = Ub<T>(0);
    const auto y = Ub<T>(1);
    const auto z = Ub<T>(2);
    const T scalar = static_cast<T>(1.5F);
    for (const uint64_t lanes : LANES) {
        if (lanes > 256 / sizeof(T)) continue;
        const BinaryRepeatParams binary(1, 1, 1, 8, 8, 8);
        const UnaryRepeatParams unary(1, 1, 8, 8);
        Add(z, x, y, lanes, 2, binary);
        Sub(z, x, y, lanes, 2, binary);
        Mul(z, x, y, lanes, 2, binary);
        Div(z, x, y, lanes, 2, binary);
        Max(z, x, y, lanes, 2, binary);
        Min(z, x, y, lanes, 2, binary);
        FusedMulAdd(z, x, y, lanes, 2, binary);
        SetVectorMask<T, MaskMode::NORMAL>(0, 0xFF);
        Add<T, false>(z, x, y, lanes, 2, binary);
        Adds(z, x, scalar, lanes, 2, unary);
        Muls(z, x, scalar, lanes, 2, unary);
        Maxs(z, x, scalar, lanes, 2, unary);
        Mins(z, x, scalar, lanes, 2, unary);
        Exp(z, x, lanes, 2, unary);
        Ln(z, x, lanes, 2, unary);
        Abs(z, x, lanes, 2, unary);
        Sqrt(z, x, lanes, 2, unary);
        Relu(z, x, lanes, 2, unary);
        Not(z.template ReinterpretCast<uint16_t>(), x.template ReinterpretCast<uint16_t>(), lanes, 2, unary);
        Duplicate(z, scalar, lanes, 2, 1, 8);
    }
    for (const int32_t count : COUNTS) {
        Add(z, x, y, count);
        Sub(z, x, y, count);
        Mul(z, x, y, count);
        Div(z, x, y, count);
        Max(z, x, y, count);
        Min(z, x, y, count);
        FusedMulAdd(z, x, y, count);
        Adds(z, x, scalar, count);
        Muls(z, x, scalar, count);
        Maxs(z, x, scalar, count);
        Mins(z, x, scalar, count);
        Exp(z, x, count);
        Ln(z, x, count);
        Abs(z, x, count);
        Sqrt(z, x, count);
        Relu(z, x, count);
        Not(z.template ReinterpretCast<uint16_t>(), x.template ReinterpretCast<uint16_t>(), count);
        Duplicate(z, scalar, count);
    }
    uint64_t bits[2] = {0xFF00, 0};
    Duplicate(z, scalar, bits, 2, 1, 8);
    Brcb(z, x, 2, BrcbRepeatParams(1, 8));
    PipeBarrier<PIPE_V>();
}

__aicore__ inline void Reductions()
{
    const auto x = Ub<float>(0);
    const auto z = Ub<float>(2);
    for (const int32_t lanes : {8, 40, 64}) {
        BlockReduceMax<float>(z, x, 2, lanes, 1, 1, 8);
        BlockReduceMin<float>(z, x, 2, lanes, 1, 1, 8);
        BlockReduceSum<float>(z, x, 2, lanes, 1, 1, 8);
        WholeReduceMax<float>(z, x, lanes, 2, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
        WholeReduceSum<float>(z, x, lanes, 2, 1, 1, 8);
    }
    PipeBarrier<PIPE_V>();
}

template <class T>
__aicore__ inline void Casts(RoundMode narrow)
{
    const auto wide = Ub<float>(0);
    const auto thin = Ub<T>(2);
    Cast(thin, wide, narrow, 64, 2, UnaryRepeatParams(1, 1, 4, 8));
    Cast(wide, thin, RoundMode::CAST_NONE, 40, 2, UnaryRepeatParams(1, 1, 8, 4));
    Cast(thin, wide, narrow, 200);
    Cast(wide, thin, RoundMode::CAST_NONE, 200);
    PipeBarrier<PIPE_V>();
}

__aicore__ inline void Bytes()
{
    Cast(Ub<half>(2), Ub<uint8_t>(0), RoundMode::CAST_NONE, 256);
    Cast(Ub<half>(2), Ub<uint8_t>(0), RoundMode::CAST_NONE, 128, 2, UnaryRepeatParams(1, 1, 8, 4));
    PipeBarrier<PIPE_V>();
}

__aicore__ inline void Masks()
{
    const auto x = Ub<float>(0);
    const auto z = Ub<float>(2);
    Select(z, Ub<uint8_t>(1), x, -1.0F, SELMODE::VSEL_TENSOR_SCALAR_MODE, 512);
    SetMaskCount();
    SetVectorMask<float, MaskMode::COUNTER>(0, 100);
    Adds<float, false>(z, x, 0.0F, uint64_t{0}, 1, UnaryRepeatParams(1, 1, 8, 8));
    SetMaskNorm();
    SetVectorMask<float, MaskMode::NORMAL>(0, 0xFFFF);
    Exp<float, false>(z, x, uint64_t{0}, 1, UnaryRepeatParams(1, 1, 8, 8));
    ResetMask();
    PipeBarrier<PIPE_V>();
}

template <class T>
__aicore__ inline void Transfers(GM_ADDR in, GM_ADDR out)
{
    GlobalTensor<T> from;
    GlobalTensor<T> to;
    from.SetGlobalBuffer((__gm__ T*)in);
    to.SetGlobalBuffer((__gm__ T*)out);
    const auto ub = Ub<T>(0);
    constexpr uint32_t WIDTH = sizeof(T);
    DataCopyParams plain;
    plain.blockCount = 3;
    plain.blockLen = 2;
    plain.srcStride = 1;
    plain.dstStride = 2;
    DataCopy(ub, from, plain);
    DataCopy(ub, from[32], 128);
    DataCopyPad(ub, from, DataCopyExtParams(3, 5 * WIDTH, 11 * WIDTH, 1, 0), DataCopyPadExtParams<T>{false, 0, 0, T{}});
    SetFlag<HardEvent::MTE2_MTE3>(0);
    WaitFlag<HardEvent::MTE2_MTE3>(0);
    DataCopy(to, ub, plain);
    DataCopy(to[32], ub, 128);
    DataCopyPad(to, ub, DataCopyExtParams(3, 5 * WIDTH, 1, 11 * WIDTH, 0));
    SetFlag<HardEvent::MTE3_MTE2>(1);
    WaitFlag<HardEvent::MTE3_MTE2>(1);
}

template <class T>
__aicore__ inline void Bits()
{
    const auto x = Ub<T>(0);
    const auto y = Ub<T>(1);
    const auto z = Ub<T>(2);
    const auto bits = Ub<uint8_t>(2);
    const T scalar = static_cast<T>(0.5F);
    for (const CMPMODE mode : {CMPMODE::LT, CMPMODE::GT, CMPMODE::EQ, CMPMODE::LE, CMPMODE::GE, CMPMODE::NE}) {
        Compare(bits, x, y, mode, 256);
        Compare(bits, x, y, mode, uint64_t{64}, 2, BinaryRepeatParams(1, 1, 1, 8, 8, 8));
        CompareScalar(bits, x, scalar, mode, 256);
        Compares(bits, x, scalar, mode, 256);
    }
    PipeBarrier<PIPE_V>();
    Select(z, Ub<uint8_t>(3), x, scalar, SELMODE::VSEL_TENSOR_SCALAR_MODE, 512);
    Select(z, Ub<uint8_t>(3), x, y, SELMODE::VSEL_CMPMASK_SPR, 512);
    Select(z, Ub<uint8_t>(3), x, y, SELMODE::VSEL_TENSOR_TENSOR_MODE, 512);
    Copy(z, x, uint64_t{64}, 2, CopyRepeatParams(1, 1, 8, 8));
    DataCopy(z, x, DataCopyParams(2, 3, 1, 1));
    DataCopy(z, x, 128);
    for (const ReduceOrder order : {ReduceOrder::ORDER_VALUE_INDEX, ReduceOrder::ORDER_INDEX_VALUE,
                                    ReduceOrder::ORDER_ONLY_VALUE, ReduceOrder::ORDER_ONLY_INDEX}) {
        WholeReduceMax<T>(z, x, 64, 2, 1, 1, 8, order);
        WholeReduceMin<T>(z, x, 64, 2, 1, 1, 8, order);
    }
    PipeBarrier<PIPE_V>();
}

template <class T>
__aicore__ inline void Atomics(GM_ADDR out)
{
    GlobalTensor<T> to;
    to.SetGlobalBuffer((__gm__ T*)out);
    SetAtomicAdd<T>();
    DataCopy(to, Ub<T>(0), 64);
    SetAtomicNone();
    SetAtomicAdd<T>();
    DataCopyPad(to, Ub<T>(0), DataCopyExtParams(1, 12, 0, 0, 0));
    DisableDmaAtomic();
    GlobalTensor<T> from;
    from.SetGlobalBuffer((__gm__ T*)out);
    DataCopyPad(Ub<T>(0), from, DataCopyExtParams(2, 12, 0, 0, 0), DataCopyPadExtParams<T>{true, 1, 1, T(2.0F)});
}

template <int32_t Depth>
__aicore__ inline void QueuedCopies(TPipe& pipe, GM_ADDR in, GM_ADDR out)
{
    GlobalTensor<float> from;
    GlobalTensor<float> to;
    from.SetGlobalBuffer((__gm__ float*)in);
    to.SetGlobalBuffer((__gm__ float*)out);
    from.SetL2CacheHint(CacheMode::CACHE_MODE_NORMAL);
    TQue<TPosition::VECIN, Depth> load;
    TQue<TPosition::VECOUT, Depth> store;
    TQueBind<TPosition::VECIN, TPosition::VECOUT, Depth> pass;
    TBuf<TPosition::VECCALC> scratch;
    pipe.InitBuffer(load, 2, 1000);
    pipe.InitBuffer(store, 2, 1024);
    pipe.InitBuffer(pass, 1, 1024);
    pipe.InitBuffer(scratch, 1000);
    for (int i = 0; i < 5; ++i) {
        LocalTensor<float> x = load.template AllocTensor<float>();
        DataCopy(x, from, 248);
        load.EnQue(x);
        x = load.template DeQue<float>();
        LocalTensor<float> y = store.template AllocTensor<float>();
        Adds(scratch.Get<float>(), x, 1.0F, 248);
        Adds(y, scratch.GetWithOffset<float>(64, 128), 1.0F, 64);
        store.EnQue(y);
        load.FreeTensor(x);
        y = store.template DeQue<float>();
        DataCopy(to, y, 64);
        store.FreeTensor(y);
        LocalTensor<float> z = pass.template AllocTensor<float>();
        DataCopy(z, from, 64);
        pass.EnQue(z);
        z = pass.template DeQue<float>();
        DataCopy(to, z, 64);
        pass.FreeTensor(z);
    }
    pass.FreeAllEvent();
}

__aicore__ inline void Queues(GM_ADDR in, GM_ADDR out)
{
    TPipe pipe;
    QueuedCopies<1>(pipe, in, out);
    pipe.Reset();
    QueuedCopies<2>(pipe, in, out);
    TQue<TPosition::VECIN, 0> inPlace;
    pipe.InitBuffer(inPlace, 2, 512);
    GlobalTensor<float> from;
    from.SetGlobalBuffer((__gm__ float*)in);
    LocalTensor<float> x;
    for (int i = 0; i < 3; ++i) {
        inPlace.AllocTensor(x);
        DataCopy(x, from, 128);
        inPlace.EnQue(x);
        inPlace.DeQue(x);
        Adds(x, x, 1.0F, 128);
        inPlace.FreeTensor(x);
    }
    const auto id = pipe.AllocEventID<HardEvent::V_MTE3>();
    const auto other = GetTPipePtr()->FetchEventID(HardEvent::V_MTE3);
    SetFlag<HardEvent::V_MTE3>(id);
    SetFlag<HardEvent::V_MTE3>(other);
    WaitFlag<HardEvent::V_MTE3>(id);
    WaitFlag<HardEvent::V_MTE3>(other);
    pipe.ReleaseEventID<HardEvent::V_MTE3>(id);
    pipe.Destroy();
    pipe.Init();
}

__aicore__ inline void CubeQueues(GM_ADDR in)
{
    GlobalTensor<half> gm;
    gm.SetGlobalBuffer((__gm__ half*)in);
    TPipe pipe;
    TQue<TPosition::A1, 1> l1;
    TQue<TPosition::B2, 1> l0;
    TQue<TPosition::CO1, 1> out;
    pipe.InitBuffer(l1, 2, 1024);
    pipe.InitBuffer(l0, 1, 1024);
    pipe.InitBuffer(out, 1, 1024);
    for (int i = 0; i < 3; ++i) {
        LocalTensor<half> x = l1.AllocTensor<half>();
        DataCopy(x, gm, 512);
        l1.EnQue(x);
        x = l1.DeQue<half>();
        LocalTensor<half> y = l0.AllocTensor<half>();
        LoadData2DParams load;
        load.repeatTimes = 2;
        load.srcStride = 1;
        LoadData(y, x, load);
        l0.EnQue(y);
        l1.FreeTensor(x);
        y = l0.DeQue<half>();
        LocalTensor<float> c = out.AllocTensor<float>();
        out.EnQue(c);
        l0.FreeTensor(y);
        c = out.DeQue<float>();
        out.FreeTensor(c);
    }
}

__aicore__ inline void Vector(GM_ADDR q, GM_ADDR workspace)
{
    Queues(q, workspace);
    InitSocState();
    Transfers<float>(q, workspace);
    Transfers<half>(q, workspace);
    Transfers<uint8_t>(q, workspace);
    Duplicate(Ub<float>(0), 1.0F, 6144);
    PipeBarrier<PIPE_V>();
    Elementwise<float>();
    Elementwise<half>();
    Reductions();
    Casts<half>(RoundMode::CAST_RINT);
    Casts<bfloat16_t>(RoundMode::CAST_RINT);
    Bytes();
    Masks();
    Bits<float>();
    Bits<half>();
    Atomics<float>(workspace);
    Atomics<half>(workspace);
    ResetMask();
    CrossCoreSetFlag<2, PIPE_MTE3>(3);
    CrossCoreWaitFlag(4);
    CrossCoreSetFlag<1, PIPE_V>(5);
    CrossCoreWaitFlag(5);
    SyncAll<true>();
    SyncAll<false>();
}

template <class T>
__aicore__ inline void Multiply(GM_ADDR in)
{
    GlobalTensor<T> gm;
    gm.SetGlobalBuffer((__gm__ T*)in);
    const LocalTensor<T> left(TPosition::A1, 0, ELEMS);
    const LocalTensor<T> right(TPosition::B1, 8192, ELEMS);
    Nd2NzParams tile;
    tile.ndNum = 1;
    tile.nValue = 32;
    tile.dValue = 48;
    tile.srcNdMatrixStride = 0;
    tile.srcDValue = 64;
    tile.dstNzC0Stride = 32;
    tile.dstNzNStride = 1;
    tile.dstNzMatrixStride = 0;
    DataCopy(left, gm, tile);
    DataCopy(right, gm, tile);
    SetFlag<HardEvent::MTE2_MTE1>(0);
    WaitFlag<HardEvent::MTE2_MTE1>(0);
    LoadData2DParams load;
    load.startIndex = 1;
    load.repeatTimes = 3;
    load.srcStride = 2;
    load.dstGap = 1;
    LoadData(LocalTensor<T>(TPosition::A2, 0, ELEMS), left, load);
    load.startIndex = 0;
    load.ifTranspose = true;
    LoadData(LocalTensor<T>(TPosition::B2, 0, ELEMS), right, load);
    SetFlag<HardEvent::MTE1_M>(0);
    WaitFlag<HardEvent::MTE1_M>(0);
    MmadParams product;
    product.m = 16;
    product.n = 48;
    product.k = 32;
    for (const bool first : {true, false}) {
        product.cmatrixInitVal = first;
        Mmad(LocalTensor<float>(TPosition::CO1, 0, ELEMS), LocalTensor<T>(TPosition::A2, 0, ELEMS),
             LocalTensor<T>(TPosition::B2, 0, ELEMS), product);
        PipeBarrier<PIPE_M>();
    }
    SetFlag<HardEvent::M_FIX>(0);
    WaitFlag<HardEvent::M_FIX>(0);
}

template <class T>
__aicore__ inline void Store(GM_ADDR out, QuantMode_t narrow)
{
    GlobalTensor<T> gm;
    gm.SetGlobalBuffer((__gm__ T*)out);
    FixpipeParamsV220 p;
    p.nSize = 40;
    p.mSize = 15;
    p.srcStride = 16;
    p.dstStride = 64;
    p.quantPre = narrow;
    p.deqScalar = 0;
    Fixpipe<T, float, CFG_ROW_MAJOR>(gm, LocalTensor<float>(TPosition::CO1, 0, ELEMS), p);
    SetFixpipeNz2ndFlag(1, 0, 0);
    DataCopyCO12DstParams copy;
    copy.nSize = 48;  // whole fractals only
    copy.mSize = p.mSize;
    copy.srcStride = p.srcStride;
    copy.dstStride = p.dstStride;
    copy.quantPre = p.quantPre;
    copy.nz2ndEn = true;
    DataCopy(gm, LocalTensor<float>(TPosition::CO1, 0, ELEMS), copy);
}

// Mmad and Fixpipe that follow each other by unit flags; what is left of these is reset.
__aicore__ inline void Units(GM_ADDR out)
{
    GlobalTensor<float> gm;
    gm.SetGlobalBuffer((__gm__ float*)out);
    const LocalTensor<float> l0c(TPosition::CO1, 0, ELEMS);
    SetMMRowMajor();
    SetMMColumnMajor();
    SetMMLayoutTransform(true);
    MmadParams product;
    product.m = 16;
    product.n = 48;
    product.k = 32;
    for (const uint8_t flag : {2, 3}) {
        product.cmatrixInitVal = flag == 2;
        product.unitFlag = flag;
        Mmad(l0c, LocalTensor<half>(TPosition::A2, 0, ELEMS), LocalTensor<half>(TPosition::B2, 0, ELEMS), product);
        PipeBarrier<PIPE_M>();
    }
    FixpipeParamsV220 p;
    p.nSize = 32;
    p.mSize = 16;
    p.srcStride = 16;
    p.dstStride = 32;
    p.quantPre = QuantMode_t::NoQuant;
    p.deqScalar = 0;
    for (const uint8_t flag : {2, 3}) {
        p.unitFlag = flag;
        Fixpipe<float, float, CFG_ROW_MAJOR>(gm, l0c, p);
    }
    SetFlag<HardEvent::M_FIX>(0);
    WaitFlag<HardEvent::M_FIX>(0);
    SetFixPipeConfig<float>(l0c, true);
    PipeBarrier<PIPE_ALL>();
}

template <class T>
__aicore__ inline void Movers(GM_ADDR in)
{
    GlobalTensor<T> gm;
    gm.SetGlobalBuffer((__gm__ T*)in);
    const LocalTensor<T> l1(TPosition::A1, 0, ELEMS);
    const LocalTensor<T> l0a(TPosition::A2, 0, ELEMS);
    const LocalTensor<T> l0b(TPosition::B2, 0, ELEMS);
    DataCopy(l1, gm, DataCopyParams(4, 8, 1, 2));
    DataCopy(l1, gm, 256);
    LoadData2dTransposeParams turn;
    turn.startIndex = 1;
    turn.repeatTimes = 2;
    turn.srcStride = 1;
    turn.dstGap = 1;
    turn.dstFracGap = 0;
    LoadDataWithTranspose(l0a, l1, turn);
    LoadDataWithTranspose(l0b, l1, turn);
    LoadData3DParamsV2<T> image;
    image.l1H = 1;
    image.l1W = 32;
    image.channelSize = 32;
    image.kExtension = 32;
    image.mExtension = 32;
    image.strideW = 1;
    image.strideH = 1;
    image.filterW = 1;
    image.filterH = 1;
    image.dilationFilterW = 1;
    image.dilationFilterH = 1;
    PipeBarrier<PIPE_ALL>();
}

__aicore__ inline void Cube(GM_ADDR q, GM_ADDR workspace)
{
    CubeQueues(q);
    Multiply<half>(q);
    Store<float>(workspace, QuantMode_t::NoQuant);
    Store<half>(workspace, QuantMode_t::F322F16);
    PipeBarrier<PIPE_ALL>();
    Multiply<bfloat16_t>(q);
    Store<bfloat16_t>(workspace, QuantMode_t::F322BF16);
    CrossCoreWaitFlag(3);
    CrossCoreSetFlag<2, PIPE_FIX>(4);
    PipeBarrier<PIPE_ALL>();
    Units(workspace);
    Movers<half>(q);
    const LocalTensor<half> l1(TPosition::A1, 0, ELEMS);
    FixpipeParamsV220 p;
    p.nSize = 32;
    p.mSize = 16;
    p.srcStride = 16;
    p.dstStride = 16;
    p.quantPre = QuantMode_t::F322F16;
    p.deqScalar = 0;
    Fixpipe<half, float, CFG_NZ>(l1, LocalTensor<float>(TPosition::CO1, 0, ELEMS), p);
    SyncAll<true>();
    SyncAll<false>();
}

}  // namespace

extern "C" __global__ __mix__(1, 2) void flash_attention_fwd(GM_ADDR q, GM_ADDR, GM_ADDR, GM_ADDR, GM_ADDR, GM_ADDR,
                                                             GM_ADDR, GM_ADDR, GM_ADDR, GM_ADDR, GM_ADDR, GM_ADDR,
                                                             GM_ADDR workspace, fastattn::FlashAttentionTiling)
{
    InitSocState();
    const auto core = static_cast<uint64_t>(GetBlockIdx() + 64 * GetSubBlockIdx());
    GM_ADDR mine = workspace + core * 8192;
    if ASCEND_IS_AIC {
        Cube(q, mine);
    }
    if ASCEND_IS_AIV {
        Vector(q, mine);
    }
    PipeBarrier<PIPE_ALL>();
}
