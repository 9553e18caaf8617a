// What happens to S between Q K^T and the softmax: softcap, ALiBi, and the visibility of keys.
// Stage: S in registers. Visibility is an in-kernel predicate on the tile's offset: no mask is stored anywhere.
#pragma once
#include "common.cuh"

// The keys that a row may see are [FirstKey, EndKey): causal and windows align at the bottom right.
struct Visibility {
    int s_kv;
    int offset;  // s_kv - s_q
    int left;
    int right;

    __device__ Visibility(int s_q, int keys, int window_left, int window_right)
        : s_kv(keys), offset(keys - s_q), left(window_left), right(window_right)
    {
    }
    __device__ __forceinline__ int FirstKey(int row) const { return left < 0 ? 0 : Max(0, row + offset - left); }
    __device__ __forceinline__ int EndKey(int row) const
    {
        return right < 0 ? s_kv : Min(s_kv, row + offset + right + 1);
    }
    // of rows [row, row + rows) and keys [key, key + keys)
    __device__ __forceinline__ bool AnyVisible(int row, int rows, int key, int keys) const
    {
        return key < EndKey(row + rows - 1) && key + keys > FirstKey(row);
    }
    __device__ __forceinline__ bool AllVisible(int row, int rows, int key, int keys) const
    {
        return key + keys <= EndKey(row) && key >= FirstKey(row + rows - 1);
    }
};

// query: the query index of each register row
template <class Operand, int kCols>
__device__ __forceinline__ void MaskScores(float (&s)[Operand::kRowRegs][kCols], const Visibility& see,
                                           const int (&query)[Operand::kRowRegs], int key, int lane)
{
#pragma unroll
    for (int r = 0; r < Operand::kRowRegs; ++r) {
        const int first = see.FirstKey(query[r]) - key - Operand::LaneColS(lane);
        const int end = see.EndKey(query[r]) - key - Operand::LaneColS(lane);
#pragma unroll
        for (int c = 0; c < kCols; ++c) {
            const int j = Operand::StepColS(c);
            s[r][c] = (j >= first && j < end) ? s[r][c] : -Infinity();
        }
    }
}

// S -> logits in units of log2: scale, softcap, then ALiBi's slope times the distance to the diagonal
template <class Operand, int kCols, class Params>
__device__ __forceinline__ void BiasScores(float (&s)[Operand::kRowRegs][kCols], const Params& p,
                                           const float (&slope)[Operand::kRowRegs],
                                           const int (&query)[Operand::kRowRegs], int diagonal, int lane)
{
    const float cap_log2 = p.softcap * kLog2E;
    const float into_cap = p.softcap > 0.0f ? p.softmax_scale / p.softcap : 0.0f;
#pragma unroll
    for (int r = 0; r < Operand::kRowRegs; ++r) {
        const int distance = diagonal + query[r] - Operand::LaneColS(lane);
        const float slope_log2 = slope[r] * kLog2E;
#pragma unroll
        for (int c = 0; c < kCols; ++c) {
            const float x = p.softcap > 0.0f ? cap_log2 * Tanh(s[r][c] * into_cap) : s[r][c] * p.scale_log2;
            s[r][c] = x - slope_log2 * static_cast<float>(abs(distance - Operand::StepColS(c)));
        }
    }
}
