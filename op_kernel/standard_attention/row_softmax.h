// Second launch of standard attention: each row of S, 16 bits in GM, becomes a row of P. Vector cores only. A strip is
// some short rows, or one long row as several segments; both are a Strip of equal pieces whose statistics are joined
// when there are several a row.
#pragma once
#include "../common/pipeline.h"
#include "../common/row_ops.h"
#include "storage.h"

namespace fastattn {

template <class T>
class RowSoftmax {
public:
    __aicore__ inline void Init(const StandardAttentionTiling& tiling, GM_ADDR s, GM_ADDR p)
    {
        tiling_ = &tiling;
        map_ = MakeSoftmaxMap(tiling);
        gmS_.SetGlobalBuffer((__gm__ T*)s);
        gmP_.SetGlobalBuffer((__gm__ T*)p);
        ringIn_.Init(0, STAGES);
        ringOut_.Init(0, STAGES);
        // Statistics are spread in groups of 8 rows; rows past the end must hold something.
        AscendC::Duplicate(Ub<float>(map_.statistic, 0), 0.0F,
                           static_cast<int32_t>(map_.statistic.slotBytes / FLOAT_BYTES));
        Ordered();
    }

    __aicore__ inline void Drain()
    {
        ringIn_.Drain();
        ringOut_.Drain();
        AscendC::ResetMask();
    }

    // Strips go over the vector cores in turn; copies run one strip ahead.
    __aicore__ inline void Run(uint32_t core, uint32_t cores)
    {
        const uint64_t step = static_cast<uint64_t>(cores) * tiling_->stripRows;
        const uint64_t allRows = static_cast<uint64_t>(tiling_->heads) * tiling_->scores.m;
        uint64_t row = static_cast<uint64_t>(core) * tiling_->stripRows;
        uint32_t slot = row < allRows ? Load(row, RowsAt(row, allRows)) : 0;
        while (row < allRows) {
            const uint64_t next = row + step;
            const uint32_t nextSlot = next < allRows ? Load(next, RowsAt(next, allRows)) : 0;
            const uint32_t rows = RowsAt(row, allRows);
            ringIn_.Await(slot);
            Compute(row, rows, slot);
            Store(row, rows, slot);
            row = next;
            slot = nextSlot;
        }
    }

private:
    // The narrow slots go MTE2 -> V -> MTE3 -> MTE2.
    using InRing = PipeRing<AscendC::HardEvent::MTE2_V, AscendC::HardEvent::MTE3_MTE2>;

    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }
    __aicore__ inline uint32_t Cols() const { return tiling_->scores.n; }
    __aicore__ inline uint32_t Pitch() const { return tiling_->segments * tiling_->segment; }
    __aicore__ inline uint32_t RowsAt(uint64_t row, uint64_t allRows) const
    {
        return allRows - row < tiling_->stripRows ? static_cast<uint32_t>(allRows - row) : tiling_->stripRows;
    }
    // Rows as their segments.
    __aicore__ inline Strip Segments(uint32_t rows) const
    {
        return {Ub<float>(map_.wide, 0), rows * tiling_->segments, tiling_->segment, tiling_->segment};
    }

    __aicore__ inline uint32_t PadBlocks() const
    {
        return Pitch() / C0_B16_ELEMS - static_cast<uint32_t>(CeilDiv(Cols(), C0_B16_ELEMS));
    }

    __aicore__ inline uint32_t Load(uint64_t row, uint32_t rows)
    {
        const uint32_t slot = ringIn_.Acquire();
        AscendC::DataCopyPad(Ub<T>(map_.narrow, slot), gmS_[row * Cols()],
                             AscendC::DataCopyExtParams(rows, Cols() * HALF_BYTES, 0, PadBlocks(), 0),
                             AscendC::DataCopyPadExtParams<T>(false, 0, 0, 0));  // [rows, cols]
        ringIn_.Publish(slot);
        return slot;
    }

    __aicore__ inline void Store(uint64_t row, uint32_t rows, uint32_t slot)
    {
        ringOut_.Await(slot);
        AscendC::DataCopyPad(gmP_[row * Cols()], Ub<T>(map_.narrow, slot),
                             AscendC::DataCopyExtParams(rows, Cols() * HALF_BYTES, PadBlocks(), 0, 0));
        ringOut_.Release(slot);
        ringIn_.Release(slot);
    }

    __aicore__ inline void Compute(uint64_t row, uint32_t rows, uint32_t slot)
    {
        const Strip s = Segments(rows);
        const UbFloat folded = Ub<float>(map_.folded, 0);
        const UbFloat spread = Ub<float>(map_.spread, 0);
        const UbFloat statistic = Ub<float>(map_.statistic, 0);
        Widen(rows, slot);
        ScaleRows(s, tiling_->softmaxScale);
        Hide(row, rows);
        ReduceRows<RowReduction::MAX>(statistic, s, folded, spread);
        Join<RowReduction::MAX>(statistic);
        SpreadRowStatistic(spread, statistic, s.rows);
        SubtractRowStatistic(s, spread);
        ExpRows(s);
        ReduceRows<RowReduction::SUM>(statistic, s, folded, spread);
        Join<RowReduction::SUM>(statistic);
        SpreadRowStatistic(spread, statistic, s.rows);
        DivideRowStatistic(s, spread);
        ringOut_.Acquire();
        NarrowRows(Ub<T>(map_.narrow, slot), s.pitch, s);
        Ordered();  // the next strip is widened into what this one is narrowed from
        ringOut_.Publish(slot);
    }

    // 16 bits -> fp32; columns past the row's end become 0 until Hide.
    __aicore__ inline void Widen(uint32_t rows, uint32_t slot)
    {
        const auto narrow = Ub<T>(map_.narrow, slot);
        const UbFloat wide = Ub<float>(map_.wide, 0);
        if (Cols() == Pitch() || tiling_->segments > 1) {
            AscendC::Cast(wide, narrow, AscendC::RoundMode::CAST_NONE,
                          static_cast<int32_t>(Cols() == Pitch() ? rows * Pitch() : Cols()));
        } else {
            const Strip s = Segments(rows);
            for (uint32_t col = 0; col < Cols(); col += REPEAT_FP32_ELEMS) {
                const uint32_t left = Cols() - col;
                const uint64_t lanes = left < REPEAT_FP32_ELEMS ? left : REPEAT_FP32_ELEMS;
                AscendC::Cast(
                    wide[col], narrow[col], AscendC::RoundMode::CAST_NONE, lanes, rows,
                    AscendC::UnaryRepeatParams(1, 1, static_cast<uint8_t>(PitchBlocks(s)), s.pitch / C0_B16_ELEMS));
            }
        }
        Ordered();
        FillPast(0, rows, Cols(), 0.0F);
    }

    // -inf past the end of each row, and past its diagonal.
    __aicore__ inline void Hide(uint64_t row, uint32_t rows)
    {
        FillPast(0, rows, Cols(), MASKED);
        if (tiling_->causal == 0) {
            return;
        }
        for (uint32_t r = 0; r < rows; ++r) {
            const uint32_t query = static_cast<uint32_t>((row + r) % tiling_->scores.m);
            const uint32_t visible = query + Cols() - tiling_->scores.m + 1;
            FillPast(r, 1, visible, MASKED);
        }
    }

    // Columns end ... pitch-1 of some rows = value.
    __aicore__ inline void FillPast(uint32_t row, uint32_t rows, uint32_t end, float value)
    {
        if (end >= Pitch()) {
            return;
        }
        // One long row has no row stride, which could not be encoded.
        const uint32_t stride = tiling_->segments > 1 ? tiling_->segment : Pitch();
        FillColumns({Ub<float>(map_.wide, 0)[row * Pitch()], rows, end, stride}, Pitch(), value);
    }

    // The segments of a long row share its statistic.
    template <RowReduction reduction>
    __aicore__ inline void Join(const UbFloat& statistic)
    {
        if (tiling_->segments == 1) {
            return;
        }
        const auto count = static_cast<int32_t>(tiling_->segments);
        const UbFloat joined = Ub<float>(map_.folded, 0);
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::WholeReduceMax<float>(joined, statistic, count, 1, 1, 1, 8);
        } else {
            AscendC::WholeReduceSum<float>(joined, statistic, count, 1, 1, 1, 8);
        }
        AscendC::SetFlag<AscendC::HardEvent::V_S>(0);
        AscendC::WaitFlag<AscendC::HardEvent::V_S>(0);
        const float value = joined.GetValue(0);
        AscendC::SetFlag<AscendC::HardEvent::S_V>(0);
        AscendC::WaitFlag<AscendC::HardEvent::S_V>(0);
        AscendC::Duplicate(statistic, value, static_cast<int32_t>(RoundUp(tiling_->segments, BLOCK_FP32_ELEMS)));
        Ordered();
    }

    static constexpr float MASKED = -__builtin_inff();

    const StandardAttentionTiling* tiling_ = nullptr;
    SoftmaxMap map_{};
    AscendC::GlobalTensor<T> gmS_;
    AscendC::GlobalTensor<T> gmP_;
    InRing ringIn_;
    UbOutRing ringOut_;
};

}  // namespace fastattn
