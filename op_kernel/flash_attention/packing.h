// GQA packing: the query heads that share a key head become rows of one block, head after head, each with the block's
// tokens, so that K and V are read once for all of them. Rows of a head stay a run of consecutive tokens, which is what
// masks, positions, O and lse need. Without packing a block has one run. Plain C++17.
#pragma once
#include "../common/hardware.h"
#include "tiling.h"

namespace fastattn {

// Query heads of a task.
FASTATTN_HOST_DEVICE constexpr uint32_t PackedHeads(const FlashAttentionTiling& t)
{
    return t.packGqa != 0 ? t.headsQ / t.headsKv : 1;
}
// Tasks of one (batch, query block).
FASTATTN_HOST_DEVICE constexpr uint32_t TaskHeads(const FlashAttentionTiling& t) { return t.headsQ / PackedHeads(t); }
// Query tokens of a block; 0 if a token's heads do not fit.
FASTATTN_HOST_DEVICE constexpr uint32_t BlockTokens(const FlashAttentionTiling& t) { return t.blockQ / PackedHeads(t); }
// Rows of the longest block.
FASTATTN_HOST_DEVICE constexpr uint32_t BlockRows(const FlashAttentionTiling& t)
{
    return (t.seqQ < BlockTokens(t) ? t.seqQ : BlockTokens(t)) * PackedHeads(t);
}

// Consecutive rows of a block that belong to one head.
struct HeadRun {
    uint32_t rows;
    uint32_t head;   // within the task
    uint32_t token;  // of the first row, within the block
};

// The run that starts at a row, cut off at row `end`. tokens: of the block.
FASTATTN_HOST_DEVICE constexpr HeadRun RunAt(uint32_t tokens, uint32_t row, uint32_t end)
{
    const uint32_t token = row % tokens;
    const uint32_t rows = tokens - token;
    return HeadRun{rows < end - row ? rows : end - row, row / tokens, token};
}

}  // namespace fastattn
