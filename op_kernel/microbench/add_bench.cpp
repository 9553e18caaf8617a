// Calibration kernel: streaming z = x + y on vector cores, tile by tile, with one or two sets of buffers.
#include "../common/hardware.h"
#include "../common/pipeline.h"
#include "kernel_operator.h"
#include "tiling.h"

namespace fastattn {

__aicore__ inline void StreamAdd(const AddBenchTiling& t, GM_ADDR x, GM_ADDR y, GM_ADDR z, uint32_t core)
{
    AscendC::GlobalTensor<half> gmX;
    AscendC::GlobalTensor<half> gmY;
    AscendC::GlobalTensor<half> gmZ;
    gmX.SetGlobalBuffer((__gm__ half*)x);
    gmY.SetGlobalBuffer((__gm__ half*)y);
    gmZ.SetGlobalBuffer((__gm__ half*)z);
    UbInRing in;
    UbOutRing out;
    in.Init(0, t.stages);
    out.Init(0, t.stages);
    const uint64_t share = t.elems / t.cores;
    for (uint64_t at = 0; at < share; at += t.tileElems) {
        const auto count = static_cast<uint32_t>(share - at < t.tileElems ? share - at : t.tileElems);
        const uint64_t offset = core * share + at;
        const uint32_t slot = in.Acquire();
        const uint32_t base = slot * t.stageBytes;
        const AscendC::LocalTensor<half> ubX(AscendC::TPosition::VECIN, base, count);
        const AscendC::LocalTensor<half> ubY(AscendC::TPosition::VECIN, base + t.yOffsetBytes, count);
        const AscendC::LocalTensor<half> ubZ(AscendC::TPosition::VECOUT, base + t.zOffsetBytes, count);
        AscendC::DataCopy(ubX, gmX[offset], count);  // [count]
        AscendC::DataCopy(ubY, gmY[offset], count);  // [count]
        in.Publish(slot);
        in.Await(slot);
        out.Acquire();
        AscendC::Add(ubZ, ubX, ubY, static_cast<int32_t>(count));  // [count]
        in.Release(slot);
        out.Publish(slot);
        out.Await(slot);
        AscendC::DataCopy(gmZ[offset], ubZ, count);  // [count]
        out.Release(slot);
    }
    in.Drain();
    out.Drain();
}

}  // namespace fastattn

extern "C" __global__ __mix__(1, 2) void add_bench(GM_ADDR x, GM_ADDR y, GM_ADDR z, fastattn::AddBenchTiling tiling)
{
    AscendC::InitSocState();
    if ASCEND_IS_AIV {
        const auto core = static_cast<uint32_t>(AscendC::GetBlockIdx());
        if (core < tiling.cores) {
            fastattn::StreamAdd(tiling, x, y, z, core);
        }
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}
