// Buffer map of the matmul kernel: two slots of every buffer, one of L0C when two do not fit. Plain C++17, shared with
// the host.
#pragma once
#include "../flash_attention/storage.h"
#include "tiling.h"

namespace fastattn {

constexpr uint32_t L0C_BYTES = 131072;

struct MatmulMap {
    Buffer l1A;  // baseM x (baseK * stepA)
    Buffer l1B;  // baseN x (baseK * stepB)
    Buffer l0A;
    Buffer l0B;
    Buffer l0C;
};

FASTATTN_HOST_DEVICE constexpr MatmulMap MakeMatmulMap(const MatmulTiling& t)
{
    const uint32_t accumulatorBytes = t.baseM * t.baseN * FLOAT_BYTES;
    MatmulMap map{};
    map.l1A = PlaceAfter(0, t.baseM * t.baseK * t.stepA * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.l1B = PlaceAfter(map.l1A.EndBytes(), t.baseN * t.baseK * t.stepB * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.l0A = PlaceAfter(0, t.baseM * t.baseK * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.l0B = PlaceAfter(0, t.baseN * t.baseK * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.l0C = PlaceAfter(0, accumulatorBytes, accumulatorBytes * STAGES <= L0C_BYTES ? STAGES : 1, L0C_FRACTAL_BYTES);
    return map;
}

}  // namespace fastattn
