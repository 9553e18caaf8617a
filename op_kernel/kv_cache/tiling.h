// The tiling struct of append_kv_cache: plain data, passed by value at launch. Sizes and strides in bytes where they
// say so, for the kernel moves bytes and knows no element type.
#pragma once
#include "../common/hardware.h"

namespace fastattn {

// K or V: where a head's part of a token lies among the new tokens and in the cache.
struct CacheTensor {
    uint64_t newBatchBytes;
    uint64_t newTokenBytes;
    uint64_t newHeadBytes;
    uint64_t cacheRowBytes;
    uint64_t cacheTokenBytes;
    uint64_t cacheHeadBytes;
    uint64_t headBytes;  // of one head of one token, contiguous on both sides
};

struct AppendKvCacheTiling {
    CacheTensor k;
    CacheTensor v;

    uint32_t batch;
    uint32_t tokens;  // new ones of each batch entry
    uint32_t heads;
    uint32_t cacheRows;         // batch rows of the cache, or pages
    uint32_t rowTokens;         // tokens that a row, or a page, holds
    uint32_t sequencePages;     // entries of a batch entry in the block table; 0: no table, a sequence is a row
    uint32_t tableStride;       // of the block table, in elements
    uint32_t hasCacheBatchIdx;  // 1: batch entry i is row cacheBatchIdx[i] of the cache

    uint32_t blockDim;     // core groups of the launch
    uint32_t chunkTokens;  // of a batch entry that a vector core moves in one go
};

// UB of a vector core.
constexpr uint32_t APPEND_SLOTS = 2;
constexpr uint32_t APPEND_SLOT_BYTES = 64 * 1024;
constexpr uint32_t APPEND_LENGTH_OFFSET_BYTES = APPEND_SLOTS * APPEND_SLOT_BYTES;  // one number in a block of its own
constexpr uint32_t APPEND_UB_BYTES = APPEND_LENGTH_OFFSET_BYTES + BLOCK_BYTES;

}  // namespace fastattn
