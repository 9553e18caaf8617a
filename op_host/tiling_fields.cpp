// Rows of the field tables, and overriding by name.
#include "tiling_fields.h"

#include <algorithm>
#include <iterator>

#include "limits.h"

namespace fastattn {

using T = FlashAttentionTiling;

const std::vector<TilingField>& TilingFields()
{
    static const std::vector<TilingField> fields = {
        {"batch", &T::batch, false},
        {"heads_q", &T::headsQ, false},
        {"heads_kv", &T::headsKv, false},
        {"seq_q", &T::seqQ, false},
        {"seq_kv", &T::seqKv, false},
        {"head_dim_qk", &T::headDimQk, false},
        {"head_dim_v", &T::headDimV, false},
        {"has_cu_seqlens", &T::hasCuSeqlens, false},
        {"has_sinks", &T::hasSinks, false},
        {"has_alibi", &T::hasAlibi, false},
        {"has_seq_used_kv", &T::hasSeqUsedKv, false},
        {"mask_tensor", &T::maskTensor, false, {"none", "bool", "add", "add_fp32", "windows"}},
        {"block_q", &T::blockQ, true},
        {"slice_q", &T::sliceQ, true},
        {"block_kv", &T::blockKv, true},
        {"ring", &T::ring, true},
        {"preload", &T::preload, true},
        {"s_exchange", &T::sExchange, true, {"fp32", "fp16", "bf16"}},
        {"stagger", &T::stagger, true},
        {"l1_tile_kv", &T::l1TileKv, true},
        {"l1_tile_v", &T::l1TileV, true},
        {"l1_tile_p", &T::l1TileP, true},
        {"l0_tile_q", &T::l0TileQ, true},
        {"l0_tile_kv", &T::l0TileKv, true},
        {"interleave", &T::interleave, true},
        {"strip_rows", &T::stripRows, true},
        {"p_slots", &T::pSlots, true},
        {"mask", &T::maskMode, true, {"tiling", "predicate", "full"}},
        {"mask_block", &T::maskBlock, true},
        {"block_dim", &T::blockDim, true},
        {"num_blocks_q", &T::numBlocksQ, false},
        {"pack_gqa", &T::packGqa, true},
        {"schedule", &T::schedule, true},
        {"block_units", &T::blockUnits, true},
        {"task_units", &T::taskUnits, true},
    };
    return fields;
}

const std::vector<TilingOffsetField>& TilingOffsetFields()
{
    static const std::vector<TilingOffsetField> fields = {
        {"workspace_bytes_per_group", &T::workspaceBytesPerGroup},
        {"workspace_s_offset_bytes", &T::workspaceSOffsetBytes},
        {"workspace_p_offset_bytes", &T::workspacePOffsetBytes},
        {"workspace_o_offset_bytes", &T::workspaceOOffsetBytes},
        {"workspace_part_offset_bytes", &T::workspacePartOffsetBytes},
    };
    return fields;
}

const std::vector<TilingStridesField>& TilingStridesFields()
{
    static const std::vector<TilingStridesField> fields = {{"q_strides", &T::q},
                                                           {"k_strides", &T::k},
                                                           {"v_strides", &T::v},
                                                           {"o_strides", &T::o},
                                                           {"mask_strides", &T::attnMask}};
    return fields;
}

const TilingField* FindTilingField(const std::string& name)
{
    for (const TilingField& field : TilingFields()) {
        if (name == field.name) {
            return &field;
        }
    }
    return nullptr;
}

std::optional<int64_t> ValueOfName(const TilingField& field, const std::string& name)
{
    const auto found = std::find(field.names.begin(), field.names.end(), name);
    if (found == field.names.end()) {
        return std::nullopt;
    }
    return found - field.names.begin();
}

std::string JoinNames(const TilingField& field)
{
    std::string text;
    for (const char* name : field.names) {
        text += (text.empty() ? "" : ", ") + std::string(name);
    }
    return text;
}

namespace {

const TilingField* FindOverridable(const std::string& name)
{
    const TilingField* field = FindTilingField(name);
    return field != nullptr && field->overridable ? field : nullptr;
}

std::string OverridableNames()
{
    std::string names;
    for (const TilingField& field : TilingFields()) {
        if (field.overridable) {
            names += (names.empty() ? "" : ", ") + std::string(field.name);
        }
    }
    return names;
}

}  // namespace

Reasons TakeBadOverrides(Overrides& overrides)
{
    Reasons reasons;
    for (auto entry = overrides.begin(); entry != overrides.end();) {
        const size_t before = reasons.size();
        if (FindOverridable(entry->first) == nullptr) {
            reasons.push_back({entry->first, std::to_string(entry->second), "one of " + OverridableNames(),
                               "remove or rename this tiling field"});
        } else {
            CheckLimit(LimitOf(entry->first), entry->first, entry->second, reasons);
        }
        entry = reasons.size() == before ? std::next(entry) : overrides.erase(entry);
    }
    return reasons;
}

void ApplyOverrides(const Overrides& overrides, FlashAttentionTiling& tiling)
{
    for (const auto& [name, value] : overrides) {
        tiling.*(FindOverridable(name)->member) = static_cast<uint32_t>(value);
    }
}

}  // namespace fastattn
