// The tiling struct of the fused attention, projection and AllReduce kernel. The first two members are CANN's own
// (Mc2InitTiling and Mc2CcTiling, which its host library fills and HCCL's server reads); the rest is plain data of
// op_host's, passed by value at launch.
#pragma once
#include <cstdint>

#include "../flash_attention/tiling.h"
#include "../matmul/tiling.h"

namespace fastattn {

constexpr uint32_t MC2_INIT_TILING_BYTES = 64;
constexpr uint32_t MC2_CC_TILING_BYTES = 280;
constexpr uint32_t MAX_BLOCK_RUNS = 32;   // each is one Prepare call; HCCL takes 63
constexpr uint32_t MAX_RUN_BLOCKS = 255;  // HCCL's repeat has 8 bits

struct AttentionLinearAllReduceTiling {
    uint8_t mc2Init[MC2_INIT_TILING_BYTES];
    uint8_t mc2AllReduce[MC2_CC_TILING_BYTES];

    FlashAttentionTiling attention;  // tasks in the order of the tokens; o is dense (tokens, heads * headDimV)
    MatmulTiling linear;             // (tokens, hidden) = o * W_o^T; core sizes are not used

    uint32_t hasBias;       // 1 on the rank that adds it
    uint32_t tilesPerStep;  // projection tiles that a cube core computes between two level-1 blocks of attention

    // Token blocks, first to last: run i is runBlocks[i] blocks of runTokens[i] tokens. A run is one AllReduce task
    // list.
    uint32_t numRuns;
    uint32_t runTokens[MAX_BLOCK_RUNS];
    uint32_t runBlocks[MAX_BLOCK_RUNS];
};

}  // namespace fastattn
