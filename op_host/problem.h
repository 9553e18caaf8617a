// The attention problem as a caller states it, its validation and what follows from it alone: element strides and the
// number of (query, key) pairs that count. First stage of op_host: problem -> candidates -> check -> cost -> plan.
// Values are kept as received (signed, names as text), so that an error can quote them.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "../op_kernel/flash_attention/tiling.h"
#include "refusal.h"
#include "soc_spec.h"

namespace fastattn {

// Element strides of (batch, seq, head) in the order of a BSND tensor; dim is contiguous.
using Strides = std::array<int64_t, 3>;

struct Problem {
    int64_t b = 0;
    int64_t sQ = 0;
    int64_t sKv = 0;
    int64_t hQ = 0;
    int64_t hKv = 0;
    int64_t d = 0;              // of Q and K
    std::optional<int64_t> dV;  // of V and O; d if absent
    std::string dtype = "fp16";
    std::string layout = "BSND";  // decides the strides that are not given
    bool causal = false;          // a right window of 0
    int64_t windowLeft = -1;      // keys to the left of the diagonal that a row sees; negative: all
    int64_t windowRight = -1;     // ... and to the right; the diagonal ends at the last query and the last key
    double softcap = 0;           // 0: off
    bool hasCuSeqlens = false;    // sequences back to back; sQ and sKv are the longest
    bool hasSinks = false;
    bool hasAlibi = false;
    bool alibiPerBatch = false;
    std::optional<std::string> maskDtype;  // of a mask tensor: bool, dtype or fp32; absent without one
    std::array<int64_t, 4> maskStrides{};  // its element strides of (batch, head, query, key), 0 where it is broadcast
    bool hasSeqUsedKv = false;             // a batch entry may use fewer than sKv keys
    int64_t totalQ = 0;                    // query tokens of all sequences, with hasCuSeqlens
    std::optional<double> softmaxScale;    // 1 / sqrt(d) if absent
    std::optional<Strides> qStrides;
    std::optional<Strides> kStrides;
    std::optional<Strides> vStrides;
    std::optional<Strides> oStrides;
};

Reasons CheckProblem(const Problem& problem, const SocSpec& soc);

// A tiling with every field that the problem decides; sizes, schedule and workspace are still zero.
// The problem must have passed CheckProblem.
FlashAttentionTiling TilingOfProblem(const Problem& problem);

// Dimension of a head of V and O.
int64_t DimV(const Problem& problem);

// (query, key) pairs of all heads that the windows leave; every key of the capacity counts as used.
double UsefulPairs(const FlashAttentionTiling& tiling);

// Keys of a sequence that some query sees, if there are keys for each query.
double VisibleKeys(const FlashAttentionTiling& tiling);

// Keys that the windows leave to a query, about: half of all where the right one ends.
double KeysOfQuery(const FlashAttentionTiling& tiling);

// Bytes of Q, K, V, O (16 bits an element) and lse (fp32), each once; of K and V what some query sees.
double OperandBytes(const FlashAttentionTiling& tiling);

}  // namespace fastattn
