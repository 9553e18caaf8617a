// First product of the cube core: S = Q·K^T of one level-1 block, in steps of one L0 tile, so that the other product's
// steps can lie between them. Tiles of K wait in L1 for all query tiles of the block. Softmax happens elsewhere.
#pragma once
#include "cube_memory.h"
#include "query_rows.h"

namespace fastattn {

template <class T>
class ScoreSteps {
public:
    __aicore__ inline void Init(CubeMemory<T>& memory) { m_ = &memory; }

    __aicore__ inline void Begin(const Block& block)
    {
        block_ = block;
        row_ = l1Col_ = l0Col_ = 0;
        done_ = false;
    }

    __aicore__ inline bool Done() const { return done_; }

    // S (a tile of rows x l0TileKv, fp32) -> the block's workspace slot.
    __aicore__ inline void Step()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t l1Cols = Least(block_.cols - l1Col_, t.l1TileKv);
        const uint32_t rows = Least(block_.rows - row_, t.l0TileQ);
        if (l0Col_ == 0) {
            StartTiles(rows, l1Cols);
        }
        const uint32_t cols = Least(l1Cols - l0Col_, t.l0TileKv);
        const uint32_t slotB = m_->ringB.Acquire();
        const uint32_t pitchQk = PaddedDim(t.headDimQk);
        LoadRightTransposed(m_->Right(slotB), m_->RightL1(m_->l1.k, slotK_)[l0Col_ * pitchQk], cols,
                            t.headDimQk);  // [cols, headDimQk]
        m_->ringB.Publish(slotB);
        m_->ringB.Await(slotB);
        const uint32_t slotC = m_->ringC.Acquire();
        Multiply(m_->Scores(slotC), m_->Query(slotA_), m_->Right(slotB), rows, cols, t.headDimQk,
                 true);  // [rows, cols]
        m_->ringB.Release(slotB);
        m_->ringC.Publish(slotC);
        m_->ringC.Await(slotC);
        const uint64_t slotS = static_cast<uint64_t>(block_.index % t.ring) * t.blockQ + row_;
        StoreAccumulator(m_->gmS[slotS * t.blockKv + l1Col_ + l0Col_], m_->Scores(slotC), rows, cols, t.blockKv);
        m_->ringC.Release(slotC);
        Advance(l1Cols, rows, cols);
    }

private:
    // The first tile of a query tile and a tile of K: what it needs in L1 and L0A.
    __aicore__ inline void StartTiles(uint32_t rows, uint32_t l1Cols)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        if (block_.first && row_ == 0 && l1Col_ == 0) {
            LoadQuery();
        }
        const bool oneTile = block_.rows <= t.l0TileQ;
        if (!oneTile || l1Col_ == 0) {
            slotA_ = m_->QueryRing().Acquire();
            const uint32_t strip = Fractals(block_.rows) * FRACTAL_ROWS;
            LoadLeft(m_->Query(slotA_), m_->LeftL1(m_->l1.q, slotQ_),
                     {rows, t.headDimQk, strip, row_});  // [rows, headDimQk]
            m_->QueryRing().Publish(slotA_);
            const bool lastUse = oneTile || (row_ + rows == block_.rows && l1Col_ + l1Cols == block_.cols);
            if (block_.last && lastUse) {
                m_->ringQ.Release(slotQ_);
            }
            m_->QueryRing().Await(slotA_);
        }
        if (row_ == 0) {
            LoadKeys(l1Cols);
        }
    }

    // Columns within the tile of K first, then query tiles, then tiles of K.
    __aicore__ inline void Advance(uint32_t l1Cols, uint32_t rows, uint32_t cols)
    {
        l0Col_ += cols;
        if (l0Col_ < l1Cols) {
            return;
        }
        l0Col_ = 0;
        const bool oneTile = block_.rows <= m_->tiling->l0TileQ;
        done_ = row_ + rows == block_.rows && l1Col_ + l1Cols == block_.cols;
        if (!oneTile || done_) {
            m_->QueryRing().Release(slotA_);
        }
        row_ += rows;
        if (row_ == block_.rows) {
            m_->ringK.Release(slotK_);
            row_ = 0;
            l1Col_ += l1Cols;
        }
        if (done_) {
            AscendC::CrossCoreSetFlag<2, PIPE_FIX>(S_READY);
        }
    }

    // Q stays in L1 for all blocks of a piece.
    __aicore__ inline void LoadQuery()
    {
        slotQ_ = m_->ringQ.Acquire();
        LoadQueryRows(m_->LeftL1(m_->l1.q, slotQ_), m_->gmQ, *m_->tiling, block_.piece);
        m_->ringQ.Publish(slotQ_);
        m_->ringQ.Await(slotQ_);
    }

    __aicore__ inline void LoadKeys(uint32_t l1Cols)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        slotK_ = m_->ringK.Acquire();
        m_->LoadKeyTiles(m_->RightL1(m_->l1.k, slotK_), m_->gmK[m_->KeyOffset(t.k, block_, l1Col_)],
                         {l1Cols, t.headDimQk, t.k.seq});
        m_->ringK.Publish(slotK_);
        m_->ringK.Await(slotK_);
    }

    CubeMemory<T>* m_ = nullptr;
    Block block_{};
    uint32_t row_ = 0;    // of the query tile within the block
    uint32_t l1Col_ = 0;  // of the tile of K within the block
    uint32_t l0Col_ = 0;  // of the L0 tile within the tile of K
    uint32_t slotQ_ = 0;
    uint32_t slotK_ = 0;
    uint32_t slotA_ = 0;
    bool done_ = true;
};

}  // namespace fastattn
