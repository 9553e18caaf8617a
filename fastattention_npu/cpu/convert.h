// Scalar conversions between float32 and the two 16-bit kinds, rounding to nearest even; NaN stays NaN. The vector
// targets convert with the processor's own instructions; these serve edges, odd strides and the portable path.
#pragma once
#include <cstdint>
#include <cstring>

namespace fastattn::cpu {

// Elements of q, k and v; the bits of the two 16-bit kinds.
struct Half {
    uint16_t bits;
};
struct BFloat {
    uint16_t bits;
};

inline uint32_t Bits(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

inline float FromBits(uint32_t bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

inline float HalfToFloat(uint16_t bits)
{
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
    if (magnitude >= (0x7c00u << 13)) {
        return FromBits(sign | 0x7f800000u | magnitude);
    }
    // Scaling by 2^112 moves the exponent bias from 15 to 127 and normalises subnormals on the way.
    return FromBits(sign | Bits(FromBits(magnitude) * 0x1p112f));
}

inline uint16_t FloatToHalf(float value)
{
    const uint32_t bits = Bits(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return static_cast<uint16_t>(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
        return static_cast<uint16_t>(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 lets the adder round to a multiple of 2^-24
        return static_cast<uint16_t>(sign | (Bits(FromBits(magnitude) + 0.5f) - Bits(0.5f)));
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

inline uint16_t FloatToBFloat(float value)
{
    const uint32_t bits = Bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return static_cast<uint16_t>((bits >> 16) | 0x40u);
    }
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float BFloatToFloat(uint16_t bits) { return FromBits(static_cast<uint32_t>(bits) << 16); }

inline float ToFloat(float x) { return x; }
inline float ToFloat(Half x) { return HalfToFloat(x.bits); }
inline float ToFloat(BFloat x) { return BFloatToFloat(x.bits); }

}  // namespace fastattn::cpu
