// Vector cores of the FlashAttention forward kernel: the online softmax of FlashAttention-2 over strips of whole rows.
// Each of the two vector cores owns half of a block's rows; scores come from and probabilities go to the workspace, the
// running output is output.h's. Source: FlashAttention-2 (arXiv 2307.08691), algorithm 1.
#pragma once
#include "../common/row_reduce.h"
#include "output.h"
#include "score_modifiers.h"

namespace fastattn {

// GM -> UB events of this stage; output.h has the others.
enum VectorEvent : int32_t {
    UB_S_EVENT = 0,
    UB_MASK_EVENT = 4,
};

template <class T>
class VectorStages {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Operands& operands, uint32_t group,
                                uint32_t subBlock)
    {
        tiling_ = &tiling;
        ub_ = MakeUbMap(tiling);
        shares_.Init(tiling, subBlock);
        GM_ADDR workspace = operands.GroupWorkspace(tiling, group);
        gmSinks_.SetGlobalBuffer((__gm__ float*)operands.sinks);
        gmS_ = workspace + tiling.workspaceSOffsetBytes;
        gmP_.SetGlobalBuffer((__gm__ T*)(workspace + tiling.workspacePOffsetBytes));
        ringS_.Init(UB_S_EVENT, STAGES);
        output_.Init(tiling, ub_, operands, group, ringS_, shares_);
        modifiers_.Init(tiling, ub_, operands, UB_MASK_EVENT);
        // Statistics are handled in groups of 8 rows; rows past the end must hold something.
        const uint32_t statistics = (ub_.rescale.EndBytes() - ub_.rowShift.offsetBytes) / FLOAT_BYTES;
        AscendC::Duplicate(Ub<float>(ub_.rowShift, 0), 0.0F, static_cast<int32_t>(statistics));
        const uint32_t few = (ub_.few.EndBytes() - ub_.few.offsetBytes) / FLOAT_BYTES;
        AscendC::Duplicate(Ub<float>(ub_.few, 0), 0.0F, static_cast<int32_t>(few));  // masked lanes are never written
        AscendC::Duplicate(Ub<float>(ub_.scale, 0), modifiers_.RemainingScale(),
                           static_cast<int32_t>(BANK_GROUPS * BLOCK_FP32_ELEMS));
        Ordered();
    }

    __aicore__ inline void Drain()
    {
        ringS_.Drain();
        output_.Drain();
        modifiers_.Drain();
        AscendC::ResetMask();
    }

    // Until all vector cores of the launch have stored the parts that others add to theirs.
    __aicore__ inline void AwaitParts()
    {
        if (!partTold_) {
            TellPart();  // a group without blocks
        }
        AscendC::CrossCoreWaitFlag(PART_STORED);
    }

    // P = exp(scale * S - row_max) of the block, with the row statistics brought up to date.
    __aicore__ inline void Softmax(const Block& block)
    {
        AscendC::CrossCoreWaitFlag(S_READY);
        const RowShare share = ShareOf(block);
        modifiers_.Begin(block);
        if (block.first) {
            StartRowStatistics(block.piece, share, RowShift(block), RowSum(block));
        }
        const uint32_t stripRows = StripRowsOf(block, share);
        for (uint32_t row = 0; row < share.rows; row += stripRows) {
            const uint32_t left = share.rows - row;
            SoftmaxStrip(block, share.row0 + row, share.local + row, left < stripRows ? left : stripRows);
        }
        FinishSums();
        AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(P_READY);
    }

    // O = O * exp(old max - new max) + P·V of the block; at the end of a piece O and the statistics leave for GM.
    __aicore__ inline void Accumulate(const Block& block)
    {
        AscendC::CrossCoreWaitFlag(O_READY);
        const RowShare share = ShareOf(block);
        if (block.begins) {
            output_.Open();
        }
        output_.Accumulate(block, share, Rescale(block));
        if (block.last) {
            output_.Finish(block.piece, share, RowShift(block), RowSum(block));
        }
        if (block.ends) {
            output_.Close();
        }
        // A group stores one part at most, that of its first piece, for the group that the task begins with.
        if (tiling_->schedule == RANGES && !partTold_ && (block.ends || block.piece.begins)) {
            TellPart();
        }
    }

    // The results of tasks without visible keys. Before the blocks: the cube core has yet to make the first scores.
    __aicore__ inline void StoreEmptyTasks(PieceCursor pieces)
    {
        while (pieces.Next(true)) {
            if (pieces.Current().empty) {
                StoreEmpty(pieces.Current());
            }
        }
    }

    __aicore__ inline void Combine(const PieceCursor& cursor) { output_.Combine(cursor); }

private:
    __aicore__ inline void TellPart()
    {
        AscendC::CrossCoreSetFlag<0, PIPE_MTE3>(PART_STORED);
        partTold_ = true;
    }

    __aicore__ inline void StoreEmpty(const Piece& piece)
    {
        const UbFloat rowShift = Ub<float>(ub_.rowShift, 0);
        const UbFloat rowSum = Ub<float>(ub_.rowSum, 0);
        output_.Open();
        shares_.ForEach(piece.queries.rows, [&](const RowShare& share) {
            StartRowStatistics(piece, share, rowShift, rowSum);
            output_.StoreEmpty(piece, share, rowShift, rowSum);
        });
        output_.Close();
    }

    __aicore__ inline RowShare ShareOf(const Block& block) const
    {
        return shares_.At(block.row0, block.piece.queries.rows);
    }

    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }
    __aicore__ inline UbFloat RowShift(const Block& block) const
    {
        return Ub<float>(ub_.rowShift, block.task % tiling_->ring);
    }
    __aicore__ inline UbFloat RowSum(const Block& block) const
    {
        return Ub<float>(ub_.rowSum, block.task % tiling_->ring);
    }
    __aicore__ inline UbFloat Rescale(const Block& block) const
    {
        return Ub<float>(ub_.rescale, block.index % tiling_->ring);
    }

    // A sink is one more key, of the task's first part: its logit starts the maximum, its weight exp(0) the sum.
    __aicore__ inline void StartRowStatistics(const Piece& piece, const RowShare& share, const UbFloat& rowShift,
                                              const UbFloat& rowSum)
    {
        const auto rows = static_cast<int32_t>(RowsPerVectorCore(tiling_->sliceQ));
        AscendC::Duplicate(rowShift[share.local], -ROW_MAX_START, rows);
        AscendC::Duplicate(rowSum[share.local], 0.0F, rows);
        Ordered();
        if (tiling_->hasSinks == 0 || !piece.begins) {
            return;
        }
        for (uint32_t row = 0; row < share.rows;) {
            const HeadRun run = RunAt(piece.queries.tokens, share.row0 + row, share.row0 + share.rows);
            const float sink = gmSinks_.GetValue(piece.head + run.head);
            if (sink > ROW_MAX_START) {
                FillStatistic(rowShift, share.local + row, run.rows, -sink);
                FillStatistic(rowSum, share.local + row, run.rows, 1.0F);
            }
            row += run.rows;
        }
    }

    // Rows that the core takes at a time. Those that end at the diagonal keep to stripRows.
    __aicore__ inline uint32_t StripRowsOf(const Block& block, const RowShare& share) const
    {
        const bool shown = share.rows != 0 && modifiers_.ShowsAll(block, share.row0, share.rows);
        return tiling_->stripRows * (shown ? StripsAtOnce(*tiling_, block.cols) : 1);
    }

    // blockRow: row within the query block; row: among those of this core.
    __aicore__ inline void SoftmaxStrip(const Block& block, uint32_t blockRow, uint32_t row, uint32_t rows)
    {
        const uint32_t cols = ColumnsOfStrip(*tiling_, block, blockRow);
        const uint32_t stored = ColumnsOfTile(*tiling_, block, blockRow);  // of P, from `cols` on zeros
        const StripCut cut = modifiers_.CutOf(block, blockRow, rows, cols);
        const auto pitch = static_cast<uint32_t>(RoundUp(stored, modifiers_.PitchAlignElems(cut)));
        const bool widens = tiling_->sExchange != EXCHANGE_FP32;
        const uint32_t slot = ringS_.Acquire();
        Strip s{widens ? Ub<float>(ub_.sWide, 0) : Ub<float>(ub_.s, slot), rows, cols, pitch};
        LoadScores(s, slot, block, blockRow);
        if (widens) {
            ringS_.Release(slot);
        }
        modifiers_.Apply(s, block, blockRow, cut);
        s.cols = static_cast<uint32_t>(RoundUp(cols, REPEAT_FP32_ELEMS));

        const UbFloat spread = Ub<float>(ub_.broadcast, 0);  // [rows, 8]
        FindMaxima(s);
        UpdateRowMax(block, row, rows, spread);
        ScaleAndShiftRows(s, Ub<float>(ub_.scale, 0), spread);
        ExpRows(s);
        StoreProbabilities(s, stored, block, blockRow);
        BeginSums(block, row, s);
        if (!widens) {
            ringS_.Release(slot);
        }
    }

    // Row maxima of the strip; the sums of the strip before it are finished on the way.
    __aicore__ inline void FindMaxima(const Strip& s)
    {
        RowReducer<RowReduction::MAX> maxima;
        maxima.Begin(s, Ub<float>(ub_.eighths, 0), Ub<float>(ub_.few, 0), Ub<float>(ub_.rowTmp, MAXIMA));
        Ordered();
        maxima.Fold();
        if (sumRows_ != 0) {
            sums_.Fold();
        }
        Ordered();
        maxima.Shorten();
        if (sumRows_ != 0) {
            sums_.Shorten();
        }
        Ordered();
        maxima.End();
        if (sumRows_ != 0) {
            sums_.End();
        }
        Ordered();
    }

    // The strip's row sums begin and are left to the next strip, whose own reductions pay for the same barriers.
    __aicore__ inline void BeginSums(const Block& block, uint32_t row, const Strip& s)
    {
        sums_.Begin(s, Ub<float>(ub_.eighths, 1), Ub<float>(ub_.few, 1), Ub<float>(ub_.rowTmp, SUMS));
        sumRows_ = s.rows;
        rowSum_ = RowSum(block)[row];
        rescale_ = Rescale(block)[row - ShareOf(block).local];
    }

    __aicore__ inline void FinishSums()
    {
        if (sumRows_ == 0) {
            return;
        }
        Ordered();
        sums_.Fold();
        Ordered();
        sums_.Shorten();
        Ordered();
        sums_.End();
        Ordered();
        UpdateRowSum();
        Ordered();
    }

    __aicore__ inline uint64_t SlotOffset(const Block& block, uint32_t blockRow) const
    {
        return SlotRow(*tiling_, block, blockRow) * tiling_->blockKv;
    }

    // Scores of the strip -> the slot, and from there, if they are no fp32, widened to where the strip is.
    __aicore__ inline void LoadScores(const Strip& s, uint32_t slot, const Block& block, uint32_t blockRow)
    {
        WithExchangeType(*tiling_, [&](auto type) {
            using E = typename decltype(type)::Element;
            constexpr uint32_t BLOCK_ELEMS = BLOCK_BYTES / sizeof(E);
            const uint32_t usedBlocks = (s.cols + BLOCK_ELEMS - 1) / BLOCK_ELEMS;
            const auto loaded = Ub<E>(ub_.s, slot);
            AscendC::DataCopyPad(
                loaded, GmTensor<E>(gmS_)[SlotOffset(block, blockRow)],
                AscendC::DataCopyExtParams(s.rows, s.cols * sizeof(E), (tiling_->blockKv - s.cols) * sizeof(E),
                                           s.pitch / BLOCK_ELEMS - usedBlocks, 0),
                AscendC::DataCopyPadExtParams<E>(false, 0, 0, E(0)));
            ringS_.Publish(slot);
            ringS_.Await(slot);
            if constexpr (!std::is_same_v<E, float>) {
                Ordered();  // the sums of the strip before read the same place
                WidenRows(s, loaded, s.pitch);
            }
        });
    }

    // row_max = max(row_max, strip's maximum), as -row_max; rescale = exp(old row_max - new row_max); spread =
    // -row_max. The last step is left to the barrier of the pass that follows, whose repeats hide its latency.
    __aicore__ inline void UpdateRowMax(const Block& block, uint32_t row, uint32_t rows, const UbFloat& spread)
    {
        const UbFloat rowShift = RowShift(block)[row];
        const UbFloat rescale = Rescale(block)[row - ShareOf(block).local];
        const UbFloat shift = Ub<float>(ub_.rowTmp, MAXIMA);
        const auto count = static_cast<int32_t>(rows);
        AscendC::Muls(shift, shift, -modifiers_.RemainingScale(), count);
        UpdateRowSum();
        Ordered();
        AscendC::Min(shift, shift, rowShift, count);
        Ordered();
        AscendC::Sub(rescale, shift, rowShift, count);
        SpreadRowStatistic(spread, shift, rows);
        AscendC::Exp(rescale, rescale, count);
        AscendC::Adds(rowShift, shift, 0.0F, count);
    }

    // row_sum = row_sum * rescale + strip's sum, of the strip whose sums are ready.
    __aicore__ inline void UpdateRowSum()
    {
        if (sumRows_ != 0) {
            AscendC::FusedMulAdd(rowSum_, rescale_, Ub<float>(ub_.rowTmp, SUMS), static_cast<int32_t>(sumRows_));
            sumRows_ = 0;
        }
    }

    __aicore__ inline void StoreProbabilities(const Strip& s, uint32_t cols, const Block& block, uint32_t blockRow)
    {
        UbOutRing& ring = output_.RowRing();
        const uint32_t slot = ring.Acquire();
        const auto p = Ub<T>(ub_.p, slot);
        NarrowRows(p, s.pitch, s);
        if (s.cols < cols) {
            ClearColumns(p, s, cols);
        }
        ring.Publish(slot);
        ring.Await(slot);
        const uint32_t tile = tiling_->l1TileP;
        for (uint32_t col = 0; col < cols; col += tile) {
            const uint32_t width = cols - col < tile ? cols - col : tile;
            const uint32_t usedBlocks = (width + C0_B16_ELEMS - 1) / C0_B16_ELEMS;
            AscendC::DataCopyPad(
                gmP_[ProbabilityOffset(*tiling_, block, blockRow, col)], p[col],
                AscendC::DataCopyExtParams(s.rows, width * HALF_BYTES, s.pitch / C0_B16_ELEMS - usedBlocks,
                                           (tile - width) * HALF_BYTES, 0));
        }
        ring.Release(slot);
    }

    // Columns s.cols ... end-1 of every row = 0, 16 bits each; both ends multiples of 16.
    __aicore__ inline void ClearColumns(const AscendC::LocalTensor<T>& p, const Strip& s, uint32_t end)
    {
        const auto words = p.template ReinterpretCast<uint16_t>();
        constexpr uint32_t LANES = REPEAT_BYTES / HALF_BYTES;
        for (uint32_t col = s.cols; col < end; col += LANES) {
            const uint64_t lanes = end - col < LANES ? end - col : LANES;
            AscendC::Duplicate(words[col], static_cast<uint16_t>(0), lanes, s.rows, 1, s.pitch / C0_B16_ELEMS);
        }
    }

    enum RowTmpSlot : uint32_t { MAXIMA, SUMS };

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    RowShares shares_;
    bool partTold_ = false;  // PART_STORED is set, once a vector core
    // Sums under way, of so many rows.
    RowReducer<RowReduction::SUM> sums_;
    uint32_t sumRows_ = 0;
    UbFloat rowSum_;
    UbFloat rescale_;
    OutputStage<T> output_;
    ScoreModifiers<T> modifiers_;
    AscendC::GlobalTensor<float> gmSinks_;
    GM_ADDR gmS_ = nullptr;  // in sExchange's type
    AscendC::GlobalTensor<T> gmP_;
    UbInRing ringS_;
};

}  // namespace fastattn
