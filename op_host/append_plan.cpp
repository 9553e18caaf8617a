// See append_plan.h. Sources of the sizes: bandwidth needs copies of 16 KB and more (configs/soc, mte2).
#include "append_plan.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace fastattn {
namespace {

constexpr int64_t LEAST_CHUNK_BYTES = 16 * 1024;
constexpr int64_t MOST = std::numeric_limits<int32_t>::max();  // positions are int32 in cache_seqlens

void CheckSize(const char* name, int64_t value, int64_t least, int64_t most, Reasons& reasons)
{
    if (value >= least && value <= most) return;
    reasons.push_back({name, std::to_string(value), std::to_string(least) + " to " + std::to_string(most),
                       "append fewer tokens at a time, or to a smaller cache"});
}

void CheckTensor(const std::string& name, const AppendTensor& x, Reasons& reasons)
{
    CheckSize((name + " head dim").c_str(), x.headDim, 1, MOST, reasons);
    for (const int64_t stride : x.newStrides) CheckSize((name + ".stride()").c_str(), stride, 0, INT64_MAX, reasons);
    for (const int64_t stride : x.cacheStrides) {
        CheckSize((name + "_cache.stride()").c_str(), stride, 1, INT64_MAX, reasons);
    }
}

CacheTensor InBytes(const AppendTensor& x, int64_t elementBytes)
{
    const auto bytes = [&](int64_t elements) { return static_cast<uint64_t>(elements * elementBytes); };
    return {bytes(x.newStrides[0]),   bytes(x.newStrides[1]),   bytes(x.newStrides[2]), bytes(x.cacheStrides[0]),
            bytes(x.cacheStrides[1]), bytes(x.cacheStrides[2]), bytes(x.headDim)};
}

// Enough chunks for all vector cores, but none smaller than a copy that reaches the bandwidth.
int64_t ChunkTokens(const AppendProblem& p, int64_t vectorCores)
{
    const int64_t tokenBytes = p.heads * std::max(p.k.headDim, p.v.headDim) * p.elementBytes;
    const int64_t chunks = std::max<int64_t>(vectorCores / (2 * p.batch), 1);
    const int64_t even = (p.tokens + chunks - 1) / chunks;
    const int64_t least = (LEAST_CHUNK_BYTES + tokenBytes - 1) / tokenBytes;
    return std::min(p.tokens, std::max(even, least));
}

}  // namespace

AppendKvCacheTiling MakeAppendPlan(const AppendProblem& p, const SocSpec& soc)
{
    Reasons reasons;
    CheckSize("b", p.batch, 1, MOST, reasons);
    CheckSize("new tokens", p.tokens, 1, MOST, reasons);
    CheckSize("heads", p.heads, 1, MOST, reasons);
    CheckSize("cache rows", p.cacheRows, 0, MOST, reasons);
    CheckSize("tokens of a cache row", p.rowTokens, 1, MOST, reasons);
    CheckSize("pages of a sequence", p.sequencePages, 0, MOST, reasons);
    CheckSize("block_table.stride(0)", p.tableStride, 0, MOST, reasons);
    CheckTensor("k", p.k, reasons);
    CheckTensor("v", p.v, reasons);
    if (soc.ubUsableBytes < APPEND_UB_BYTES) {
        reasons.push_back({"UB", NumberText(soc.ubUsableBytes), "at least " + std::to_string(APPEND_UB_BYTES) + " B",
                           "name the SoC that this is"});
    }
    if (!reasons.empty()) throw Refusal("no plan of append_kv_cache on " + soc.name, std::move(reasons));

    const auto groups = static_cast<int64_t>(soc.aicCores);
    AppendKvCacheTiling t{};
    t.k = InBytes(p.k, p.elementBytes);
    t.v = InBytes(p.v, p.elementBytes);
    t.batch = static_cast<uint32_t>(p.batch);
    t.tokens = static_cast<uint32_t>(p.tokens);
    t.heads = static_cast<uint32_t>(p.heads);
    t.cacheRows = static_cast<uint32_t>(p.cacheRows);
    t.rowTokens = static_cast<uint32_t>(p.rowTokens);
    t.sequencePages = static_cast<uint32_t>(p.sequencePages);
    t.tableStride = static_cast<uint32_t>(p.tableStride);
    t.hasCacheBatchIdx = p.hasCacheBatchIdx ? 1 : 0;
    t.chunkTokens = static_cast<uint32_t>(ChunkTokens(p, groups * VECTOR_CORES_PER_CUBE));
    // K and V of a chunk: one vector core each.
    const int64_t chunks = p.batch * ((p.tokens + t.chunkTokens - 1) / t.chunkTokens);
    t.blockDim = static_cast<uint32_t>(std::min(groups, chunks));
    return t;
}

}  // namespace fastattn
