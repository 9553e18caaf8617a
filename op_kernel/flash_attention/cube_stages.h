// Cube core of the FlashAttention forward kernel: S = Q·K^T and O_partial = P·V of one level-1 block, each through
// L1 -> L0 -> L0C tiles (level 2) into the block's workspace slot. Softmax happens elsewhere; this file must not know
// it.
#pragma once
#include "../common/pipeline.h"
#include "query_rows.h"

namespace fastattn {

// First event of each ring; rings of the same pipe pair must not overlap.
enum CubeEvent : int32_t {
    L1_Q_EVENT = 0,
    L1_K_EVENT = 2,
    L1_V_EVENT = 4,
    L1_P_EVENT = 6,
    L0A_EVENT = 0,
    L0B_EVENT = 2,
    L0C_EVENT = 0,
};

template <class T>
class CubeStages {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Operands& operands, GM_ADDR workspace)
    {
        tiling_ = &tiling;
        l1_ = MakeL1Map(tiling);
        l0_ = MakeL0Map(tiling);
        pitchQk_ = PaddedDim(tiling.headDimQk);
        pitchV_ = PaddedDim(tiling.headDimV);
        gmQ_.SetGlobalBuffer((__gm__ T*)operands.q);
        gmK_.SetGlobalBuffer((__gm__ T*)operands.k);
        gmV_.SetGlobalBuffer((__gm__ T*)operands.v);
        gmS_.SetGlobalBuffer((__gm__ float*)(workspace + tiling.workspaceSOffsetBytes));
        gmP_.SetGlobalBuffer((__gm__ T*)(workspace + tiling.workspacePOffsetBytes));
        gmO_.SetGlobalBuffer((__gm__ float*)(workspace + tiling.workspaceOOffsetBytes));
        ringQ_.Init(L1_Q_EVENT, STAGES);
        ringK_.Init(L1_K_EVENT, STAGES);
        ringV_.Init(L1_V_EVENT, STAGES);
        ringP_.Init(L1_P_EVENT, STAGES);
        ringL0a_.Init(L0A_EVENT, STAGES);
        ringL0b_.Init(L0B_EVENT, STAGES);
        ringL0c_.Init(L0C_EVENT, STAGES);
    }

    __aicore__ inline void Drain()
    {
        ringQ_.Drain();
        ringK_.Drain();
        ringV_.Drain();
        ringP_.Drain();
        ringL0a_.Drain();
        ringL0b_.Drain();
        ringL0c_.Drain();
    }

    // S (rows x cols, fp32) of the block -> its workspace slot.
    __aicore__ inline void ComputeScores(const Block& block)
    {
        if (block.first) {
            LoadQuery(block);
        }
        const uint32_t slotA = ringL0a_.Acquire();
        LoadLeft(L0a(slotA), L1Slot(AscendC::TPosition::A1, l1_.q, slotQ_), block.rows, tiling_->headDimQk);
        ringL0a_.Publish(slotA);
        if (block.last) {
            ringQ_.Release(slotQ_);
        }
        ringL0a_.Await(slotA);
        const uint64_t slotS = static_cast<uint64_t>(block.index % tiling_->ring) * tiling_->blockQ * tiling_->blockKv;
        for (uint32_t l1Col = 0; l1Col < block.cols; l1Col += tiling_->l1TileKv) {
            const uint32_t l1Cols = Least(block.cols - l1Col, tiling_->l1TileKv);
            const uint32_t slotK =
                LoadKeys({&ringK_, &gmK_, &tiling_->k, &l1_.k, tiling_->headDimQk}, block, l1Col, l1Cols);
            ringK_.Await(slotK);
            for (uint32_t l0Col = 0; l0Col < l1Cols; l0Col += tiling_->l0TileKv) {
                const uint32_t cols = Least(l1Cols - l0Col, tiling_->l0TileKv);
                const auto l1K = L1Slot(AscendC::TPosition::B1, l1_.k, slotK)[l0Col * pitchQk_];
                ScoresTile(slotA, l1K, block.rows, cols, gmS_[slotS + l1Col + l0Col]);
            }
            ringK_.Release(slotK);
        }
        ringL0a_.Release(slotA);
        AscendC::CrossCoreSetFlag<2, PIPE_FIX>(S_READY);
    }

    // P·V (rows x headDimV, fp32) of the block, summed in L0C over all of its keys -> its workspace slot.
    __aicore__ inline void ComputeOutput(const Block& block)
    {
        AscendC::CrossCoreWaitFlag(P_READY);
        const uint32_t ringSlot = block.index % tiling_->ring;
        const auto gmP = gmP_[static_cast<uint64_t>(ringSlot) * tiling_->blockQ * tiling_->blockKv];
        const uint32_t slotC = ringL0c_.Acquire();
        for (uint32_t l1Col = 0; l1Col < block.cols; l1Col += tiling_->l1TileKv) {
            const uint32_t l1Cols = Least(block.cols - l1Col, tiling_->l1TileKv);
            const uint32_t slotV =
                LoadKeys({&ringV_, &gmV_, &tiling_->v, &l1_.v, tiling_->headDimV}, block, l1Col, l1Cols);
            const uint32_t slotP = ringP_.Acquire();
            LoadRowsToL1(L1Slot(AscendC::TPosition::A1, l1_.p, slotP), gmP[l1Col], block.rows, l1Cols, tiling_->blockKv,
                         Fractals(block.rows) * FRACTAL_ROWS);
            ringP_.Publish(slotP);
            ringV_.Await(slotV);
            ringP_.Await(slotP);
            for (uint32_t l0Col = 0; l0Col < l1Cols; l0Col += tiling_->l0TileKv) {
                const uint32_t depth = Least(l1Cols - l0Col, tiling_->l0TileKv);
                const uint32_t stripElems = Fractals(block.rows) * FRACTAL_ROWS;
                const auto l1P = L1Slot(AscendC::TPosition::A1, l1_.p, slotP)[l0Col * stripElems];
                const auto l1V = L1Slot(AscendC::TPosition::B1, l1_.v, slotV)[l0Col * pitchV_];
                OutputTile(slotC, l1P, l1V, block.rows, depth, l1Col + l0Col == 0);
            }
            ringP_.Release(slotP);
            ringV_.Release(slotV);
        }
        ringL0c_.Publish(slotC);
        ringL0c_.Await(slotC);
        StoreAccumulator(gmO_[static_cast<uint64_t>(ringSlot) * tiling_->blockQ * pitchV_], L0c(slotC), block.rows,
                         tiling_->headDimV, pitchV_);
        ringL0c_.Release(slotC);
        AscendC::CrossCoreSetFlag<2, PIPE_FIX>(O_READY);
    }

    // For other matrix products between the blocks: left operands through P's buffers, right ones through V's.
    __aicore__ inline MatmulRings ProductRings() { return {&ringP_, &ringV_, &ringL0a_, &ringL0b_, &ringL0c_}; }

private:
    __aicore__ inline uint32_t Least(uint32_t x, uint32_t y) const { return x < y ? x : y; }

    __aicore__ inline AscendC::LocalTensor<T> L1Slot(AscendC::TPosition position, const Buffer& buffer, uint32_t slot)
    {
        return SlotTensor<T>(position, buffer, slot);
    }
    __aicore__ inline AscendC::LocalTensor<T> L0a(uint32_t slot)
    {
        return SlotTensor<T>(AscendC::TPosition::A2, l0_.l0a, slot);
    }
    __aicore__ inline AscendC::LocalTensor<T> L0b(uint32_t slot)
    {
        return SlotTensor<T>(AscendC::TPosition::B2, l0_.l0b, slot);
    }
    __aicore__ inline AscendC::LocalTensor<float> L0c(uint32_t slot)
    {
        return SlotTensor<float>(AscendC::TPosition::CO1, l0_.l0c, slot);
    }

    // Q stays in L1 for all blocks of a task.
    __aicore__ inline void LoadQuery(const Block& block)
    {
        slotQ_ = ringQ_.Acquire();
        LoadQueryRows(L1Slot(AscendC::TPosition::A1, l1_.q, slotQ_), gmQ_, *tiling_, block.piece);
        ringQ_.Publish(slotQ_);
        ringQ_.Await(slotQ_);
    }

    // K or V: where it lies in GM and where it goes in L1.
    struct KeySource {
        L1Ring* ring;
        const AscendC::GlobalTensor<T>* gm;
        const TensorStrides* strides;
        const Buffer* buffer;
        uint32_t dim;
    };

    // Keys (or values) col0 + l1Col ... of the block -> an L1 slot, as consecutive tiles of l0TileKv keys, each of
    // which is one LoadData.
    __aicore__ inline uint32_t LoadKeys(const KeySource& source, const Block& block, uint32_t l1Col, uint32_t l1Cols)
    {
        const uint32_t slot = source.ring->Acquire();
        const uint64_t offset =
            TokenOffset(*source.strides, block.piece, block.piece.sequence.startKv, block.col0 + l1Col,
                        block.piece.head / (tiling_->headsQ / tiling_->headsKv));
        for (uint32_t l0Col = 0; l0Col < l1Cols; l0Col += tiling_->l0TileKv) {
            const uint32_t cols = Least(l1Cols - l0Col, tiling_->l0TileKv);
            LoadRowsToL1(L1Slot(AscendC::TPosition::B1, *source.buffer, slot)[l0Col * PaddedDim(source.dim)],
                         (*source.gm)[offset + l0Col * source.strides->seq], cols, source.dim, source.strides->seq,
                         Fractals(cols) * FRACTAL_ROWS);  // [cols, dim]
        }
        source.ring->Publish(slot);
        return slot;
    }

    __aicore__ inline void ScoresTile(uint32_t slotA, const AscendC::LocalTensor<T>& l1K, uint32_t rows, uint32_t cols,
                                      const AscendC::GlobalTensor<float>& gmS)
    {
        const uint32_t slotB = ringL0b_.Acquire();
        LoadRightTransposed(L0b(slotB), l1K, cols, tiling_->headDimQk);  // [cols, headDimQk]
        ringL0b_.Publish(slotB);
        ringL0b_.Await(slotB);
        const uint32_t slotC = ringL0c_.Acquire();
        Multiply(L0c(slotC), L0a(slotA), L0b(slotB), rows, cols, tiling_->headDimQk, true);  // [rows, cols]
        ringL0b_.Release(slotB);
        ringL0c_.Publish(slotC);
        ringL0c_.Await(slotC);
        StoreAccumulator(gmS, L0c(slotC), rows, cols, tiling_->blockKv);
        ringL0c_.Release(slotC);
    }

    __aicore__ inline void OutputTile(uint32_t slotC, const AscendC::LocalTensor<T>& l1P,
                                      const AscendC::LocalTensor<T>& l1V, uint32_t rows, uint32_t depth, bool first)
    {
        const uint32_t slotA = ringL0a_.Acquire();
        LoadLeft(L0a(slotA), l1P, rows, depth);  // [rows, depth]
        ringL0a_.Publish(slotA);
        const uint32_t slotB = ringL0b_.Acquire();
        LoadRight(L0b(slotB), l1V, depth, tiling_->headDimV);  // [depth, headDimV]
        ringL0b_.Publish(slotB);
        ringL0a_.Await(slotA);
        ringL0b_.Await(slotB);
        Multiply(L0c(slotC), L0a(slotA), L0b(slotB), rows, tiling_->headDimV, depth, first);  // [rows, headDimV]
        ringL0a_.Release(slotA);
        ringL0b_.Release(slotB);
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    L1Map l1_{};
    L0Map l0_{};
    AscendC::GlobalTensor<T> gmQ_;
    AscendC::GlobalTensor<T> gmK_;
    AscendC::GlobalTensor<T> gmV_;
    AscendC::GlobalTensor<float> gmS_;
    AscendC::GlobalTensor<T> gmP_;
    AscendC::GlobalTensor<float> gmO_;
    L1Ring ringQ_;
    L1Ring ringK_;
    L1Ring ringV_;
    L1Ring ringP_;
    L0Ring ringL0a_;
    L0Ring ringL0b_;
    L0cRing ringL0c_;
    uint32_t slotQ_ = 0;
    uint32_t pitchQk_ = 0;
    uint32_t pitchV_ = 0;
};

}  // namespace fastattn
