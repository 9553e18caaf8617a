// What happens to a strip of scores between Q·K^T and the row maximum: scale, softcap, ALiBi, and the tiling-mask with
// its right and left windows. Each is one stage over the strip in UB; the absent ones cost one test.
// Source: FlashAttention-2 semantics (windows aligned to the sequences' ends), FastAttention (tiling-mask).
#pragma once
#include "../common/pipeline.h"
#include "../common/row_ops.h"
#include "mask_window.h"
#include "work.h"

namespace fastattn {

constexpr float MASKED_SCORE = -__builtin_inff();

class ScoreModifiers {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const UbMap& ub, const Operands& operands,
                                int32_t maskEvent)
    {
        tiling_ = &tiling;
        ub_ = ub;
        gmMask_.SetGlobalBuffer((__gm__ uint8_t*)operands.mask);
        gmSlopes_.SetGlobalBuffer((__gm__ float*)operands.alibiSlopes);
        ringMask_.Init(maskEvent, STAGES);
        if (tiling.hasAlibi != 0) {
            LoadRamp(operands.mask);
        }
    }

    __aicore__ inline void Drain() { ringMask_.Drain(); }

    // Once a block: what its rows share.
    __aicore__ inline void Begin(const Block& block)
    {
        if (tiling_->hasAlibi != 0 && block.first) {
            slope_ = gmSlopes_.GetValue(block.piece.batch * tiling_->alibiBatchStride + block.piece.head);
        }
    }

    // Afterwards columns up to the next multiple of 64 are -inf where they do not exist or are hidden.
    __aicore__ inline void Apply(const Strip& s, const Block& block, uint32_t blockRow)
    {
        if (tiling_->softcap > 0) {
            Softcap(s);
        } else {
            ScaleRows(s, tiling_->softmaxScale);
        }
        if (tiling_->hasAlibi != 0) {
            AddAlibi(s, block, blockRow);
        }
        Mask(s, block, blockRow);
    }

private:
    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }

    // The ramp lies behind the M-mask's bits.
    __aicore__ inline void LoadRamp(GM_ADDR mask)
    {
        const uint64_t side = 2 * static_cast<uint64_t>(tiling_->maskBlock);
        AscendC::GlobalTensor<float> gmRamp;
        gmRamp.SetGlobalBuffer((__gm__ float*)(mask + side * side / 8));
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
    __aicore__ inline void AddAlibi(const Strip& s, const Block& block, uint32_t blockRow)
    {
        const UbFloat ramp = Ub<float>(ub_.ramp, 0);
        const UbFloat spread = Ub<float>(ub_.broadcast, 0);
        const UbFloat distance0 = Ub<float>(ub_.rowTmp, 0);  // of column 0, a value a row
        const int64_t rowPosition = block.piece.queries.rowOffset + blockRow;
        const auto rows = static_cast<int32_t>(RoundUp(s.rows, BLOCK_FP32_ELEMS));
        AscendC::Muls(distance0, ramp, -1.0F, rows);
        Ordered();
        AscendC::Adds(distance0, distance0, static_cast<float>(static_cast<int64_t>(block.col0) - rowPosition), rows);
        Ordered();
        SpreadRowStatistic(spread, distance0, s.rows);
        Strip distance{Ub<float>(ub_.reduce, 0), s.rows, REPEAT_FP32_ELEMS, REPEAT_FP32_ELEMS};
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

    __aicore__ inline void Mask(const Strip& s, const Block& block, uint32_t blockRow)
    {
        const MaskWindow right = MakeMaskWindow(block.deltaRight + blockRow, s.rows, s.cols);
        // Hidden on the left: c <= r + deltaLeft - 1.
        const MaskWindow hidden = MakeMaskWindow(block.deltaLeft + blockRow - 1, s.rows, s.cols);
        const bool masked = right.kind == MaskKind::PARTIAL || hidden.kind == MaskKind::PARTIAL;
        const bool nothing = right.kind == MaskKind::SKIPPED || hidden.kind == MaskKind::VISIBLE;
        const auto end = static_cast<uint32_t>(RoundUp(s.cols, masked ? MASK_ROW_ALIGN_ELEMS : REPEAT_FP32_ELEMS));
        if (nothing) {
            // The block is visible to other rows, but to none of this strip.
            AscendC::Duplicate(s.data, MASKED_SCORE, static_cast<int32_t>(s.rows * s.pitch));
            Ordered();
            return;
        }
        if (end != s.cols) {
            FillColumns(s, end, MASKED_SCORE);
        }
        if (right.kind == MaskKind::PARTIAL) {
            SelectWindow(s, right, false);
        }
        if (hidden.kind == MaskKind::PARTIAL) {
            SelectWindow(s, hidden, true);
        }
    }

    // Keeps the scores whose bit of the window is set (clear, if inverted); the others become -inf.
    __aicore__ inline void SelectWindow(const Strip& s, const MaskWindow& window, bool inverted)
    {
        const uint32_t maskRowBytes = 2 * tiling_->maskBlock / 8;
        const uint32_t slot = ringMask_.Acquire();
        const auto bits = Ub<uint8_t>(ub_.mask, slot);
        AscendC::DataCopyPad(bits, gmMask_[static_cast<uint64_t>(window.row) * maskRowBytes + window.col / 8],
                             AscendC::DataCopyExtParams(s.rows, s.pitch / 8, maskRowBytes - s.pitch / 8, 0, 0),
                             AscendC::DataCopyPadExtParams<uint8_t>(false, 0, 0, 0));
        ringMask_.Publish(slot);
        ringMask_.Await(slot);
        if (inverted) {
            const auto words = bits.template ReinterpretCast<uint16_t>();
            AscendC::Not(words, words, static_cast<int32_t>(s.rows * s.pitch / 16));
            Ordered();
        }
        AscendC::Select(s.data, bits, s.data, MASKED_SCORE, AscendC::SELMODE::VSEL_TENSOR_SCALAR_MODE,
                        s.rows * s.pitch);
        Ordered();
        ringMask_.Release(slot);
    }

    static constexpr int32_t RAMP_EVENT = 7;

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    AscendC::GlobalTensor<uint8_t> gmMask_;
    AscendC::GlobalTensor<float> gmSlopes_;
    UbInRing ringMask_;
    float slope_ = 0;
};

}  // namespace fastattn
