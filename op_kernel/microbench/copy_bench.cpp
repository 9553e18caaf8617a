// Calibration kernel: GM to UB and GM to L1 copies of a matrix in tiles, as the public DataCopy measurements make them.
#include "../common/cube_tiles.h"
#include "../common/hardware.h"
#include "kernel_operator.h"
#include "tiling.h"

namespace fastattn {

class CopyBench {
public:
    __aicore__ inline void Init(const CopyBenchTiling& tiling, GM_ADDR x)
    {
        tiling_ = &tiling;
        gm_.SetGlobalBuffer((__gm__ half*)x);
        slotBytes_ = static_cast<uint32_t>(RoundUp(tiling.tileRows * RoundUp(tiling.tileCols * 2, BLOCK_BYTES), 512));
    }

    __aicore__ inline void Run(uint32_t core, uint32_t cores)
    {
        const uint32_t parts = tiling_->rows / tiling_->coreRows;
        for (uint32_t i = 0; i < parts; ++i) {
            if (tiling_->shared == 0) {
                if (i % cores == core) {
                    CopyPart(i);
                }
            } else if (tiling_->staggered != 0) {
                CopyPart(i / cores * cores + (i + core) % cores);
            } else {
                CopyPart(i);
            }
        }
    }

private:
    __aicore__ inline void CopyPart(uint32_t part)
    {
        const uint32_t pieceCols = tiling_->cols / tiling_->splits;
        for (uint32_t piece = 0; piece < tiling_->splits; ++piece) {
            const uint32_t end = piece + 1 == tiling_->splits ? tiling_->cols : (piece + 1) * pieceCols;
            for (uint32_t r = 0; r < tiling_->repeats; ++r) {
                CopyRows(part * tiling_->coreRows, piece * pieceCols, end);
            }
        }
    }

    __aicore__ inline void CopyRows(uint32_t row0, uint32_t col0, uint32_t colEnd)
    {
        for (uint32_t row = row0; row < row0 + tiling_->coreRows; row += tiling_->tileRows) {
            for (uint32_t col = col0; col < colEnd; col += tiling_->tileCols) {
                const uint32_t left = colEnd - col;
                CopyTile(row, col, left < tiling_->tileCols ? left : tiling_->tileCols);
            }
        }
    }

    // Nobody reads the tiles, so a slot is overwritten without asking; the barrier only keeps writes in order.
    __aicore__ inline void CopyTile(uint32_t row, uint32_t col, uint32_t cols)
    {
        const uint32_t offset = next_ * slotBytes_;
        next_ = next_ + 1 == tiling_->stages ? 0 : next_ + 1;
        const auto source = gm_[static_cast<uint64_t>(row) * tiling_->cols + col];
        if (tiling_->target == static_cast<uint32_t>(CopyTarget::L1)) {
            const AscendC::LocalTensor<half> l1(AscendC::TPosition::A1, offset, slotBytes_ / 2);
            LoadRowsToL1(l1, source, tiling_->tileRows, cols, tiling_->cols,
                         Fractals(tiling_->tileRows) * FRACTAL_ROWS);  // [tileRows, cols]
            return;
        }
        if ASCEND_IS_AIV {
            const AscendC::LocalTensor<half> ub(AscendC::TPosition::VECIN, offset, slotBytes_ / 2);
            AscendC::DataCopyPad(
                ub, source, AscendC::DataCopyExtParams(tiling_->tileRows, cols * 2, (tiling_->cols - cols) * 2, 0, 0),
                AscendC::DataCopyPadExtParams<half>{false, 0, 0, half(0.0F)});  // [tileRows, cols]
        }
    }

    const CopyBenchTiling* tiling_ = nullptr;
    AscendC::GlobalTensor<half> gm_;
    uint32_t slotBytes_ = 0;
    uint32_t next_ = 0;
};

}  // namespace fastattn

extern "C" __global__ __mix__(1, 2) void copy_bench(GM_ADDR x, fastattn::CopyBenchTiling tiling)
{
    AscendC::InitSocState();
    const bool cube = tiling.target == static_cast<uint32_t>(fastattn::CopyTarget::L1);
    fastattn::CopyBench bench;
    bench.Init(tiling, x);
    const auto core = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const auto cores = static_cast<uint32_t>(AscendC::GetBlockNum() * AscendC::GetSubBlockNum());
    if ASCEND_IS_AIC {
        if (cube) {
            bench.Run(core, cores);
        }
    }
    if ASCEND_IS_AIV {
        if (!cube) {
            bench.Run(core, cores);
        }
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}
