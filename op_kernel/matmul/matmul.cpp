// Entry points of the matmul kernel: c = a * b, each core group one rectangle of the output.
#include "matmul.h"

namespace fastattn {

template <class T, class Out>
__aicore__ inline void RunMatmul(GM_ADDR a, GM_ADDR b, GM_ADDR c, const MatmulTiling& tiling)
{
    if ASCEND_IS_AIC {
        Matmul<T, Out> matmul;
        matmul.Init(tiling, a, b, c);
        matmul.Run(0, static_cast<uint32_t>(AscendC::GetBlockIdx()));
        matmul.Drain();
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}

}  // namespace fastattn

#define FASTATTN_MATMUL(name, T, Out)                                                                             \
    extern "C" __global__ __mix__(1, 2) void name(GM_ADDR a, GM_ADDR b, GM_ADDR c, fastattn::MatmulTiling tiling) \
    {                                                                                                             \
        AscendC::InitSocState();                                                                                  \
        fastattn::RunMatmul<T, Out>(a, b, c, tiling);                                                             \
    }
FASTATTN_MATMUL(matmul_fp16, half, half)
FASTATTN_MATMUL(matmul_fp16_fp32, half, float)
FASTATTN_MATMUL(matmul_bf16, bfloat16_t, bfloat16_t)
FASTATTN_MATMUL(matmul_bf16_fp32, bfloat16_t, float)
#undef FASTATTN_MATMUL
