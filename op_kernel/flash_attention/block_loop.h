// The order in which a core works through its level-1 blocks: `begin` (scores on the cube core, softmax on the vector
// cores) runs `preload` blocks ahead of `finish` (P·V, and the sum into O).
#pragma once
#include "work.h"

namespace fastattn {

template <class Begin, class Finish>
__aicore__ inline void RunBlocks(const WorkCursor& work, uint32_t preload, const Begin& begin, const Finish& finish)
{
    WorkCursor lead = work;
    WorkCursor trail = work;
    uint32_t ahead = 0;
    while (lead.Next()) {
        begin(lead.Current());
        if (++ahead > preload) {
            trail.Next();
            finish(trail.Current());
        }
    }
    while (trail.Next()) {
        finish(trail.Current());
    }
}

}  // namespace fastattn
