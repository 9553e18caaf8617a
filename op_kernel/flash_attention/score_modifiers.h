// What happens to a strip of scores between Q·K^T and the row maximum: scale, softcap, ALiBi, the mask tensor and the
// windows. Each is one stage over the strip in UB; the absent ones cost one test.
// Source: FlashAttention-2 semantics.
#pragma once
#include "window_mask.h"

namespace fastattn {

template <class T>
class ScoreModifiers {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const UbMap& ub, const Operands& operands,
                                int32_t maskEvent)
    {
        tiling_ = &tiling;
        ub_ = ub;
        gmSlopes_.SetGlobalBuffer((__gm__ float*)operands.alibiSlopes);
        if (IsBooleanMask(tiling.maskTensor)) {
            ClearMaskSlots();
        }
        ring_.Init(maskEvent, STAGES);
        tensor_.Init(tiling, ub, operands.attnMask, ring_);
        windows_.Init(tiling, ub, operands.mask, ring_);
        if (NeedsRamp(tiling)) {
            LoadRamp(operands.mask);
        }
    }

    __aicore__ inline void Drain() { ring_.Drain(); }

    // Once a block: what its rows share.
    __aicore__ inline void Begin(const Block& block)
    {
        if (tiling_->hasAlibi != 0 && block.first) {
            slope_ = SlopeOf(block.piece, 0);
        }
    }

    // The factor that is left for later, because it changes no maximum.
    __aicore__ inline float RemainingScale() const { return KeepsScale() ? tiling_->softmaxScale : 1.0F; }

    // How the windows cut so many columns of a strip.
    __aicore__ inline StripCut CutOf(const Block& block, uint32_t blockRow, uint32_t rows, uint32_t cols) const
    {
        return windows_.CutOf(block, blockRow, rows, cols);
    }

    // The windows show all of the block's columns to so many rows.
    __aicore__ inline bool ShowsAll(const Block& block, uint32_t blockRow, uint32_t rows) const
    {
        const StripCut cut = windows_.CutOf(block, blockRow, rows, block.cols);
        return !cut.right && !cut.left;
    }

    // What the pitch of a strip must be a multiple of.
    __aicore__ inline uint32_t PitchAlignElems(const StripCut& cut) const
    {
        return TakesWholeRows(cut) ? MASK_ROW_ALIGN_ELEMS : REPEAT_FP32_ELEMS;
    }

    // Afterwards columns up to the next multiple of 64 are -inf where they do not exist or are hidden.
    __aicore__ inline void Apply(const Strip& s, const Block& block, uint32_t blockRow, const StripCut& cut)
    {
        if (cut.nothing) {
            // The block is visible to other rows, but to none of this strip.
            AscendC::Duplicate(s.data, MASKED_SCORE, static_cast<int32_t>(s.rows * s.pitch));
            Ordered();
            return;
        }
        if (tiling_->softcap > 0) {
            Softcap(s);
        } else if (!KeepsScale()) {
            ScaleRows(s, tiling_->softmaxScale);
        }
        for (uint32_t row = 0; tiling_->hasAlibi != 0 && row < s.rows;) {
            const HeadRun run = RunAt(block.piece.queries.tokens, blockRow + row, blockRow + s.rows);
            if (tiling_->packGqa != 0) {
                slope_ = SlopeOf(block.piece, run.head);
            }
            AddAlibi({s.data[row * s.pitch], run.rows, s.cols, s.pitch}, block, run.token);
            row += run.rows;
        }
        const uint32_t end = TakesWholeRows(cut) ? s.pitch : RoundUp(s.cols, REPEAT_FP32_ELEMS);
        if (end != s.cols) {
            FillColumns(s, end, MASKED_SCORE);
        }
        if (tensor_.Present()) {
            tensor_.Apply(s, block, blockRow);
        }
        windows_.Apply(s, block, blockRow, cut);
    }

private:
    __aicore__ inline bool TakesWholeRows(const StripCut& cut) const
    {
        return windows_.TakesWholeRows(cut) || tensor_.TakesWholeRows();
    }

    // Nothing but a mask comes between the product and the maximum.
    __aicore__ inline bool KeepsScale() const
    {
        const bool added = tiling_->hasAlibi != 0 || IsAdditiveMask(tiling_->maskTensor);
        return tiling_->softmaxScale > 0 && !(tiling_->softcap > 0) && !added;
    }

    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }

    // The bytes behind a row's last key are never loaded, but widened with the rest.
    __aicore__ inline void ClearMaskSlots()
    {
        for (uint32_t slot = 0; slot < STAGES; ++slot) {
            const auto words = Ub<uint16_t>(ub_.mask, slot);
            AscendC::Duplicate(words, static_cast<uint16_t>(0), static_cast<int32_t>(ub_.mask.slotBytes / HALF_BYTES));
        }
        Ordered();
    }

    __aicore__ inline float SlopeOf(const Piece& piece, uint32_t head) const
    {
        return gmSlopes_.GetValue(piece.batch * tiling_->alibiBatchStride + piece.head + head);
    }

    // The ramp lies behind the M-mask's bits, where there are any.
    __aicore__ inline void LoadRamp(GM_ADDR mask)
    {
        AscendC::GlobalTensor<float> gmRamp;
        gmRamp.SetGlobalBuffer((__gm__ float*)(mask + MMaskBytes(tiling_->maskMode, tiling_->maskBlock)));
        AscendC::DataCopy(Ub<float>(ub_.ramp, 0), gmRamp, tiling_->blockKv);
        AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(RAMP_EVENT);
        AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(RAMP_EVENT);
    }

    // softcap * tanh(x), x = scale / softcap * score, as softcap - 2 softcap / (exp(2 x) + 1).
    __aicore__ inline void Softcap(const Strip& s)
    {
        const float cap = tiling_->softcap;
        const UbFloat numerator = Ub<float>(ub_.broadcast, 0);
        AscendC::Duplicate(numerator, -2.0F * cap, static_cast<int32_t>(BLOCK_FP32_ELEMS));
        ScaleRows(s, 2.0F * tiling_->softmaxScale / cap);
        ExpRows(s);
        AddToRows(s, 1.0F);
        DivideIntoRows(s, numerator);
        AddToRows(s, cap);
    }

    // score -= slope * |column - (row + keys - queries)|, 64 columns at a time.
    // token: of the strip's first row.
    __aicore__ inline void AddAlibi(const Strip& s, const Block& block, uint32_t token)
    {
        const UbFloat ramp = Ub<float>(ub_.ramp, 0);
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);
        const UbFloat distance0 = Ub<float>(ub_.rowTmp, 0);  // of column 0, a value a row
        const int64_t rowPosition = block.piece.queries.rowOffset + token;
        const auto rows = static_cast<int32_t>(RoundUp(s.rows, BLOCK_FP32_ELEMS));
        AscendC::Muls(distance0, ramp, -1.0F, rows);
        Ordered();
        AscendC::Adds(distance0, distance0, static_cast<float>(static_cast<int64_t>(block.col0) - rowPosition), rows);
        Ordered();
        SpreadRowStatistic(spread, distance0, s.rows);
        Strip distance{Ub<float>(ub_.wide, 0), s.rows, REPEAT_FP32_ELEMS, REPEAT_FP32_ELEMS};
        for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
            distance.cols = GroupLanes(s, col);
            AscendC::Add(distance.data, ramp[col], spread, static_cast<uint64_t>(distance.cols), s.rows,
                         AscendC::BinaryRepeatParams(1, 1, 0, PitchBlocks(distance), 0, 1));
            Ordered();
            AbsRows(distance);
            ScaleRows(distance, -slope_);
            AddRows({s.data[col], s.rows, distance.cols, s.pitch}, distance);
        }
    }

    static constexpr int32_t RAMP_EVENT = 7;

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    AscendC::GlobalTensor<float> gmSlopes_;
    UbInRing ring_;  // of the mask buffer
    TensorMask<T> tensor_;
    WindowMask windows_;
    float slope_ = 0;
};

}  // namespace fastattn
