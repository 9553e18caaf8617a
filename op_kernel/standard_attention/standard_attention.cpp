// Standard attention for dav-2201, the baseline of the benchmarks: three launches that exchange S and P, 16 bits an
// element, through GM. No part of the product: FlashAttention is what it is compared with.
#include "../matmul/matmul.h"
#include "row_softmax.h"

namespace fastattn {

// One matrix product a head; a head's rectangles go over the core groups in turn.
template <class T>
__aicore__ inline void RunHeads(const MatmulTiling& t, const StandardAttentionTiling& tiling, GM_ADDR a, GM_ADDR b,
                                GM_ADDR c)
{
    if ASCEND_IS_AIC {
        Matmul<T, T> matmul;
        matmul.Init(t, a, b, c);
        const uint32_t rectangles = t.gridM * static_cast<uint32_t>(CeilDiv(t.n, t.coreN));
        const auto group = static_cast<uint32_t>(AscendC::GetBlockIdx());
        for (uint32_t i = group; i < tiling.heads * rectangles; i += tiling.blockDim) {
            matmul.Run(i / rectangles, i % rectangles);
        }
        matmul.Drain();
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}

template <class T>
__aicore__ inline void RunSoftmax(const StandardAttentionTiling& tiling, GM_ADDR s, GM_ADDR p)
{
    if ASCEND_IS_AIV {
        RowSoftmax<T> softmax;
        softmax.Init(tiling, s, p);
        softmax.Run(static_cast<uint32_t>(AscendC::GetBlockIdx()), tiling.blockDim * VECTOR_CORES_PER_CUBE);
        softmax.Drain();
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}

}  // namespace fastattn

#define FASTATTN_STANDARD_ATTENTION(dtype, T)                                                                   \
    extern "C" __global__ __mix__(1, 2) void standard_scores_##dtype(GM_ADDR q, GM_ADDR k, GM_ADDR s,           \
                                                                     fastattn::StandardAttentionTiling tiling)  \
    {                                                                                                           \
        AscendC::InitSocState();                                                                                \
        fastattn::RunHeads<T>(tiling.scores, tiling, q, k, s);                                                  \
    }                                                                                                           \
    extern "C" __global__ __mix__(1, 2) void standard_softmax_##dtype(GM_ADDR s, GM_ADDR p,                     \
                                                                      fastattn::StandardAttentionTiling tiling) \
    {                                                                                                           \
        AscendC::InitSocState();                                                                                \
        fastattn::RunSoftmax<T>(tiling, s, p);                                                                  \
    }                                                                                                           \
    extern "C" __global__ __mix__(1, 2) void standard_output_##dtype(GM_ADDR p, GM_ADDR v, GM_ADDR o,           \
                                                                     fastattn::StandardAttentionTiling tiling)  \
    {                                                                                                           \
        AscendC::InitSocState();                                                                                \
        fastattn::RunHeads<T>(tiling.output, tiling, p, v, o);                                                  \
    }
FASTATTN_STANDARD_ATTENTION(fp16, half)
FASTATTN_STANDARD_ATTENTION(bf16, bfloat16_t)
#undef FASTATTN_STANDARD_ATTENTION
