// Buffer map of the softmax kernel in UB. Plain C++17, shared with the host.
#pragma once
#include "../flash_attention/storage.h"
#include "tiling.h"

namespace fastattn {

struct SoftmaxMap {
    Buffer narrow;     // stripRows x row in 16 bits, scores in and probabilities out
    Buffer wide;       // ... in fp32
    Buffer folded;     // rows of 64 fp32, tree maxima and sums
    Buffer spread;     // rows of 8 fp32, a row statistic spread over one 32 B block a row
    Buffer statistic;  // a value a row
};

FASTATTN_HOST_DEVICE constexpr SoftmaxMap MakeSoftmaxMap(const StandardAttentionTiling& t)
{
    const uint32_t rows = static_cast<uint32_t>(RoundUp(t.stripRows * t.segments, BLOCK_FP32_ELEMS));
    const uint32_t elems = t.stripRows * t.segments * t.segment;
    SoftmaxMap map{};
    map.narrow = PlaceAfter(0, elems * HALF_BYTES, STAGES);
    map.wide = PlaceAfter(map.narrow.EndBytes(), elems * FLOAT_BYTES, 1);
    map.folded = PlaceAfter(map.wide.EndBytes(), rows * REPEAT_BYTES, 1);
    map.spread = PlaceAfter(map.folded.EndBytes(), rows * BLOCK_BYTES, 1);
    map.statistic = PlaceAfter(map.spread.EndBytes(), rows * FLOAT_BYTES, 1);
    return map;
}

}  // namespace fastattn
