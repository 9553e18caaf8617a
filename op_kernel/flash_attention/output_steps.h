// Second product of the cube core: P·V of one level-1 block, in steps of one L0 tile. Query tile by query tile, each
// summed in L0C over all keys of the block; with several query tiles V stays in L1 until the last has used it.
#pragma once
#include "cube_memory.h"

namespace fastattn {

template <class T>
class OutputSteps {
public:
    __aicore__ inline void Init(CubeMemory<T>& memory) { m_ = &memory; }

    __aicore__ inline void Begin(const Block& block)
    {
        AscendC::CrossCoreWaitFlag(P_READY);
        block_ = block;
        row_ = col_ = 0;
        done_ = false;
    }

    __aicore__ inline bool Done() const { return done_; }

    // O_partial (rows x headDimV, fp32) += P·V of l0TileKv keys; the last step of a query tile stores it.
    __aicore__ inline void Step()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t rows = Least(block_.rows - row_, t.l0TileQ);
        StartTiles(rows);
        const uint32_t depth = Least(block_.cols - col_, t.l0TileKv);
        const uint32_t slotA = m_->ringA.Acquire();
        const uint32_t strip = Fractals(rows) * FRACTAL_ROWS;
        LoadLeft(m_->Left(slotA), m_->LeftL1(m_->l1.p, slotP_)[col_ % t.l1TileP * strip],
                 {rows, depth, strip, 0});  // [rows, depth]
        m_->ringA.Publish(slotA);
        const uint32_t slotB = m_->ringB.Acquire();
        const uint32_t slotV = (firstV_ + col_ / t.l1TileV) % m_->l1.v.slots;
        LoadRight(m_->Right(slotB), m_->RightL1(m_->l1.v, slotV)[col_ % t.l1TileV * PaddedDim(t.headDimV)], depth,
                  t.headDimV);  // [depth, headDimV]
        m_->ringB.Publish(slotB);
        m_->ringA.Await(slotA);
        m_->ringB.Await(slotB);
        Multiply(m_->Output(slotC_), m_->Left(slotA), m_->Right(slotB), rows, t.headDimV, depth,
                 col_ == 0);  // [rows, headDimV]
        m_->ringA.Release(slotA);
        m_->ringB.Release(slotB);
        Advance(rows, depth, slotV);
    }

private:
    __aicore__ inline void StartTiles(uint32_t rows)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        if (col_ == 0) {
            slotC_ = m_->OutputRing().Acquire();
        }
        if (col_ % t.l1TileV == 0 && row_ == 0) {
            LoadValues();
        }
        if (col_ % t.l1TileP == 0) {
            LoadProbabilities(rows);
        }
    }

    __aicore__ inline void LoadValues()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t slot = m_->ringV.Acquire();
        m_->LoadKeyTiles(m_->RightL1(m_->l1.v, slot), m_->gmV[m_->KeyOffset(t.v, block_, col_)],
                         {Least(block_.cols - col_, t.l1TileV), t.headDimV, t.v.seq});
        m_->ringV.Publish(slot);
        if (col_ == 0) {
            firstV_ = slot;
        }
        m_->ringV.Await(slot);
    }

    __aicore__ inline void LoadProbabilities(uint32_t rows)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        slotP_ = m_->ringP.Acquire();
        LoadRowsToL1(m_->LeftL1(m_->l1.p, slotP_), m_->gmP[ProbabilityOffset(t, block_.index % t.ring, row_, col_)],
                     rows, Least(block_.cols - col_, t.l1TileP), t.l1TileP,
                     Fractals(rows) * FRACTAL_ROWS);  // [rows, keys]
        m_->ringP.Publish(slotP_);
        m_->ringP.Await(slotP_);
    }

    __aicore__ inline void Advance(uint32_t rows, uint32_t depth, uint32_t slotV)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        col_ += depth;
        const bool lastKeys = col_ == block_.cols;
        const bool lastRows = row_ + rows == block_.rows;
        if (lastKeys || col_ % t.l1TileP == 0) {
            m_->ringP.Release(slotP_);
        }
        if (lastRows && (lastKeys || col_ % t.l1TileV == 0)) {
            m_->ringV.Release(slotV);
        }
        if (!lastKeys) {
            return;
        }
        L0cRing& ring = m_->OutputRing();
        ring.Publish(slotC_);
        ring.Await(slotC_);
        const uint32_t pitchV = PaddedDim(t.headDimV);
        const uint64_t rowO = static_cast<uint64_t>(block_.index % t.ring) * t.blockQ + row_;
        StoreAccumulator(m_->gmO[rowO * pitchV], m_->Output(slotC_), rows, t.headDimV, pitchV);
        ring.Release(slotC_);
        row_ += rows;
        col_ = 0;
        done_ = lastRows;
        if (done_) {
            AscendC::CrossCoreSetFlag<2, PIPE_FIX>(O_READY);
        }
    }

    CubeMemory<T>* m_ = nullptr;
    Block block_{};
    uint32_t row_ = 0;  // of the query tile within the block
    uint32_t col_ = 0;  // first key of the step within the block
    uint32_t firstV_ = 0;
    uint32_t slotP_ = 0;
    uint32_t slotC_ = 0;
    bool done_ = true;
};

}  // namespace fastattn
