// Matrix multiplication for dav-2201: c = a * b in fp32, stored in fp32 or narrowed to the operands' type. Cube cores
// only; a core group takes a rectangle of the output and walks it tile by tile.
// Level 2: large L1 slots (several base tiles along k per copy), double-buffered L0.
#pragma once
#include "matmul_stage.h"

namespace fastattn {

enum MatmulEvent : int32_t {
    MATMUL_L1A_EVENT = 0,
    MATMUL_L1B_EVENT = 2,
    MATMUL_L0A_EVENT = 0,
    MATMUL_L0B_EVENT = 2,
};

template <class T, class Out>
class Matmul {
public:
    __aicore__ inline void Init(const MatmulTiling& tiling, GM_ADDR a, GM_ADDR b, GM_ADDR c)
    {
        tiling_ = &tiling;
        const MatmulMap map = MakeMatmulMap(tiling);
        ringL1a_.Init(MATMUL_L1A_EVENT, STAGES);
        ringL1b_.Init(MATMUL_L1B_EVENT, STAGES);
        ringL0a_.Init(MATMUL_L0A_EVENT, STAGES);
        ringL0b_.Init(MATMUL_L0B_EVENT, STAGES);
        turnL0c_.Init(map.l0C.slots);
        BeginRowMajorStores();
        stage_.Init(tiling, map, {&ringL1a_, &ringL1b_, &ringL0a_, &ringL0b_, &turnL0c_}, a, b, c);
    }

    __aicore__ inline void Drain()
    {
        ringL1a_.Drain();
        ringL1b_.Drain();
        ringL0a_.Drain();
        ringL0b_.Drain();
        EndRowMajorStores();
    }

    // A rectangle of the output of one of several products whose operands lie one after the other.
    __aicore__ inline void Run(uint32_t product, uint32_t rectangle)
    {
        const uint32_t row0 = rectangle % tiling_->gridM * tiling_->coreM;
        const uint32_t col0 = rectangle / tiling_->gridM * tiling_->coreN;
        const uint32_t rowEnd = Least(tiling_->m, row0 + tiling_->coreM);
        const uint32_t colEnd = Least(tiling_->n, col0 + tiling_->coreN);
        stage_.Select(product);
        for (uint32_t col = col0; col < colEnd; col += tiling_->baseN) {
            for (uint32_t row = row0; row < rowEnd; row += tiling_->baseM) {
                stage_.ComputeTile(
                    {row, Least(rowEnd - row, tiling_->baseM), col, Least(colEnd - col, tiling_->baseN)});
            }
        }
    }

private:
    __aicore__ inline uint32_t Least(uint32_t x, uint32_t y) const { return x < y ? x : y; }

    const MatmulTiling* tiling_ = nullptr;
    MatmulStage<T, Out> stage_;
    L1Ring ringL1a_;
    L1Ring ringL1b_;
    L0Ring ringL0a_;
    L0Ring ringL0b_;
    SlotTurn turnL0c_;
};

}  // namespace fastattn
