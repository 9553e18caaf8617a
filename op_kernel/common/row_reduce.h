// Maximum or sum of every row of a strip, in steps without barriers: the caller puts one between two steps, and runs
// the steps of several reductions, and other work, between the same barriers. A barrier after a reduction is the
// dearest of the vector unit's, because a reduction's results come late. Source: Ascend C documentation,
// "BlockReduceMax".
#pragma once
#include "row_ops.h"

namespace fastattn {

template <RowReduction reduction>
class RowReducer {
public:
    // The strip may be reused after this first step. cols must be a multiple of 64; eighths holds rows x cols / 8
    // values, few rows x 8, result one a row.
    __aicore__ inline void Begin(const Strip& s, const UbFloat& eighths, const UbFloat& few, const UbFloat& result)
    {
        rows_ = s.rows;
        pitch_ = values_ = s.cols / BLOCK_FP32_ELEMS;
        eighths_ = eighths;
        few_ = few;
        result_ = result;
        if (RunRepeats(s) != 0) {
            ForRun(RunRepeats(s), [&](uint32_t at, uint32_t repeats) {
                ReduceBlocks(eighths_[at / BLOCK_FP32_ELEMS], s.data[at], repeats, REPEAT_BLOCKS);
            });
            return;
        }
        for (uint32_t row = 0; row < rows_; ++row) {
            ReduceBlocks(eighths_[row * pitch_], s.data[row * s.pitch], s.cols / REPEAT_FP32_ELEMS, REPEAT_BLOCKS);
        }
    }

    // What is left of a row after Begin: at most one repeat after this step.
    __aicore__ inline void Fold()
    {
        while (values_ > REPEAT_FP32_ELEMS) {
            const uint32_t kept = static_cast<uint32_t>(RoundUp(CeilDiv(values_, 2), BLOCK_FP32_ELEMS));
            const uint32_t folded = values_ - kept;
            for (uint32_t at = 0; at < folded; at += REPEAT_FP32_ELEMS) {
                const uint32_t left = folded - at;
                Join(eighths_[at], eighths_[kept + at], left < REPEAT_FP32_ELEMS ? left : REPEAT_FP32_ELEMS);
            }
            values_ = kept;
            if (values_ > REPEAT_FP32_ELEMS) {
                Ordered();  // rows of more than 1024 columns only
            }
        }
    }

    // At most 8 values a row.
    __aicore__ inline void Shorten()
    {
        if (values_ <= BLOCK_FP32_ELEMS) {
            few_ = eighths_;
            return;
        }
        const uint64_t lanes = values_;
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::BlockReduceMax<float>(few_, eighths_, rows_, lanes, 1, 1, pitch_ / BLOCK_FP32_ELEMS);
        } else {
            AscendC::BlockReduceSum<float>(few_, eighths_, rows_, lanes, 1, 1, pitch_ / BLOCK_FP32_ELEMS);
        }
        values_ = values_ / BLOCK_FP32_ELEMS;
    }

    // One value a row.
    __aicore__ inline void End()
    {
        // 8 rows a repeat, of each row the first `values_` lanes of a block.
        const uint64_t row = (uint64_t{1} << values_) - 1;
        const uint64_t lanes = row * EVERY_BLOCK;
        const uint32_t wholeRepeats = rows_ / BLOCK_FP32_ELEMS;
        const uint32_t tailRows = rows_ % BLOCK_FP32_ELEMS;
        if (wholeRepeats != 0) {
            ReduceLanes(result_, few_, wholeRepeats, lanes);
        }
        if (tailRows != 0) {
            const uint32_t done = wholeRepeats * BLOCK_FP32_ELEMS;
            const uint64_t tail = lanes & ((uint64_t{1} << (tailRows * BLOCK_FP32_ELEMS)) - 1);
            ReduceLanes(result_[done], few_[done * BLOCK_FP32_ELEMS], 1, tail);
        }
    }

private:
    static constexpr uint32_t REPEAT_BLOCKS = REPEAT_FP32_ELEMS / BLOCK_FP32_ELEMS;
    static constexpr uint64_t EVERY_BLOCK = 0x0101010101010101;

    __aicore__ inline void ReduceBlocks(const UbFloat& dst, const UbFloat& src, uint32_t repeats, uint32_t srcRepBlocks)
    {
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::BlockReduceMax<float>(dst, src, repeats, REPEAT_FP32_ELEMS, 1, 1, srcRepBlocks);
        } else {
            AscendC::BlockReduceSum<float>(dst, src, repeats, REPEAT_FP32_ELEMS, 1, 1, srcRepBlocks);
        }
    }
    __aicore__ inline void ReduceLanes(const UbFloat& dst, const UbFloat& src, uint32_t repeats, uint64_t lanes)
    {
        const uint64_t mask[2] = {lanes, 0};
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::BlockReduceMax<float>(dst, src, repeats, mask, 1, 1, REPEAT_BLOCKS);
        } else {
            AscendC::BlockReduceSum<float>(dst, src, repeats, mask, 1, 1, REPEAT_BLOCKS);
        }
    }
    __aicore__ inline void Join(const UbFloat& kept, const UbFloat& folded, uint64_t lanes)
    {
        const uint32_t blocks = pitch_ / BLOCK_FP32_ELEMS;
        const AscendC::BinaryRepeatParams p(1, 1, 1, blocks, blocks, blocks);
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::Max(kept, kept, folded, lanes, rows_, p);
        } else {
            AscendC::Add(kept, kept, folded, lanes, rows_, p);
        }
    }

    uint32_t rows_ = 0;
    uint32_t pitch_ = 0;   // of eighths, in elements
    uint32_t values_ = 0;  // a row has so many left
    UbFloat eighths_;
    UbFloat few_;
    UbFloat result_;
};

}  // namespace fastattn
