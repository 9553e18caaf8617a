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
    bool nothing;  // no row sees any column
    bool right;    // some row does not see the last columns
    bool left;     // ... the first ones
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
        StripCut cut{true, false, false};
        for (uint32_t row = 0; row < s.rows;) {
            const HeadRun run = RunAt(block.piece.queries.tokens, blockRow + row, blockRow + s.rows);
            const MaskKind right = MakeMaskWindow(block.deltaRight + run.token, run.rows, s.cols).kind;
            const MaskKind hidden = HiddenWindow(block, run, s.cols).kind;
            cut.nothing = cut.nothing && (right == MaskKind::SKIPPED || hidden == MaskKind::VISIBLE);
            cut.right = cut.right || right != MaskKind::VISIBLE;
            cut.left = cut.left || hidden != MaskKind::SKIPPED;
            row += run.rows;
        }
        return cut;
    }

    // Bits select over whole rows of the pitch, which must hold something.
    __aicore__ inline bool TakesWholeRows(const StripCut& cut) const
    {
        return tiling_->maskMode != MASK_FULL && (cut.right || cut.left);
    }

    __aicore__ inline void Apply(const Strip& s, const Block& block, uint32_t blockRow, const StripCut& cut)
    {
        if (tiling_->maskMode == MASK_TILING) {
            if (cut.right) {
                SelectWindow(s, block, blockRow, false);
            }
            if (cut.left) {
                SelectWindow(s, block, blockRow, true);
            }
        } else if (tiling_->maskMode == MASK_PREDICATE) {
            if (cut.right) {
                SelectCompared(s, block, blockRow, block.deltaRight, AscendC::CMPMODE::LE);
            }
            if (cut.left) {
                SelectCompared(s, block, blockRow, block.deltaLeft, AscendC::CMPMODE::GE);
            }
        }
    }

private:
    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }

    // What the left window hides from a run: columns c <= r + deltaLeft - 1.
    __aicore__ inline MaskWindow HiddenWindow(const Block& block, const HeadRun& run, uint32_t cols) const
    {
        return MakeMaskWindow(block.deltaLeft + run.token - 1, run.rows, cols);
    }

    // Keeps the scores whose bit of the right window is set, or of the left one clear; the others become -inf.
    __aicore__ inline void SelectWindow(const Strip& s, const Block& block, uint32_t blockRow, bool left)
    {
        const uint32_t maskRowBytes = 2 * tiling_->maskBlock / 8;
        const uint32_t rowBytes = s.pitch / 8;
        const uint32_t slot = ring_->Acquire();
        const auto bits = Ub<uint8_t>(ub_.mask, slot);
        for (uint32_t row = 0; row < s.rows;) {
            const HeadRun run = RunAt(block.piece.queries.tokens, blockRow + row, blockRow + s.rows);
            const MaskWindow window = left ? HiddenWindow(block, run, s.cols)
                                           : MakeMaskWindow(block.deltaRight + run.token, run.rows, s.cols);
            AscendC::DataCopyPad(bits[row * rowBytes],
                                 gmMask_[static_cast<uint64_t>(window.row) * maskRowBytes + window.col / 8],
                                 AscendC::DataCopyExtParams(run.rows, rowBytes, maskRowBytes - rowBytes, 0, 0),
                                 AscendC::DataCopyPadExtParams<uint8_t>(false, 0, 0, 0));
            row += run.rows;
        }
        ring_->Publish(slot);
        ring_->Await(slot);
        if (left) {
            const auto words = bits.template ReinterpretCast<uint16_t>();
            AscendC::Not(words, words, static_cast<int32_t>(s.rows * s.pitch / 16));
            Ordered();
        }
        SelectRows(s, bits);
        ring_->Release(slot);
    }

    // Keeps column c of token t iff c <= (or >=) t + delta. The ramp's values are integers below 2^24, and so are the
    // bounds that matter, those among them: the comparison is exact.
    __aicore__ inline void SelectCompared(const Strip& s, const Block& block, uint32_t blockRow, int64_t delta,
                                          AscendC::CMPMODE mode)
    {
        const auto bits = Ub<uint8_t>(ub_.maskBits, 0);
        const UbFloat ramp = Ub<float>(ub_.ramp, 0);
        AscendC::ResetMask();  // comparisons take the mask as they find it
        for (uint32_t row = 0; row < s.rows; ++row) {
            const uint32_t token = RunAt(block.piece.queries.tokens, blockRow + row, blockRow + s.rows).token;
            AscendC::Compares(bits[row * s.pitch / 8], ramp, static_cast<float>(delta + token), mode, s.pitch);
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
