// Hides what causality and the windows hide from a strip of scores. Where a row's bits come from is the tiling's
// `mask`: read from the M-mask (tiling), made by comparing column indices with the row's bounds (predicate), or not
// needed because the mask tensor has them (full; mask_tensor.h).
// Source: FastAttention (arXiv 2410.16663), tiling-mask; FlashAttention-2's windows, aligned to the sequences' ends.
#pragma once
#include "mask_tensor.h"
#include "mask_window.h"

namespace fastattn {

// How the windows cut a strip.
struct StripCut {
    MaskWindow right;
    MaskWindow hidden;  // what the left window hides: columns c <= r + deltaLeft - 1

    __aicore__ inline bool Nothing() const
    {
        return right.kind == MaskKind::SKIPPED || hidden.kind == MaskKind::VISIBLE;
    }
    __aicore__ inline bool Right() const { return right.kind == MaskKind::PARTIAL; }
    __aicore__ inline bool Left() const { return hidden.kind == MaskKind::PARTIAL; }
};

class WindowMask {
public:
    // ring: of the mask buffer's slots, shared with the mask tensor.
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const UbMap& ub, GM_ADDR constants, UbInRing& ring)
    {
        tiling_ = &tiling;
        ub_ = ub;
        ring_ = &ring;
        gmMask_.SetGlobalBuffer((__gm__ uint8_t*)constants);
    }

    __aicore__ inline StripCut CutOf(const Strip& s, const Block& block, uint32_t blockRow) const
    {
        return {MakeMaskWindow(block.deltaRight + blockRow, s.rows, s.cols),
                MakeMaskWindow(block.deltaLeft + blockRow - 1, s.rows, s.cols)};
    }

    // Bits select over whole rows of the pitch, which must hold something.
    __aicore__ inline bool TakesWholeRows(const StripCut& cut) const
    {
        return tiling_->maskMode != MASK_FULL && (cut.Right() || cut.Left());
    }

    __aicore__ inline void Apply(const Strip& s, const Block& block, uint32_t blockRow, const StripCut& cut)
    {
        if (tiling_->maskMode == MASK_TILING) {
            if (cut.Right()) {
                SelectWindow(s, cut.right, false);
            }
            if (cut.Left()) {
                SelectWindow(s, cut.hidden, true);
            }
        } else if (tiling_->maskMode == MASK_PREDICATE) {
            if (cut.Right()) {
                SelectCompared(s, block.deltaRight + blockRow, AscendC::CMPMODE::LE);
            }
            if (cut.Left()) {
                SelectCompared(s, block.deltaLeft + blockRow, AscendC::CMPMODE::GE);
            }
        }
    }

private:
    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }

    // Keeps the scores whose bit of the window is set (clear, if inverted); the others become -inf.
    __aicore__ inline void SelectWindow(const Strip& s, const MaskWindow& window, bool inverted)
    {
        const uint32_t maskRowBytes = 2 * tiling_->maskBlock / 8;
        const uint32_t slot = ring_->Acquire();
        const auto bits = Ub<uint8_t>(ub_.mask, slot);
        AscendC::DataCopyPad(bits, gmMask_[static_cast<uint64_t>(window.row) * maskRowBytes + window.col / 8],
                             AscendC::DataCopyExtParams(s.rows, s.pitch / 8, maskRowBytes - s.pitch / 8, 0, 0),
                             AscendC::DataCopyPadExtParams<uint8_t>(false, 0, 0, 0));
        ring_->Publish(slot);
        ring_->Await(slot);
        if (inverted) {
            const auto words = bits.template ReinterpretCast<uint16_t>();
            AscendC::Not(words, words, static_cast<int32_t>(s.rows * s.pitch / 16));
            Ordered();
        }
        SelectRows(s, bits);
        ring_->Release(slot);
    }

    // Keeps column c of row r iff c <= (or >=) r + delta. The ramp's values and the bounds of a strip that a window
    // cuts are integers below 2^24, so the comparison is exact.
    __aicore__ inline void SelectCompared(const Strip& s, int64_t delta, AscendC::CMPMODE mode)
    {
        const auto bits = Ub<uint8_t>(ub_.maskBits, 0);
        const UbFloat ramp = Ub<float>(ub_.ramp, 0);
        AscendC::ResetMask();  // comparisons take the mask as they find it
        for (uint32_t row = 0; row < s.rows; ++row) {
            AscendC::Compares(bits[row * s.pitch / 8], ramp, static_cast<float>(delta + row), mode, s.pitch);
        }
        Ordered();
        SelectRows(s, bits);
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    UbInRing* ring_ = nullptr;
    AscendC::GlobalTensor<uint8_t> gmMask_;
};

}  // namespace fastattn
