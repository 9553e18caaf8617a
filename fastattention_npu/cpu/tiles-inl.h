// Rows in and out of the kernels' float32 scratch: conversion from the three element types, zero padding, transposition,
// the final store, and a row's partial result. Included inside a target's namespace by kernels-inl.h.

constexpr int64_t RoundUp(int64_t x, int64_t step)
{
    return (x + step - 1) / step * step;
}

template <class T>
inline T FromFloat(float x);
template <>
inline float FromFloat<float>(float x) { return x; }
template <>
inline Half FromFloat<Half>(float x) { return Half{FloatToHalf(x)}; }
template <>
inline BFloat FromFloat<BFloat>(float x) { return BFloat{FloatToBFloat(x)}; }

// to[0, padded) = from[0, count) * factor, zero beyond count; reads nothing past the row.
template <class T>
FASTATTN_INLINE void ConvertRow(const T* from, int64_t stride, int64_t count, float factor, float* to, int64_t padded)
{
    int64_t i = 0;
    if (stride == 1) {
        const Vec scale = Set(factor);
        for (; i + LANES <= count; i += LANES) {
            Store(VMul(LoadAs(from + i), scale), to + i);
        }
    }
    for (; i < count; ++i) {
        to[i] = ToFloat(from[i * stride]) * factor;
    }
    for (; i < padded; ++i) {
        to[i] = 0.0f;
    }
}

template <class T>
FASTATTN_INLINE void StoreOutput(T* out, int64_t stride, int64_t count, const float* sum, float factor)
{
    int64_t i = 0;
    if (stride == 1) {
        const Vec scale = Set(factor);
        for (; i + LANES <= count; i += LANES) {
            StoreAs(VMul(Load(sum + i), scale), out + i);
        }
    }
    for (; i < count; ++i) {
        out[i * stride] = FromFloat<T>(sum[i] * factor);
    }
}

// A NaN or an infinity anywhere turns the product sum with zero into NaN.
FASTATTN_INLINE bool AllFinite(const float* row, int64_t count)
{
    Vec probe = Zero();
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        probe = VMulAdd(Load(row + i), Zero(), probe);
    }
    float rest = VReduceSum(probe);
    for (; i < count; ++i) {
        rest += row[i] * 0.0f;
    }
    return rest == 0.0f;
}

// Ends one row of a task: to o and lse, or to the partial results when the task has only part of the keys.
template <class T>
FASTATTN_INLINE void EndRow(const Context& c, const Task& t, int64_t row, float* sum, float rowMax, float rowSum)
{
    // A finite row sum with a bad output means that a hidden key's v entered as 0 * inf or 0 * NaN.
    if (!AllFinite(sum, c.p.dV) && rowSum == rowSum) {
        ExactRow(c, t, row, sum, &rowMax, &rowSum);
    }
    if (t.partial < 0) {
        const float factor = FinishRow(c, t, row, rowMax, rowSum);
        StoreOutput(c.OutputRow<T>(t, row), c.p.oStrides.d, c.p.dV, sum, factor);
        return;
    }
    const int64_t slot = t.partial + row - t.rowBegin;
    std::memcpy(c.partialO + slot * c.p.dV, sum, sizeof(float) * c.p.dV);
    c.partialMax[slot] = rowMax;
    c.partialSum[slot] = rowSum;
}

// Adds the parts of each row in the order of their keys: the result depends on the plan alone, not on the threads.
template <class T>
void CombineRowsOf(const Context& c, const Combine& job, float* sum)
{
    Task t;
    t.sequence = job.sequence;
    t.kvHead = job.kvHead;
    const int64_t rows = job.rowEnd - job.rowBegin;
    for (int64_t r = 0; r < rows; ++r) {
        float best = MINUS_INFINITY;
        for (int part = 0; part < job.splits; ++part) {
            best = std::max(best, c.partialMax[job.partial + part * job.step + r]);
        }
        std::fill(sum, sum + c.p.dV, 0.0f);
        float total = 0.0f;
        for (int part = 0; part < job.splits; ++part) {
            const int64_t slot = job.partial + part * job.step + r;
            if (c.partialSum[slot] == 0.0f) {
                continue;  // saw no key
            }
            const float weight = std::exp2(c.partialMax[slot] - best);
            total += weight * c.partialSum[slot];
            const float* from = c.partialO + slot * c.p.dV;
            for (int64_t i = 0; i < c.p.dV; ++i) {
                sum[i] += weight * from[i];
            }
        }
        const float factor = FinishRow(c, t, job.rowBegin + r, best, total);
        StoreOutput(c.OutputRow<T>(t, job.rowBegin + r), c.p.oStrides.d, c.p.dV, sum, factor);
    }
}
