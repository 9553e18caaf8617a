// What a kernel task needs to know: the call's parameters resolved per sequence, and how its work is cut into tasks.
// Shared by every instruction-set target; holds no vector types. Rows of one KV head are its group's query heads and
// positions together, position-major (row = position * group + head), so that one pass over K and V serves them all.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "attention.h"
#include "convert.h"

namespace fastattn::cpu {

constexpr float MINUS_INFINITY = -std::numeric_limits<float>::infinity();
constexpr double LOG2_E = 1.4426950408889634;
constexpr float LN_2 = 0.69314718055994531f;

struct Sequence {
    int64_t qStart = 0;  // first token within a packed tensor
    int64_t kStart = 0;
    int64_t queries = 0;
    int64_t keys = 0;
};

// One unit of work: rows [rowBegin, rowEnd) of a KV head against keys [keyBegin, keyEnd). Decode over a token-major
// cache takes several heads at once, from kvHead on, because their keys share pages of memory.
struct Task {
    int32_t sequence = 0;
    int32_t kvHead = 0;
    int32_t kvHeads = 1;
    int64_t rowBegin = 0, rowEnd = 0;
    int64_t keyBegin = 0, keyEnd = 0;
    int64_t partial = -1;  // first row of its partial results (heads in turn), -1 when it writes o itself
};

// Rows of one KV head whose partial results must be combined: `splits` runs, `step` apart, from `partial`.
struct Combine {
    int32_t sequence = 0;
    int32_t kvHead = 0;
    int64_t rowBegin = 0, rowEnd = 0;
    int64_t partial = 0, step = 0;
    int32_t splits = 0;
};

struct Context {
    AttentionParams p;
    int64_t group = 1;  // query heads to a KV head
    std::vector<Sequence> sequences;
    std::vector<Task> tasks;
    std::vector<Combine> combines;
    bool decode = false;           // rows too few to fill a panel: one pass with vectors along d
    int64_t headsPerTask = 1;      // decode only
    int64_t rowsPerTask = 0;       // panel kernel only
    float qFactor = 1.0f;          // multiplies q when it is packed
    bool plainScores = true;       // no softcap, ALiBi or mask tensor: only the key range can hide a key
    float* partialO = nullptr;     // (partial rows, dV), not yet divided by the row sum
    float* partialMax = nullptr;   // base-2 logarithm scale
    float* partialSum = nullptr;

    int64_t Head(const Task& t, int64_t row) const { return t.kvHead * group + row % group; }  // of its first KV head
    int64_t Position(int64_t row) const { return row / group; }

    // First and last visible key of a position by window and length alone; empty when last < first.
    int64_t FirstKey(const Sequence& s, int64_t position) const
    {
        if (p.windowLeft < 0) {
            return 0;
        }
        const int64_t first = position + s.keys - s.queries - p.windowLeft;
        return first > 0 ? first : 0;
    }
    int64_t LastKey(const Sequence& s, int64_t position) const
    {
        if (p.windowRight < 0) {
            return s.keys - 1;
        }
        const int64_t last = position + s.keys - s.queries + p.windowRight;
        return last < s.keys - 1 ? last : s.keys - 1;
    }

    template <class T>
    const T* QueryRow(const Sequence& s, int32_t batch, int64_t head, int64_t position) const
    {
        return reinterpret_cast<const T*>(p.q) + batch * p.qStrides.b + (s.qStart + position) * p.qStrides.s +
               head * p.qStrides.h;
    }

    // Element offset of a token's row in k or v, through the page table where there is one.
    int64_t TokenOffset(const Sequence& s, int32_t batch, int64_t key, const Strides& strides) const
    {
        if (p.blockTable != 0) {
            const auto* table = reinterpret_cast<const int32_t*>(p.blockTable) + batch * p.blockTableStride;
            return table[key / p.pageSize] * strides.b + (key % p.pageSize) * strides.s;
        }
        return batch * strides.b + (s.kStart + key) * strides.s;
    }
    template <class T>
    const T* KeyRow(const Sequence& s, int32_t batch, int64_t kvHead, int64_t key) const
    {
        return reinterpret_cast<const T*>(p.k) + TokenOffset(s, batch, key, p.kStrides) + kvHead * p.kStrides.h;
    }
    template <class T>
    const T* ValueRow(const Sequence& s, int32_t batch, int64_t kvHead, int64_t key) const
    {
        return reinterpret_cast<const T*>(p.v) + TokenOffset(s, batch, key, p.vStrides) + kvHead * p.vStrides.h;
    }

    template <class T>
    T* OutputRow(const Task& t, int64_t row) const
    {
        return reinterpret_cast<T*>(p.o) + t.sequence * p.oStrides.b +
               (sequences[t.sequence].qStart + Position(row)) * p.oStrides.s + Head(t, row) * p.oStrides.h;
    }
    float* LseAt(const Sequence& s, int32_t batch, int64_t head, int64_t position) const
    {
        return reinterpret_cast<float*>(p.lse) + batch * p.lseStrides.b + head * p.lseStrides.h +
               (s.qStart + position) * p.lseStrides.s;
    }
    float Slope(int32_t batch, int64_t head) const
    {
        return p.alibi == 0 ? 0.0f : reinterpret_cast<const float*>(p.alibi)[batch * p.alibiB + head];
    }

    // What the mask tensor adds to a score (natural-log units), -inf where a boolean mask hides the key.
    float MaskBias(int32_t batch, int64_t head, int64_t position, int64_t key) const;
};

// Ends a row: adds the sink, writes lse; returns what its unnormalised sum must be multiplied by.
float FinishRow(const Context& c, const Task& t, int64_t row, float rowMax, float rowSum);

// The same attention for one row in plain scalar code that never multiplies a hidden key's value: the answer when a
// hidden NaN or infinity of v has reached a vector kernel's sum as 0 * inf. Writes the unnormalised sum.
void ExactRow(const Context& c, const Task& t, int64_t row, float* sum, float* rowMax, float* rowSum);

// Kernels of one instruction-set target. scratchFloats is what a task needs, 64-byte aligned.
struct KernelTable {
    const char* name = "";
    int64_t panelRows = 0;
    int64_t decodeRows = 0;  // most rows that the decode kernel takes at once
    int64_t (*scratchFloats)(const Context&) = nullptr;
    void (*panelTask)(const Context&, const Task&, float* scratch) = nullptr;
    void (*decodeTask)(const Context&, const Task&, float* scratch) = nullptr;
    void (*combineRows)(const Context&, const Combine&, float* scratch) = nullptr;
};

const KernelTable& ActiveKernels();
const KernelTable& PortableKernels();

// Cuts the call into tasks (plan.cpp).
void PlanTasks(Context& c, const KernelTable& kernels);

}  // namespace fastattn::cpu
