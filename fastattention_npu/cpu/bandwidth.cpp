// The read-bandwidth yardstick: what a loop that does nothing but load reaches over the very bytes that decode reads.
// Decode's GB/s is reported as a share of this, measured in the same run.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "attention.h"
#include "thread_pool.h"

namespace fastattn::cpu {
namespace {

constexpr int64_t CHUNK_BYTES = 4 << 20;
constexpr int64_t PREFETCH_BYTES = 4096;

uint64_t ReadChunk(const char* from, int64_t bytes)
{
    uint64_t sums[16] = {};
    int64_t i = 0;
    for (; i + 128 <= bytes; i += 128) {
        // Prefetching ahead helps a plain loop, too; the yardstick must not be beaten for want of it.
        __builtin_prefetch(from + i + PREFETCH_BYTES, 0, 3);
        __builtin_prefetch(from + i + PREFETCH_BYTES + 64, 0, 3);
        uint64_t words[16];
        std::memcpy(words, from + i, sizeof(words));
        for (int w = 0; w < 16; ++w) {
            sums[w] += words[w];
        }
    }
    uint64_t total = 0;
    for (; i < bytes; ++i) {
        total += static_cast<unsigned char>(from[i]);
    }
    for (const uint64_t sum : sums) {
        total += sum;
    }
    return total;
}

}  // namespace

uint64_t ReadBandwidthProbe(const std::vector<uintptr_t>& addresses, int64_t bytes, int threads)
{
    const int64_t chunks = (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    std::atomic<uint64_t> total{0};
    ParallelFor(chunks * static_cast<int64_t>(addresses.size()), threads, [&](int64_t task, int) {
        const auto* from = reinterpret_cast<const char*>(addresses[static_cast<size_t>(task / chunks)]);
        const int64_t start = task % chunks * CHUNK_BYTES;
        total += ReadChunk(from + start, std::min(CHUNK_BYTES, bytes - start));
    });
    return total;
}

}  // namespace fastattn::cpu
