// The running output of a vector core: O stays in UB while a piece of work lasts, then leaves for GM as the normalised
// result, or, if the task is split between groups, as a partial result. The group with the key that the task begins
// with keeps its own part, its last piece of work, in UB, and adds the others to it once all groups are done. Source:
// FlashAttention-2, algorithm 1, and its combination of split keys.
#pragma once
#include "../common/pipeline.h"
#include "../common/row_ops.h"
#include "row_shares.h"

namespace fastattn {

// Row maxima start here: finite, so that a row without any visible key gives exp(-inf - START) = 0 and not NaN; the
// least number, so that a row whose every score is the least number, as additive masks make it, still has weights.
constexpr float ROW_MAX_START = -3.40282347e38F;
// Added to a row sum before dividing: turns 0 / 0 of a fully masked row into 0 and changes no sum of at least one.
constexpr float ROW_SUM_GUARD = 1.0e-37F;

enum OutputEvent : int32_t {
    UB_P_EVENT = 0,  // UB -> GM: probabilities and output rows
    UB_STATISTICS_EVENT = 2,
    UB_O_EVENT = 3,
    UB_PART_EVENT = 6,  // GM -> UB
};

template <class T>
class OutputStage {
public:
    // loads: the ring of ub.s, which brings P·V as well as scores.
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const UbMap& ub, const Operands& operands,
                                uint32_t group, UbInRing& loads, const RowShares& shares)
    {
        shares_ = shares;
        ringLoads_ = &loads;
        tiling_ = &tiling;
        ub_ = ub;
        workspace_ = operands.workspace;
        group_ = group;
        pitch_ = PaddedDim(tiling.headDimV);
        loadRows_ = RowsThatFit(ub_.s, FLOAT_BYTES);
        storeRows_ = RowsThatFit(ub_.p, HALF_BYTES);
        gmOut_.SetGlobalBuffer((__gm__ T*)operands.o);
        gmLse_.SetGlobalBuffer((__gm__ float*)operands.lse);
        gmO_.SetGlobalBuffer((__gm__ float*)(operands.GroupWorkspace(tiling, group) + tiling.workspaceOOffsetBytes));
        ringPart_.Init(UB_PART_EVENT, 1);
        ringRows_.Init(UB_P_EVENT, ub_.p.slots);
        ringStatistics_.Init(UB_STATISTICS_EVENT, 1);
        ringO_.Init(UB_O_EVENT, 1);
    }

    __aicore__ inline void Drain()
    {
        ringPart_.Drain();
        ringRows_.Drain();
        ringStatistics_.Drain();
        ringO_.Drain();
    }

    // 16-bit rows on their way to GM; the softmax sends its probabilities through the same slots.
    __aicore__ inline UbOutRing& RowRing() { return ringRows_; }

    // Around all that concerns one piece: before, O may be overwritten; behind, it has left UB.
    __aicore__ inline void Open() { slotO_ = ringO_.Acquire(); }
    __aicore__ inline void Close()
    {
        ringO_.Publish(slotO_);
        ringO_.Await(slotO_);
        ringO_.Release(slotO_);
    }

    // O = O * rescale + P·V of the block.
    __aicore__ inline void Accumulate(const Block& block, const RowShare& share, const UbFloat& rescale)
    {
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);
        if (!block.first && share.rows != 0) {
            SpreadRowStatistic(spread, rescale, share.rows);
        }
        const uint64_t first = SlotRow(*tiling_, block, share.row0);
        for (uint32_t row = 0; row < share.rows; row += loadRows_) {
            const Strip output = OutputStrip(share, row, share.rows, loadRows_);
            const uint32_t slot = ringLoads_->Acquire();
            const Strip partial = LoadStrip(slot, gmO_[(first + row) * pitch_], output.rows);
            ringLoads_->Publish(slot);
            ringLoads_->Await(slot);
            if (block.first) {
                CopyRows(output, partial);
            } else {
                ScaleAndAddRows(output, spread[row * BLOCK_FP32_ELEMS], partial);
            }
            ringLoads_->Release(slot);
        }
    }

    // The piece is done: its result leaves UB.
    __aicore__ inline void Finish(const Piece& piece, const RowShare& share, const UbFloat& rowShift,
                                  const UbFloat& rowSum)
    {
        if (share.rows == 0) {
            return;
        }
        if (piece.KeepsPart()) {
            keptShift_ = rowShift;
            keptSum_ = rowSum;
        } else if (piece.Split()) {
            StorePart(share, rowShift[share.local], rowSum[share.local]);
        } else {
            StoreResult(piece, share, rowShift[share.local], rowSum[share.local]);
        }
    }

    // A task without any visible key: O = 0, lse = -inf or the sink's logit, from statistics that have seen no score.
    __aicore__ inline void StoreEmpty(const Piece& piece, const RowShare& share, const UbFloat& rowShift,
                                      const UbFloat& rowSum)
    {
        if (share.rows == 0) {
            return;
        }
        AscendC::Duplicate(OutputStrip(share, 0, share.rows, share.rows).data, 0.0F,
                           static_cast<int32_t>(share.rows * pitch_));
        Ordered();
        StoreResult(piece, share, rowShift[share.local], rowSum[share.local]);
    }

    // Adds the parts of the groups that follow to the one that was kept.
    __aicore__ inline void Combine(const PieceCursor& cursor)
    {
        const Piece& piece = cursor.Current();
        const uint32_t rows = shares_.RowsOf(piece.queries.rows);
        if (rows == 0) {
            return;
        }
        Open();
        ReclaimStatistics();
        uint32_t last = tiling_->blockDim - 1;
        while (!cursor.HasPart(last)) {
            --last;
        }
        for (uint32_t group = group_ + 1; group <= last; ++group) {
            if (cursor.HasPart(group)) {
                AddPart(group, piece, rows, group == last);
            }
        }
        const uint32_t slot = ringStatistics_.Acquire();
        MakeLse(0, rows, keptShift_, keptSum_);
        Ordered();
        PublishLse(0, rows, slot);
        shares_.ForEach(piece.queries.rows, [&](const RowShare& share) { SendLse(piece, share); });
        ringStatistics_.Release(slot);
        Close();
    }

private:
    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }

    // Rows of P·V or O that fit into a slot of a buffer, in groups of 8.
    __aicore__ inline uint32_t RowsThatFit(const Buffer& buffer, uint32_t elemBytes) const
    {
        const uint32_t fit = buffer.slotBytes / (pitch_ * elemBytes) / BLOCK_FP32_ELEMS * BLOCK_FP32_ELEMS;
        const uint32_t half = RowsPerVectorCore(tiling_->sliceQ);
        return fit < half ? fit : half;
    }

    // Rows row ... of the running output, at most so many.
    __aicore__ inline Strip OutputStrip(const RowShare& share, uint32_t row, uint32_t end, uint32_t atMost) const
    {
        const uint32_t left = end - row;
        const uint32_t rows = left < atMost ? left : atMost;
        return {Ub<float>(ub_.o, 0)[(share.local + row) * pitch_], rows, tiling_->headDimV, pitch_};
    }

    __aicore__ inline Strip SlotStrip(uint32_t slot, uint32_t rows) const
    {
        return {Ub<float>(ub_.s, slot), rows, tiling_->headDimV, pitch_};
    }

    __aicore__ inline Strip LoadStrip(uint32_t slot, const AscendC::GlobalTensor<float>& gm, uint32_t rows) const
    {
        const Strip strip = SlotStrip(slot, rows);
        const uint32_t usedBlocks = (strip.cols + BLOCK_FP32_ELEMS - 1) / BLOCK_FP32_ELEMS;
        AscendC::DataCopyPad(
            strip.data, gm,
            AscendC::DataCopyExtParams(rows, strip.cols * FLOAT_BYTES, (pitch_ - strip.cols) * FLOAT_BYTES,
                                       PitchBlocks(strip) - usedBlocks, 0),
            AscendC::DataCopyPadExtParams<float>(false, 0, 0, 0.0F));  // [rows, headDimV]
        return strip;
    }

    // O / row_sum and lse = row_max + ln(row_sum) -> GM.
    __aicore__ inline void StoreResult(const Piece& piece, const RowShare& share, const UbFloat& rowShift,
                                       const UbFloat& rowSum)
    {
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);
        const UbFloat divisor = Ub<float>(ub_.rowTmp, 0);
        const uint32_t slot = ringStatistics_.Acquire();
        AscendC::Adds(divisor, rowSum, ROW_SUM_GUARD, StatisticRows(share.rows));
        MakeLse(share.local, share.rows, rowShift, rowSum);
        SpreadRowStatistic(spread, divisor, share.rows);  // also: the next task may restart the statistics at once
        DivideRowStatistic(OutputStrip(share, 0, share.rows, share.rows), spread);
        StoreRows(piece, share, 0, share.rows);
        PublishLse(share.local, share.rows, slot);
        SendLse(piece, share);
        ringStatistics_.Release(slot);
    }

    // As they are spread: groups of 8.
    __aicore__ inline int32_t StatisticRows(uint32_t rows) const
    {
        return static_cast<int32_t>(RoundUp(rows, BLOCK_FP32_ELEMS));
    }

    // Of so many of the core's rows, from `local` on. The last step is left to the caller's barrier.
    __aicore__ inline void MakeLse(uint32_t local, uint32_t rows, const UbFloat& rowShift, const UbFloat& rowSum)
    {
        const UbFloat lse = Ub<float>(ub_.lse, 0)[local];
        AscendC::Ln(lse, rowSum, StatisticRows(rows));
        Ordered();
        AscendC::Sub(lse, lse, rowShift, StatisticRows(rows));
    }

    // Rows begin ... end - 1 of O narrowed -> GM in the operand's own layout.
    __aicore__ inline void StoreRows(const Piece& piece, const RowShare& share, uint32_t begin, uint32_t end)
    {
        for (uint32_t row = begin; row < end; row += storeRows_) {
            const Strip output = OutputStrip(share, row, end, storeRows_);
            const uint32_t slot = ringRows_.Acquire();
            const auto narrow = Ub<T>(ub_.p, slot);
            NarrowRows(narrow, output.pitch, output);
            ringRows_.Publish(slot);
            ringRows_.Await(slot);
            const uint32_t first = share.row0 + row;
            for (uint32_t done = 0; done < output.rows;) {
                const RowSpan span =
                    SpanAt(tiling_->o, piece, piece.sequence.startQ, first + done, first + output.rows);
                const uint64_t gap = (span.pitch - output.cols) * HALF_BYTES;
                AscendC::DataCopyPad(gmOut_[span.offset], narrow[done * output.pitch],
                                     AscendC::DataCopyExtParams(span.rows, output.cols * HALF_BYTES, 0, gap, 0));
                done += span.rows;
            }
            ringRows_.Release(slot);
        }
    }

    // The lse of so many rows may leave. Those of several heads start anywhere in UB: they leave from one 32 B block
    // each.
    __aicore__ inline void PublishLse(uint32_t local, uint32_t rows, uint32_t slot)
    {
        if (tiling_->packGqa != 0) {
            SpreadRowStatistic(Ub<float>(ub_.lseSpread, 0)[local * BLOCK_FP32_ELEMS], Ub<float>(ub_.lse, 0)[local],
                               rows);
        }
        ringStatistics_.Publish(slot);
        ringStatistics_.Await(slot);
    }

    __aicore__ inline void SendLse(const Piece& piece, const RowShare& share)
    {
        const TensorStrides strides{tiling_->lseBatchStride, 1, tiling_->lseHeadStride};
        const uint32_t end = share.row0 + share.rows;
        for (uint32_t done = 0; done < share.rows;) {
            const RowSpan span = SpanAt(strides, piece, piece.sequence.startQ, share.row0 + done, end);
            if (tiling_->packGqa != 0) {
                AscendC::DataCopyPad(
                    gmLse_[span.offset], Ub<float>(ub_.lseSpread, 0)[(share.local + done) * BLOCK_FP32_ELEMS],
                    AscendC::DataCopyExtParams(span.rows, FLOAT_BYTES, 0, (span.pitch - 1) * FLOAT_BYTES, 0));
            } else {
                AscendC::DataCopyPad(gmLse_[span.offset], Ub<float>(ub_.lse, 0)[share.local],
                                     AscendC::DataCopyExtParams(1, share.rows * FLOAT_BYTES, 0, 0, 0));
            }
            done += span.rows;
        }
    }

    // O [blockQ, padded headDimV], row_max [blockQ], row_sum [blockQ] of a partial result.
    __aicore__ inline AscendC::GlobalTensor<float> PartOf(uint32_t group) const
    {
        AscendC::GlobalTensor<float> gm;
        gm.SetGlobalBuffer(
            (__gm__ float*)(workspace_ + group * tiling_->workspaceBytesPerGroup + tiling_->workspacePartOffsetBytes));
        return gm;
    }
    __aicore__ inline uint64_t PartShiftOffset() const { return static_cast<uint64_t>(tiling_->blockQ) * pitch_; }

    __aicore__ inline void StorePart(const RowShare& share, const UbFloat& rowShift, const UbFloat& rowSum)
    {
        const AscendC::GlobalTensor<float> gm = PartOf(group_);
        const auto count = static_cast<int32_t>(share.rows);
        const uint32_t slot = ringStatistics_.Acquire();
        AscendC::Adds(Ub<float>(ub_.lse, 0), rowShift, 0.0F, count);
        AscendC::Adds(Ub<float>(ub_.lse, 1), rowSum, 0.0F, count);
        Ordered();  // the next task may restart these statistics at once
        ringStatistics_.Publish(slot);
        ringStatistics_.Await(slot);
        const AscendC::DataCopyExtParams statistic(1, share.rows * FLOAT_BYTES, 0, 0, 0);
        AscendC::DataCopyPad(gm[PartShiftOffset() + share.row0], Ub<float>(ub_.lse, 0), statistic);
        AscendC::DataCopyPad(gm[PartShiftOffset() + tiling_->blockQ + share.row0], Ub<float>(ub_.lse, 1), statistic);
        ringStatistics_.Release(slot);
        ringO_.Publish(slotO_);
        ringO_.Await(slotO_);
        const Strip output = OutputStrip(share, 0, share.rows, share.rows);
        const uint32_t usedBlocks = (output.cols + BLOCK_FP32_ELEMS - 1) / BLOCK_FP32_ELEMS;
        AscendC::DataCopyPad(
            gm[static_cast<uint64_t>(share.row0) * pitch_], output.data,
            AscendC::DataCopyExtParams(share.rows, output.cols * FLOAT_BYTES, PitchBlocks(output) - usedBlocks,
                                       (pitch_ - output.cols) * FLOAT_BYTES, 0));
    }

    // A part's statistics arrive where those of results leave: the vector pipe waits until the last have left, MTE2 for
    // the vector pipe.
    __aicore__ inline void ReclaimStatistics()
    {
        const uint32_t slot = ringStatistics_.Acquire();
        ringPart_.Release(ringPart_.Acquire());
        ringStatistics_.Release(slot);
    }

    // Rows of a partial result on their way into UB.
    struct PartRows {
        uint32_t slice0;  // first row of their slice in the query block
        RowShare share;   // of the slice
        uint32_t row;     // within the share
        uint32_t rows;
        uint32_t slot;
    };

    // The kept O, row_max and row_sum of so many rows += a partial result. O comes while the statistics are at work,
    // the next rows of it while rows are added. last: rows leave divided by row_sum as soon as they are complete.
    __aicore__ inline void AddPart(uint32_t group, const Piece& piece, uint32_t rows, bool last)
    {
        const AscendC::GlobalTensor<float> gm = PartOf(group);
        const uint32_t statisticSlot = ringPart_.Acquire();
        shares_.ForEach(piece.queries.rows, [&](const RowShare& share) { LoadPartStatistics(gm, share); });
        ringPart_.Publish(statisticSlot);
        PartRows next = LoadPart(gm, piece, {});
        ringPart_.Await(statisticSlot);
        AddStatistics(rows, last);
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);
        while (next.rows != 0) {
            const PartRows part = next;
            next = LoadPart(gm, piece, part);
            ringLoads_->Await(part.slot);
            const Strip partial = SlotStrip(part.slot, part.rows);
            const Strip output = OutputStrip(part.share, part.row, part.row + part.rows, part.rows);
            const uint32_t local = part.share.local + part.row;
            SpreadRowStatistic(spread, PartFactor()[local], part.rows);
            MultiplyRowStatistic(partial, spread);
            SpreadRowStatistic(spread, KeptFactor()[local], part.rows);
            ScaleAndAddRows(output, spread, partial);
            ringLoads_->Release(part.slot);
            if (last) {
                StoreRows(piece, part.share, part.row, part.row + part.rows);
            }
        }
        ringPart_.Release(statisticSlot);
    }

    __aicore__ inline void LoadPartStatistics(const AscendC::GlobalTensor<float>& gm, const RowShare& share)
    {
        if (share.rows == 0) {
            return;
        }
        const AscendC::DataCopyExtParams statistic(1, share.rows * FLOAT_BYTES, 0, 0, 0);
        const auto fill = static_cast<uint8_t>(StatisticRows(share.rows) - share.rows);  // Brcb reads groups of 8
        const AscendC::DataCopyPadExtParams<float> pad(true, 0, fill, 0.0F);
        AscendC::DataCopyPad(Ub<float>(ub_.lse, 0)[share.local], gm[PartShiftOffset() + share.row0], statistic, pad);
        AscendC::DataCopyPad(Ub<float>(ub_.lse, 1)[share.local], gm[PartShiftOffset() + tiling_->blockQ + share.row0],
                             statistic, pad);
    }

    // exp(its own row_max - the common one) of the part and of what was kept, in place of what they are made from.
    __aicore__ inline UbFloat PartFactor() const { return Ub<float>(ub_.lse, 0); }
    __aicore__ inline UbFloat KeptFactor() const { return Ub<float>(ub_.rowTmp, 1); }

    // Kept row_max and row_sum with those of the part; divide: the factors are divided by the row_sum.
    __aicore__ inline void AddStatistics(uint32_t rows, bool divide)
    {
        const UbFloat partShift = Ub<float>(ub_.lse, 0);
        const UbFloat partSum = Ub<float>(ub_.lse, 1);
        const UbFloat newShift = Ub<float>(ub_.rowTmp, 0);
        const auto count = static_cast<int32_t>(rows);
        AscendC::Min(newShift, keptShift_, partShift, count);
        Ordered();
        AscendC::Sub(KeptFactor(), newShift, keptShift_, count);
        AscendC::Sub(PartFactor(), newShift, partShift, count);
        Ordered();
        AscendC::Exp(KeptFactor(), KeptFactor(), count);
        AscendC::Exp(PartFactor(), PartFactor(), count);
        AscendC::Adds(keptShift_, newShift, 0.0F, count);
        Ordered();
        AscendC::Mul(partSum, partSum, PartFactor(), count);
        Ordered();
        AscendC::FusedMulAdd(keptSum_, KeptFactor(), partSum, count);
        if (divide) {
            const UbFloat divisor = newShift;
            Ordered();
            AscendC::Adds(divisor, keptSum_, ROW_SUM_GUARD, count);
            Ordered();
            AscendC::Div(KeptFactor(), KeptFactor(), divisor, count);
            AscendC::Div(PartFactor(), PartFactor(), divisor, count);
            Ordered();
        }
    }

    // Sends for the rows of the part behind those; none if there are no more.
    __aicore__ inline PartRows LoadPart(const AscendC::GlobalTensor<float>& gm, const Piece& piece,
                                        const PartRows& before)
    {
        PartRows part{before.slice0, shares_.At(before.slice0, piece.queries.rows), before.row + before.rows, 0, 0};
        while (part.row >= part.share.rows) {
            part.slice0 += tiling_->sliceQ;
            part.row = 0;
            if (part.slice0 >= piece.queries.rows) {
                return part;
            }
            part.share = shares_.At(part.slice0, piece.queries.rows);
        }
        const uint32_t left = part.share.rows - part.row;
        part.rows = left < loadRows_ ? left : loadRows_;
        part.slot = ringLoads_->Acquire();
        LoadStrip(part.slot, gm[static_cast<uint64_t>(part.share.row0 + part.row) * pitch_], part.rows);
        ringLoads_->Publish(part.slot);
        return part;
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    RowShares shares_;
    GM_ADDR workspace_ = nullptr;
    uint32_t group_ = 0;
    uint32_t pitch_ = 0;
    uint32_t slotO_ = 0;
    uint32_t loadRows_ = 0;   // of P·V at a time
    uint32_t storeRows_ = 0;  // of O
    UbFloat keptShift_;       // statistics of the part that was kept
    UbFloat keptSum_;
    AscendC::GlobalTensor<T> gmOut_;
    AscendC::GlobalTensor<float> gmLse_;
    AscendC::GlobalTensor<float> gmO_;
    UbInRing* ringLoads_ = nullptr;
    UbInRing ringPart_;
    UbOutRing ringRows_;
    UbOutRing ringStatistics_;
    UbOutRing ringO_;
};

}  // namespace fastattn
