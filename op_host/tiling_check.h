// What a tiling needs of a SoC: the place of every buffer, and every rule that the tiling breaks. The buffer maps are
// the kernel's own (op_kernel/flash_attention/storage.h), so a plan that passes is the plan that runs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../op_kernel/flash_attention/tiling.h"
#include "refusal.h"
#include "soc_spec.h"

namespace fastattn {

struct PlacedBuffer {
    const char* memory;  // L1, L0A, L0B, L0C, UB or workspace (GM, of one core group)
    const char* name;
    uint64_t offsetBytes;
    uint64_t slotBytes;
    uint64_t slots;
    uint64_t limitBytes;
    const char* remedy;  // which fields to lower if it does not fit
    uint64_t EndBytes() const { return offsetBytes + slotBytes * slots; }
};

std::vector<PlacedBuffer> PlaceBuffers(const FlashAttentionTiling& tiling, const SocSpec& soc);

// Rules that join several fields or need the SoC. Every field must be within its own limit (limits.h) already.
Reasons CheckTiling(const FlashAttentionTiling& tiling, const SocSpec& soc);

}  // namespace fastattn
