// The plan of append_kv_cache: strides in bytes, and how the new tokens are dealt to the vector cores. Pure C++17.
#pragma once
#include <array>
#include <cstdint>

#include "../op_kernel/kv_cache/tiling.h"
#include "refusal.h"
#include "soc_spec.h"

namespace fastattn {

// Strides in elements of (batch, token, head) among the new tokens and of (row, token, head) in the cache.
struct AppendTensor {
    int64_t headDim = 0;
    std::array<int64_t, 3> newStrides{};
    std::array<int64_t, 3> cacheStrides{};
};

struct AppendProblem {
    int64_t batch = 0;
    int64_t tokens = 0;
    int64_t heads = 0;
    int64_t cacheRows = 0;
    int64_t rowTokens = 0;
    int64_t sequencePages = 0;
    int64_t tableStride = 0;
    bool hasCacheBatchIdx = false;
    int64_t elementBytes = 0;
    AppendTensor k;
    AppendTensor v;
};

// Throws Refusal with every reason.
AppendKvCacheTiling MakeAppendPlan(const AppendProblem& problem, const SocSpec& soc);

}  // namespace fastattn
