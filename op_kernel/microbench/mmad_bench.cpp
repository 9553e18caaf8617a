// Calibration kernel: one cube core repeats an Mmad into the same accumulator.
#include "../common/cube_tiles.h"
#include "kernel_operator.h"
#include "tiling.h"

extern "C" __global__ __mix__(1, 2) void mmad_bench(fastattn::MmadBenchTiling tiling)
{
    AscendC::InitSocState();
    if ASCEND_IS_AIC {
        if (AscendC::GetBlockIdx() == 0) {
            const AscendC::LocalTensor<half> l0a(AscendC::TPosition::A2, 0, tiling.m * tiling.k);
            const AscendC::LocalTensor<half> l0b(AscendC::TPosition::B2, 0, tiling.n * tiling.k);
            const AscendC::LocalTensor<float> l0c(AscendC::TPosition::CO1, 0, tiling.m * tiling.n);
            for (uint32_t i = 0; i < tiling.loops; ++i) {
                fastattn::Multiply(l0c, l0a, l0b, tiling.m, tiling.n, tiling.k, i == 0);  // [m, n]
            }
        }
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}
