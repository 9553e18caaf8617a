// Row-wise vector operations on a strip: `rows` rows of fp32 in UB, `pitch` elements apart, of which the first `cols`
// count. A statistic is one fp32 a row. Unless it says otherwise, a call ends with a barrier, so that the next may use
// its result; masks are left partial and the caller resets them at the end. Repeat and stride fields are 8 bits wide:
// rows <= 255, pitch <= 255 * 8 (Ascend C documentation, "BinaryRepeatParams").
#pragma once
#include "hardware.h"
#include "kernel_operator.h"

namespace fastattn {

using UbFloat = AscendC::LocalTensor<float>;

struct Strip {
    UbFloat data;
    uint32_t rows;
    uint32_t cols;
    uint32_t pitch;  // multiple of 8, of 64 where columns are filled or reduced
};

__aicore__ inline uint32_t PitchBlocks(const Strip& s) { return s.pitch / BLOCK_FP32_ELEMS; }

// Lanes of the 64-column group that starts at col.
__aicore__ inline uint32_t GroupLanes(const Strip& s, uint32_t col)
{
    const uint32_t left = s.cols - col;
    return left < REPEAT_FP32_ELEMS ? left : REPEAT_FP32_ELEMS;
}

__aicore__ inline void Ordered() { AscendC::PipeBarrier<PIPE_V>(); }

// Repeats that cover a strip without gaps as one run, 0 when it has gaps. A run spares the bank conflicts of rows whose
// pitch is a multiple of the 512 B over which the UB's bank groups repeat.
__aicore__ inline uint32_t RunRepeats(const Strip& s)
{
    const uint32_t elems = s.rows * s.pitch;
    return s.cols == s.pitch && elems % REPEAT_FP32_ELEMS == 0 ? elems / REPEAT_FP32_ELEMS : 0;
}

// Calls body(first element, repeats) for the instructions that a run of so many repeats takes.
template <class Body>
__aicore__ inline void ForRun(uint32_t repeats, const Body& body)
{
    for (uint32_t done = 0; done < repeats; done += MAX_REPEATS) {
        const uint32_t left = repeats - done;
        body(done * REPEAT_FP32_ELEMS, left < MAX_REPEATS ? left : MAX_REPEATS);
    }
}

__aicore__ inline void ScaleRows(const Strip& s, float factor)
{
    if (RunRepeats(s) != 0) {
        ForRun(RunRepeats(s), [&](uint32_t at, uint32_t repeats) {
            AscendC::Muls(s.data[at], s.data[at], factor, static_cast<uint64_t>(REPEAT_FP32_ELEMS), repeats,
                          AscendC::UnaryRepeatParams(1, 1, 8, 8));
        });
        Ordered();
        return;
    }
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Muls(s.data[col], s.data[col], factor, GroupLanes(s, col), s.rows,
                      AscendC::UnaryRepeatParams(1, 1, blocks, blocks));
    }
    Ordered();
}

// Columns cols ... end-1 of every row = value; end a multiple of 64.
__aicore__ inline void FillColumns(const Strip& s, uint32_t end, float value)
{
    const uint32_t blocks = PitchBlocks(s);
    const uint32_t used = s.cols % REPEAT_FP32_ELEMS;
    uint32_t col = s.cols - used;
    if (used != 0) {
        uint64_t mask[2] = {~uint64_t{0} << used, 0};
        AscendC::Duplicate(s.data[col], value, mask, s.rows, 1, blocks);
        col += REPEAT_FP32_ELEMS;
    }
    for (; col < end; col += REPEAT_FP32_ELEMS) {
        AscendC::Duplicate(s.data[col], value, static_cast<uint64_t>(REPEAT_FP32_ELEMS), s.rows, 1, blocks);
    }
    Ordered();
}

// Rows first ... of a statistic = value.
__aicore__ inline void FillStatistic(const UbFloat& statistic, uint32_t first, uint32_t rows, float value)
{
    const uint32_t end = first + rows;
    for (uint32_t base = first / REPEAT_FP32_ELEMS * REPEAT_FP32_ELEMS; base < end; base += REPEAT_FP32_ELEMS) {
        const uint32_t from = first > base ? first - base : 0;
        const uint32_t lanes = (end - base < REPEAT_FP32_ELEMS ? end - base : REPEAT_FP32_ELEMS) - from;
        uint64_t mask[2] = {(~uint64_t{0} >> (REPEAT_FP32_ELEMS - lanes)) << from, 0};
        AscendC::Duplicate(statistic[base], value, mask, 1, 1, REPEAT_FP32_ELEMS / BLOCK_FP32_ELEMS);
    }
    Ordered();
}

// data -= statistic of the row, given spread over one 32 B block a row.
__aicore__ inline void SubtractRowStatistic(const Strip& s, const UbFloat& spread)
{
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Sub(s.data[col], s.data[col], spread, static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                     AscendC::BinaryRepeatParams(1, 1, 0, blocks, blocks, 1));
    }
    Ordered();
}

// data = factor * data + shift of the row; factor is given in BANK_GROUPS blocks, shift spread over one block a row.
// Row by row, for along a row neighbouring repeats use different bank groups; factor and shift of a row lie in the same
// half of them, but not in the same one, so that only every other repeat meets them. cols must be a multiple of 64.
__aicore__ inline void ScaleAndShiftRows(const Strip& s, const UbFloat& factor, const UbFloat& spread)
{
    for (uint32_t row = 0; row < s.rows; ++row) {
        const uint32_t bank = row % BANK_GROUPS ^ 1;
        AscendC::FusedMulAdd(s.data[row * s.pitch], factor[bank * BLOCK_FP32_ELEMS], spread[row * BLOCK_FP32_ELEMS],
                             static_cast<uint64_t>(REPEAT_FP32_ELEMS), s.cols / REPEAT_FP32_ELEMS,
                             AscendC::BinaryRepeatParams(1, 0, 0, 8, 0, 0));
    }
    Ordered();
}

// data = factor of the row * data + addend; the factor is given spread over one block a row.
__aicore__ inline void ScaleAndAddRows(const Strip& s, const UbFloat& spread, const Strip& addend)
{
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::FusedMulAdd(s.data[col], spread, addend.data[col], static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                             AscendC::BinaryRepeatParams(1, 0, 1, PitchBlocks(s), 1, PitchBlocks(addend)));
    }
    Ordered();
}

__aicore__ inline void MultiplyRowStatistic(const Strip& s, const UbFloat& spread)
{
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Mul(s.data[col], s.data[col], spread, static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                     AscendC::BinaryRepeatParams(1, 1, 0, blocks, blocks, 1));
    }
    Ordered();
}

__aicore__ inline void DivideRowStatistic(const Strip& s, const UbFloat& spread)
{
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Div(s.data[col], s.data[col], spread, static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                     AscendC::BinaryRepeatParams(1, 1, 0, blocks, blocks, 1));
    }
    Ordered();
}

__aicore__ inline void AddRows(const Strip& s, const Strip& addend)
{
    const uint32_t blocks = PitchBlocks(s);
    const uint32_t addendBlocks = PitchBlocks(addend);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Add(s.data[col], s.data[col], addend.data[col], static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                     AscendC::BinaryRepeatParams(1, 1, 1, blocks, blocks, addendBlocks));
    }
    Ordered();
}

// data += value.
__aicore__ inline void AddToRows(const Strip& s, float value)
{
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Adds(s.data[col], s.data[col], value, GroupLanes(s, col), s.rows,
                      AscendC::UnaryRepeatParams(1, 1, blocks, blocks));
    }
    Ordered();
}

// data = numerator / data; numerator is one 32 B block.
__aicore__ inline void DivideIntoRows(const Strip& s, const UbFloat& numerator)
{
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Div(s.data[col], numerator, s.data[col], static_cast<uint64_t>(GroupLanes(s, col)), s.rows,
                     AscendC::BinaryRepeatParams(1, 0, 1, blocks, 0, blocks));
    }
    Ordered();
}

__aicore__ inline void CopyRows(const Strip& dst, const Strip& src)
{
    for (uint32_t col = 0; col < src.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Adds(dst.data[col], src.data[col], 0.0F, GroupLanes(src, col), src.rows,
                      AscendC::UnaryRepeatParams(1, 1, PitchBlocks(dst), PitchBlocks(src)));
    }
    Ordered();
}

__aicore__ inline void AbsRows(const Strip& s)
{
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Abs(s.data[col], s.data[col], GroupLanes(s, col), s.rows,
                     AscendC::UnaryRepeatParams(1, 1, blocks, blocks));
    }
    Ordered();
}

__aicore__ inline void ExpRows(const Strip& s)
{
    if (RunRepeats(s) != 0) {
        ForRun(RunRepeats(s), [&](uint32_t at, uint32_t repeats) {
            AscendC::Exp(s.data[at], s.data[at], static_cast<uint64_t>(REPEAT_FP32_ELEMS), repeats,
                         AscendC::UnaryRepeatParams(1, 1, 8, 8));
        });
        Ordered();
        return;
    }
    const uint32_t blocks = PitchBlocks(s);
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Exp(s.data[col], s.data[col], GroupLanes(s, col), s.rows,
                     AscendC::UnaryRepeatParams(1, 1, blocks, blocks));
    }
    Ordered();
}

// Narrows to 16 bits with the same pitch in elements. No barrier: the copy that follows waits for a flag.
template <class T>
__aicore__ inline void NarrowRows(const AscendC::LocalTensor<T>& dst, uint32_t dstPitch, const Strip& s)
{
    if (RunRepeats(s) != 0 && dstPitch == s.pitch) {
        ForRun(RunRepeats(s), [&](uint32_t at, uint32_t repeats) {
            AscendC::Cast(dst[at], s.data[at], AscendC::RoundMode::CAST_RINT, static_cast<uint64_t>(REPEAT_FP32_ELEMS),
                          repeats, AscendC::UnaryRepeatParams(1, 1, 4, 8));
        });
        return;
    }
    for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
        AscendC::Cast(dst[col], s.data[col], AscendC::RoundMode::CAST_RINT, GroupLanes(s, col), s.rows,
                      AscendC::UnaryRepeatParams(1, 1, dstPitch / C0_B16_ELEMS, PitchBlocks(s)));
    }
}

// Widens 16-bit rows, srcPitch elements apart.
template <class T>
__aicore__ inline void WidenRows(const Strip& s, const AscendC::LocalTensor<T>& src, uint32_t srcPitch)
{
    if (RunRepeats(s) != 0 && srcPitch == s.pitch) {
        ForRun(RunRepeats(s), [&](uint32_t at, uint32_t repeats) {
            AscendC::Cast(s.data[at], src[at], AscendC::RoundMode::CAST_NONE, static_cast<uint64_t>(REPEAT_FP32_ELEMS),
                          repeats, AscendC::UnaryRepeatParams(1, 1, 8, 4));
        });
    } else {
        for (uint32_t col = 0; col < s.cols; col += REPEAT_FP32_ELEMS) {
            AscendC::Cast(s.data[col], src[col], AscendC::RoundMode::CAST_NONE, GroupLanes(s, col), s.rows,
                          AscendC::UnaryRepeatParams(1, 1, PitchBlocks(s), srcPitch / C0_B16_ELEMS));
        }
    }
    Ordered();
}

enum class RowReduction { MAX, SUM };

// One value a row. The 64-column groups are folded into one by a chain of element-wise steps, then 64 -> 8 -> 1. cols
// must be a multiple of 64. `folded` holds rows x 64 values, `eighths` rows x 8.
template <RowReduction reduction>
__aicore__ inline void ReduceRows(const UbFloat& result, const Strip& s, const UbFloat& folded, const UbFloat& eighths)
{
    const uint32_t blocks = PitchBlocks(s);
    constexpr uint64_t LANES = REPEAT_FP32_ELEMS;
    constexpr uint32_t FOLDED_BLOCKS = REPEAT_FP32_ELEMS / BLOCK_FP32_ELEMS;
    const bool single = s.cols <= REPEAT_FP32_ELEMS;
    for (uint32_t col = REPEAT_FP32_ELEMS; col < s.cols; col += REPEAT_FP32_ELEMS) {
        const bool begins = col == REPEAT_FP32_ELEMS;
        const UbFloat left = begins ? s.data : folded;
        const AscendC::BinaryRepeatParams p(1, 1, 1, FOLDED_BLOCKS, begins ? blocks : FOLDED_BLOCKS, blocks);
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::Max(folded, left, s.data[col], LANES, s.rows, p);
        } else {
            AscendC::Add(folded, left, s.data[col], LANES, s.rows, p);
        }
        Ordered();
    }
    const UbFloat source = single ? s.data : folded;
    const uint32_t sourceBlocks = single ? blocks : FOLDED_BLOCKS;
    const uint32_t wholeRepeats = s.rows / BLOCK_FP32_ELEMS;
    const uint32_t tailLanes = s.rows % BLOCK_FP32_ELEMS * BLOCK_FP32_ELEMS;
    if constexpr (reduction == RowReduction::MAX) {
        AscendC::BlockReduceMax<float>(eighths, source, s.rows, LANES, 1, 1, sourceBlocks);
    } else {
        AscendC::BlockReduceSum<float>(eighths, source, s.rows, LANES, 1, 1, sourceBlocks);
    }
    Ordered();
    for (uint32_t part = 0; part < 2; ++part) {
        const uint32_t repeats = part == 0 ? wholeRepeats : 1;
        const uint32_t lanes = part == 0 ? static_cast<uint32_t>(LANES) : tailLanes;
        const uint32_t row = part == 0 ? 0 : wholeRepeats * BLOCK_FP32_ELEMS;
        if (repeats == 0 || lanes == 0) {
            continue;
        }
        const UbFloat from = eighths[row * BLOCK_FP32_ELEMS];
        if constexpr (reduction == RowReduction::MAX) {
            AscendC::BlockReduceMax<float>(result[row], from, repeats, lanes, 1, 1, FOLDED_BLOCKS);
        } else {
            AscendC::BlockReduceSum<float>(result[row], from, repeats, lanes, 1, 1, FOLDED_BLOCKS);
        }
    }
    Ordered();
}

// Spreads one value a row over one 32 B block a row. Reads whole groups of 8 rows.
__aicore__ inline void SpreadRowStatistic(const UbFloat& spread, const UbFloat& statistic, uint32_t rows)
{
    AscendC::Brcb(spread, statistic, (rows + BLOCK_FP32_ELEMS - 1) / BLOCK_FP32_ELEMS,
                  AscendC::BrcbRepeatParams(1, BLOCK_FP32_ELEMS));
    Ordered();
}

}  // namespace fastattn
