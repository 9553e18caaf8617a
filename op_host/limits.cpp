// The rows of the limits table and the one check that reads them. Field widths: Ascend C documentation of Nd2NzParams,
// LoadData2DParams, Mmad, CrossCoreSetFlag and the vector repeat parameters for dav-2201.
#include "limits.h"

#include <algorithm>
#include <stdexcept>

#include "../op_kernel/flash_attention/storage.h"

namespace fastattn {

const std::vector<Limit>& Limits()
{
    constexpr LimitGroup PROBLEM = LimitGroup::PROBLEM;
    constexpr LimitGroup TILING = LimitGroup::TILING;
    static const std::vector<Limit> limits = {
        {"b", PROBLEM, 1, 65535, 1, "keeps element offsets within 64 bits", "split the batch into several calls"},
        {"s_q", PROBLEM, 1, 1 << 30, 1, "positions are compared in int32", "split the queries into several calls"},
        {"s_kv", PROBLEM, 1, 1 << 30, 1, "positions are compared in int32", "split the keys and combine by lse"},
        {"h_q", PROBLEM, 1, 65535, 1, "keeps element offsets within 64 bits", "split the heads into several calls"},
        {"h_kv", PROBLEM, 1, 65535, 1, "keeps element offsets within 64 bits", "split the heads into several calls"},
        {"d", PROBLEM, 1, 256, 1, "one row of it in L0A and L0B", "split the head dim outside the kernel"},
        {"d_v", PROBLEM, 1, 256, 1, "one row of it in L0C and UB", "split V along the head dim"},
        {"gm_pitch", PROBLEM, 1, (int64_t{1} << 31) - 1, 1,
         "elements between two rows; DataCopyPad strides are 32 bits of bytes", "use the BNSD layout"},
        {"stride", PROBLEM, 0, int64_t{1} << 40, 1, "elements; beyond any HBM", "pass the tensor's own strides"},
        {"block_q", TILING, 16, 512, 16, "rows of whole cube fractals", ""},
        {"slice_q", TILING, 16, 496, 16, "a vector core has half of its rows, and vector repeatTimes is a uint8", ""},
        {"block_kv", TILING, 256, 1792, 256,
         "mask rows fill 32 B blocks, and a row of fp32 scores spans at most 255 of them (uint8 repeat stride)", ""},
        {"ring", TILING, 2, CROSS_CORE_COUNTER_MAX - 1, 1, "cross-core flags count to 15", ""},
        {"preload", TILING, 1, CROSS_CORE_COUNTER_MAX - 2, 1, "the ring holds one slot more", ""},
        {"s_exchange", TILING, EXCHANGE_FP32, EXCHANGE_BF16, 1,
         "fp32, fp16 (a score before scaling is at most 65504 in size) or bf16 (operands in bf16)", ""},
        {"stagger", TILING, 1, 8, 1, "phases of a block, each a whole number of 32 keys", ""},
        {"l1_tile_kv", TILING, 16, 16384, 16, "ND2NZ nValue", ""},
        {"l1_tile_v", TILING, 16, 16384, 16, "ND2NZ nValue", ""},
        {"l1_tile_p", TILING, 16, 16384, 16, "ND2NZ nValue", ""},
        {"l0_tile_q", TILING, 16, 256, 16, "rows of whole cube fractals", ""},
        {"interleave", TILING, 0, 1, 1, "0: whole blocks of Q·K^T and P·V in turn, 1: tiles in turn", ""},
        {"l0_tile_kv", TILING, 16, 4080, 16, "Mmad m, n, k of 12 bits, in whole fractals", ""},
        {"strip_rows", TILING, 8, 248, 8, "one Brcb fills 8 rows, and vector repeatTimes is a uint8", ""},
        {"p_slots", TILING, 1, STAGES, 1, "strips of P in UB, on their way to GM", ""},
        {"mask", TILING, MASK_TILING, MASK_FULL, 1, "tiling, predicate or full", ""},
        {"mask_block", TILING, 256, 2048, 256, "mask rows fill 32 B blocks; the M-mask stays within 2 MB", ""},
        {"pack_gqa", TILING, 0, 1, 1, "1: the query heads of a key head share a block", ""},
        {"schedule", TILING, 0, 3, 1,
         "0: whole tasks back and forth, 1: equal ranges of keys, 2: whole tasks in turn, 3: as 0 in order of tokens",
         ""},
        {"block_units", TILING, 0, 1024, 1, "what a block costs besides its keys, in columns of 32 keys", ""},
        {"task_units", TILING, 0, 1024, 1, "what a task costs besides its blocks, in columns of 32 keys", ""},
        {"block_dim", TILING, 1, 65535, 1, "one a cube core; the SoC has fewer", ""},
    };
    return limits;
}

const Limit& LimitOf(const std::string& key)
{
    for (const Limit& limit : Limits()) {
        if (key == limit.key) {
            return limit;
        }
    }
    throw std::logic_error("no limit named " + key);
}

namespace {

// The nearest legal values, or the row's own advice for a value that is too large.
std::string RemedyFor(const Limit& limit, int64_t value)
{
    if (value > limit.max && *limit.remedy != '\0') {
        return limit.remedy;
    }
    const int64_t clamped = std::clamp(value, limit.min, limit.max);
    const int64_t below = clamped / limit.multiple * limit.multiple;
    std::string remedy = "use " + std::to_string(below);
    if (below != clamped) {
        remedy += " or " + std::to_string(below + limit.multiple);
    }
    return remedy;
}

}  // namespace

bool IsWithin(const Limit& limit, int64_t value)
{
    return value >= limit.min && value <= limit.max && value % limit.multiple == 0;
}

std::string DescribeLimit(const Limit& limit)
{
    std::string text = std::to_string(limit.min) + " to " + std::to_string(limit.max);
    if (limit.multiple > 1) {
        text += " in multiples of " + std::to_string(limit.multiple);
    }
    return text + " (" + limit.why + ")";
}

void CheckLimit(const Limit& limit, const std::string& name, int64_t value, Reasons& reasons)
{
    if (IsWithin(limit, value)) {
        return;
    }
    reasons.push_back({name, std::to_string(value), DescribeLimit(limit), RemedyFor(limit, value)});
}

}  // namespace fastattn
