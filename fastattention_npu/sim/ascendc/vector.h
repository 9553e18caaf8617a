// Vector API. Three forms of most calls: mask as a count of leading lanes, mask as bits, and a count of elements that
// runs in counter mode and leaves a full mask behind.
#pragma once
#include "params.h"

namespace AscendC {

constexpr uint64_t FULL_MASK = ~uint64_t{0};
constexpr uint32_t TMP_UB_OFFSET_BYTES = 184 * 1024;  // UB that Select and others keep for themselves

inline void RestoreFullMask() { set_vector_mask(FULL_MASK, FULL_MASK); }
inline void ResetMask()
{
    ascend_sim::NoteMask(true);
    RestoreFullMask();
}
inline void SetMaskCount() { set_mask_count(); }
inline void SetMaskNorm() { set_mask_norm(); }

template <class T, MaskMode mode = MaskMode::NORMAL>
void SetVectorMask(uint64_t maskHigh, uint64_t maskLow)
{
    ascend_sim::NoteMask(true);
    set_vector_mask(maskHigh, maskLow);
}

// The first `lanes` lanes; more than a repeat has means all of them. The high half is for 2-byte elements, but is
// written for all: zero for 64 lanes, ones for a whole repeat of any other type.
template <class T>
void SetLeadingLanes(uint64_t lanes)
{
    constexpr uint64_t HALF = 64;
    if (lanes == HALF) {
        set_vector_mask(0, FULL_MASK);
    } else if (lanes == 256 / sizeof(T) || lanes >= 2 * HALF) {
        set_vector_mask(FULL_MASK, FULL_MASK);
    } else if (lanes > HALF) {
        set_vector_mask((uint64_t{1} << (lanes - HALF)) - 1, FULL_MASK);
    } else {
        set_vector_mask(0, (uint64_t{1} << lanes) - 1);
    }
}

// The mask of a call: its argument, or with isSetMask = false the one that SetVectorMask set before.
template <class T, bool isSetMask>
void UseLanes(uint64_t lanes)
{
    if constexpr (isSetMask) {
        ascend_sim::NoteLanes(lanes, 256 / sizeof(T));
        SetLeadingLanes<T>(lanes);
        ascend_sim::NoteMask(false);
    } else {
        ascend_sim::RequireChosenMask();
    }
}
template <bool isSetMask>
void UseBits(const uint64_t mask[])
{
    if constexpr (isSetMask) {
        set_vector_mask(mask[1], mask[0]);
        ascend_sim::NoteMask(false);
    } else {
        ascend_sim::RequireChosenMask();
    }
}

// Runs `body` over `count` elements and leaves normal mode with a full mask. Calls on two tensors restore the mode
// first, calls on a tensor and a scalar the mask.
enum class Restore { MODE_FIRST, MASK_FIRST };
template <Restore order = Restore::MODE_FIRST, class Body>
void OverCount(uint32_t count, const Body& body)
{
    ascend_sim::NoteMask(false);
    set_mask_count();
    set_vector_mask(0, count);
    body();
    if (order == Restore::MODE_FIRST) {
        set_mask_norm();
        RestoreFullMask();
    } else {
        RestoreFullMask();
        set_mask_norm();
    }
}

#define ASCENDC_BINARY(Name, intrinsic)                                                                         \
    template <class T, bool isSetMask = true>                                                                   \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, uint64_t mask, \
              Narrow<uint8_t> repeatTime, const BinaryRepeatParams& p, ASCENDC_HERE)                            \
    {                                                                                                           \
        Here(#Name, file, line, PIPE_V);                                                                        \
        UseLanes<T, isSetMask>(mask);                                                                           \
        intrinsic(dst.Address(), src0.Address(), src1.Address(), repeatTime.Get("repeatTime"),                  \
                  p.dstBlkStride.Get("dstBlkStride"), p.src0BlkStride.Get("src0BlkStride"),                     \
                  p.src1BlkStride.Get("src1BlkStride"), p.dstRepStride.Get("dstRepStride"),                     \
                  p.src0RepStride.Get("src0RepStride"), p.src1RepStride.Get("src1RepStride"));                  \
    }                                                                                                           \
    template <class T>                                                                                          \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, int32_t count, \
              ASCENDC_HERE)                                                                                     \
    {                                                                                                           \
        Here(#Name, file, line, PIPE_V);                                                                        \
        OverCount(static_cast<uint32_t>(count),                                                                 \
                  [&] { intrinsic(dst.Address(), src0.Address(), src1.Address(), 1, 1, 1, 1, 8, 8, 8); });      \
    }
ASCENDC_BINARY(Add, vadd)
ASCENDC_BINARY(Sub, vsub)
ASCENDC_BINARY(Mul, vmul)
ASCENDC_BINARY(Div, vdiv)
ASCENDC_BINARY(Max, vmax)
ASCENDC_BINARY(Min, vmin)
ASCENDC_BINARY(FusedMulAdd, vmadd)
#undef ASCENDC_BINARY

#define ASCENDC_SCALAR(Name, intrinsic)                                                                                \
    template <class T, bool isSetMask = true>                                                                          \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, uint64_t mask,               \
              Narrow<uint8_t> repeatTime, const UnaryRepeatParams& p, ASCENDC_HERE)                                    \
    {                                                                                                                  \
        Here(#Name, file, line, PIPE_V);                                                                               \
        UseLanes<T, isSetMask>(mask);                                                                                  \
        intrinsic(dst.Address(), src.Address(), scalarValue, repeatTime.Get("repeatTime"),                             \
                  p.dstBlkStride.Get("dstBlkStride"), p.srcBlkStride.Get("srcBlkStride"),                              \
                  p.dstRepStride.Get("dstRepStride"), p.srcRepStride.Get("srcRepStride"));                             \
    }                                                                                                                  \
    template <class T>                                                                                                 \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, int32_t count, ASCENDC_HERE) \
    {                                                                                                                  \
        Here(#Name, file, line, PIPE_V);                                                                               \
        OverCount<Restore::MASK_FIRST>(static_cast<uint32_t>(count),                                                   \
                                       [&] { intrinsic(dst.Address(), src.Address(), scalarValue, 1, 1, 1, 8, 8); });  \
    }
ASCENDC_SCALAR(Adds, vadds)
ASCENDC_SCALAR(Muls, vmuls)
ASCENDC_SCALAR(Maxs, vmaxs)
ASCENDC_SCALAR(Mins, vmins)
#undef ASCENDC_SCALAR

#define ASCENDC_UNARY(Name, intrinsic)                                                                            \
    template <class T, bool isSetMask = true>                                                                     \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask, Narrow<uint8_t> repeatTime,    \
              const UnaryRepeatParams& p, ASCENDC_HERE)                                                           \
    {                                                                                                             \
        Here(#Name, file, line, PIPE_V);                                                                          \
        UseLanes<T, isSetMask>(mask);                                                                             \
        intrinsic(dst.Address(), src.Address(), repeatTime.Get("repeatTime"), p.dstBlkStride.Get("dstBlkStride"), \
                  p.srcBlkStride.Get("srcBlkStride"), p.dstRepStride.Get("dstRepStride"),                         \
                  p.srcRepStride.Get("srcRepStride"));                                                            \
    }                                                                                                             \
    template <class T>                                                                                            \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t count, ASCENDC_HERE)                  \
    {                                                                                                             \
        Here(#Name, file, line, PIPE_V);                                                                          \
        OverCount(static_cast<uint32_t>(count), [&] { intrinsic(dst.Address(), src.Address(), 1, 1, 1, 8, 8); }); \
    }
ASCENDC_UNARY(Exp, vexp)
ASCENDC_UNARY(Ln, vln)
ASCENDC_UNARY(Abs, vabs)
ASCENDC_UNARY(Sqrt, vsqrt)
ASCENDC_UNARY(Relu, vrelu)
ASCENDC_UNARY(Not, vnot)
#undef ASCENDC_UNARY

#define ASCENDC_BLOCK_REDUCE(Name, intrinsic)                                                                      \
    template <class T, bool isSetMask = true>                                                                      \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, Narrow<uint8_t> repeat, int32_t mask,          \
              int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride, ASCENDC_HERE)                      \
    {                                                                                                              \
        Here(#Name, file, line, PIPE_V);                                                                           \
        UseLanes<T, isSetMask>(static_cast<uint64_t>(mask));                                                       \
        intrinsic(dst.Address(), src.Address(), repeat.Get("repeat"), dstRepStride, srcBlkStride, srcRepStride);   \
    }                                                                                                              \
    template <class T, bool isSetMask = true>                                                                      \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, Narrow<uint8_t> repeat, const uint64_t mask[], \
              int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride, ASCENDC_HERE)                      \
    {                                                                                                              \
        Here(#Name, file, line, PIPE_V);                                                                           \
        UseBits<isSetMask>(mask);                                                                                  \
        intrinsic(dst.Address(), src.Address(), repeat.Get("repeat"), dstRepStride, srcBlkStride, srcRepStride);   \
    }
ASCENDC_BLOCK_REDUCE(BlockReduceMax, vcgmax)
ASCENDC_BLOCK_REDUCE(BlockReduceMin, vcgmin)
ASCENDC_BLOCK_REDUCE(BlockReduceSum, vcgadd)
#undef ASCENDC_BLOCK_REDUCE

constexpr Order_t OrderOf(ReduceOrder order)
{
    switch (order) {
        case ReduceOrder::ORDER_VALUE_INDEX: return Order_t::VALUE_INDEX;
        case ReduceOrder::ORDER_INDEX_VALUE: return Order_t::INDEX_VALUE;
        case ReduceOrder::ORDER_ONLY_VALUE: return Order_t::ONLY_VALUE;
        default: return Order_t::ONLY_INDEX;
    }
}

#define ASCENDC_WHOLE_REDUCE(Name, intrinsic)                                                                          \
    template <class T, bool isSetMask = true>                                                                          \
    void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask, int32_t repeatTime,                  \
              int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride,                                        \
              ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX, ASCENDC_HERE)                                        \
    {                                                                                                                  \
        Here(#Name, file, line, PIPE_V);                                                                               \
        UseLanes<T, isSetMask>(static_cast<uint64_t>(mask));                                                           \
        intrinsic(dst.Address(), src.Address(), repeatTime, dstRepStride, srcBlkStride, srcRepStride, OrderOf(order)); \
    }
ASCENDC_WHOLE_REDUCE(WholeReduceMax, vcmax)
ASCENDC_WHOLE_REDUCE(WholeReduceMin, vcmin)
#undef ASCENDC_WHOLE_REDUCE

template <class T, bool isSetMask = true>
void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask, int32_t repeatTime,
                    int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride, ASCENDC_HERE)
{
    Here("WholeReduceSum", file, line, PIPE_V);
    UseLanes<T, isSetMask>(static_cast<uint64_t>(mask));
    vcadd(dst.Address(), src.Address(), repeatTime, dstRepStride, srcBlkStride, srcRepStride, false);
}

template <class T, bool isSetMask = true>
void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask, Narrow<uint8_t> repeatTime,
               Narrow<uint16_t> dstBlockStride, Narrow<uint8_t> dstRepeatStride, ASCENDC_HERE)
{
    Here("Duplicate", file, line, PIPE_V);
    UseLanes<T, isSetMask>(mask);
    vector_dup(dst.Address(), scalarValue, repeatTime.Get("repeatTime"), dstBlockStride.Get("dstBlockStride"), 1,
               dstRepeatStride.Get("dstRepeatStride"), 0);
}

template <class T, bool isSetMask = true>
void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask[], Narrow<uint8_t> repeatTime,
               Narrow<uint16_t> dstBlockStride, Narrow<uint8_t> dstRepeatStride, ASCENDC_HERE)
{
    Here("Duplicate", file, line, PIPE_V);
    UseBits<isSetMask>(mask);
    vector_dup(dst.Address(), scalarValue, repeatTime.Get("repeatTime"), dstBlockStride.Get("dstBlockStride"), 1,
               dstRepeatStride.Get("dstRepeatStride"), 0);
}

template <class T>
void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, int32_t count, ASCENDC_HERE)
{
    Here("Duplicate", file, line, PIPE_V);
    OverCount<Restore::MASK_FIRST>(static_cast<uint32_t>(count),
                                   [&] { vector_dup(dst.Address(), scalarValue, 1, 1, 1, 8, 0); });
}

template <class T>
void Brcb(const LocalTensor<T>& dst, const LocalTensor<T>& src, Narrow<uint8_t> repeatTime, const BrcbRepeatParams& p,
          ASCENDC_HERE)
{
    Here("Brcb", file, line, PIPE_V);
    RestoreFullMask();  // whatever the kernel has set
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>;
    vbrcb(dst.template Address<Bits>(), src.template Address<Bits>(), p.dstBlkStride.Get("dstBlkStride"),
          p.dstRepStride.Get("dstRepStride"), repeatTime.Get("repeatTime"));
}

inline void Convert(half* dst, float* src, RoundMode mode, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
                    int64_t dstRep, int64_t srcRep)
{
    Require(mode == RoundMode::CAST_RINT || mode == RoundMode::CAST_NONE, "float to half: only CAST_RINT is simulated",
            ascend_sim::Rule::NOT_SIMULATED);
    vconv_f322f16r(dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}
inline void Convert(bfloat16_t* dst, float* src, RoundMode mode, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
                    int64_t dstRep, int64_t srcRep)
{
    Require(mode != RoundMode::CAST_NONE && mode != RoundMode::CAST_ODD,
            "roundMode: float to bfloat16_t takes RINT, FLOOR, CEIL, ROUND or TRUNC", ascend_sim::Rule::CAST_MODE);
    Require(mode == RoundMode::CAST_RINT, "float to bfloat16_t: only CAST_RINT is simulated",
            ascend_sim::Rule::NOT_SIMULATED);
    vconv_f322bf16r(dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}
inline void Convert(float* dst, half* src, RoundMode mode, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
                    int64_t dstRep, int64_t srcRep)
{
    Require(mode == RoundMode::CAST_NONE, "roundMode: half to float takes CAST_NONE", ascend_sim::Rule::CAST_MODE);
    vconv_f162f32(dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}
inline void Convert(float* dst, bfloat16_t* src, RoundMode mode, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
                    int64_t dstRep, int64_t srcRep)
{
    Require(mode == RoundMode::CAST_NONE, "roundMode: bfloat16_t to float takes CAST_NONE",
            ascend_sim::Rule::CAST_MODE);
    vconv_bf162f32(dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}
inline void Convert(half* dst, uint8_t* src, RoundMode mode, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
                    int64_t dstRep, int64_t srcRep)
{
    Require(mode == RoundMode::CAST_NONE, "roundMode: uint8_t to half takes CAST_NONE", ascend_sim::Rule::CAST_MODE);
    vconv_u82f16(dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}

// Between any other two types, half and bfloat16_t above all, there is no conversion.
template <class T, class U>
void Convert(T*, U*, RoundMode, int64_t, int64_t, int64_t, int64_t, int64_t)
{
    ascend_sim::Refuse(ascend_sim::Rule::CAST_PAIR, "the types cannot be converted into each other; go through float");
}

// Repeats count on the wider type.
template <class T, class U, bool isSetMask = true>
void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode, uint64_t mask,
          Narrow<uint8_t> repeatTime, const UnaryRepeatParams& p, ASCENDC_HERE)
{
    Here("Cast", file, line, PIPE_V);
    UseLanes<std::conditional_t<sizeof(T) < sizeof(U), U, T>, isSetMask>(mask);
    Convert(dst.Address(), src.Address(), roundMode, repeatTime.Get("repeatTime"), p.dstBlkStride.Get("dstBlkStride"),
            p.srcBlkStride.Get("srcBlkStride"), p.dstRepStride.Get("dstRepStride"), p.srcRepStride.Get("srcRepStride"));
}

template <class T, class U>
void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode, uint32_t count,
          ASCENDC_HERE)
{
    Here("Cast", file, line, PIPE_V);
    OverCount(count, [&] {
        Convert(dst.Address(), src.Address(), roundMode, 1, 1, 1, sizeof(T) < sizeof(U) ? 4 : 8,
                sizeof(T) < sizeof(U) ? 8 : 4);
    });
}

}  // namespace AscendC
