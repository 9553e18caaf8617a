// The tiling struct of the matmul kernel: plain data, passed by value at launch. Sizes in elements.
#pragma once
#include <cstdint>

namespace fastattn {

struct MatmulTiling {
    // c (m x n) = a (m x k) * b; b is stored (n x k) when transB is 1, else (k x n). Rows are dense.
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t transB;

    // Level 1: each core group owns coreM x coreN of the output, group g the (g % gridM)-th rows, (g / gridM)-th
    // columns.
    uint32_t coreM;
    uint32_t coreN;
    uint32_t gridM;

    // Level 2: one Mmad is baseM x baseN x baseK; an L1 slot holds stepA (stepB) of them along k.
    uint32_t baseM;  // multiple of 16
    uint32_t baseN;  // multiple of 16
    uint32_t baseK;  // multiple of 16
    uint32_t stepA;
    uint32_t stepB;
};

}  // namespace fastattn
