// Calibration kernel: one vector core repeats an instruction, or a chain that reduces, on fixed UB addresses. Every
// step waits for the one before, as in the public measurements, whose compiler orders dependent vector instructions.
#include "../common/hardware.h"
#include "kernel_operator.h"
#include "tiling.h"

namespace fastattn {

using BenchTensor = AscendC::LocalTensor<float>;

__aicore__ inline BenchTensor BenchAt(uint32_t bytes) { return BenchTensor(AscendC::TPosition::VECCALC, bytes, 0); }

__aicore__ inline void BenchOrdered() { AscendC::PipeBarrier<PIPE_V>(); }

__aicore__ inline void RunInstruction(const VectorBenchTiling& t)
{
    const BenchTensor dst = BenchAt(t.dstBytes);
    const BenchTensor src0 = BenchAt(t.src0Bytes);
    const BenchTensor src1 = BenchAt(t.src1Bytes);
    const AscendC::UnaryRepeatParams unary(t.dstBlockStride, t.src0BlockStride, t.dstRepeatStride, t.src0RepeatStride);
    constexpr uint64_t LANES = REPEAT_FP32_ELEMS;
    switch (static_cast<VectorBench>(t.kind)) {
        case VectorBench::ADD:
            AscendC::Add(dst, src0, src1, LANES, t.repeats,
                         AscendC::BinaryRepeatParams(t.dstBlockStride, t.src0BlockStride, 1, t.dstRepeatStride,
                                                     t.src0RepeatStride, 8));
            break;
        case VectorBench::DIV:
            AscendC::Div(dst, src0, src1, LANES, t.repeats,
                         AscendC::BinaryRepeatParams(t.dstBlockStride, t.src0BlockStride, 1, t.dstRepeatStride,
                                                     t.src0RepeatStride, 8));
            break;
        case VectorBench::MUL_ADD:
            AscendC::FusedMulAdd(dst, src0, src1, LANES, t.repeats,
                                 AscendC::BinaryRepeatParams(t.dstBlockStride, t.src0BlockStride, 1, t.dstRepeatStride,
                                                             t.src0RepeatStride, 8));
            break;
        case VectorBench::EXP: AscendC::Exp(dst, src0, LANES, t.repeats, unary); break;
        case VectorBench::MULS: AscendC::Muls(dst, src0, 1.0F, LANES, t.repeats, unary); break;
        default: break;
    }
    BenchOrdered();
}

// Sums of 256 values by three chains of reductions.
__aicore__ inline void RunChain(const VectorBenchTiling& t)
{
    const BenchTensor src = BenchAt(t.src0Bytes);
    const BenchTensor mid = BenchAt(t.src1Bytes);
    const BenchTensor dst = BenchAt(t.dstBytes);
    constexpr int32_t LANES = REPEAT_FP32_ELEMS;
    constexpr int32_t REPEATS = 4;
    const auto kind = static_cast<VectorBench>(t.kind);
    if (kind == VectorBench::WHOLE_TWICE) {
        AscendC::WholeReduceSum<float>(mid, src, LANES, REPEATS, 1, 1, 8);
    } else {
        AscendC::BlockReduceSum<float>(mid, src, REPEATS, LANES, 1, 1, 8);
    }
    BenchOrdered();
    if (kind == VectorBench::BLOCK_THRICE) {
        AscendC::BlockReduceSum<float>(mid[LANES], mid, 1, LANES / 2, 1, 1, 8);
        BenchOrdered();
        AscendC::BlockReduceSum<float>(dst, mid[LANES], 1, REPEATS, 1, 1, 8);
    } else {
        AscendC::WholeReduceSum<float>(dst, mid, kind == VectorBench::WHOLE_TWICE ? REPEATS : LANES / 2, 1, 1, 1, 8);
    }
    BenchOrdered();
}

// Sum of `repeats` * 64 values: whole reductions only, or halving by Add down to one repeat first.
__aicore__ inline void RunSum(const VectorBenchTiling& t)
{
    const BenchTensor dst = BenchAt(t.dstBytes);
    BenchTensor src = BenchAt(t.src0Bytes);
    uint32_t left = t.repeats * REPEAT_FP32_ELEMS;
    while (static_cast<VectorBench>(t.kind) == VectorBench::SUM_TREE && left > REPEAT_FP32_ELEMS) {
        const auto half = static_cast<uint32_t>(RoundUp(CeilDiv(left, 2), REPEAT_FP32_ELEMS));
        AscendC::Add(dst, src, src[half], static_cast<int32_t>(left - half));
        BenchOrdered();
        left = half;
        src = dst;
    }
    while (left > 1) {
        const auto repeats = static_cast<uint32_t>(CeilDiv(left, REPEAT_FP32_ELEMS));
        for (uint32_t r = 0; r < repeats; r += 255) {
            const uint32_t count = repeats - r < 255 ? repeats - r : 255;
            const int32_t lanes = left < REPEAT_FP32_ELEMS ? static_cast<int32_t>(left) : REPEAT_FP32_ELEMS;
            AscendC::WholeReduceSum<float>(BenchAt(t.src1Bytes)[r], src[r * REPEAT_FP32_ELEMS], lanes,
                                           static_cast<int32_t>(count), 1, 1, 8);
        }
        BenchOrdered();
        left = repeats;
        src = BenchAt(t.src1Bytes);
    }
}

}  // namespace fastattn

extern "C" __global__ __mix__(1, 2) void vector_bench(GM_ADDR x, fastattn::VectorBenchTiling tiling)
{
    using fastattn::VectorBench;
    AscendC::InitSocState();
    if ASCEND_IS_AIV {
        if (AscendC::GetBlockIdx() == 0) {
            AscendC::GlobalTensor<float> gm;
            gm.SetGlobalBuffer((__gm__ float*)x);
            const auto kind = static_cast<VectorBench>(tiling.kind);
            const bool sum = kind == VectorBench::SUM_WHOLE || kind == VectorBench::SUM_TREE;
            if (sum) {
                AscendC::DataCopy(fastattn::BenchAt(tiling.src0Bytes), gm, tiling.repeats * 64);  // [repeats, 64]
                AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(0);
                AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(0);
            }
            for (uint32_t i = 0; i < tiling.loops; ++i) {
                if (sum) {
                    fastattn::RunSum(tiling);
                } else if (kind == VectorBench::BLOCK_WHOLE || kind == VectorBench::WHOLE_TWICE ||
                           kind == VectorBench::BLOCK_THRICE) {
                    fastattn::RunChain(tiling);
                } else {
                    fastattn::RunInstruction(tiling);
                }
            }
            AscendC::ResetMask();
        }
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}
