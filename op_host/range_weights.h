// What a block and a task cost besides their keys: the weights with which the schedule RANGES cuts the work
// (op_kernel/flash_attention/partition.h).
#pragma once
#include <cstdint>

#include "../op_kernel/flash_attention/tiling.h"
#include "soc_spec.h"

namespace fastattn {

// In columns of UNIT_KEYS keys.
struct RangeWeights {
    uint32_t blockUnits;
    uint32_t taskUnits;
};

// Depends on the problem, the blocks and the strip, not on the schedule.
RangeWeights WeightsOf(const FlashAttentionTiling& tiling, const SocSpec& soc);

}  // namespace fastattn
