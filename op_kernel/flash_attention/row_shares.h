// Which rows of a query block belong to a vector core: half of each slice's. In UB they lie one behind the other.
#pragma once
#include "work.h"

namespace fastattn {

// A vector core's rows of a slice.
struct RowShare {
    uint32_t row0;  // within the query block
    uint32_t rows;
    uint32_t local;  // where they begin among the core's rows of the query block
};

class RowShares {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, uint32_t subBlock)
    {
        sliceQ_ = tiling.sliceQ;
        subBlock_ = subBlock;
    }

    // Of the slice that begins at a row of a query block of so many.
    __aicore__ inline RowShare At(uint32_t row0, uint32_t blockRows) const
    {
        const uint32_t left = blockRows - row0;
        const uint32_t rows = left < sliceQ_ ? left : sliceQ_;
        const uint32_t half = RowsPerVectorCore(rows);
        const uint32_t local = row0 / sliceQ_ * RowsPerVectorCore(sliceQ_);
        if (subBlock_ == 0) {
            return {row0, rows < half ? rows : half, local};
        }
        return {row0 + half, rows > half ? rows - half : 0, local};
    }

    // Calls body(share) for every slice of a query block.
    template <class Body>
    __aicore__ inline void ForEach(uint32_t blockRows, const Body& body) const
    {
        for (uint32_t row0 = 0; row0 < blockRows; row0 += sliceQ_) {
            body(At(row0, blockRows));
        }
    }

    // Of all slices together.
    __aicore__ inline uint32_t RowsOf(uint32_t blockRows) const
    {
        const RowShare last = At((blockRows - 1) / sliceQ_ * sliceQ_, blockRows);
        return last.local + last.rows;
    }

private:
    uint32_t sliceQ_ = 0;
    uint32_t subBlock_ = 0;
};

}  // namespace fastattn
