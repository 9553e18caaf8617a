// Tiles of a matrix product on the cube core: the whole depth of a tile in L0C, copies one L1 slot ahead of the
// multiplications. The buffers and their rings belong to the kernel, so that a kernel with other work between the tiles
// lends those it has. c = a * b in fp32, stored in fp32 or narrowed to the operands' type.
#pragma once
#include "../common/cube_tiles.h"
#include "../common/pipeline.h"
#include "storage.h"

namespace fastattn {

// An output tile.
struct MatmulTile {
    uint32_t row;
    uint32_t rows;
    uint32_t col;
    uint32_t cols;
};

template <class T, class Out>
class MatmulStage {
public:
    // bias: n elements and behind them baseM ones, or null; it is one more step along k, whose left operand is a column
    // of ones.
    __aicore__ inline void Init(const MatmulTiling& tiling, const MatmulMap& map, const MatmulRings& rings, GM_ADDR a,
                                GM_ADDR b, GM_ADDR c, GM_ADDR bias = nullptr)
    {
        tiling_ = &tiling;
        map_ = map;
        rings_ = rings;
        gmA_.SetGlobalBuffer((__gm__ T*)a);
        gmB_.SetGlobalBuffer((__gm__ T*)b);
        gmC_.SetGlobalBuffer((__gm__ Out*)c);
        hasBias_ = bias != nullptr;
        gmBias_.SetGlobalBuffer((__gm__ T*)bias);
    }

    // The next tiles are of one of several products whose operands lie one after the other.
    __aicore__ inline void Select(uint32_t product)
    {
        productA_ = static_cast<uint64_t>(product) * tiling_->m * tiling_->k;
        productB_ = static_cast<uint64_t>(product) * tiling_->n * tiling_->k;
        productC_ = static_cast<uint64_t>(product) * tiling_->m * tiling_->n;
    }

    __aicore__ inline void ComputeTile(const MatmulTile& tile)
    {
        const uint32_t depthA = tiling_->baseK * tiling_->stepA;
        const uint32_t depthB = tiling_->baseK * tiling_->stepB;
        uint32_t nextA = 0;
        uint32_t nextB = 0;
        uint32_t slotA = 0;
        uint32_t slotB = 0;
        const uint32_t slotC = rings_.l0C->Take();
        for (uint32_t k = 0; k < tiling_->k; k += tiling_->baseK) {
            const uint32_t ahead = k == 0 ? 1 : 2;
            for (; nextB < Least(tiling_->k, (k / depthB + ahead) * depthB); nextB += depthB) {
                LoadB(tile, nextB, Least(tiling_->k - nextB, depthB));
            }
            for (; nextA < Least(tiling_->k, (k / depthA + ahead) * depthA); nextA += depthA) {
                LoadA(tile, nextA, Least(tiling_->k - nextA, depthA));
            }
            if (k % depthA == 0) {
                slotA = Take(rings_.l1A, pendingA_, takenA_);
            }
            if (k % depthB == 0) {
                slotB = Take(rings_.l1B, pendingB_, takenB_);
            }
            const uint32_t depth = Least(tiling_->k - k, tiling_->baseK);
            const uint32_t inA = k % depthA;
            const uint32_t inB = k % depthB;
            const bool last = k + depth == tiling_->k;
            MultiplyStep(tile, {slotA, slotB, slotC, depth, inA, inB, last || inA + tiling_->baseK == depthA,
                                last || inB + tiling_->baseK == depthB, k == 0, last && !hasBias_});
        }
        if (hasBias_) {
            AddBias(tile, slotC);
        }
        StoreTile(tile, slotC);
    }

private:
    // One multiplication of a tile: slots, depth, offsets along k inside the L1 slots, and whether it is their last
    // use.
    struct Step {
        uint32_t slotA;
        uint32_t slotB;
        uint32_t slotC;
        uint32_t depth;
        uint32_t inA;
        uint32_t inB;
        bool lastA;
        bool lastB;
        bool first;
        bool last;
    };

    __aicore__ inline uint32_t Least(uint32_t x, uint32_t y) const { return x < y ? x : y; }

    // Slots on their way, oldest first; there are never more than two.
    __aicore__ inline uint32_t Take(L1Ring* ring, const uint32_t* pending, uint32_t& taken)
    {
        const uint32_t slot = pending[taken++ % STAGES];
        ring->Await(slot);
        return slot;
    }

    __aicore__ inline void LoadA(const MatmulTile& tile, uint32_t k, uint32_t depth)
    {
        const uint32_t slot = rings_.l1A->Acquire();
        pendingA_[loadedA_++ % STAGES] = slot;
        LoadRowsToL1(SlotTensor<T>(AscendC::TPosition::A1, map_.l1A, slot),
                     gmA_[productA_ + static_cast<uint64_t>(tile.row) * tiling_->k + k], tile.rows, depth, tiling_->k,
                     Fractals(tile.rows) * FRACTAL_ROWS);  // [rows, depth]
        rings_.l1A->Publish(slot);
    }

    __aicore__ inline void LoadB(const MatmulTile& tile, uint32_t k, uint32_t depth)
    {
        const uint32_t slot = rings_.l1B->Acquire();
        pendingB_[loadedB_++ % STAGES] = slot;
        const auto l1 = SlotTensor<T>(AscendC::TPosition::B1, map_.l1B, slot);
        if (tiling_->transB != 0) {
            LoadRowsToL1(l1, gmB_[productB_ + static_cast<uint64_t>(tile.col) * tiling_->k + k], tile.cols, depth,
                         tiling_->k,
                         Fractals(tile.cols) * FRACTAL_ROWS);  // [cols, depth]
        } else {
            for (uint32_t at = 0; at < depth; at += tiling_->baseK) {
                const uint32_t part = Least(depth - at, tiling_->baseK);
                LoadRowsToL1(l1[at * tiling_->baseN],
                             gmB_[productB_ + static_cast<uint64_t>(k + at) * tiling_->n + tile.col], part, tile.cols,
                             tiling_->n, Fractals(part) * FRACTAL_ROWS);  // [part, cols]
            }
        }
        rings_.l1B->Publish(slot);
    }

    __aicore__ inline void MultiplyStep(const MatmulTile& tile, const Step& s)
    {
        const uint32_t l0SlotA = rings_.l0A->Acquire();
        const auto l0A = SlotTensor<T>(AscendC::TPosition::A2, map_.l0A, l0SlotA);
        const auto l1A = SlotTensor<T>(AscendC::TPosition::A1, map_.l1A, s.slotA);
        const uint32_t strip = Fractals(tile.rows) * FRACTAL_ROWS;
        LoadLeft(l0A, l1A[s.inA * strip], {tile.rows, s.depth, strip, 0});  // [rows, depth]
        rings_.l0A->Publish(l0SlotA);
        const uint32_t l0SlotB = rings_.l0B->Acquire();
        const auto l0B = SlotTensor<T>(AscendC::TPosition::B2, map_.l0B, l0SlotB);
        const auto l1B = SlotTensor<T>(AscendC::TPosition::B1, map_.l1B, s.slotB);
        if (tiling_->transB != 0) {
            LoadRightTransposed(l0B, l1B[s.inB * Fractals(tile.cols) * FRACTAL_ROWS], tile.cols,
                                s.depth);  // [cols, depth]
        } else {
            LoadRight(l0B, l1B[s.inB * tiling_->baseN], s.depth, tile.cols);  // [depth, cols]
        }
        rings_.l0B->Publish(l0SlotB);
        if (s.lastA) {
            rings_.l1A->Release(s.slotA);
        }
        if (s.lastB) {
            rings_.l1B->Release(s.slotB);
        }
        rings_.l0A->Await(l0SlotA);
        rings_.l0B->Await(l0SlotB);
        Multiply(SlotTensor<float>(AscendC::TPosition::CO1, map_.l0C, s.slotC), l0A, l0B, tile.rows, tile.cols, s.depth,
                 s.first, s.last ? UNIT_TURN : UNIT_HOLD);  // [rows, cols]
        rings_.l0A->Release(l0SlotA);
        rings_.l0B->Release(l0SlotB);
    }

    // c += ones (rows x 1) * bias (1 x cols).
    __aicore__ inline void AddBias(const MatmulTile& tile, uint32_t slotC)
    {
        const uint32_t slotA = rings_.l1A->Acquire();
        LoadRowsToL1(SlotTensor<T>(AscendC::TPosition::A1, map_.l1A, slotA), gmBias_[tiling_->n], tile.rows, 1, 1,
                     Fractals(tile.rows) * FRACTAL_ROWS);  // [rows, 1]
        rings_.l1A->Publish(slotA);
        const uint32_t slotB = rings_.l1B->Acquire();
        LoadRowsToL1(SlotTensor<T>(AscendC::TPosition::B1, map_.l1B, slotB), gmBias_[tile.col], tile.cols, 1, 1,
                     Fractals(tile.cols) * FRACTAL_ROWS);  // [cols, 1]
        rings_.l1B->Publish(slotB);
        rings_.l1A->Await(slotA);
        rings_.l1B->Await(slotB);
        MultiplyStep(tile, {slotA, slotB, slotC, 1, 0, 0, true, true, false, true});
    }

    __aicore__ inline void StoreTile(const MatmulTile& tile, uint32_t slotC)
    {
        StoreAccumulator(gmC_[productC_ + static_cast<uint64_t>(tile.row) * tiling_->n + tile.col],
                         SlotTensor<float>(AscendC::TPosition::CO1, map_.l0C, slotC), tile.rows, tile.cols, tiling_->n,
                         UNIT_TURN);
    }

    const MatmulTiling* tiling_ = nullptr;
    MatmulMap map_{};
    MatmulRings rings_{};
    AscendC::GlobalTensor<T> gmA_;
    AscendC::GlobalTensor<T> gmB_;
    AscendC::GlobalTensor<Out> gmC_;
    AscendC::GlobalTensor<T> gmBias_;
    bool hasBias_ = false;
    uint64_t productA_ = 0;
    uint64_t productB_ = 0;
    uint64_t productC_ = 0;
    uint32_t pendingA_[STAGES] = {};
    uint32_t pendingB_[STAGES] = {};
    uint32_t loadedA_ = 0;
    uint32_t loadedB_ = 0;
    uint32_t takenA_ = 0;
    uint32_t takenB_ = 0;
};

}  // namespace fastattn
