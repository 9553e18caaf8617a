// The simulator's inner loops: plain arithmetic over arrays, compiled once per host instruction set and chosen at run
// time. They know nothing of pipes, strides or checks. All results are the same for any split of the work.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ascend_sim {

enum class FloatType : uint8_t { FP32, FP16, BF16 };

enum class BinaryOp : uint8_t { ADD, SUB, MUL, DIV, MAX, MIN };
constexpr size_t BINARY_OPS = 6;

enum class UnaryOp : uint8_t { EXP, LN, ABS, SQRT, RSQRT, RECIPROCAL, RELU };
constexpr size_t UNARY_OPS = 7;

// C (m x n, fractals of 16 x 16 fp32, column strips first) = or += A (Zz fractals) times B (Zn fractals).
struct MatmulOperands {
    const uint16_t* a = nullptr;
    const uint16_t* b = nullptr;
    float* c = nullptr;
    uint32_t m = 0;
    uint32_t n = 0;
    uint32_t k = 0;
    bool init = false;
    FloatType type = FloatType::FP16;
};

// `strips` whole strips of `rows` rows.
struct MoveStrips {
    const uint8_t* src = nullptr;
    uint8_t* dst = nullptr;
    size_t rows = 0;
    size_t strips = 0;
    size_t matrixPitchBytes = 0;    // between rows of the row-major side
    size_t stripPitchBytes = 0;     // between strips of the other side
    size_t stripRowPitchBytes = 0;  // between rows of a strip
};

struct Lanes {
    const char* target;
    void (*toFloat)(FloatType from, const uint16_t* src, float* dst, size_t count);
    void (*fromFloat)(FloatType to, const float* src, uint16_t* dst, size_t count);  // round to nearest even
    void (*binary[BINARY_OPS])(const float* a, const float* b, float* dst, size_t count);
    void (*binaryScalar[BINARY_OPS])(const float* a, float b, float* dst, size_t count);
    void (*unary[UNARY_OPS])(const float* src, float* dst, size_t count);
    // One result per 8 values; sums are pairwise trees as on the chip.
    void (*blockMax)(const float* src, float* dst, size_t blocks);
    void (*blockMin)(const float* src, float* dst, size_t blocks);
    void (*blockSum)(const float* src, float* dst, size_t blocks);
    // dst = bit of mask set ? a : scalar.
    void (*selectScalar)(const uint8_t* mask, const float* a, float scalar, float* dst, size_t count);
    void (*matmul)(const MatmulOperands& operands);
    // Rows of a matrix into column strips of 32 B, and strips of 16 fp32 columns into rows; pitches in bytes.
    void (*rowsToStrips)(const MoveStrips& move);
    void (*stripsToRows)(const MoveStrips& move);
    // 16 x 16 elements of 2 bytes.
    void (*transpose16)(const uint16_t* src, uint16_t* dst);
};

// The best implementation for this host.
const Lanes& HostLanes();

}  // namespace ascend_sim
