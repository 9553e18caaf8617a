// The names of the tiling struct's fields, once: overrides look them up, the binding prints them, errors list them.
// A new field of FlashAttentionTiling means one row here (and a row of the limits table if it can be overridden).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../op_kernel/flash_attention/tiling.h"
#include "refusal.h"

namespace fastattn {

struct TilingField {
    const char* name;  // as in configs/tiling/*.yaml
    uint32_t FlashAttentionTiling::* member;
    bool overridable;
};

struct TilingOffsetField {
    const char* name;
    uint64_t FlashAttentionTiling::* member;
};

struct TilingStridesField {
    const char* name;
    TensorStrides FlashAttentionTiling::* member;
};

const std::vector<TilingField>& TilingFields();
const std::vector<TilingOffsetField>& TilingOffsetFields();
const std::vector<TilingStridesField>& TilingStridesFields();

// Values of a tiling YAML; a field that is absent is op_host's choice.
using Overrides = std::map<std::string, int64_t>;

// Reasons for unknown names and for values outside their own limit; those entries are removed from the overrides, so
// that the later checks judge the rest.
Reasons TakeBadOverrides(Overrides& overrides);

void ApplyOverrides(const Overrides& overrides, FlashAttentionTiling& tiling);

}  // namespace fastattn
