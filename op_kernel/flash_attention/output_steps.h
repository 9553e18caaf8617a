// Second product of the cube core: P·V of one level-1 block, in steps of one L0 tile. Query tile by query tile, each
// summed in L0C over all keys of the block; with several query tiles V stays in L1 until the last has used it.
// Tiles of P are fetched a step ahead.
#pragma once
#include "key_stream.h"

namespace fastattn {

template <class T>
class OutputSteps {
public:
    __aicore__ inline void Init(CubeMemory<T>& memory)
    {
        m_ = &memory;
        const FlashAttentionTiling& t = *memory.tiling;
        values_.Init(memory, memory.ringV, {&memory.gmV, &t.v, t.headDimV, memory.l1.v, t.l1TileV, false});
    }

    __aicore__ inline void Begin(const Block& block, const Block* next)
    {
        values_.Begin(block, next);
        AscendC::CrossCoreWaitFlag(P_READY);
        block_ = block;
        row_ = loadRow_ = block.row0;
        col_ = loadCol_ = 0;
        done_ = false;
    }

    __aicore__ inline bool Done() const { return done_; }

    // The next step begins another sum in L0C.
    __aicore__ inline bool StartsTile() const { return col_ == 0; }

    // O_partial (rows x headDimV, fp32) += P·V of l0TileKv keys; the last step of a query tile stores it.
    __aicore__ inline void Step()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t rows = Least(EndRow() - row_, t.l0TileQ);
        StartTiles();
        const uint32_t depth = Least(ColumnsOfTile(t, block_, row_) - col_, t.l0TileKv);
        const uint32_t slotA = m_->ringA.Acquire();
        const uint32_t strip = Fractals(rows) * FRACTAL_ROWS;
        LoadLeft(m_->Left(slotA), m_->LeftL1(m_->l1.p, slotP_)[col_ % t.l1TileP * strip],
                 {rows, depth, strip, 0});  // [rows, depth]
        m_->ringA.Publish(slotA);
        const uint32_t slotB = m_->ringB.Acquire();
        const uint32_t slotV = values_.Take(col_ / t.l1TileV);
        LoadRight(m_->Right(slotB), m_->RightL1(m_->l1.v, slotV)[col_ % t.l1TileV * PaddedDim(t.headDimV)], depth,
                  t.headDimV);  // [depth, headDimV]
        m_->ringB.Publish(slotB);
        m_->ringA.Await(slotA);
        m_->ringB.Await(slotB);
        Multiply(m_->Output(slotC_), m_->Left(slotA), m_->Right(slotB), rows, t.headDimV, depth, col_ == 0,
                 col_ + depth == ColumnsOfTile(t, block_, row_) ? UNIT_TURN : UNIT_HOLD);  // [rows, headDimV]
        m_->ringA.Release(slotA);
        m_->ringB.Release(slotB);
        Advance(rows, depth);
        values_.RunAhead();
    }

private:
    __aicore__ inline uint32_t EndRow() const { return block_.row0 + block_.rows; }

    __aicore__ inline void StartTiles()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        if (col_ == 0) {
            slotC_ = m_->OutputTurn().Take();
        }
        if (col_ % t.l1TileP == 0) {
            if (loadRow_ == row_ && loadCol_ == col_) {
                LoadProbabilities();
            }
            slotP_ = nextP_;
            m_->ringP.Await(slotP_);
            if (loadRow_ != EndRow()) {
                LoadProbabilities();  // of the step after
            }
        }
    }

    // The tile of P at loadRow_, loadCol_.
    __aicore__ inline void LoadProbabilities()
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t rows = Least(EndRow() - loadRow_, t.l0TileQ);
        const uint32_t tileCols = ColumnsOfTile(t, block_, loadRow_);
        const uint32_t cols = Least(tileCols - loadCol_, t.l1TileP);
        nextP_ = m_->ringP.Acquire();
        LoadRowsToL1(m_->LeftL1(m_->l1.p, nextP_), m_->gmP[ProbabilityOffset(t, block_, loadRow_, loadCol_)], rows,
                     cols, t.l1TileP,
                     Fractals(rows) * FRACTAL_ROWS);  // [rows, keys]
        m_->ringP.Publish(nextP_);
        loadCol_ += cols;
        if (loadCol_ == tileCols) {
            loadCol_ = 0;
            loadRow_ += rows;
        }
    }

    __aicore__ inline void Advance(uint32_t rows, uint32_t depth)
    {
        const FlashAttentionTiling& t = *m_->tiling;
        const uint32_t tileV = col_ / t.l1TileV;
        col_ += depth;
        const bool lastKeys = col_ == ColumnsOfTile(t, block_, row_);
        const bool lastRows = row_ + rows == EndRow();
        if (lastKeys || col_ % t.l1TileP == 0) {
            m_->ringP.Release(slotP_);
        }
        if (lastRows && (lastKeys || col_ % t.l1TileV == 0)) {
            values_.DoneWith(tileV);
        }
        if (!lastKeys) {
            return;
        }
        const uint32_t pitchV = PaddedDim(t.headDimV);
        StoreAccumulator(m_->gmO[SlotRow(t, block_, row_) * pitchV], m_->Output(slotC_), rows, t.headDimV, pitchV,
                         UNIT_TURN);
        row_ += rows;
        col_ = 0;
        done_ = lastRows;
        if (done_) {
            AscendC::CrossCoreSetFlag<2, PIPE_FIX>(O_READY);
        }
    }

    CubeMemory<T>* m_ = nullptr;
    KeyStream<T> values_;
    Block block_{};
    uint32_t row_ = 0;      // of the query tile within the query block
    uint32_t col_ = 0;      // first key of the step within the block
    uint32_t loadRow_ = 0;  // of the tile of P to be loaded next
    uint32_t loadCol_ = 0;
    uint32_t slotP_ = 0;
    uint32_t nextP_ = 0;
    uint32_t slotC_ = 0;
    bool done_ = true;
};

}  // namespace fastattn
