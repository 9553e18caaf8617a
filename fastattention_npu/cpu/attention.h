// Attention on the CPU: the plain-data description of one call and its entry point. Memory is described by raw addresses
// and strides, so that neither torch's nor numpy's ABI enters; the Python side (fastattention_npu/cpu) fills it from
// tensors. Algorithm: FlashAttention-2 (arXiv 2307.08691) with keys along a panel's rows; see panel-inl.h, decode-inl.h.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fastattn::cpu {

enum class DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2, kBool = 3 };

// Elements from one batch entry (or page), token, head, channel to the next.
struct Strides {
    int64_t b = 0;
    int64_t s = 0;
    int64_t h = 0;
    int64_t d = 1;
};

// Addresses are integers because they cross the binding; 0 means absent. Sizes are in elements.
struct AttentionParams {
    int dtype = 0;  // DType of q, k, v and o
    uintptr_t q = 0, k = 0, v = 0, o = 0;
    uintptr_t lse = 0;  // float32, natural logarithm
    Strides qStrides, kStrides, vStrides, oStrides;
    Strides lseStrides;  // d unused

    int64_t batch = 0, queries = 0, keys = 0;  // with cumulative lengths, queries and keys are the maxima
    int64_t qHeads = 0, kvHeads = 0, dQk = 0, dV = 0;

    double scale = 1.0;
    double softcap = 0.0;      // 0: none
    int64_t windowLeft = -1;   // -1: unlimited; causal is windowRight = 0
    int64_t windowRight = -1;  // both relative to the bottom-right diagonal

    uintptr_t alibi = 0;  // float32 slopes, strides alibiB (0 to share) and 1
    int64_t alibiB = 0;
    uintptr_t sinks = 0;  // float32 logits, one a query head
    uintptr_t mask = 0;   // kBool: true is visible; otherwise added to the scores
    int maskDtype = 0;
    Strides maskStrides;  // s: query stride, d: key stride; 0 broadcasts

    uintptr_t cuQ = 0, cuK = 0;   // int32 (batch + 1), packed sequences
    uintptr_t seqUsedK = 0;       // int32 (batch), keys in use
    uintptr_t blockTable = 0;     // int32 (batch, blockTableStride): pages of k and v
    int64_t blockTableStride = 0;
    int64_t pageSize = 0;         // tokens; k and v strides b then step from page to page
    int64_t pageCount = 0;        // pages in the cache: table entries are checked against it

    int threads = 1;
    int splits = 0;  // parts that a key range is cut into; 0: chosen
};

// Computes o (and lse where asked). Throws std::invalid_argument with every reason at once; writes nothing then.
void Attend(const AttentionParams& params);

// Instruction-set targets that this build and this processor offer, best first; "portable" is always there.
std::vector<std::string> Targets();
std::string ActiveTarget();
// Forces one of Targets() (tests and benchmarks); the empty name returns to the best.
void ForceTarget(const std::string& name);
// Whether Google Highway was compiled in.
bool HasHighway();

// Reads `bytes` at every address in turn with `threads` threads, as fast as loads go; returns a checksum that depends
// on all of it. The yardstick for decode: what a read-only STREAM reaches over the same bytes.
uint64_t ReadBandwidthProbe(const std::vector<uintptr_t>& addresses, int64_t bytes, int threads);

}  // namespace fastattn::cpu
