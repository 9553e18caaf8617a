// exp2 and tanh on vectors, from scores to weights. Included inside a target's namespace by kernels-inl.h, after one of
// the simd_*-inl.h. NaN goes in, NaN comes out; -infinity gives an exact zero.

// 2^x for x <= 126. Relative error 1.9e-7 (degree-5 fit on [-0.5, 0.5], checked over 200,001 points in float64);
// below -126.5 the result is zero, not subnormal.
FASTATTN_INLINE Vec Exp2(Vec x)
{
    const Vec floor = Set(-127.0f);
    const Vec magic = Set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    x = Select(Less(x, floor), floor, x);
    const Vec biased = VAdd(x, magic);
    const Vec f = VSub(x, VSub(biased, magic));
    Vec p = VMulAdd(Set(0.00132647273f), f, Set(0.00967151299f));
    p = VMulAdd(p, f, Set(0.0555073358f));
    p = VMulAdd(p, f, Set(0.240222424f));
    p = VMulAdd(p, f, Set(0.693147004f));
    p = VMulAdd(p, f, Set(1.0f));
    return VMul(p, PowerOfTwo(biased));
}

// tanh(x) = 1 - 2 / (exp(2x) + 1); an odd polynomial near zero, where that form cancels.
FASTATTN_INLINE Vec Tanh(Vec x)
{
    const Vec a = VAbs(x);
    const Vec limit = Set(10.0f);  // tanh(10) is 1 in float32
    const Vec clamped = Select(Less(limit, a), limit, a);
    const Vec grown = Exp2(VMul(clamped, Set(2.88539008f)));
    const Vec large = VSub(Set(1.0f), VDiv(Set(2.0f), VAdd(grown, Set(1.0f))));
    const Vec square = VMul(a, a);
    Vec series = VMulAdd(square, Set(-0.0539682540f), Set(0.133333333f));
    series = VMulAdd(series, square, Set(-0.333333333f));
    series = VMulAdd(VMul(series, square), a, a);
    const Vec magnitude = Select(Less(a, Set(0.2f)), series, large);
    return Select(Less(x, Zero()), VSub(Zero(), magnitude), magnitude);
}
