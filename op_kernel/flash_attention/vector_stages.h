// Vector cores of the FlashAttention forward kernel: the online softmax of FlashAttention-2 over strips of whole rows.
// Each of the two vector cores owns half of a block's rows; scores come from and probabilities go to the workspace, the
// running output stays in UB until its task ends. Source: FlashAttention-2 (arXiv 2307.08691), algorithm 1.
#pragma once
#include "../common/pipeline.h"
#include "../common/row_ops.h"
#include "score_modifiers.h"
#include "work.h"

namespace fastattn {

enum VectorEvent : int32_t {
    UB_S_EVENT = 0,
    UB_O_PARTIAL_EVENT = 2,
    UB_MASK_EVENT = 4,
    UB_P_EVENT = 0,
    UB_LSE_EVENT = 2,
};

// Row maxima start here: finite, so that a row without any visible key gives exp(-inf - START) = 0 and not NaN.
constexpr float ROW_MAX_START = -3.0e38F;
// Added to a row sum before dividing: turns 0 / 0 of a fully masked row into 0 and changes no sum of at least one.
constexpr float ROW_SUM_GUARD = 1.0e-37F;

template <class T>
class VectorStages {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Operands& operands, uint32_t subBlock)
    {
        tiling_ = &tiling;
        ub_ = MakeUbMap(tiling);
        subBlock_ = subBlock;
        pitchV_ = PaddedDim(tiling.headDimV);
        gmOut_.SetGlobalBuffer((__gm__ T*)operands.o);
        gmLse_.SetGlobalBuffer((__gm__ float*)operands.lse);
        gmSinks_.SetGlobalBuffer((__gm__ float*)operands.sinks);
        gmS_.SetGlobalBuffer((__gm__ float*)(operands.workspace + tiling.workspaceSOffsetBytes));
        gmP_.SetGlobalBuffer((__gm__ T*)(operands.workspace + tiling.workspacePOffsetBytes));
        gmO_.SetGlobalBuffer((__gm__ float*)(operands.workspace + tiling.workspaceOOffsetBytes));
        ringS_.Init(UB_S_EVENT, STAGES);
        ringOPartial_.Init(UB_O_PARTIAL_EVENT, STAGES);
        ringP_.Init(UB_P_EVENT, STAGES);
        ringLse_.Init(UB_LSE_EVENT, 1);
        modifiers_.Init(tiling, ub_, operands, UB_MASK_EVENT);
        // Statistics are handled in groups of 8 rows; rows past the end must hold something.
        const uint32_t statistics = (ub_.rescale.EndBytes() - ub_.rowMax.offsetBytes) / FLOAT_BYTES;
        AscendC::Duplicate(Ub<float>(ub_.rowMax, 0), 0.0F, static_cast<int32_t>(statistics));
        Ordered();
    }

    __aicore__ inline void Drain()
    {
        ringS_.Drain();
        ringOPartial_.Drain();
        modifiers_.Drain();
        ringP_.Drain();
        ringLse_.Drain();
        AscendC::ResetMask();
    }

    // P = exp(scale * S - row_max) of the block, with the row statistics brought up to date.
    __aicore__ inline void Softmax(const Block& block)
    {
        AscendC::CrossCoreWaitFlag(S_READY);
        const Share share = ShareOf(block);
        modifiers_.Begin(block);
        if (block.first) {
            StartRowStatistics(block);
        }
        for (uint32_t row = 0; row < share.rows; row += tiling_->stripRows) {
            const uint32_t rows = Least(share.rows - row, tiling_->stripRows);
            SoftmaxStrip(block, share.row0 + row, row, rows);
        }
        AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(P_READY);
    }

    // O = O * exp(old max - new max) + P·V of the block; at the end of a task O / row_sum and lse leave for GM.
    __aicore__ inline void Accumulate(const Block& block)
    {
        AscendC::CrossCoreWaitFlag(O_READY);
        const Share share = ShareOf(block);
        for (uint32_t row = 0; row < share.rows; row += tiling_->stripRows) {
            const uint32_t rows = Least(share.rows - row, tiling_->stripRows);
            AccumulateStrip(block, share.row0 + row, row, rows);
            if (block.last) {
                StoreOutput(block, share.row0 + row, row, rows);
            }
        }
        if (block.last && share.rows != 0) {
            StoreLse(block, share);
        }
    }

    // A task without any visible key: O = 0, lse = -inf or the sink's logit.
    __aicore__ inline void StoreEmpty(const Block& block)
    {
        const Share share = ShareOf(block);
        if (share.rows == 0) {
            return;
        }
        for (uint32_t row = 0; row < share.rows; row += tiling_->stripRows) {
            const uint32_t rows = Least(share.rows - row, tiling_->stripRows);
            AscendC::Duplicate(OutputStrip(row, rows).data, 0.0F, static_cast<int32_t>(rows * pitchV_));
            Ordered();
            StoreRows(block, share.row0 + row, OutputStrip(row, rows));
        }
        const uint32_t slot = ringLse_.Acquire();
        AscendC::Duplicate(Ub<float>(ub_.lse, 0), SinkOf(block), static_cast<int32_t>(share.rows));
        SendLse(block, share, slot);
    }

private:
    // Rows of a block that belong to this vector core.
    struct Share {
        uint32_t row0;
        uint32_t rows;
    };

    __aicore__ inline uint32_t Least(uint32_t x, uint32_t y) const { return x < y ? x : y; }

    __aicore__ inline Share ShareOf(const Block& block) const
    {
        const uint32_t half = RowsPerVectorCore(block.rows);
        if (subBlock_ == 0) {
            return {0, Least(block.rows, half)};
        }
        return {half, block.rows > half ? block.rows - half : 0};
    }

    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }
    __aicore__ inline UbFloat RowMax(const Block& block) const
    {
        return Ub<float>(ub_.rowMax, block.task % tiling_->ring);
    }
    __aicore__ inline UbFloat RowSum(const Block& block) const
    {
        return Ub<float>(ub_.rowSum, block.task % tiling_->ring);
    }
    __aicore__ inline UbFloat Rescale(const Block& block) const
    {
        return Ub<float>(ub_.rescale, block.index % tiling_->ring);
    }
    // Rows row ... of the running output.
    __aicore__ inline Strip OutputStrip(uint32_t row, uint32_t rows) const
    {
        return {Ub<float>(ub_.o, 0)[row * pitchV_], rows, tiling_->headDimV, pitchV_};
    }

    __aicore__ inline float SinkOf(const Block& block) const
    {
        return tiling_->hasSinks != 0 ? gmSinks_.GetValue(block.headQ) : MASKED_SCORE;
    }

    __aicore__ inline void StartRowStatistics(const Block& block)
    {
        const auto rows = static_cast<int32_t>(RowsPerVectorCore(tiling_->blockQ));
        // A sink is one more key: its logit starts the maximum, its weight exp(0) the sum.
        const float sink = SinkOf(block);
        AscendC::Duplicate(RowMax(block), sink > ROW_MAX_START ? sink : ROW_MAX_START, rows);
        AscendC::Duplicate(RowSum(block), sink > ROW_MAX_START ? 1.0F : 0.0F, rows);
        Ordered();
    }

    // blockRow: row within the block; row: row within this core's share.
    __aicore__ inline void SoftmaxStrip(const Block& block, uint32_t blockRow, uint32_t row, uint32_t rows)
    {
        const uint32_t pitch = static_cast<uint32_t>(RoundUp(block.cols, MASK_ROW_ALIGN_ELEMS));
        const uint32_t slot = ringS_.Acquire();
        Strip s{Ub<float>(ub_.s, slot), rows, block.cols, pitch};
        LoadScores(s, block, blockRow);
        ringS_.Publish(slot);
        ringS_.Await(slot);
        modifiers_.Apply(s, block, blockRow);
        s.cols = static_cast<uint32_t>(RoundUp(block.cols, REPEAT_FP32_ELEMS));

        const UbFloat folded = Ub<float>(ub_.reduce, 0);     // [rows, 64]
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);  // [rows, 8]
        const UbFloat statistic = Ub<float>(ub_.rowTmp, 0)[row];
        ReduceRows<RowReduction::MAX>(statistic, s, folded, spread);
        UpdateRowMax(block, row, rows, statistic);
        SpreadRowStatistic(spread, RowMax(block)[row], rows);
        SubtractRowStatistic(s, spread);
        ExpRows(s);
        StoreProbabilities(s, block, blockRow);
        ReduceRows<RowReduction::SUM>(statistic, s, folded, spread);
        ringS_.Release(slot);
        UpdateRowSum(block, row, rows, statistic);
    }

    __aicore__ inline void LoadScores(const Strip& s, const Block& block, uint32_t blockRow)
    {
        const uint64_t offset =
            (static_cast<uint64_t>(block.index % tiling_->ring) * tiling_->blockQ + blockRow) * tiling_->blockKv;
        const uint32_t usedBlocks = (s.cols + BLOCK_FP32_ELEMS - 1) / BLOCK_FP32_ELEMS;
        AscendC::DataCopyPad(
            s.data, gmS_[offset],
            AscendC::DataCopyExtParams(s.rows, s.cols * FLOAT_BYTES, (tiling_->blockKv - s.cols) * FLOAT_BYTES,
                                       PitchBlocks(s) - usedBlocks, 0),
            AscendC::DataCopyPadExtParams<float>{false, 0, 0, 0.0F});
    }

    // row_max = max(row_max, strip's maximum); rescale = exp(old row_max - new row_max).
    __aicore__ inline void UpdateRowMax(const Block& block, uint32_t row, uint32_t rows, const UbFloat& statistic)
    {
        const UbFloat rowMax = RowMax(block)[row];
        const UbFloat rescale = Rescale(block)[row];
        const auto count = static_cast<int32_t>(rows);
        AscendC::Max(statistic, statistic, rowMax, count);
        Ordered();
        AscendC::Sub(rescale, rowMax, statistic, count);
        Ordered();
        AscendC::Exp(rescale, rescale, count);
        AscendC::Adds(rowMax, statistic, 0.0F, count);
        Ordered();
    }

    // row_sum = row_sum * rescale + strip's sum.
    __aicore__ inline void UpdateRowSum(const Block& block, uint32_t row, uint32_t rows, const UbFloat& statistic)
    {
        const UbFloat rowSum = RowSum(block)[row];
        const auto count = static_cast<int32_t>(rows);
        AscendC::Mul(rowSum, rowSum, Rescale(block)[row], count);
        Ordered();
        AscendC::Add(rowSum, rowSum, statistic, count);
        Ordered();
    }

    __aicore__ inline void StoreProbabilities(const Strip& s, const Block& block, uint32_t blockRow)
    {
        const uint32_t slot = ringP_.Acquire();
        const auto p = Ub<T>(ub_.p, slot);
        NarrowRows(p, s.pitch, s);
        ringP_.Publish(slot);
        ringP_.Await(slot);
        const uint64_t offset =
            (static_cast<uint64_t>(block.index % tiling_->ring) * tiling_->blockQ + blockRow) * tiling_->blockKv;
        SendRows(gmP_[offset], tiling_->blockKv, p, s.pitch, s.rows, block.cols);
        ringP_.Release(slot);
    }

    // rows x cols 16-bit elements from UB (pitch in elements) to GM rows.
    __aicore__ inline void SendRows(const AscendC::GlobalTensor<T>& gm, uint64_t gmPitch,
                                    const AscendC::LocalTensor<T>& ub, uint32_t pitch, uint32_t rows, uint32_t cols)
    {
        const uint32_t usedBlocks = (cols + C0_B16_ELEMS - 1) / C0_B16_ELEMS;
        AscendC::DataCopyPad(gm, ub,
                             AscendC::DataCopyExtParams(rows, cols * HALF_BYTES, pitch / C0_B16_ELEMS - usedBlocks,
                                                        static_cast<uint32_t>((gmPitch - cols) * HALF_BYTES), 0));
    }

    __aicore__ inline void AccumulateStrip(const Block& block, uint32_t blockRow, uint32_t row, uint32_t rows)
    {
        const uint32_t slot = ringOPartial_.Acquire();
        const Strip partial{Ub<float>(ub_.oPartial, slot), rows, tiling_->headDimV, pitchV_};
        const uint64_t offset =
            (static_cast<uint64_t>(block.index % tiling_->ring) * tiling_->blockQ + blockRow) * pitchV_;
        const uint32_t usedBlocks = (partial.cols + BLOCK_FP32_ELEMS - 1) / BLOCK_FP32_ELEMS;
        AscendC::DataCopyPad(
            partial.data, gmO_[offset],
            AscendC::DataCopyExtParams(rows, partial.cols * FLOAT_BYTES, (pitchV_ - partial.cols) * FLOAT_BYTES,
                                       PitchBlocks(partial) - usedBlocks, 0),
            AscendC::DataCopyPadExtParams<float>(false, 0, 0, 0.0F));  // [rows, headDimV]
        ringOPartial_.Publish(slot);
        ringOPartial_.Await(slot);
        const Strip output = OutputStrip(row, rows);
        if (block.first) {
            CopyRows(output, partial);
        } else {
            const UbFloat spread = Ub<float>(ub_.broadcast, 0);
            SpreadRowStatistic(spread, Rescale(block)[row], rows);
            MultiplyRowStatistic(output, spread);
            AddRows(output, partial);
        }
        ringOPartial_.Release(slot);
    }

    // O = O / row_sum -> GM in the operand's own layout.
    __aicore__ inline void StoreOutput(const Block& block, uint32_t blockRow, uint32_t row, uint32_t rows)
    {
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);
        const UbFloat divisor = Ub<float>(ub_.reduce, 0);
        AscendC::Adds(divisor, RowSum(block)[row], ROW_SUM_GUARD,
                      static_cast<int32_t>(RoundUp(rows, BLOCK_FP32_ELEMS)));
        Ordered();
        SpreadRowStatistic(spread, divisor, rows);
        DivideRowStatistic(OutputStrip(row, rows), spread);
        StoreRows(block, blockRow, OutputStrip(row, rows));
    }

    __aicore__ inline void StoreRows(const Block& block, uint32_t blockRow, const Strip& output)
    {
        const uint32_t slot = ringP_.Acquire();
        const auto narrow = Ub<T>(ub_.p, slot);
        NarrowRows(narrow, output.pitch, output);
        ringP_.Publish(slot);
        ringP_.Await(slot);
        const uint64_t offset =
            TokenOffset(tiling_->o, block, block.sequence.startQ, block.row0 + blockRow, block.headQ);
        SendRows(gmOut_[offset], tiling_->o.seq, narrow, output.pitch, output.rows, tiling_->headDimV);
        ringP_.Release(slot);
    }

    // lse = row_max + ln(row_sum), -inf where nothing is visible.
    __aicore__ inline void StoreLse(const Block& block, const Share& share)
    {
        const auto count = static_cast<int32_t>(share.rows);
        const UbFloat lse = Ub<float>(ub_.lse, 0);
        const uint32_t slot = ringLse_.Acquire();
        AscendC::Ln(lse, RowSum(block), count);
        Ordered();
        AscendC::Add(lse, lse, RowMax(block), count);
        Ordered();  // the next task may restart these statistics at once
        SendLse(block, share, slot);
    }

    __aicore__ inline void SendLse(const Block& block, const Share& share, uint32_t slot)
    {
        ringLse_.Publish(slot);
        ringLse_.Await(slot);
        const uint64_t offset = block.batch * tiling_->lseBatchStride + block.headQ * tiling_->lseHeadStride +
                                block.sequence.startQ + block.row0 + share.row0;
        AscendC::DataCopyPad(gmLse_[offset], Ub<float>(ub_.lse, 0),
                             AscendC::DataCopyExtParams(1, share.rows * FLOAT_BYTES, 0, 0, 0));
        ringLse_.Release(slot);
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    uint32_t subBlock_ = 0;
    uint32_t pitchV_ = 0;
    ScoreModifiers modifiers_;
    AscendC::GlobalTensor<float> gmSinks_;
    AscendC::GlobalTensor<T> gmOut_;
    AscendC::GlobalTensor<float> gmLse_;
    AscendC::GlobalTensor<float> gmS_;
    AscendC::GlobalTensor<T> gmP_;
    AscendC::GlobalTensor<float> gmO_;
    UbInRing ringS_;
    UbInRing ringOPartial_;
    UbOutRing ringP_;
    UbOutRing ringLse_;
};

}  // namespace fastattn
