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
                const uint8_t turn = i + 1 == tiling.loops ? fastattn::UNIT_TURN : fastattn::UNIT_HOLD;
                const uint8_t unitFlag = tiling.unitFlag != 0 ? turn : fastattn::UNIT_OFF;
                fastattn::Multiply(l0c, l0a, l0b, tiling.m, tiling.n, tiling.k, i == 0, unitFlag);  // [m, n]
            }
            if (tiling.unitFlag != 0) {  // nobody takes the result
                AscendC::SetFlag<AscendC::HardEvent::M_FIX>(EVENT_ID0);
                AscendC::WaitFlag<AscendC::HardEvent::M_FIX>(EVENT_ID0);
                AscendC::SetFixPipeConfig<float>(l0c, true);
            }
        }
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}
