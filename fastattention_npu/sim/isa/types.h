// Scalar types and enumerations that CCE defines at global scope, for host compilers. `half` and `bfloat16_t` carry
// bits only: kernels use them as element types, the arithmetic happens in the instructions.
#pragma once
#include <cstdint>

enum pipe_t { PIPE_S, PIPE_V, PIPE_M, PIPE_MTE1, PIPE_MTE2, PIPE_MTE3, PIPE_ALL, PIPE_FIX };
enum event_t { EVENT_ID0, EVENT_ID1, EVENT_ID2, EVENT_ID3, EVENT_ID4, EVENT_ID5, EVENT_ID6, EVENT_ID7 };
enum addr_cal_mode_t { inc, dec };
enum pad_t { PAD_NONE };
enum class cache_line_t { SINGLE_CACHE_LINE, ENTIRE_DATA_CACHE };
enum class dcci_dst_t { CACHELINE_ALL, CACHELINE_UB, CACHELINE_OUT, CACHELINE_ATOMIC };
enum class Order_t : uint8_t { VALUE_INDEX, INDEX_VALUE, ONLY_VALUE, ONLY_INDEX };
// Only the first three are simulated; the others are names for programs to compile with, their values are ours.
enum QuantMode_t : uint8_t {
    NoQuant = 0,
    F322F16 = 1,
    F322BF16 = 16,
    DEQF16 = 128,
    VDEQF16,
    QF322B8_PRE,
    VQF322B8_PRE,
    REQ8,
    VREQ8
};

struct half {
    uint16_t bits;
    half() = default;
    half(float value);  // round to nearest even; implicit, as on the chip
    operator float() const;
};

struct bfloat16_t {
    uint16_t bits;
    bfloat16_t() = default;
    bfloat16_t(float value);  // implicit, as on the chip
    explicit operator float() const;
};

// Memory qualifiers: a pointer's value is an offset into that memory of the core, or a GM address.
#define __gm__
#define __ubuf__
#define __cbuf__
#define __ca__
#define __cb__
#define __cc__
