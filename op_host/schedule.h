// What each core group gets to do: the kernel's own walk (op_kernel/flash_attention/partition.h) over lengths that the
// host knows or assumes. Blocks that no row sees are not counted: neither core touches them.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "../op_kernel/flash_attention/partition.h"

namespace fastattn {

// Lengths of the batch entries; none given: every sequence is as long as the tiling says it may be.
class HostLengths {
public:
    explicit HostLengths(const FlashAttentionTiling& tiling, std::vector<Sequence> sequences = {})
        : longest_{0, 0, tiling.seqQ, tiling.seqKv}, sequences_(std::move(sequences))
    {
    }
    Sequence Of(uint32_t batch) const { return sequences_.empty() ? longest_ : sequences_.at(batch); }
    Sequence Following(const Sequence& /*previous*/, uint32_t batch) const { return Of(batch); }

private:
    Sequence longest_;
    std::vector<Sequence> sequences_;
};

// The level-1 blocks of one query block, as the mask windows classify them.
struct RowOfBlocks {
    uint32_t blocks;    // with at least one visible pair
    uint32_t masked;    // of those, the ones that need a mask
    uint32_t lastCols;  // keys of the last block that some query sees; blockKv if it is full
};

RowOfBlocks BlocksOfRow(const FlashAttentionTiling& tiling, uint32_t blockIndexQ);

// What one group computes.
struct GroupWork {
    double share = 0;     // units of its tasks, each task's units counted once: the measure of balance
    uint64_t units = 0;   // units of its pieces: a split task costs its parts a begin each
    uint64_t blocks = 0;  // level-1 blocks
    uint64_t pieces = 0;  // runs of keys of one task
    uint64_t parts = 0;   // pieces of split tasks: partial results to combine
    // Of 16 queries x 16 keys, as the cube multiplies them: for S, and for P·V.
    uint64_t scoreFractals = 0;
    uint64_t outputFractals = 0;
};

std::vector<GroupWork> WorkOfGroups(const FlashAttentionTiling& tiling, const HostLengths& lengths);

// Work of the busiest group over the mean of the groups; 1 for RANGES, and for whole tasks in such numbers that they
// need no counting.
double Imbalance(const FlashAttentionTiling& tiling);

// Blocks of equal cost. The keys count in steps of one vector repeat, so that there are few kinds at any length.
struct BlockKind {
    uint32_t cols;
    bool masked;
    bool last;  // of its task
    double count;
};

// Blocks of the group that finishes last: the mean of all groups, times its share of the work over the mean share.
struct GroupLoad {
    double tasks = 0;
    double blocks = 0;
    double maskedBlocks = 0;
    std::vector<BlockKind> kinds;
};

// Depends on the problem, blockQ, blockKv, blockDim and the schedule. Lengths on the device count as the longest.
GroupLoad BusiestGroup(const FlashAttentionTiling& tiling);

}  // namespace fastattn
