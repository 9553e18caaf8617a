// Hides what causality and the windows hide from a strip of scores. Where a row's bits come from is the tiling's
// `mask`: read from the M-mask (tiling), not needed because a row's hidden columns are known (predicate), or because
// the mask tensor has them (full; mask_tensor.h).
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

    __aicore__ inline StripCut CutOf(const Block& block, uint32_t blockRow, uint32_t rows, uint32_t cols) const
    {
        StripCut cut{true, false, false};
        for (uint32_t row = 0; row < rows;) {
            const HeadRun run = RunAt(block.piece.queries.tokens, blockRow + row, blockRow + rows);
            const MaskKind right = MakeMaskWindow(block.deltaRight + run.token, run.rows, cols).kind;
            const MaskKind hidden = HiddenWindow(block, run, cols).kind;
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
        return tiling_->maskMode == MASK_TILING && (cut.right || cut.left);
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
        } else if (tiling_->maskMode == MASK_PREDICATE && (cut.right || cut.left)) {
            for (uint32_t row = 0; row < s.rows; ++row) {
                HideColumns(s, row, block, RunAt(block.piece.queries.tokens, blockRow + row, blockRow + s.rows).token);
            }
            Ordered();
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

    // A row keeps the columns from token + deltaLeft to token + deltaRight: the others, up to the next multiple of 64,
    // become -inf. Groups of 64 that an edge cuts take a mask of lanes.
    __aicore__ inline void HideColumns(const Strip& s, uint32_t row, const Block& block, uint32_t token)
    {
        const UbFloat scores = s.data[row * s.pitch];
        const uint32_t end = RoundUp(s.cols, REPEAT_FP32_ELEMS);
        const uint32_t shown = Within(block.deltaLeft + token, end);        // first column
        const uint32_t hidden = Within(block.deltaRight + token + 1, end);  // first column behind
        const uint32_t shownLane = shown % REPEAT_FP32_ELEMS;
        const uint32_t hiddenLane = hidden % REPEAT_FP32_ELEMS;
        HideLanes(scores, shown, (uint64_t{1} << shownLane) - 1);
        Hide(scores, 0, shown / REPEAT_FP32_ELEMS);
        if (hidden < end) {
            HideLanes(scores, hidden, ~uint64_t{0} << hiddenLane);
            Hide(scores, hidden / REPEAT_FP32_ELEMS + 1, end / REPEAT_FP32_ELEMS);
        }
    }

    __aicore__ inline uint32_t Within(int64_t col, uint32_t end) const
    {
        return col <= 0 ? 0 : col < end ? static_cast<uint32_t>(col) : end;
    }

    // Groups begin ... end-1 of a row.
    __aicore__ inline void Hide(const UbFloat& scores, uint32_t begin, uint32_t end)
    {
        if (begin < end) {
            AscendC::Duplicate(scores[begin * REPEAT_FP32_ELEMS], MASKED_SCORE,
                               static_cast<uint64_t>(REPEAT_FP32_ELEMS), end - begin, 1,
                               REPEAT_FP32_ELEMS / BLOCK_FP32_ELEMS);
        }
    }

    // Lanes of a row's group of 64 that holds a column.
    __aicore__ inline void HideLanes(const UbFloat& scores, uint32_t col, uint64_t lanes)
    {
        if (lanes != 0) {
            uint64_t mask[2] = {lanes, 0};
            AscendC::Duplicate(scores[col / REPEAT_FP32_ELEMS * REPEAT_FP32_ELEMS], MASKED_SCORE, mask, 1, 1,
                               REPEAT_FP32_ELEMS / BLOCK_FP32_ELEMS);
        }
    }

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    UbInRing* ring_ = nullptr;
    AscendC::GlobalTensor<uint8_t> gmMask_;
};

}  // namespace fastattn
