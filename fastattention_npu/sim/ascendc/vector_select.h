// Vector API with one bit a lane: Compare, Select; and Copy. Bits are consecutive, the lowest first.
#pragma once
#include "vector.h"

namespace AscendC {

#define ASCENDC_BY_MODE(prefix, ...)                       \
    switch (cmpMode) {                                     \
        case CMPMODE::LT: prefix##_lt(__VA_ARGS__); break; \
        case CMPMODE::GT: prefix##_gt(__VA_ARGS__); break; \
        case CMPMODE::EQ: prefix##_eq(__VA_ARGS__); break; \
        case CMPMODE::LE: prefix##_le(__VA_ARGS__); break; \
        case CMPMODE::GE: prefix##_ge(__VA_ARGS__); break; \
        default: prefix##_ne(__VA_ARGS__); break;          \
    }

template <class T>
int64_t WholeRepeats(uint32_t count)
{
    Require(count * sizeof(T) % 256 == 0, "count is not a multiple of 256 B", ascend_sim::Rule::COMPARE_COUNT);
    return count * static_cast<int64_t>(sizeof(T)) / 256;
}

// dst: a bit for each element, set where the comparison holds.
template <class T, class U>
void Compare(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, CMPMODE cmpMode,
             uint32_t count, ASCENDC_HERE)
{
    Here("Compare", file, line, PIPE_V);
    const int64_t repeats = WholeRepeats<T>(count);
    uint8_t* bits = dst.template Address<uint8_t>();
    ASCENDC_BY_MODE(vcmpv, bits, src0.Address(), src1.Address(), repeats, 1, 1, 1, 8, 8, 8)
}

// The mask has no effect: the call does not even set it.
template <class T, class U, bool isSetMask = true>
void Compare(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, CMPMODE cmpMode,
             uint64_t, Narrow<uint8_t> repeatTime, const BinaryRepeatParams& p, ASCENDC_HERE)
{
    Here("Compare", file, line, PIPE_V);
    uint8_t* bits = dst.template Address<uint8_t>();
    const int64_t repeats = repeatTime.Get("repeatTime");
    ASCENDC_BY_MODE(vcmpv, bits, src0.Address(), src1.Address(), repeats, p.dstBlkStride.Get("dstBlkStride"),
                    p.src0BlkStride.Get("src0BlkStride"), p.src1BlkStride.Get("src1BlkStride"),
                    p.dstRepStride.Get("dstRepStride"), p.src0RepStride.Get("src0RepStride"),
                    p.src1RepStride.Get("src1RepStride"))
}

template <class T, class U>
void Compares(const LocalTensor<U>& dst, const LocalTensor<T>& src0, T src1Scalar, CMPMODE cmpMode, uint32_t count,
              ASCENDC_HERE)
{
    Here("Compares", file, line, PIPE_V);
    const int64_t repeats = WholeRepeats<T>(count);
    uint8_t* bits = dst.template Address<uint8_t>();
    ASCENDC_BY_MODE(vcmpvs, bits, src0.Address(), src1Scalar, repeats, 1, 1, 8, 8)
}

template <class T, class U>
void CompareScalar(const LocalTensor<U>& dst, const LocalTensor<T>& src0, T src1Scalar, CMPMODE cmpMode, uint32_t count,
                   ASCENDC_HERE)
{
    Compares(dst, src0, src1Scalar, cmpMode, count, file, line);
}
#undef ASCENDC_BY_MODE

// Brings what the mode needs into the compare mask register: the bits themselves, a scalar or the address of the bits,
// the latter two through a block of the reserved UB.
template <class E>
void LoadCompareMask(E value)
{
    ascend_sim::UseReservedUb(true);
    E* scratch = LocalTensor<E>(TPosition::VECCALC, TMP_UB_OFFSET_BYTES, 0).Address();
    set_vector_mask(0, 32);
    vector_dup(scratch, value, 1, 1, 1, 8, 0);
    pipe_barrier(PIPE_V);
    set_cmpmask(scratch);
    pipe_barrier(PIPE_V);
    ascend_sim::UseReservedUb(false);
}

// dst = bit of selMask set ? src0 : src1. The scalar reaches the instruction through a block of the reserved UB.
template <class T, class U>
void Select(const LocalTensor<T>& dst, const LocalTensor<U>& selMask, const LocalTensor<T>& src0, T src1,
            SELMODE selMode, uint32_t count, ASCENDC_HERE)
{
    Here("Select", file, line, PIPE_V);
    Require(selMode == SELMODE::VSEL_TENSOR_SCALAR_MODE, "selMode: a scalar takes VSEL_TENSOR_SCALAR_MODE",
            ascend_sim::Rule::NOT_SIMULATED);
    ascend_sim::NoteMask(false);
    set_mask_count();
    LoadCompareMask(src1);
    set_vector_mask(0, count);
    vsel(dst.Address(), src0.Address(), selMask.template Address<uint8_t>(), 1, 1, 1, 1, 8, 8, 8,
         static_cast<uint8_t>(selMode));
    RestoreFullMask();
    set_mask_norm();
}

template <class T, class U>
void Select(const LocalTensor<T>& dst, const LocalTensor<U>& selMask, const LocalTensor<T>& src0,
            const LocalTensor<T>& src1, SELMODE selMode, uint32_t count, ASCENDC_HERE)
{
    Here("Select", file, line, PIPE_V);
    Require(selMode != SELMODE::VSEL_TENSOR_SCALAR_MODE, "selMode: two tensors take mode 0 or 2",
            ascend_sim::Rule::NOT_SIMULATED);
    ascend_sim::NoteMask(false);
    set_mask_count();
    if (selMode == SELMODE::VSEL_CMPMASK_SPR) {
        set_cmpmask(selMask.Address());
        pipe_barrier(PIPE_V);
    } else {
        LoadCompareMask(static_cast<uint32_t>(selMask.GetPhyAddr()));
    }
    set_vector_mask(0, count);
    vsel(dst.Address(), src0.Address(), src1.Address(), 1, 1, 1, 1, 8, 8, 8, static_cast<uint8_t>(selMode));
    pipe_barrier(PIPE_V);
    RestoreFullMask();
    set_mask_norm();
}

// UB to UB, block by block; the strides count blocks.
template <class T, bool isSetMask = true>
void Copy(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask, Narrow<uint8_t> repeatTime,
          const CopyRepeatParams& p, ASCENDC_HERE)
{
    Here("Copy", file, line, PIPE_V);
    UseLanes<T, isSetMask>(mask);
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>;
    const int64_t dstRepeat = p.dstRepeatSize.Get("dstRepeatSize");
    const int64_t srcRepeat = p.srcRepeatSize.Get("srcRepeatSize");
    ascend_sim::Limit("dstRepeatSize", dstRepeat, 0, 4095, ascend_sim::Rule::STRIDE_WRAP);
    ascend_sim::Limit("srcRepeatSize", srcRepeat, 0, 4095, ascend_sim::Rule::STRIDE_WRAP);
    vcopy(dst.template Address<Bits>(), src.template Address<Bits>(), repeatTime.Get("repeatTime"),
          p.dstStride.Get("dstStride"), p.srcStride.Get("srcStride"), dstRepeat, srcRepeat);
}

}  // namespace AscendC
