// Vector operations of one Highway target under the names that the kernels use. Per-target include: compiled once for
// every instruction set between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE. Only fixed-width targets (x86, NEON):
// the kernels keep arrays of vectors in registers, which scalable vectors cannot do. No include guard: once a target.
HWY_BEFORE_NAMESPACE();
namespace fastattn::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using TagF = hn::ScalableTag<float>;
using TagI = hn::RebindToSigned<TagF>;
using TagU16 = hn::Rebind<uint16_t, TagF>;
using TagU32 = hn::RebindToUnsigned<TagF>;
using TagHalf = hn::Rebind<hwy::float16_t, TagF>;
using Vec = hn::Vec<TagF>;
using Mask = hn::Mask<TagF>;
constexpr int LANES = HWY_MAX_BYTES / sizeof(float);
// Accumulators beyond this many vectors spill: 16 registers on AVX2, 32 elsewhere.
constexpr bool MANY_REGISTERS = HWY_TARGET != HWY_AVX2;

#define FASTATTN_INLINE HWY_INLINE

HWY_INLINE Vec Load(const float* p) { return hn::LoadU(TagF(), p); }
HWY_INLINE void Store(Vec v, float* p) { hn::StoreU(v, TagF(), p); }
HWY_INLINE Vec Set(float x) { return hn::Set(TagF(), x); }
HWY_INLINE Vec Zero() { return hn::Zero(TagF()); }
HWY_INLINE Vec VAdd(Vec a, Vec b) { return hn::Add(a, b); }
HWY_INLINE Vec VSub(Vec a, Vec b) { return hn::Sub(a, b); }
HWY_INLINE Vec VMul(Vec a, Vec b) { return hn::Mul(a, b); }
HWY_INLINE Vec VDiv(Vec a, Vec b) { return hn::Div(a, b); }
HWY_INLINE Vec VMax(Vec a, Vec b) { return hn::Max(a, b); }
HWY_INLINE Vec VAbs(Vec a) { return hn::Abs(a); }
HWY_INLINE Vec VMulAdd(Vec a, Vec b, Vec c) { return hn::MulAdd(a, b, c); }
HWY_INLINE Mask Less(Vec a, Vec b) { return hn::Lt(a, b); }
HWY_INLINE Mask LessEqual(Vec a, Vec b) { return hn::Le(a, b); }
HWY_INLINE Mask Equal(Vec a, Vec b) { return hn::Eq(a, b); }
HWY_INLINE Mask Both(Mask a, Mask b) { return hn::And(a, b); }
HWY_INLINE Vec Select(Mask m, Vec yes, Vec no) { return hn::IfThenElse(m, yes, no); }
HWY_INLINE float VReduceMax(Vec v) { return hn::GetLane(hn::MaxOfLanes(TagF(), v)); }
HWY_INLINE float VReduceSum(Vec v) { return hn::GetLane(hn::SumOfLanes(TagF(), v)); }

// Index of each lane as a float.
HWY_INLINE Vec LaneIndices() { return hn::Iota(TagF(), 0.0f); }

// 2^n for n held in the low bits of a float that was biased by 1.5 * 2^23; n = -127 gives zero.
HWY_INLINE Vec PowerOfTwo(Vec biased)
{
    const TagI tag;
    const auto exponent = hn::Add(hn::BitCast(tag, biased), hn::Set(tag, 127));
    return hn::BitCast(TagF(), hn::ShiftLeft<23>(exponent));
}

HWY_INLINE Vec LoadAs(const float* p) { return Load(p); }
HWY_INLINE Vec LoadAs(const Half* p)
{
    const auto bits = hn::LoadU(TagU16(), reinterpret_cast<const uint16_t*>(p));
    return hn::PromoteTo(TagF(), hn::BitCast(TagHalf(), bits));
}
HWY_INLINE Vec LoadAs(const BFloat* p)
{
    const auto bits = hn::LoadU(TagU16(), reinterpret_cast<const uint16_t*>(p));
    return hn::BitCast(TagF(), hn::ShiftLeft<16>(hn::PromoteTo(TagU32(), bits)));
}

HWY_INLINE void StoreAs(Vec v, float* p) { Store(v, p); }
HWY_INLINE void StoreAs(Vec v, Half* p)
{
    const auto half = hn::DemoteTo(TagHalf(), v);
    hn::StoreU(hn::BitCast(TagU16(), half), TagU16(), reinterpret_cast<uint16_t*>(p));
}

// Four vectors to their four sums: pairs are added while they are interleaved, so that the cost is three shuffles a sum.
HWY_INLINE void ReduceSum4(Vec a, Vec b, Vec c, Vec d, float* out)
{
    const TagF tag;
    const hn::RepartitionToWide<TagF> wide;
    const Vec ab = hn::Add(hn::InterleaveLower(tag, a, b), hn::InterleaveUpper(tag, a, b));
    const Vec cd = hn::Add(hn::InterleaveLower(tag, c, d), hn::InterleaveUpper(tag, c, d));
    const auto low = hn::InterleaveLower(wide, hn::BitCast(wide, ab), hn::BitCast(wide, cd));
    const auto high = hn::InterleaveUpper(wide, hn::BitCast(wide, ab), hn::BitCast(wide, cd));
    const Vec blocks = hn::Add(hn::BitCast(tag, low), hn::BitCast(tag, high));
    const hn::FixedTag<float, 4> quad;
#if HWY_MAX_BYTES == 64
    const hn::Half<TagF> half;
    const auto folded = hn::Add(hn::LowerHalf(half, blocks), hn::UpperHalf(half, blocks));
    hn::StoreU(hn::Add(hn::LowerHalf(quad, folded), hn::UpperHalf(quad, folded)), quad, out);
#elif HWY_MAX_BYTES == 32
    hn::StoreU(hn::Add(hn::LowerHalf(quad, blocks), hn::UpperHalf(quad, blocks)), quad, out);
#else
    hn::StoreU(blocks, quad, out);
#endif
}

// to[j][i] = from[i][j] for a 4 x 4 block.
HWY_INLINE void Transpose4(const float* from, int64_t fromStride, float* to, int64_t toStride)
{
    const hn::FixedTag<float, 4> tag;
    const hn::FixedTag<double, 2> wide;
    const auto a = hn::LoadU(tag, from);
    const auto b = hn::LoadU(tag, from + fromStride);
    const auto c = hn::LoadU(tag, from + 2 * fromStride);
    const auto d = hn::LoadU(tag, from + 3 * fromStride);
    const auto abLow = hn::BitCast(wide, hn::InterleaveLower(tag, a, b));
    const auto abHigh = hn::BitCast(wide, hn::InterleaveUpper(tag, a, b));
    const auto cdLow = hn::BitCast(wide, hn::InterleaveLower(tag, c, d));
    const auto cdHigh = hn::BitCast(wide, hn::InterleaveUpper(tag, c, d));
    hn::StoreU(hn::BitCast(tag, hn::InterleaveLower(wide, abLow, cdLow)), tag, to);
    hn::StoreU(hn::BitCast(tag, hn::InterleaveUpper(wide, abLow, cdLow)), tag, to + toStride);
    hn::StoreU(hn::BitCast(tag, hn::InterleaveLower(wide, abHigh, cdHigh)), tag, to + 2 * toStride);
    hn::StoreU(hn::BitCast(tag, hn::InterleaveUpper(wide, abHigh, cdHigh)), tag, to + 3 * toStride);
}

// Rounds to nearest even; NaN stays NaN (older Highway versions truncate when they demote to bfloat16).
HWY_INLINE void StoreAs(Vec v, BFloat* p)
{
    const TagU32 tag;
    const auto bits = hn::BitCast(tag, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(tag, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(tag, 0x7fff))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(tag, 0x40));
    const auto isNan = hn::RebindMask(tag, hn::Ne(v, v));
    const hn::RebindToSigned<TagU32> wide;
    const auto chosen = hn::BitCast(wide, hn::IfThenElse(isNan, quiet, rounded));
    hn::StoreU(hn::DemoteTo(TagU16(), chosen), TagU16(), reinterpret_cast<uint16_t*>(p));
}

}  // namespace HWY_NAMESPACE
}  // namespace fastattn::cpu
HWY_AFTER_NAMESPACE();
