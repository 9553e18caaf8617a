// The names of the tiling struct's fields, once: overrides look them up, the binding prints them, errors list them.
// A new field of FlashAttentionTiling means one row here (and a row of the limits table if it can be overridden).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../op_kernel/flash_attention/tiling.h"
#include "refusal.h"

namespace fastattn {

struct TilingField {
    const char* name;  // as in configs/tiling/*.yaml
    uint32_t FlashAttentionTiling::* member;
    bool overridable;
    std::vector<const char*> names = {};  // of the values 0, 1, 2 ..., where they go by name
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

// The field of that name, or nullptr.
const TilingField* FindTilingField(const std::string& name);
// The value that goes by a name, if the field has names and this is one.
std::optional<int64_t> ValueOfName(const TilingField& field, const std::string& name);
std::string JoinNames(const TilingField& field);

// Values of a tiling YAML; a field that is absent is op_host's choice.
using Overrides = std::map<std::string, int64_t>;

// Reasons for unknown names and for values outside their own limit; those entries are removed from the overrides, so
// that the later checks judge the rest.
Reasons TakeBadOverrides(Overrides& overrides);

void ApplyOverrides(const Overrides& overrides, FlashAttentionTiling& tiling);

}  // namespace fastattn
