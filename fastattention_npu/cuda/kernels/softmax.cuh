// Online softmax of one warp's rows, in registers.
// Stage: S -> P, and the final O and lse. It knows an operand layer only through its row count and the two lane bits
// across which a row is spread.
// row_max lags: O is rescaled only when some row's maximum grew by more than 2^kLag, so that in the steady state no
// lane is shuffled and no O register is touched. P then stays below 2^kLag, far inside fp16, and lse is exact all the
// same because row_sum and O are relative to the same row_max.
#pragma once
#include "common.cuh"

template <class Operand>
struct Softmax {
    static constexpr int kRowRegs = Operand::kRowRegs;
    static constexpr float kLag = 8.0f;  // powers of two

    float row_max[kRowRegs];  // in the units of S
    float row_sum[kRowRegs];  // of this lane's columns only, until Finish

    __device__ __forceinline__ Softmax()
    {
#pragma unroll
        for (int r = 0; r < kRowRegs; ++r) {
            row_max[r] = -Infinity();
            row_sum[r] = 0.0f;
        }
    }

    static __device__ __forceinline__ float AcrossLanesMax(float x)
    {
        x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, Operand::kReduceXor0));
        return fmaxf(x, __shfl_xor_sync(kFullWarp, x, Operand::kReduceXor1));
    }
    static __device__ __forceinline__ float AcrossLanesSum(float x)
    {
        x += __shfl_xor_sync(kFullWarp, x, Operand::kReduceXor0);
        return x + __shfl_xor_sync(kFullWarp, x, Operand::kReduceXor1);
    }
    // what exp2 subtracts: a row with nothing visible yet must not produce inf - inf
    static __device__ __forceinline__ float Anchor(float max, float scale_log2)
    {
        return max == -Infinity() ? 0.0f : max * scale_log2;
    }

    template <int kColsO>
    __device__ __forceinline__ void Raise(float (&o)[kRowRegs][kColsO], const float (&tile_max)[kRowRegs],
                                          float scale_log2)
    {
#pragma unroll
        for (int r = 0; r < kRowRegs; ++r) {
            const float raised = fmaxf(row_max[r], AcrossLanesMax(tile_max[r]));
            const float factor = Exp2(row_max[r] * scale_log2 - Anchor(raised, scale_log2));
            const float scale = row_max[r] == -Infinity() ? 0.0f : factor;
            row_max[r] = raised;
            row_sum[r] *= scale;
#pragma unroll
            for (int c = 0; c < kColsO; ++c) o[r][c] *= scale;
        }
    }

    // S (in units where exp2(S * scale_log2) is the weight) -> packed P; masked entries are -inf
    template <int kColsS, int kColsO>
    __device__ __forceinline__ void Apply(float (&s)[kRowRegs][kColsS], Word (&p)[kRowRegs][kColsS / 2],
                                          float (&o)[kRowRegs][kColsO], float scale_log2)
    {
        float tile_max[kRowRegs];
        bool grew = false;
#pragma unroll
        for (int r = 0; r < kRowRegs; ++r) {
            tile_max[r] = s[r][0];
#pragma unroll
            for (int c = 1; c < kColsS; ++c) tile_max[r] = fmaxf(tile_max[r], s[r][c]);
            grew |= tile_max[r] * scale_log2 > row_max[r] * scale_log2 + kLag;
        }
        if (__any_sync(kFullWarp, grew)) Raise(o, tile_max, scale_log2);
#pragma unroll
        for (int r = 0; r < kRowRegs; ++r) {
            const float anchor = Anchor(row_max[r], scale_log2);
#pragma unroll
            for (int c = 0; c < kColsS; c += 2) {
                const float lo = Exp2(s[r][c] * scale_log2 - anchor);
                const float hi = Exp2(s[r][c + 1] * scale_log2 - anchor);
                row_sum[r] += lo + hi;
                p[r][c / 2] = PackHalves(lo, hi);
            }
        }
    }

    // O /= row_sum; returns the rows' natural-logarithm lse through row_max. A row with nothing visible: O = 0, -inf.
    template <int kColsO>
    __device__ __forceinline__ void Finish(float (&o)[kRowRegs][kColsO], float scale_log2)
    {
#pragma unroll
        for (int r = 0; r < kRowRegs; ++r) {
            const float sum = AcrossLanesSum(row_sum[r]);
            const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
            row_max[r] = sum == 0.0f ? -Infinity() : (row_max[r] * scale_log2 + Log2(sum)) * kLn2;
#pragma unroll
            for (int c = 0; c < kColsO; ++c) o[r][c] *= inverse;
        }
    }
};
