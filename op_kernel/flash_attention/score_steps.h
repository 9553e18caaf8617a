// First product of the cube core: S = Q·K^T of one level-1 block, in steps of one L0 tile, so that the other product's
// steps can lie between them. Tiles of K wait in L1 for all query tiles of the block. Softmax happens elsewhere.
#pragma once
#include "key_stream.h"
#include "query_rows.h"

namespace fastattn {

template <class T>
class ScoreSteps {
public:
    __aicore__ inline void Init(CubeMemory<T>& memory)
    {
        m_ = &memory;
        const FlashAttentionTiling& t = *memory.tiling;
        keys_.Init(memory, memory.ringK, {&memory.gmK, &t.k, t.headDimQk, memory.l1.k, t.l1TileKv});
    }

    __aicore__ inline void Begin(const Block& block, const Block* next)
    {
        block_ = block;
        tiles_ = CeilDiv(block.rows, m_->tiling->l0TileQ);
        turn_ = l1Col_ = l0Col_ = 0;
        done_ = false;
        keys_.Begin(block, next);
    }

    __aicore__ inline bool Done() const { return done_; }

    // S (a tile of rows x l0TileKv) -> the block's workspace slot.
    __aicore__ inline void Step()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t l1Cols = Least(block_.cols - l1Col_, t.l1TileKv);
        const uint32_t row0 = RowOfTurn();
        const uint32_t rows = Least(block_.rows - row0, t.l0TileQ);
        if (l0Col_ == 0) {
            StartTiles(row0, rows, l1Cols);
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
        const uint64_t slotS = static_cast<uint64_t>(block_.index % t.ring) * t.blockQ + row0;
        WithExchangeType(t, [&](auto type) {
            const auto gmS = GmTensor<typename decltype(type)::Element>(m_->gmS);
            StoreAccumulator(gmS[slotS * t.blockKv + l1Col_ + l0Col_], m_->Scores(slotC), rows, cols, t.blockKv);
        });
        m_->ringC.Release(slotC);
        Advance(l1Cols, cols);
        keys_.RunAhead();
    }

private:
    // The query tile whose turn it is. Every other tile of K takes them in reverse, so that the one in L0A stays there.
    __aicore__ inline uint32_t RowOfTurn() const
    {
        return (reverse_ ? tiles_ - 1 - turn_ : turn_) * m_->tiling->l0TileQ;
    }

    // The first tile of a query tile and a tile of K: what it needs in L1 and L0A.
    __aicore__ inline void StartTiles(uint32_t row0, uint32_t rows, uint32_t l1Cols)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        if (block_.first && turn_ == 0 && l1Col_ == 0) {
            LoadQuery();
        }
        if (!held_ || row0_ != row0) {
            ReleaseTile();
            slotA_ = m_->QueryRing().Acquire();
            const uint32_t strip = Fractals(block_.rows) * FRACTAL_ROWS;
            LoadLeft(m_->Query(slotA_), m_->LeftL1(m_->l1.q, slotQ_),
                     {rows, t.headDimQk, strip, row0});  // [rows, headDimQk]
            m_->QueryRing().Publish(slotA_);
            m_->QueryRing().Await(slotA_);
            held_ = true;
            row0_ = row0;
        }
        if (block_.last && turn_ + 1 == tiles_ && l1Col_ + l1Cols == block_.cols) {
            m_->ringQ.Release(slotQ_);
        }
        if (turn_ == 0) {
            slotK_ = keys_.Take(l1Col_ / t.l1TileKv);
        }
    }

    // Columns within the tile of K first, then query tiles, then tiles of K.
    __aicore__ inline void Advance(uint32_t l1Cols, uint32_t cols)
    {
        l0Col_ += cols;
        if (l0Col_ < l1Cols) {
            return;
        }
        l0Col_ = 0;
        if (++turn_ < tiles_) {
            return;
        }
        keys_.DoneWith(l1Col_ / m_->tiling->l1TileKv);
        turn_ = 0;
        reverse_ = !reverse_;
        l1Col_ += l1Cols;
        done_ = l1Col_ == block_.cols;
        if (!done_) {
            return;
        }
        // Buffers of L0A that both products take in turn must be free at the end of a block.
        if (block_.last || m_->l0.aQ.slots == 0) {
            ReleaseTile();
        }
        AscendC::CrossCoreSetFlag<2, PIPE_FIX>(S_READY);
    }

    __aicore__ inline void ReleaseTile()
    {
        if (held_) {
            m_->QueryRing().Release(slotA_);
            held_ = false;
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

    CubeMemory<T>* m_ = nullptr;
    KeyStream<T> keys_;
    Block block_{};
    uint32_t tiles_ = 0;  // query tiles of the block
    uint32_t turn_ = 0;   // how many of them have had the tile of K
    uint32_t l1Col_ = 0;  // of the tile of K within the block
    uint32_t l0Col_ = 0;  // of the L0 tile within the tile of K
    uint32_t slotQ_ = 0;
    uint32_t slotK_ = 0;
    uint32_t slotA_ = 0;
    uint32_t row0_ = 0;  // of the query tile in L0A
    bool held_ = false;  // ... if there is one
    bool reverse_ = false;
    bool done_ = true;
};

}  // namespace fastattn
