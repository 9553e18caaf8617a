// Per-row work that is the same on every target: the mask tensor's value, the final division's factor with the lse, and
// the exact scalar attention that replaces a vector result in which a hidden key's NaN or infinity has surfaced.
#include <algorithm>
#include <cmath>

#include "context.h"

namespace fastattn::cpu {
namespace {

template <class T>
float Score(const Context& c, const Task& t, int64_t row, int64_t key)
{
    const Sequence& s = c.sequences[t.sequence];
    const int64_t head = c.Head(t, row);
    const int64_t position = c.Position(row);
    const T* q = c.QueryRow<T>(s, t.sequence, head, position);
    const T* k = c.KeyRow<T>(s, t.sequence, t.kvHead, key);
    float dot = 0.0f;
    for (int64_t i = 0; i < c.p.dQk; ++i) {
        dot += ToFloat(q[i * c.p.qStrides.d]) * ToFloat(k[i * c.p.kStrides.d]);
    }
    float score = dot * static_cast<float>(c.p.scale);
    if (c.p.softcap > 0) {
        score = static_cast<float>(c.p.softcap) * std::tanh(score / static_cast<float>(c.p.softcap));
    }
    if (c.p.alibi != 0) {
        const int64_t diagonal = position + s.keys - s.queries;
        score -= c.Slope(t.sequence, head) * static_cast<float>(std::abs(diagonal - key));
    }
    if (c.p.mask != 0) {
        score += c.MaskBias(t.sequence, head, position, key);
    }
    return score * static_cast<float>(LOG2_E);
}

// A key that the mask hides must not be read as a score: its dot product may be NaN.
bool Hidden(const Context& c, const Task& t, int64_t row, int64_t key)
{
    return c.p.mask != 0 && c.MaskBias(t.sequence, c.Head(t, row), c.Position(row), key) == MINUS_INFINITY;
}

template <class T>
void ExactRowOf(const Context& c, const Task& t, int64_t row, float* sum, float* rowMax, float* rowSum)
{
    const Sequence& s = c.sequences[t.sequence];
    const int64_t first = std::max(t.keyBegin, c.FirstKey(s, c.Position(row)));
    const int64_t last = std::min(t.keyEnd - 1, c.LastKey(s, c.Position(row)));
    float best = MINUS_INFINITY;
    for (int64_t key = first; key <= last; ++key) {
        if (!Hidden(c, t, row, key)) {
            best = std::max(best, Score<T>(c, t, row, key));
        }
    }
    std::fill(sum, sum + c.p.dV, 0.0f);
    float total = 0.0f;
    for (int64_t key = first; key <= last && best != MINUS_INFINITY; ++key) {
        if (Hidden(c, t, row, key)) {
            continue;
        }
        const float weight = std::exp2(Score<T>(c, t, row, key) - best);
        total += weight;
        const T* v = c.ValueRow<T>(s, t.sequence, t.kvHead, key);
        for (int64_t i = 0; i < c.p.dV; ++i) {
            sum[i] += weight * ToFloat(v[i * c.p.vStrides.d]);
        }
    }
    *rowMax = best;
    *rowSum = total;
}

}  // namespace

float Context::MaskBias(int32_t batch, int64_t head, int64_t position, int64_t key) const
{
    const int64_t at = batch * p.maskStrides.b + head * p.maskStrides.h + position * p.maskStrides.s +
                       key * p.maskStrides.d;
    switch (static_cast<DType>(p.maskDtype)) {
    case DType::kBool:
        return reinterpret_cast<const uint8_t*>(p.mask)[at] != 0 ? 0.0f : MINUS_INFINITY;
    case DType::kFloat16:
        return HalfToFloat(reinterpret_cast<const uint16_t*>(p.mask)[at]);
    case DType::kBFloat16:
        return BFloatToFloat(reinterpret_cast<const uint16_t*>(p.mask)[at]);
    default:
        return reinterpret_cast<const float*>(p.mask)[at];
    }
}

float FinishRow(const Context& c, const Task& t, int64_t row, float rowMax, float rowSum)
{
    const int64_t head = c.Head(t, row);
    float scale = 1.0f;
    if (c.p.sinks != 0) {
        // The sink is one more key with value zero; it may be the largest logit of the row.
        const float sink = reinterpret_cast<const float*>(c.p.sinks)[head] * static_cast<float>(LOG2_E);
        const float largest = std::max(rowMax, sink);
        if (largest != MINUS_INFINITY) {
            scale = std::exp2(rowMax - largest);
            rowSum = rowSum * scale + std::exp2(sink - largest);
            rowMax = largest;
        }
    }
    if (c.p.lse != 0) {
        const Sequence& s = c.sequences[t.sequence];
        *c.LseAt(s, t.sequence, head, c.Position(row)) =
            rowSum == 0.0f ? MINUS_INFINITY : (rowMax + std::log2(rowSum)) * LN_2;
    }
    return rowSum == 0.0f ? 0.0f : scale / rowSum;
}

void ExactRow(const Context& c, const Task& t, int64_t row, float* sum, float* rowMax, float* rowSum)
{
    switch (static_cast<DType>(c.p.dtype)) {
    case DType::kFloat16:
        return ExactRowOf<Half>(c, t, row, sum, rowMax, rowSum);
    case DType::kBFloat16:
        return ExactRowOf<BFloat>(c, t, row, sum, rowMax, rowSum);
    default:
        return ExactRowOf<float>(c, t, row, sum, rowMax, rowSum);
    }
}

}  // namespace fastattn::cpu
