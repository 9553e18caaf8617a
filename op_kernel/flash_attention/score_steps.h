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
        keys_.Init(memory, memory.ringK, {&memory.gmK, &t.k, t.headDimQk, memory.l1.k, t.l1TileKv, true});
    }

    __aicore__ inline void Begin(const Block& block, const Block* next)
    {
        block_ = block;
        tiles_ = CeilDiv(block.rows, m_->tiling->l0TileQ);
        StartKeyTile(0);
        queryDue_ = block.begins;
        done_ = false;
        keys_.Begin(block, nullptr);
        Follow(next);
    }

    // What comes behind the block.
    __aicore__ inline void Follow(const Block* next)
    {
        hasNext_ = next != nullptr;
        if (hasNext_) {
            next_ = *next;
            keys_.Follow(next);
        }
    }

    // Goes on with the block behind the one that is done, if there is one.
    __aicore__ inline bool BeginNext()
    {
        if (hasNext_) {
            Begin(Block(next_), nullptr);
            return true;
        }
        return false;
    }

    // The next step is the block's last.
    __aicore__ inline bool LastStep() const
    {
        const uint32_t cols = ColumnsOfTurn(turn_);
        return l0Col_ + m_->tiling->l0TileKv >= cols && NextTurn(turn_ + 1) == tiles_ && LastKeyTile();
    }

    __aicore__ inline bool Done() const { return done_; }

    // S (a tile of rows x l0TileKv) -> the block's workspace slot.
    __aicore__ inline void Step()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t l1Cols = ColumnsOfTurn(turn_);
        const uint32_t row0 = RowOfTurn(turn_);
        const uint32_t rows = Least(block_.row0 + block_.rows - row0, t.l0TileQ);
        if (l0Col_ == 0) {
            StartTiles(row0, rows);
        }
        const uint32_t cols = Least(l1Cols - l0Col_, t.l0TileKv);
        const uint32_t slotB = m_->ringB.Acquire();
        const uint32_t pitchQk = PaddedDim(t.headDimQk);
        LoadRightTransposed(m_->Right(slotB), m_->RightL1(m_->l1.k, slotK_)[l0Col_ * pitchQk], cols,
                            t.headDimQk);  // [cols, headDimQk]
        m_->ringB.Publish(slotB);
        m_->ringB.Await(slotB);
        const uint32_t slotC = m_->turnC.Take();
        const uint32_t without = RowsWithout(t, block_, row0, l1Col_ + l0Col_);
        Multiply(m_->Scores(slotC), m_->Query(slotA_)[without * pitchQk], m_->Right(slotB), rows - without, cols,
                 t.headDimQk, true, UNIT_TURN);  // [rows - without, cols]
        m_->ringB.Release(slotB);
        const uint64_t slotS = SlotRow(t, block_, row0 + without);
        WithExchangeType(t, [&](auto type) {
            const auto gmS = GmTensor<typename decltype(type)::Element>(m_->gmS);
            StoreAccumulator(gmS[slotS * t.blockKv + l1Col_ + l0Col_], m_->Scores(slotC), rows - without, cols,
                             t.blockKv, UNIT_TURN);
        });
        Advance(l1Cols, cols);
        keys_.RunAhead();
    }

private:
    __aicore__ inline void StartKeyTile(uint32_t tile)
    {
        keyTile_ = tile;
        l1Col_ = ColumnOfTile(block_, m_->tiling->l1TileKv, true, tile);
        l0Col_ = 0;
        turn_ = NextTurn(0);
    }

    __aicore__ inline bool LastKeyTile() const { return keyTile_ + 1 == TilesOf(block_, m_->tiling->l1TileKv); }

    // First row of the query tile whose turn it is. Every other tile of K takes them in reverse, so that the one in L0A
    // stays there.
    __aicore__ inline uint32_t RowOfTurn(uint32_t turn) const
    {
        return block_.row0 + (reverse_ ? tiles_ - 1 - turn : turn) * m_->tiling->l0TileQ;
    }

    // Columns that it has in the tile of K.
    __aicore__ inline uint32_t ColumnsOfTurn(uint32_t turn) const
    {
        const uint32_t cols = ColumnsOfTile(*m_->tiling, block_, RowOfTurn(turn));
        return cols > l1Col_ ? Least(cols - l1Col_, m_->tiling->l1TileKv) : 0;
    }

    // The first turn from this one on that has any; the number of turns if none has.
    __aicore__ inline uint32_t NextTurn(uint32_t turn) const
    {
        while (turn < tiles_ && ColumnsOfTurn(turn) == 0) {
            ++turn;
        }
        return turn;
    }

    // The first tile of a query tile and a tile of K: what it needs in L1 and L0A.
    __aicore__ inline void StartTiles(uint32_t row0, uint32_t rows)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        if (queryDue_) {
            LoadQuery();
            queryDue_ = false;
        }
        if (!held_ || row0_ != row0) {
            ReleaseTile();
            slotA_ = m_->QueryRing().Acquire();
            const uint32_t strip = Fractals(block_.piece.queries.rows) * FRACTAL_ROWS;
            LoadLeft(m_->Query(slotA_), m_->LeftL1(m_->l1.q, slotQ_),
                     {rows, t.headDimQk, strip, row0});  // [rows, headDimQk]
            m_->QueryRing().Publish(slotA_);
            m_->QueryRing().Await(slotA_);
            held_ = true;
            row0_ = row0;
        }
        if (block_.ends && NextTurn(turn_ + 1) == tiles_ && LastKeyTile()) {
            m_->ringQ.Release(slotQ_);
        }
        slotK_ = keys_.Take(keyTile_);
    }

    // Columns within the tile of K first, then query tiles, then tiles of K.
    __aicore__ inline void Advance(uint32_t l1Cols, uint32_t cols)
    {
        l0Col_ += cols;
        if (l0Col_ < l1Cols) {
            return;
        }
        l0Col_ = 0;
        turn_ = NextTurn(turn_ + 1);
        if (turn_ < tiles_) {
            return;
        }
        keys_.DoneWith(keyTile_);
        reverse_ = !reverse_;
        done_ = LastKeyTile();
        if (!done_) {
            StartKeyTile(keyTile_ + 1);
            return;
        }
        // Buffers of L0A that both products take in turn must be free at the end of a block.
        if (block_.ends || m_->l0.aQ.slots == 0) {
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
    Block next_{};
    bool hasNext_ = false;
    uint32_t tiles_ = 0;    // query tiles of the block
    uint32_t turn_ = 0;     // how many of them have had the tile of K
    uint32_t keyTile_ = 0;  // of K, in the order of the stream
    uint32_t l1Col_ = 0;    // of the tile of K within the block
    uint32_t l0Col_ = 0;    // of the L0 tile within the tile of K
    uint32_t slotQ_ = 0;
    uint32_t slotK_ = 0;
    uint32_t slotA_ = 0;
    uint32_t row0_ = 0;  // of the query tile in L0A
    bool queryDue_ = false;
    bool held_ = false;  // ... if there is one
    bool reverse_ = false;
    bool done_ = true;
};

}  // namespace fastattn
