// Parameters of the calibration kernels: what a published micro-measurement fixes. Plain data, passed by value.
#pragma once
#include <cstdint>

namespace fastattn {

enum class CopyTarget : uint32_t { UB, L1 };

// Copies a (rows x cols) matrix of 2-byte elements from GM tile by tile and drops it.
struct CopyBenchTiling {
    uint32_t rows;
    uint32_t cols;
    uint32_t tileRows;
    uint32_t tileCols;
    uint32_t target;     // CopyTarget
    uint32_t coreRows;   // rows of one part
    uint32_t shared;     // 1: every core copies every part; 0: each core its own
    uint32_t staggered;  // with shared: core i starts with part i
    uint32_t splits;     // the columns are cut into so many pieces ...
    uint32_t repeats;    // ... each of which is copied so many times in a row
    uint32_t stages;     // tiles that the local memory holds
};

// z = x + y over `elems` 2-byte elements, cut evenly over the vector cores.
struct AddBenchTiling {
    uint32_t elems;
    uint32_t tileElems;
    uint32_t cores;         // vector cores that work
    uint32_t stages;        // 1: load, add, store in turn; 2: double buffering
    uint32_t yOffsetBytes;  // UB addresses, for bank conflicts
    uint32_t zOffsetBytes;
    uint32_t stageBytes;
};

enum class VectorBench : uint32_t {
    ADD,
    BLOCK_WHOLE,
    WHOLE_TWICE,
    BLOCK_THRICE,
    EXP,
    MULS,
    DIV,
    SUM_WHOLE,
    SUM_TREE,
    MUL_ADD
};

// One vector core repeats one instruction or a short chain on fixed UB addresses.
struct VectorBenchTiling {
    uint32_t kind;  // VectorBench
    uint32_t loops;
    uint32_t repeats;
    uint32_t dstBytes;
    uint32_t src0Bytes;
    uint32_t src1Bytes;
    uint32_t src0BlockStride;
    uint32_t src0RepeatStride;
    uint32_t dstBlockStride;
    uint32_t dstRepeatStride;
};

// One cube core repeats Mmads on the same tiles.
struct MmadBenchTiling {
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t loops;
    uint32_t unitFlag;  // 1: with unit flags, the last Mmad turns them
};

}  // namespace fastattn
