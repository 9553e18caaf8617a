// Merges the splits of decode: O = sum of 2^(lse_split - lse) O_split.
// Stage: after decode, when keys were split over blocks. One warp a row; a split that saw no key has lse -inf.
#pragma once
#include "decode_params.cuh"

template <int kWarps>
struct CombineConfig {
    static constexpr int kThreads = kWarps * 32;
};

template <class C>
__device__ __forceinline__ void Combine(const DecodeParams& p)
{
    const int lane = threadIdx.x & 31;
    const Long rows = static_cast<Long>(p.b) * p.h_q * p.s_q;
    const Long flat = static_cast<Long>(blockIdx.x) * (C::kThreads / 32) + (threadIdx.x >> 5);
    if (flat >= rows) return;
    float top = -Infinity();
    for (int i = lane; i < p.num_splits; i += 32) top = fmaxf(top, p.lse_partial[i * rows + flat]);
#pragma unroll
    for (int bit = 16; bit > 0; bit >>= 1) top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, bit));
    const float anchor = top == -Infinity() ? 0.0f : top;
    float total = 0.0f;
    for (int i = lane; i < p.num_splits; i += 32) total += Exp2(p.lse_partial[i * rows + flat] - anchor);
#pragma unroll
    for (int bit = 16; bit > 0; bit >>= 1) total += __shfl_xor_sync(kFullWarp, total, bit);
    const float inverse = total == 0.0f ? 0.0f : 1.0f / total;

    const int query = flat % p.s_q;
    const int head = flat / p.s_q % p.h_q;
    const int batch = flat / p.s_q / p.h_q;
    if (lane == 0) p.lse[flat] = total == 0.0f ? -Infinity() : (anchor + Log2(total)) * kLn2;
    Half* out = p.o + batch * p.o_strides.batch + query * p.o_strides.row + head * p.o_strides.head;
    for (int col = lane * 2; col < p.d; col += 64) {
        float2 sum = make_float2(0.0f, 0.0f);
        for (int i = 0; i < p.num_splits; ++i) {
            const float weight = Exp2(p.lse_partial[i * rows + flat] - anchor) * inverse;
            const float2 part = *reinterpret_cast<const float2*>(p.o_partial + (i * rows + flat) * p.d + col);
            sum.x += weight * part.x;
            sum.y += weight * part.y;
        }
        *reinterpret_cast<Word*>(out + col) = PackHalves(sum.x, sum.y);
    }
}
