// Which of a level-1 block's columns the cube core computes. Plain C++17: the kernel leaves out the others, op_host
// counts the work.
#pragma once
#include "partition.h"
#include "storage.h"

namespace fastattn {

// Keys of a block, and where its diagonal lies: row r sees column c only if c <= r + deltaRight.
struct BlockColumns {
    uint32_t cols;
    int64_t deltaRight;
};

// Rows whose scores end at the same column: a strip's, in whole fractals.
FASTATTN_HOST_DEVICE constexpr uint32_t RowsOfGroup(const FlashAttentionTiling& t)
{
    return t.stripRows % FRACTAL_ROWS == 0 ? t.stripRows : 2 * t.stripRows;
}

// Rows near the diagonal need fewer of the block's columns than others. Strips must not reach from one query tile into
// the next, heads below each other have a diagonal each, and the columns must end where a repeat and keys that come
// into L1 together do.
FASTATTN_HOST_DEVICE bool EndsAtDiagonal(const FlashAttentionTiling& t, const QueryBlock& queries, uint32_t row)
{
    const uint32_t left = queries.rows - row / t.sliceQ * t.sliceQ;
    const uint32_t sliceRows = left < t.sliceQ ? left : t.sliceQ;
    const bool oneHead = queries.tokens == queries.rows;
    const bool apart = t.l0TileQ % t.stripRows == 0 && RowsPerVectorCore(sliceRows) % t.stripRows == 0;
    const bool fits = t.l0TileKv % REPEAT_FP32_ELEMS == 0 || REPEAT_FP32_ELEMS % t.l0TileKv == 0;
    return t.windowRight >= 0 && oneHead && apart && fits;
}

// How many of the block's columns the rows before endRow see at most, a multiple of step or all; never none, because
// every row takes part in every block.
FASTATTN_HOST_DEVICE uint32_t ColumnsBefore(const BlockColumns& block, uint32_t endRow, uint32_t step)
{
    const int64_t end = endRow + block.deltaRight;
    const int64_t cols = end <= step ? step : (end + step - 1) / step * step;
    return cols < block.cols ? static_cast<uint32_t>(cols) : block.cols;
}

// Columns that the query tile with this row needs: what is behind them the right window hides from all of its rows. A
// multiple of 64, so that the vector cores fill nothing up, and of the keys that come into L1 together, whose pitch
// there is their number. All for the last tile.
FASTATTN_HOST_DEVICE uint32_t ColumnsOfTile(const FlashAttentionTiling& t, const QueryBlock& queries,
                                            const BlockColumns& block, uint32_t row)
{
    const uint32_t step = MaxOf(t.l0TileKv, REPEAT_FP32_ELEMS);
    return EndsAtDiagonal(t, queries, row) ? ColumnsBefore(block, (row / t.l0TileQ + 1) * t.l0TileQ, step) : block.cols;
}

// ... and that the strip with this row needs, a multiple of 64.
FASTATTN_HOST_DEVICE uint32_t ColumnsOfStrip(const FlashAttentionTiling& t, const QueryBlock& queries,
                                             const BlockColumns& block, uint32_t row)
{
    const uint32_t end = (row / RowsOfGroup(t) + 1) * RowsOfGroup(t);
    return EndsAtDiagonal(t, queries, row) ? ColumnsBefore(block, end, REPEAT_FP32_ELEMS) : block.cols;
}

// Rows at the start of a query tile that need no column from col on: whole groups, less than the tile's rows where col
// is one of its columns.
FASTATTN_HOST_DEVICE uint32_t RowsWithout(const FlashAttentionTiling& t, const QueryBlock& queries,
                                          const BlockColumns& block, uint32_t tileRow, uint32_t col)
{
    const uint32_t end = col / REPEAT_FP32_ELEMS * REPEAT_FP32_ELEMS;
    const int64_t rows = end - block.deltaRight - tileRow;
    if (end == 0 || rows <= 0 || !EndsAtDiagonal(t, queries, tileRow)) {
        return 0;
    }
    return static_cast<uint32_t>(rows) / RowsOfGroup(t) * RowsOfGroup(t);
}

}  // namespace fastattn
