// The words every kernel here is written in: raw halves, packed pairs, the few PTX operations that have no
// C++ spelling. No CUDA header is included, so that NVRTC needs nothing but these files.
// Stage: all. It must not know about tiles, masks or a particular architecture's matrix instruction.
#pragma once

using Half = unsigned short;  // an IEEE binary16, only ever moved or packed, never computed on
using Word = unsigned int;    // two halves, the lower one first
using Long = long long;

constexpr unsigned kFullWarp = 0xffffffffu;
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

__device__ __forceinline__ float Infinity() { return __int_as_float(0x7f800000); }

constexpr __host__ __device__ int CeilDiv(int a, int b) { return (a + b - 1) / b; }
__device__ __forceinline__ int Min(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int Max(int a, int b) { return a > b ? a : b; }

__device__ __forceinline__ float Exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float Log2(float x)
{
    float y;
    asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float Reciprocal(float x)
{
    float y;
    asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Two conversions and a move: the packed cvt.rn.f16x2 starts at sm_80.
__device__ __forceinline__ Word PackHalves(float lo, float hi)
{
    Word packed;
    asm("{.reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
        : "=r"(packed)
        : "f"(lo), "f"(hi));
    return packed;
}

// tanh through ex2 and rcp: tanh.approx has an error of 2^-11, which a softcap of 50 turns into 0.02 of a logit.
__device__ __forceinline__ float Tanh(float x)
{
    const float e = Exp2(x * (2.0f * kLog2E));
    return 1.0f - 2.0f * Reciprocal(e + 1.0f);
}

__device__ __forceinline__ unsigned SharedAddress(const void* p)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ uint4 LoadShared16(unsigned address)
{
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}

__device__ __forceinline__ void StoreShared16(unsigned address, uint4 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
}

__device__ __forceinline__ void StoreShared4(unsigned address, Word v)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(v) : "memory");
}

// The tiles in shared memory are row-major [rows][kDim] halves, cut into 16-byte chunks whose place within a row is
// XORed with bits of the row, so that eight consecutive rows of one chunk column lie in eight different bank groups.
// Rows of 128 bytes and more use three row bits; rows of 64 or 192 bytes alternate between the halves of the 128-byte
// bank line by themselves and need two. The swizzle is linear in XOR, on which the operand layers rely.
template <int kDim>
struct SharedTile {
    static_assert(kDim % 32 == 0, "a shared tile's row must be a multiple of 64 bytes");
    static constexpr int kRowBytes = kDim * 2;
    static constexpr int kRowChunks = kDim / 8;
    static constexpr bool kWide = kRowChunks % 8 == 0;

    static constexpr __host__ __device__ int Swizzle(int row) { return kWide ? (row & 7) : ((row >> 1) & 3); }
    static __device__ __forceinline__ int Offset(int row, int chunk)
    {
        return row * kRowBytes + ((chunk ^ Swizzle(row)) << 4);
    }
};
