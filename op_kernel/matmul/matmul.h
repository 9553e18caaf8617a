// Matrix multiplication for dav-2201: c = a * b in fp32, stored in fp32 or narrowed to the operands' type. Cube cores
// only; a core group takes a rectangle of the output and walks it tile by tile, the whole depth of a tile in L0C.
// Level 2: large L1 slots (several base tiles along k per copy), double-buffered L0.
#pragma once
#include "../common/cube_tiles.h"
#include "../common/pipeline.h"
#include "storage.h"

namespace fastattn {

enum MatmulEvent : int32_t {
    MATMUL_L1A_EVENT = 0,
    MATMUL_L1B_EVENT = 2,
    MATMUL_L0_EVENT = 0,
    MATMUL_L0C_EVENT = 0,
};

template <class T, class Out>
class Matmul {
public:
    __aicore__ inline void Init(const MatmulTiling& tiling, GM_ADDR a, GM_ADDR b, GM_ADDR c)
    {
        tiling_ = &tiling;
        map_ = MakeMatmulMap(tiling);
        gmA_.SetGlobalBuffer((__gm__ T*)a);
        gmB_.SetGlobalBuffer((__gm__ T*)b);
        gmC_.SetGlobalBuffer((__gm__ Out*)c);
        ringL1A_.Init(MATMUL_L1A_EVENT, STAGES);
        ringL1B_.Init(MATMUL_L1B_EVENT, STAGES);
        ringL0_.Init(MATMUL_L0_EVENT, STAGES);
        ringL0c_.Init(MATMUL_L0C_EVENT, map_.l0C.slots);
    }

    __aicore__ inline void Drain()
    {
        ringL1A_.Drain();
        ringL1B_.Drain();
        ringL0_.Drain();
        ringL0c_.Drain();
    }

    // A rectangle of the output of one of several products whose operands lie one after the other.
    __aicore__ inline void Run(uint32_t product, uint32_t rectangle)
    {
        const uint32_t row0 = rectangle % tiling_->gridM * tiling_->coreM;
        const uint32_t col0 = rectangle / tiling_->gridM * tiling_->coreN;
        const uint32_t rowEnd = Least(tiling_->m, row0 + tiling_->coreM);
        const uint32_t colEnd = Least(tiling_->n, col0 + tiling_->coreN);
        productA_ = static_cast<uint64_t>(product) * tiling_->m * tiling_->k;
        productB_ = static_cast<uint64_t>(product) * tiling_->n * tiling_->k;
        productC_ = static_cast<uint64_t>(product) * tiling_->m * tiling_->n;
        for (uint32_t col = col0; col < colEnd; col += tiling_->baseN) {
            for (uint32_t row = row0; row < rowEnd; row += tiling_->baseM) {
                ComputeTile(row, Least(rowEnd - row, tiling_->baseM), col, Least(colEnd - col, tiling_->baseN));
            }
        }
    }

private:
    __aicore__ inline uint32_t Least(uint32_t x, uint32_t y) const { return x < y ? x : y; }

    // Copies run one L1 slot ahead of the multiplications.
    __aicore__ inline void ComputeTile(uint32_t row, uint32_t rows, uint32_t col, uint32_t cols)
    {
        const uint32_t depthA = tiling_->baseK * tiling_->stepA;
        const uint32_t depthB = tiling_->baseK * tiling_->stepB;
        uint32_t nextA = 0;
        uint32_t nextB = 0;
        uint32_t slotA = 0;
        uint32_t slotB = 0;
        const uint32_t slotC = ringL0c_.Acquire();
        for (uint32_t k = 0; k < tiling_->k; k += tiling_->baseK) {
            const uint32_t ahead = k == 0 ? 1 : 2;
            for (; nextB < Least(tiling_->k, (k / depthB + ahead) * depthB); nextB += depthB) {
                LoadB(col, cols, nextB, Least(tiling_->k - nextB, depthB));
            }
            for (; nextA < Least(tiling_->k, (k / depthA + ahead) * depthA); nextA += depthA) {
                LoadA(row, rows, nextA, Least(tiling_->k - nextA, depthA));
            }
            if (k % depthA == 0) {
                slotA = TakeA();
            }
            if (k % depthB == 0) {
                slotB = TakeB();
            }
            const uint32_t depth = Least(tiling_->k - k, tiling_->baseK);
            const bool last = k + depth == tiling_->k;
            MultiplyStep({slotA, slotB, slotC, rows, cols, depth, k}, last);
        }
        ringL0c_.Publish(slotC);
        ringL0c_.Await(slotC);
        StoreTile(row, rows, col, cols, slotC);
        ringL0c_.Release(slotC);
    }

    struct Step {
        uint32_t slotA;
        uint32_t slotB;
        uint32_t slotC;
        uint32_t rows;
        uint32_t cols;
        uint32_t depth;
        uint32_t k;
    };

    __aicore__ inline uint32_t TakeA()
    {
        const uint32_t slot = takenA_++ % STAGES;
        ringL1A_.Await(slot);
        return slot;
    }
    __aicore__ inline uint32_t TakeB()
    {
        const uint32_t slot = takenB_++ % STAGES;
        ringL1B_.Await(slot);
        return slot;
    }

    __aicore__ inline void LoadA(uint32_t row, uint32_t rows, uint32_t k, uint32_t depth)
    {
        const uint32_t slot = ringL1A_.Acquire();
        LoadRowsToL1(SlotTensor<T>(AscendC::TPosition::A1, map_.l1A, slot),
                     gmA_[productA_ + static_cast<uint64_t>(row) * tiling_->k + k], rows, depth, tiling_->k,
                     Fractals(rows) * FRACTAL_ROWS);  // [rows, depth]
        ringL1A_.Publish(slot);
    }

    __aicore__ inline void LoadB(uint32_t col, uint32_t cols, uint32_t k, uint32_t depth)
    {
        const uint32_t slot = ringL1B_.Acquire();
        const auto l1 = SlotTensor<T>(AscendC::TPosition::B1, map_.l1B, slot);
        if (tiling_->transB != 0) {
            LoadRowsToL1(l1, gmB_[productB_ + static_cast<uint64_t>(col) * tiling_->k + k], cols, depth, tiling_->k,
                         Fractals(cols) * FRACTAL_ROWS);  // [cols, depth]
        } else {
            for (uint32_t at = 0; at < depth; at += tiling_->baseK) {
                const uint32_t part = Least(depth - at, tiling_->baseK);
                LoadRowsToL1(l1[at * tiling_->baseN],
                             gmB_[productB_ + static_cast<uint64_t>(k + at) * tiling_->n + col], part, cols, tiling_->n,
                             Fractals(part) * FRACTAL_ROWS);  // [part, cols]
            }
        }
        ringL1B_.Publish(slot);
    }

    __aicore__ inline void MultiplyStep(const Step& s, bool last)
    {
        const uint32_t inA = s.k % (tiling_->baseK * tiling_->stepA);
        const uint32_t inB = s.k % (tiling_->baseK * tiling_->stepB);
        const uint32_t slot = ringL0_.Acquire();
        const auto l0A = SlotTensor<T>(AscendC::TPosition::A2, map_.l0A, slot);
        const auto l0B = SlotTensor<T>(AscendC::TPosition::B2, map_.l0B, slot);
        const auto l1A = SlotTensor<T>(AscendC::TPosition::A1, map_.l1A, s.slotA);
        const auto l1B = SlotTensor<T>(AscendC::TPosition::B1, map_.l1B, s.slotB);
        LoadLeft(l0A, l1A[inA * Fractals(s.rows) * FRACTAL_ROWS], s.rows, s.depth);  // [rows, depth]
        if (tiling_->transB != 0) {
            LoadRightTransposed(l0B, l1B[inB * Fractals(s.cols) * FRACTAL_ROWS], s.cols, s.depth);  // [cols, depth]
        } else {
            LoadRight(l0B, l1B[inB * tiling_->baseN], s.depth, s.cols);  // [depth, cols]
        }
        if (last || inA + tiling_->baseK == tiling_->baseK * tiling_->stepA) {
            ringL1A_.Release(s.slotA);
        }
        if (last || inB + tiling_->baseK == tiling_->baseK * tiling_->stepB) {
            ringL1B_.Release(s.slotB);
        }
        ringL0_.Publish(slot);
        ringL0_.Await(slot);
        Multiply(SlotTensor<float>(AscendC::TPosition::CO1, map_.l0C, s.slotC), l0A, l0B, s.rows, s.cols, s.depth,
                 s.k == 0);  // [rows, cols]
        ringL0_.Release(slot);
    }

    __aicore__ inline void StoreTile(uint32_t row, uint32_t rows, uint32_t col, uint32_t cols, uint32_t slotC)
    {
        AscendC::FixpipeParamsV220 p;
        p.nSize = cols;
        p.mSize = rows;
        p.srcStride = Fractals(rows) * FRACTAL_ROWS;
        p.dstStride = tiling_->n;
        p.quantPre = QuantMode_t::NoQuant;
        if constexpr (std::is_same_v<Out, half>) {
            p.quantPre = QuantMode_t::F322F16;
        }
        if constexpr (std::is_same_v<Out, bfloat16_t>) {
            p.quantPre = QuantMode_t::F322BF16;
        }
        p.deqScalar = 0;
        AscendC::Fixpipe<Out, float, AscendC::CFG_ROW_MAJOR>(
            gmC_[productC_ + static_cast<uint64_t>(row) * tiling_->n + col],
            SlotTensor<float>(AscendC::TPosition::CO1, map_.l0C, slotC), p);
    }

    const MatmulTiling* tiling_ = nullptr;
    MatmulMap map_{};
    AscendC::GlobalTensor<T> gmA_;
    AscendC::GlobalTensor<T> gmB_;
    AscendC::GlobalTensor<Out> gmC_;
    L1Ring ringL1A_;
    L1Ring ringL1B_;
    L0Ring ringL0_;
    L0cRing ringL0c_;
    uint64_t productA_ = 0;
    uint64_t productB_ = 0;
    uint64_t productC_ = 0;
    uint32_t takenA_ = 0;
    uint32_t takenB_ = 0;
};

}  // namespace fastattn
