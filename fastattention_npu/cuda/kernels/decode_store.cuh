// Merges the warps of a decode block and writes the final rows, or this split's part of them.
// Stage: storing. Included by decode.cuh only.
#pragma once

template <class C>
struct DecodeWarp;

// Each warp leaves its O (unnormalised, relative to its own maximum) and statistics in shared memory
template <class C>
__device__ __forceinline__ void PublishWarp(DecodeWarp<C>& w, float* shared)
{
    using Operand = typename C::Operand;
    float* o = shared + w.warp * (C::kWarpBytes / 4);
    float* max = shared + C::kWarps * (C::kWarpBytes / 4) + w.warp * C::kRows * 2;
    float* sum = max + C::kRows;
#pragma unroll
    for (int r = 0; r < Operand::kRowRegs; ++r) {
        const int i = Operand::Row(r, w.lane);
        const float row_sum = Softmax<Operand>::AcrossLanesSum(w.softmax.row_sum[r]);
        if (Operand::LaneColS(w.lane) == 0) {
            max[i] = w.softmax.row_max[r] == -Infinity() ? -Infinity() : w.softmax.row_max[r] * w.ScaleLog2();
            sum[i] = row_sum;
        }
#pragma unroll
        for (int c = 0; c < DecodeWarp<C>::kColsO; c += 2) {
            float* out = o + i * C::kDim + Operand::StepColO(c) + Operand::LaneColO(w.lane);
            *reinterpret_cast<float2*>(out) = make_float2(w.o[r][c], w.o[r][c + 1]);
        }
    }
}

// weight of each warp's row (normalised), and the row's lse in log2
template <class C>
__device__ __forceinline__ float WarpWeights(float (&weight)[C::kWarps], const float* shared, int row)
{
    const float* stats = shared + C::kWarps * (C::kWarpBytes / 4) + row;
    float top = -Infinity();
#pragma unroll
    for (int w = 0; w < C::kWarps; ++w) top = fmaxf(top, stats[w * C::kRows * 2]);
    const float anchor = top == -Infinity() ? 0.0f : top;
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < C::kWarps; ++w) {
        weight[w] = Exp2(stats[w * C::kRows * 2] - anchor);
        total += weight[w] * stats[w * C::kRows * 2 + C::kRows];
    }
    const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
    for (int w = 0; w < C::kWarps; ++w) weight[w] *= inverse;
    return total == 0.0f ? -Infinity() : anchor + Log2(total);
}

template <class C>
__device__ __forceinline__ void StoreDecode(DecodeWarp<C>& w, float* shared)
{
    __syncthreads();  // the chunks' place is reused
    PublishWarp<C>(w, shared);
    __syncthreads();
    const DecodeParams& p = w.p;
    const DecodePlace& place = w.place;
    constexpr int kRowPairs = C::kDim / 2;
#pragma unroll 1
    for (int i = threadIdx.x; i < C::kRows * kRowPairs; i += C::kThreads) {
        const int row = i / kRowPairs;
        const int col = i % kRowPairs * 2;
        if (place.first_row + row >= place.rows || col >= p.d) continue;
        float weight[C::kWarps];
        const float lse = WarpWeights<C>(weight, shared, row);
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int n = 0; n < C::kWarps; ++n) {
            const float2 part =
                *reinterpret_cast<const float2*>(shared + n * (C::kWarpBytes / 4) + row * C::kDim + col);
            sum.x += weight[n] * part.x;
            sum.y += weight[n] * part.y;
        }
        const int query = place.Query(place.first_row + row);
        const int head = place.Head(place.first_row + row);
        const Long flat = (static_cast<Long>(place.batch) * p.h_q + head) * p.s_q + query;
        if (p.num_splits == 1) {
            if (col == 0) p.lse[flat] = lse * kLn2;
            *reinterpret_cast<Word*>(p.o + place.batch * p.o_strides.batch + query * p.o_strides.row +
                                     head * p.o_strides.head + col) = PackHalves(sum.x, sum.y);
        } else {
            const Long part = static_cast<Long>(place.split) * p.b * p.h_q * p.s_q + flat;
            if (col == 0) p.lse_partial[part] = lse;
            *reinterpret_cast<float2*>(p.o_partial + part * p.d + col) = sum;
        }
    }
}
