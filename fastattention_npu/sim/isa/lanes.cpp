// See lanes.h. Compiled several times with different machine flags; FASTATTN_TARGET names the copy. The loops are
// written so that the compiler vectorises them; the two places where it cannot (half conversion, 16-bit transpose) have
// an F16C form or use vector extensions.
#include "lanes.h"

#include <cmath>
#include <cstring>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#ifndef FASTATTN_TARGET
#define FASTATTN_TARGET baseline
#endif
#define FASTATTN_TEXT2(x) #x
#define FASTATTN_TEXT(x) FASTATTN_TEXT2(x)

namespace ascend_sim {
namespace FASTATTN_TARGET {
namespace {

constexpr size_t FRACTAL = 16;

uint32_t BitsOf(float x)
{
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}

float FloatOf(uint32_t bits)
{
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

// ---- conversions ----------------------------------------------------------------------------------------------------

float HalfToFloat(uint16_t h)
{
    // Shift exponent and mantissa into place and rebias by a multiplication, which also normalises subnormals.
    const uint32_t magnitude = static_cast<uint32_t>(h & 0x7FFF) << 13;
    const float scaled = FloatOf(magnitude) * FloatOf(0x77800000U);  // 2^112
    const uint32_t special = (h & 0x7C00) == 0x7C00 ? 0x7F800000U : 0U;
    return FloatOf(BitsOf(scaled) | special | (static_cast<uint32_t>(h & 0x8000) << 16));
}

uint16_t FloatToHalf(float x)
{
    const uint32_t sign = (BitsOf(x) >> 16) & 0x8000U;
    const uint32_t magnitude = BitsOf(x) & 0x7FFFFFFFU;
    // Normal results: rebias and round to nearest even by adding just under half of the last place.
    const uint32_t normal = (magnitude - 0x38000000U + 0xFFFU + ((magnitude >> 13) & 1U)) >> 13;
    // Subnormal results: let an addition of 0.5 round at the right place.
    const uint32_t subnormal = BitsOf(FloatOf(magnitude) + 0.5F) - 0x3F000000U;
    uint32_t half = magnitude < 0x38800000U ? subnormal : normal;
    half = magnitude >= 0x477FF000U ? 0x7C00U : half;
    half = magnitude > 0x7F800000U ? 0x7E00U : half;
    return static_cast<uint16_t>(half | sign);
}

uint16_t FloatToBfloat(float x)
{
    const uint32_t bits = BitsOf(x);
    const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
    const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    return static_cast<uint16_t>(nan ? (bits >> 16) | 0x40U : rounded);
}

#if defined(__AVX512F__)
constexpr __mmask16 ALL_LANES = 0xFFFF;  // GCC 12 takes the unmasked forms for reads of something uninitialised
#endif

void HalvesToFloats(const uint16_t* src, float* dst, size_t count)
{
    size_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= count; i += 16) {
        const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + i));
        _mm512_storeu_ps(dst + i, _mm512_maskz_cvtph_ps(ALL_LANES, h));
    }
#elif defined(__F16C__)
    for (; i + 8 <= count; i += 8) {
        const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i));
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(h));
    }
#endif
#pragma GCC ivdep
    for (size_t j = i; j < count; ++j) dst[j] = HalfToFloat(src[j]);
}

void FloatsToHalves(const float* src, uint16_t* dst, size_t count)
{
    size_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= count; i += 16) {
        const __m256i h = _mm512_maskz_cvtps_ph(ALL_LANES, _mm512_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), h);
    }
#elif defined(__F16C__)
    for (; i + 8 <= count; i += 8) {
        const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), h);
    }
#endif
#pragma GCC ivdep
    for (size_t j = i; j < count; ++j) dst[j] = FloatToHalf(src[j]);
}

void ToFloat(FloatType from, const uint16_t* src, float* dst, size_t count)
{
    if (from == FloatType::FP16) {
        HalvesToFloats(src, dst, count);
    } else {
#pragma GCC ivdep
        for (size_t i = 0; i < count; ++i) dst[i] = FloatOf(static_cast<uint32_t>(src[i]) << 16);
    }
}

void FromFloat(FloatType to, const float* src, uint16_t* dst, size_t count)
{
    if (to == FloatType::FP16) {
        FloatsToHalves(src, dst, count);
    } else {
#pragma GCC ivdep
        for (size_t i = 0; i < count; ++i) dst[i] = FloatToBfloat(src[i]);
    }
}

// ---- elementwise ----------------------------------------------------------------------------------------------------

// What the chip's Max does with NaN is not published; here a NaN operand gives NaN, so that none gets lost.
template <BinaryOp op>
inline float Apply(float a, float b)
{
    if constexpr (op == BinaryOp::ADD) return a + b;
    if constexpr (op == BinaryOp::SUB) return a - b;
    if constexpr (op == BinaryOp::MUL) return a * b;
    if constexpr (op == BinaryOp::DIV) return a / b;
    if constexpr (op == BinaryOp::MAX) return (a > b || a != a) ? a : b;
    return (a < b || a != a) ? a : b;
}

template <BinaryOp op>
void Binary(const float* a, const float* b, float* dst, size_t count)
{
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) dst[i] = Apply<op>(a[i], b[i]);
}

template <BinaryOp op>
void BinaryScalar(const float* a, float b, float* dst, size_t count)
{
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) dst[i] = Apply<op>(a[i], b);
}

// exp by range reduction to [-ln2/2, ln2/2] and a polynomial; 2^n is applied in two halves so that overflow gives inf
// and underflow passes through the subnormals to 0. Error below 2 units in the last place.
inline float ExpOf(float x)
{
    constexpr float ROUND = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
    const float clampedLow = x < -105.0F ? -105.0F : x;
    const float clamped = clampedLow > 89.0F ? 89.0F : clampedLow;
    const float n = (clamped * 1.44269504F + ROUND) - ROUND;
    float r = clamped - n * 0.693359375F;
    r = r + n * 2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    const float safe = n != n ? 0.0F : n;
    const auto whole = static_cast<int32_t>(safe);
    const int32_t low = whole >> 1;
    const int32_t high = whole - low;
    return p * FloatOf(static_cast<uint32_t>(low + 127) << 23) * FloatOf(static_cast<uint32_t>(high + 127) << 23);
}

void Exp(const float* src, float* dst, size_t count)
{
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) dst[i] = ExpOf(src[i]);
}

void Ln(const float* src, float* dst, size_t count)
{
    for (size_t i = 0; i < count; ++i) dst[i] = std::log(src[i]);
}

template <UnaryOp op>
void Unary(const float* src, float* dst, size_t count)
{
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) {
        const float x = src[i];
        if constexpr (op == UnaryOp::ABS) dst[i] = x < 0 ? -x : x;
        if constexpr (op == UnaryOp::SQRT) dst[i] = std::sqrt(x);
        if constexpr (op == UnaryOp::RSQRT) dst[i] = 1.0F / std::sqrt(x);
        if constexpr (op == UnaryOp::RECIPROCAL) dst[i] = 1.0F / x;
        if constexpr (op == UnaryOp::RELU) dst[i] = x < 0 ? 0.0F : x;
    }
}

// ---- reductions and selection ---------------------------------------------------------------------------------------

#if defined(__AVX512F__) && !defined(__clang__)
typedef float Float16 __attribute__((vector_size(64)));
typedef int32_t Index16 __attribute__((vector_size(64)));

// Neighbours of 32 values combined.
template <BinaryOp op>
inline Float16 Pairs(Float16 low, Float16 high)
{
    constexpr Index16 EVEN = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
    const Float16 a = __builtin_shuffle(low, high, EVEN);
    const Float16 b = __builtin_shuffle(low, high, EVEN + 1);
    if constexpr (op == BinaryOp::ADD) return a + b;
    if constexpr (op == BinaryOp::MAX) return (a > b) | (a != a) ? a : b;
    return (a < b) | (a != a) ? a : b;
}
#endif

template <BinaryOp op>
void BlockReduce(const float* src, float* dst, size_t blocks)
{
    size_t done = 0;
#if defined(__AVX512F__) && !defined(__clang__)
    // The eight blocks of a repeat.
    for (; done + 8 <= blocks; done += 8) {
        Float16 level[4];
        std::memcpy(level, src + done * 8, sizeof(level));
        const Float16 low = Pairs<op>(level[0], level[1]);
        const Float16 fourths = Pairs<op>(low, Pairs<op>(level[2], level[3]));
        const Float16 eighths = Pairs<op>(fourths, fourths);
        std::memcpy(dst + done, &eighths, 8 * sizeof(float));
    }
#endif
    for (size_t i = done; i < blocks; ++i) {
        const float* v = src + i * 8;
        const float low = Apply<op>(Apply<op>(v[0], v[1]), Apply<op>(v[2], v[3]));
        const float high = Apply<op>(Apply<op>(v[4], v[5]), Apply<op>(v[6], v[7]));
        dst[i] = Apply<op>(low, high);
    }
}

void SelectScalar(const uint8_t* mask, const float* a, float scalar, float* dst, size_t count)
{
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const uint32_t bits = mask[i / 8];
#pragma GCC ivdep
        for (size_t j = 0; j < 8; ++j) dst[i + j] = ((bits >> j) & 1U) != 0 ? a[i + j] : scalar;
    }
    for (; i < count; ++i) dst[i] = ((mask[i / 8] >> (i % 8)) & 1U) != 0 ? a[i] : scalar;
}

// ---- layouts ----

// Sixteen rows at a time: both sides are then met in whole cache lines.
template <size_t bytes, bool toStrips>
inline void MoveFractals(const MoveStrips& m)
{
    for (size_t first = 0; first < m.rows; first += FRACTAL) {
        const size_t rows = m.rows - first < FRACTAL ? m.rows - first : FRACTAL;
        for (size_t s = 0; s < m.strips; ++s) {
            const size_t strip = s * m.stripPitchBytes + first * m.stripRowPitchBytes;
            const size_t matrix = first * m.matrixPitchBytes + s * bytes;
            const uint8_t* from = m.src + (toStrips ? matrix : strip);
            uint8_t* to = m.dst + (toStrips ? strip : matrix);
            const size_t fromPitch = toStrips ? m.matrixPitchBytes : m.stripRowPitchBytes;
            const size_t toPitch = toStrips ? m.stripRowPitchBytes : m.matrixPitchBytes;
            for (size_t r = 0; r < rows; ++r) std::memcpy(to + r * toPitch, from + r * fromPitch, bytes);
        }
    }
}

void RowsToStrips(const MoveStrips& m) { MoveFractals<32, true>(m); }
void StripsToRows(const MoveStrips& m) { MoveFractals<64, false>(m); }

// ---- matrices -------------------------------------------------------------------------------------------------------

typedef uint16_t Row16 __attribute__((vector_size(32)));

// Four rounds of interleaving row i with row i + 8 transpose 16 rows of 16.
void Transpose16(const uint16_t* src, uint16_t* dst)
{
    constexpr Row16 LOW = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    constexpr Row16 HIGH = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    Row16 rows[2][FRACTAL];
    std::memcpy(rows[0], src, sizeof(rows[0]));
    for (int round = 0; round < 4; ++round) {
        const Row16* from = rows[round % 2];
        Row16* to = rows[(round + 1) % 2];
        for (size_t i = 0; i < FRACTAL / 2; ++i) {
#if defined(__clang__)
            to[2 * i] =
                __builtin_shufflevector(from[i], from[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                                    14, 30, 15, 31);
#else
            to[2 * i] = __builtin_shuffle(from[i], from[i + 8], LOW);
            to[2 * i + 1] = __builtin_shuffle(from[i], from[i + 8], HIGH);
#endif
        }
    }
    std::memcpy(dst, rows[0], sizeof(rows[0]));
}

#if defined(__AVX512F__)
constexpr size_t VECTOR = 16;
constexpr size_t TILE_ROWS = 12;
constexpr size_t TILE_STRIPS = 2;
#elif defined(__AVX__)
constexpr size_t VECTOR = 8;
constexpr size_t TILE_ROWS = 6;
constexpr size_t TILE_STRIPS = 1;
#else
constexpr size_t VECTOR = 4;
constexpr size_t TILE_ROWS = 2;
constexpr size_t TILE_STRIPS = 1;
#endif
typedef float Vec __attribute__((vector_size(VECTOR * 4)));
constexpr size_t VECTORS = FRACTAL / VECTOR;

// `strips` column strips of 16 for `rows` rows: C += A * B with everything in registers.
template <size_t rows, size_t strips>
inline void Tile(const float* a, size_t aPitch, const float* b, size_t bPitch, float* c, size_t cPitch, size_t k)
{
    Vec acc[rows][strips * VECTORS];
    for (size_t r = 0; r < rows; ++r) {
        for (size_t s = 0; s < strips; ++s) std::memcpy(&acc[r][s * VECTORS], c + s * cPitch + r * FRACTAL, 64);
    }
    for (size_t i = 0; i < k; ++i) {
        Vec column[strips * VECTORS];
        for (size_t s = 0; s < strips; ++s) std::memcpy(&column[s * VECTORS], b + s * bPitch + i * FRACTAL, 64);
        for (size_t r = 0; r < rows; ++r) {
            const float x = a[r * aPitch + i];
            for (size_t v = 0; v < strips * VECTORS; ++v) acc[r][v] += x * column[v];
        }
    }
    for (size_t r = 0; r < rows; ++r) {
        for (size_t s = 0; s < strips; ++s) std::memcpy(c + s * cPitch + r * FRACTAL, &acc[r][s * VECTORS], 64);
    }
}

template <size_t strips>
void Rows(const float* a, const float* b, size_t bPitch, float* c, size_t cPitch, size_t m, size_t k)
{
    size_t r = 0;
    for (; r + TILE_ROWS <= m; r += TILE_ROWS) {
        Tile<TILE_ROWS, strips>(a + r * k, k, b, bPitch, c + r * FRACTAL, cPitch, k);
    }
    if constexpr (TILE_ROWS > 4) {
        for (; r + 4 <= m; r += 4) Tile<4, strips>(a + r * k, k, b, bPitch, c + r * FRACTAL, cPitch, k);
    }
    for (; r < m; ++r) Tile<1, strips>(a + r * k, k, b, bPitch, c + r * FRACTAL, cPitch, k);
}

// L0 holds at most 64 KB of 2-byte elements a side.
constexpr size_t MAX_L0_ELEMS = 32768;

struct MatmulScratch {
    alignas(64) float a[MAX_L0_ELEMS];
    alignas(64) float b[MAX_L0_ELEMS];
};

// Rows of A as fp32, k contiguous.
void UnpackA(const MatmulOperands& o, float* a)
{
    const size_t kFractals = (o.k + FRACTAL - 1) / FRACTAL;
    for (size_t r = 0; r < o.m; ++r) {
        const uint16_t* row = o.a + (r / FRACTAL) * kFractals * FRACTAL * FRACTAL + (r % FRACTAL) * FRACTAL;
        for (size_t f = 0; f < kFractals; ++f) {
            const size_t count = o.k - f * FRACTAL < FRACTAL ? o.k - f * FRACTAL : FRACTAL;
            ToFloat(o.type, row + f * FRACTAL * FRACTAL, a + r * o.k + f * FRACTAL, count);
        }
    }
}

// Strips of 16 columns of B as fp32, one row of a strip per k.
void UnpackB(const MatmulOperands& o, float* b)
{
    const size_t kFractals = (o.k + FRACTAL - 1) / FRACTAL;
    const size_t nFractals = (o.n + FRACTAL - 1) / FRACTAL;
    alignas(64) uint16_t turned[FRACTAL * FRACTAL];
    for (size_t s = 0; s < nFractals; ++s) {
        for (size_t f = 0; f < kFractals; ++f) {
            const size_t count = o.k - f * FRACTAL < FRACTAL ? o.k - f * FRACTAL : FRACTAL;
            Transpose16(o.b + (f * nFractals + s) * FRACTAL * FRACTAL, turned);
            ToFloat(o.type, turned, b + s * o.k * FRACTAL + f * FRACTAL * FRACTAL, count * FRACTAL);
        }
    }
}

void Matmul(const MatmulOperands& o)
{
    static thread_local MatmulScratch scratch;
    UnpackA(o, scratch.a);
    UnpackB(o, scratch.b);
    const size_t m16 = (o.m + FRACTAL - 1) / FRACTAL * FRACTAL;
    const size_t strips = (o.n + FRACTAL - 1) / FRACTAL;
    const size_t cPitch = m16 * FRACTAL;
    const size_t bPitch = o.k * FRACTAL;
    if (o.init) std::memset(o.c, 0, strips * cPitch * sizeof(float));
    size_t s = 0;
    for (; s + TILE_STRIPS <= strips; s += TILE_STRIPS) {
        Rows<TILE_STRIPS>(scratch.a, scratch.b + s * bPitch, bPitch, o.c + s * cPitch, cPitch, o.m, o.k);
    }
    for (; s < strips; ++s) Rows<1>(scratch.a, scratch.b + s * bPitch, bPitch, o.c + s * cPitch, cPitch, o.m, o.k);
}

}  // namespace

const Lanes& Table()
{
    static const Lanes lanes = {
        FASTATTN_TEXT(FASTATTN_TARGET),
        ToFloat,
        FromFloat,
        {Binary<BinaryOp::ADD>, Binary<BinaryOp::SUB>, Binary<BinaryOp::MUL>, Binary<BinaryOp::DIV>,
         Binary<BinaryOp::MAX>, Binary<BinaryOp::MIN>},
        {BinaryScalar<BinaryOp::ADD>, BinaryScalar<BinaryOp::SUB>, BinaryScalar<BinaryOp::MUL>,
         BinaryScalar<BinaryOp::DIV>, BinaryScalar<BinaryOp::MAX>, BinaryScalar<BinaryOp::MIN>},
        {Exp, Ln, Unary<UnaryOp::ABS>, Unary<UnaryOp::SQRT>, Unary<UnaryOp::RSQRT>, Unary<UnaryOp::RECIPROCAL>,
         Unary<UnaryOp::RELU>},
        BlockReduce<BinaryOp::MAX>,
        BlockReduce<BinaryOp::MIN>,
        BlockReduce<BinaryOp::ADD>,
        SelectScalar,
        Matmul,
        RowsToStrips,
        StripsToRows,
        Transpose16,
    };
    return lanes;
}

}  // namespace FASTATTN_TARGET
}  // namespace ascend_sim
