// A mask tensor on a strip of scores: booleans hide, numbers are added. The general, slower case: every block that is
// computed reads its part, even where the tensor shows or hides all of it. Keys are contiguous in GM; rows, heads and
// batch entries have any stride, 0 where one row serves all.
#pragma once
#include "../common/pipeline.h"
#include "../common/row_ops.h"
#include "work.h"

namespace fastattn {

constexpr float MASKED_SCORE = -__builtin_inff();

// Keeps the scores whose bit is set, pitch bits a row; the others become -inf. Reads whole rows of the pitch.
__aicore__ inline void SelectRows(const Strip& s, const AscendC::LocalTensor<uint8_t>& bits)
{
    AscendC::Select(s.data, bits, s.data, MASKED_SCORE, AscendC::SELMODE::VSEL_TENSOR_SCALAR_MODE, s.rows * s.pitch);
    Ordered();
}

template <class T>
class TensorMask {
public:
    // ring: of the mask buffer's slots, shared with the windows.
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const UbMap& ub, GM_ADDR mask, UbInRing& ring)
    {
        tiling_ = &tiling;
        ub_ = ub;
        ring_ = &ring;
        elementBytes_ = MaskElementBytes(tiling.maskTensor);
        gm_.SetGlobalBuffer((__gm__ uint8_t*)mask);
    }

    __aicore__ inline bool Present() const { return elementBytes_ != 0; }

    // A boolean mask looks at whole rows of the pitch, which must hold something.
    __aicore__ inline bool TakesWholeRows() const { return IsBooleanMask(tiling_->maskTensor); }

    __aicore__ inline void Apply(const Strip& s, const Block& block, uint32_t blockRow)
    {
        const QueryBlock& queries = block.piece.queries;
        const bool shared = (queries.tokens == 1 || tiling_->attnMask.seq == 0) &&
                            (queries.tokens == queries.rows || tiling_->attnMask.head == 0);
        const uint32_t slot = ring_->Acquire();
        for (uint32_t row = 0; row < (shared ? 1 : s.rows);) {
            const RowSpan span = SpanAt(tiling_->attnMask, block.piece, 0, blockRow + row, blockRow + s.rows);
            Load(s, row, shared ? 1 : span.rows, span.offset + block.col0, span.pitch, slot);
            row += span.rows;
        }
        ring_->Publish(slot);
        ring_->Await(slot);
        if (TakesWholeRows()) {
            SelectShown(s, slot, shared);
        } else if (tiling_->maskTensor == MASK_ADD_FP32) {
            AddFloats(s, Ub<float>(ub_.mask, slot), s.pitch, shared);
        } else {
            AddNarrow(s, Ub<T>(ub_.mask, slot), shared);
        }
        ring_->Release(slot);
    }

private:
    template <class E>
    __aicore__ inline AscendC::LocalTensor<E> Ub(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<E>(AscendC::TPosition::VECCALC, buffer, slot);
    }

    // Rows of the tensor -> rows row ... of the slot, in the pitch of the strip. Zero bytes fill up a row's last 32 B
    // block.
    __aicore__ inline void Load(const Strip& s, uint32_t row0, uint32_t rows, uint64_t offset, uint64_t pitch,
                                uint32_t slot)
    {
        const uint32_t bytes = s.cols * elementBytes_;
        const uint32_t used = static_cast<uint32_t>(RoundUp(bytes, BLOCK_BYTES));
        const uint32_t pitchBytes = s.pitch * elementBytes_;
        const uint64_t rowBytes = pitch * elementBytes_;
        const uint64_t gm = offset * elementBytes_;
        const auto ub = Ub<uint8_t>(ub_.mask, slot)[row0 * pitchBytes];
        const AscendC::DataCopyPadExtParams<uint8_t> pad(true, 0, used - bytes, 0);
        if (rowBytes >= bytes && rowBytes - bytes <= MAX_GAP_BYTES) {
            AscendC::DataCopyPad(
                ub, gm_[gm],
                AscendC::DataCopyExtParams(rows, bytes, rowBytes - bytes, (pitchBytes - used) / BLOCK_BYTES, 0), pad);
            return;
        }
        // Rows that overlap, or lie further apart than the field can say: one at a time.
        for (uint32_t row = 0; row < rows; ++row) {
            AscendC::DataCopyPad(ub[row * pitchBytes], gm_[gm + row * rowBytes],
                                 AscendC::DataCopyExtParams(1, bytes, 0, 0, 0), pad);
        }
    }

    // Bytes -> fp16 -> bits -> -inf where a byte is 0. Bytes past the row's end are left from before, the scores there
    // are -inf already.
    __aicore__ inline void SelectShown(const Strip& s, uint32_t slot, bool shared)
    {
        const auto wide = Ub<half>(ub_.maskHalf, 0);
        const auto bits = Ub<uint8_t>(ub_.maskBits, 0);
        const uint32_t rows = shared ? 1 : s.rows;
        AscendC::Cast(wide, Ub<uint8_t>(ub_.mask, slot), AscendC::RoundMode::CAST_NONE, rows * s.pitch);
        Ordered();
        // One instruction: two fp32 slots of a strip in UB leave it at most 184 repeats. Cast left the mask full.
        AscendC::Compares(bits, wide, static_cast<half>(0.0F), AscendC::CMPMODE::NE, rows * s.pitch);
        Ordered();
        if (shared && s.rows > 1) {
            const auto words = bits.template ReinterpretCast<uint16_t>();
            AscendC::Copy(words[s.pitch / 16], words, static_cast<uint64_t>(s.pitch / 16), s.rows - 1,
                          AscendC::CopyRepeatParams(1, 1, s.pitch / MASK_ROW_ALIGN_ELEMS, 0));
            Ordered();
        }
        SelectRows(s, bits);
    }

    // scores += values; pitch of the values in elements.
    __aicore__ inline void AddFloats(const Strip& s, const UbFloat& values, uint32_t pitch, bool shared)
    {
        const uint32_t blocks = PitchBlocks(s);
        for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
            AscendC::Add(s.data[col], s.data[col], values[col], static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                         AscendC::BinaryRepeatParams(1, 1, 1, blocks, blocks, shared ? 0 : pitch / BLOCK_FP32_ELEMS));
        }
        Ordered();
    }

    // The same for 16-bit values, widened 64 columns at a time.
    __aicore__ inline void AddNarrow(const Strip& s, const AscendC::LocalTensor<T>& values, bool shared)
    {
        const UbFloat wide = Ub<float>(ub_.wide, 0);
        for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
            const uint32_t lanes = GroupLanes(s, col);
            AscendC::Cast(wide, values[col], AscendC::RoundMode::CAST_NONE, static_cast<uint64_t>(lanes),
                          shared ? 1 : s.rows, AscendC::UnaryRepeatParams(1, 1, 8, s.pitch / C0_B16_ELEMS));
            Ordered();
            AddFloats({s.data[col], s.rows, lanes, s.pitch}, wide, REPEAT_FP32_ELEMS, shared);
        }
    }

    static constexpr uint64_t MAX_GAP_BYTES = 0xffffffff;  // DataCopyExtParams.srcStride is a uint32

    const FlashAttentionTiling* tiling_ = nullptr;
    UbMap ub_{};
    UbInRing* ring_ = nullptr;
    uint32_t elementBytes_ = 0;
    AscendC::GlobalTensor<uint8_t> gm_;
};

}  // namespace fastattn
