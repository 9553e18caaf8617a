// The same vector operations without Highway: four-lane vectors of the compiler's own vector extension (GCC, Clang),
// which it lowers to whatever the build's base instruction set has. Used where Highway is absent or the processor is
// below its lowest useful target. FASTATTN_TARGET names the namespace; no include guard: once a target.
namespace fastattn::cpu {
namespace FASTATTN_TARGET {

constexpr int LANES = 4;
constexpr bool MANY_REGISTERS = false;
typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Mask __attribute__((vector_size(LANES * sizeof(float))));

#undef FASTATTN_INLINE
#define FASTATTN_INLINE inline __attribute__((always_inline))

FASTATTN_INLINE Vec Load(const float* p)
{
    Vec v;
    std::memcpy(&v, p, sizeof(v));
    return v;
}
FASTATTN_INLINE void Store(Vec v, float* p) { std::memcpy(p, &v, sizeof(v)); }
FASTATTN_INLINE Vec Set(float x) { return Vec{x, x, x, x}; }
FASTATTN_INLINE Vec Zero() { return Set(0.0f); }
FASTATTN_INLINE Vec VAdd(Vec a, Vec b) { return a + b; }
FASTATTN_INLINE Vec VSub(Vec a, Vec b) { return a - b; }
FASTATTN_INLINE Vec VMul(Vec a, Vec b) { return a * b; }
FASTATTN_INLINE Vec VDiv(Vec a, Vec b) { return a / b; }
FASTATTN_INLINE Vec VMax(Vec a, Vec b) { return a > b ? a : b; }
FASTATTN_INLINE Vec VMulAdd(Vec a, Vec b, Vec c) { return a * b + c; }
FASTATTN_INLINE Mask Less(Vec a, Vec b) { return a < b; }
FASTATTN_INLINE Mask LessEqual(Vec a, Vec b) { return a <= b; }
FASTATTN_INLINE Mask Equal(Vec a, Vec b) { return a == b; }
FASTATTN_INLINE Mask Both(Mask a, Mask b) { return a & b; }
FASTATTN_INLINE Vec Select(Mask m, Vec yes, Vec no) { return m ? yes : no; }
FASTATTN_INLINE Vec VAbs(Vec a) { return a < Zero() ? -a : a; }
FASTATTN_INLINE float VReduceMax(Vec v)
{
    const float low = v[0] > v[1] ? v[0] : v[1];
    const float high = v[2] > v[3] ? v[2] : v[3];
    return low > high ? low : high;
}
FASTATTN_INLINE float VReduceSum(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
FASTATTN_INLINE Vec LaneIndices() { return Vec{0.0f, 1.0f, 2.0f, 3.0f}; }

FASTATTN_INLINE Vec PowerOfTwo(Vec biased)
{
    Mask bits;
    std::memcpy(&bits, &biased, sizeof(bits));
    typedef uint32_t Bits __attribute__((vector_size(LANES * sizeof(float))));
    const Bits exponent = ((Bits)bits + 127u) << 23;
    Vec v;
    std::memcpy(&v, &exponent, sizeof(v));
    return v;
}

FASTATTN_INLINE Vec LoadAs(const float* p) { return Load(p); }
FASTATTN_INLINE Vec LoadAs(const Half* p)
{
    return Vec{HalfToFloat(p[0].bits), HalfToFloat(p[1].bits), HalfToFloat(p[2].bits), HalfToFloat(p[3].bits)};
}
FASTATTN_INLINE Vec LoadAs(const BFloat* p)
{
    return Vec{BFloatToFloat(p[0].bits), BFloatToFloat(p[1].bits), BFloatToFloat(p[2].bits), BFloatToFloat(p[3].bits)};
}
FASTATTN_INLINE void StoreAs(Vec v, float* p) { Store(v, p); }
FASTATTN_INLINE void StoreAs(Vec v, Half* p)
{
    for (int i = 0; i < LANES; ++i) {
        p[i].bits = FloatToHalf(v[i]);
    }
}
FASTATTN_INLINE void StoreAs(Vec v, BFloat* p)
{
    for (int i = 0; i < LANES; ++i) {
        p[i].bits = FloatToBFloat(v[i]);
    }
}

FASTATTN_INLINE void ReduceSum4(Vec a, Vec b, Vec c, Vec d, float* out)
{
    out[0] = VReduceSum(a);
    out[1] = VReduceSum(b);
    out[2] = VReduceSum(c);
    out[3] = VReduceSum(d);
}

FASTATTN_INLINE void Transpose4(const float* from, int64_t fromStride, float* to, int64_t toStride)
{
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
            to[j * toStride + i] = from[i * fromStride + j];
        }
    }
}

}  // namespace FASTATTN_TARGET
}  // namespace fastattn::cpu
