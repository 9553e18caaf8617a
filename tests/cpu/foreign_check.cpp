// A self-contained check of the CPU kernels for an instruction set that Python does not run on here: small cases of both
// kernels and all dtypes on every target of the build, against float64. test_aarch64.py cross-compiles it and runs it
// under user-mode emulation. Prints one line a case; exit status 1 if one is off.
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "attention.h"
#include "convert.h"

using namespace fastattn::cpu;

namespace {

struct Case {
    const char* name;
    int64_t queries, keys, qHeads, kvHeads, d;
};

float Random()
{
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
}

float Stored(int dtype, const std::vector<uint16_t>& half, const std::vector<float>& full, size_t i)
{
    return dtype == 0 ? full[i] : dtype == 1 ? HalfToFloat(half[i]) : BFloatToFloat(half[i]);
}

struct Tensor {
    std::vector<float> full;
    std::vector<uint16_t> half;
    Tensor(int dtype, size_t n) : full(n), half(n)
    {
        for (size_t i = 0; i < n; ++i) {
            full[i] = Random();
            half[i] = dtype == 1 ? FloatToHalf(full[i]) : FloatToBFloat(full[i]);
        }
    }
    uintptr_t Address(int dtype) const
    {
        return dtype == 0 ? reinterpret_cast<uintptr_t>(full.data()) : reinterpret_cast<uintptr_t>(half.data());
    }
};

// Largest error of a causal call in BSND against float64.
double Error(const Case& c, int dtype)
{
    const Tensor q(dtype, c.queries * c.qHeads * c.d), k(dtype, c.keys * c.kvHeads * c.d);
    const Tensor v(dtype, c.keys * c.kvHeads * c.d), o(dtype, c.queries * c.qHeads * c.d);
    AttentionParams p;
    p.dtype = dtype;
    p.q = q.Address(dtype), p.k = k.Address(dtype), p.v = v.Address(dtype), p.o = o.Address(dtype);
    p.qStrides = p.oStrides = {0, c.qHeads * c.d, c.d, 1};
    p.kStrides = p.vStrides = {0, c.kvHeads * c.d, c.d, 1};
    p.batch = 1, p.queries = c.queries, p.keys = c.keys, p.qHeads = c.qHeads, p.kvHeads = c.kvHeads;
    p.dQk = p.dV = c.d;
    p.scale = 1.0 / std::sqrt(static_cast<double>(c.d));
    p.windowRight = 0;
    p.threads = 2;
    Attend(p);
    double worst = 0;
    for (int64_t i = 0; i < c.queries * c.qHeads; ++i) {
        const int64_t head = i % c.qHeads / (c.qHeads / c.kvHeads);
        const int64_t last = i / c.qHeads + c.keys - c.queries;
        std::vector<double> sum(c.d, 0.0);
        double total = 0;
        for (int64_t j = 0; j <= last; ++j) {
            double score = 0;
            for (int64_t x = 0; x < c.d; ++x) {
                score += static_cast<double>(Stored(dtype, q.half, q.full, i * c.d + x)) *
                         Stored(dtype, k.half, k.full, (j * c.kvHeads + head) * c.d + x);
            }
            const double weight = std::exp(score * p.scale);
            total += weight;
            for (int64_t x = 0; x < c.d; ++x) {
                sum[x] += weight * Stored(dtype, v.half, v.full, (j * c.kvHeads + head) * c.d + x);
            }
        }
        for (int64_t x = 0; x < c.d; ++x) {
            const double got = Stored(dtype, o.half, o.full, i * c.d + x);
            const double off = std::fabs(got - (total > 0 ? sum[x] / total : 0.0));
            worst = off <= worst ? worst : off;  // NaN wins
        }
    }
    return worst;
}

}  // namespace

int main()
{
    const Case cases[] = {{"panels", 37, 70, 4, 2, 40}, {"decode", 1, 90, 4, 1, 64}, {"decode-odd", 2, 33, 3, 3, 19}};
    const double limits[] = {2e-6, 1e-3, 8e-3};
    bool good = true;
    for (const std::string& target : Targets()) {
        ForceTarget(target);
        for (const Case& c : cases) {
            for (int dtype = 0; dtype < 3; ++dtype) {
                const double error = Error(c, dtype);
                const bool ok = error <= limits[dtype];
                std::printf("%s %s dtype %d: error %.2e %s\n", target.c_str(), c.name, dtype, error, ok ? "ok" : "BAD");
                good = good && ok;
            }
        }
    }
    return good ? 0 : 1;
}
