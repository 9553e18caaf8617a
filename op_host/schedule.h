// Which level-1 blocks each core group gets. A task is one query block of one head; tasks go back and forth over the
// groups, the query blocks that see most keys first, over all heads, so that the last round is the lightest. Blocks
// that no row sees are not counted: neither core touches them.
#pragma once
#include <cstdint>
#include <vector>

#include "../op_kernel/flash_attention/tiling.h"

namespace fastattn {

// The level-1 blocks of one query block, as the mask windows classify them.
struct RowOfBlocks {
    uint32_t blocks;    // with at least one visible pair
    uint32_t masked;    // of those, the ones that need a mask: the last ones of the row
    uint32_t lastCols;  // keys of the last block that some query sees; blockKv if it is full
};

RowOfBlocks BlocksOfRow(const FlashAttentionTiling& tiling, uint32_t blockIndexQ);

// The kernel's order (op_kernel/flash_attention/work.h): tasks are numbered query block by query block, heaviest first,
// over all heads; in even rounds group g takes the g-th task of the round, in odd rounds the g-th from its end.
uint64_t TaskOfGroup(const FlashAttentionTiling& tiling, uint32_t round, uint32_t group);
uint32_t BlockIndexQ(const FlashAttentionTiling& tiling, uint64_t task);

// Blocks of equal cost. The keys count in steps of one vector repeat, so that there are few kinds at any length.
struct BlockKind {
    uint32_t cols;
    bool masked;
    uint64_t count;
};

struct GroupLoad {
    uint64_t tasks = 0;
    uint64_t blocks = 0;
    uint64_t maskedBlocks = 0;
    std::vector<BlockKind> kinds;
};

// Load of the group with most blocks. Depends on the problem, blockQ, blockKv, blockDim.
GroupLoad BusiestGroup(const FlashAttentionTiling& tiling);

}  // namespace fastattn
