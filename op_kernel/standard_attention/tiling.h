// The tiling struct of standard attention, the baseline: three launches, S = Q·K^T, P = softmax(S), O = P·V, that meet
// in GM. Plain data, passed by value; the same struct for all three. Heads are dense matrices, batch and heads joined.
#pragma once
#include <cstdint>

#include "../matmul/tiling.h"

namespace fastattn {

struct StandardAttentionTiling {
    MatmulTiling scores;  // [seqQ, dim] x [seqKv, dim]^T of one head
    MatmulTiling output;  // [seqQ, seqKv] x [seqKv, dim] of one head
    uint32_t heads;       // batch * heads
    uint32_t blockDim;    // core groups launched

    // Softmax.
    uint32_t stripRows;  // rows of S that a vector core holds at a time; 1 if a row has several segments
    uint32_t segments;   // of a row in UB
    uint32_t segment;    // elements, multiple of 64, at most 1024: stride fields are 8 bits wide
    uint32_t causal;     // 1: row r sees key c only if c <= r + seqKv - seqQ
    float softmaxScale;
};

}  // namespace fastattn
