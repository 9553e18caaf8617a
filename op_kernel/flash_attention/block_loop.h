// The order in which a core works through its level-1 blocks: `begin` (scores on the cube core, softmax on the vector
// cores) runs `preload` blocks ahead of `finish` (P·V, and the sum into O). Both get the block and the one that they
// will get next, null behind the last; `begin` also whether `finish` of another block follows at once.
#pragma once
#include "work.h"

namespace fastattn {

// The blocks of a core in turn, with a view of the next.
class BlockSequence {
public:
    __aicore__ inline void Init(const WorkCursor& work)
    {
        cursor_ = work;
        more_ = cursor_.Next();
    }

    __aicore__ inline bool Next()
    {
        if (!more_) {
            return false;
        }
        block_ = cursor_.Current();
        more_ = cursor_.Next();
        return true;
    }

    __aicore__ inline const Block& Current() const { return block_; }
    __aicore__ inline const Block* Following() const { return more_ ? &cursor_.Current() : nullptr; }

private:
    WorkCursor cursor_;
    Block block_{};
    bool more_ = false;
};

template <class Begin, class Finish>
__aicore__ inline void RunBlocks(const WorkCursor& work, uint32_t preload, const Begin& begin, const Finish& finish)
{
    BlockSequence lead;
    BlockSequence trail;
    lead.Init(work);
    trail.Init(work);
    uint32_t ahead = 0;
    while (lead.Next()) {
        const bool finishes = ++ahead > preload;
        begin(lead.Current(), lead.Following(), finishes);
        if (finishes) {
            trail.Next();
            finish(trail.Current(), trail.Following());
        }
    }
    while (trail.Next()) {
        finish(trail.Current(), trail.Following());
    }
}

}  // namespace fastattn
