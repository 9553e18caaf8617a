// How a piece's keys are cut into level-1 blocks, and in which order a group works on them. Plain C++17: the kernel
// walks them, op_host counts the work.
#pragma once
#include "partition.h"
#include "storage.h"

namespace fastattn {

// Keys of a group's first block, if it has that many: less than blockKv where the groups are staggered.
FASTATTN_HOST_DEVICE uint32_t FirstBlockKeys(const FlashAttentionTiling& t, uint32_t group)
{
    const uint32_t phase = t.stagger <= 1 ? 0 : group % t.stagger;  // 0 while op_host has not chosen yet
    return phase == 0 ? t.blockKv : t.blockKv - phase * t.blockKv / t.stagger / UNIT_KEYS * UNIT_KEYS;
}

// Keys of one block.
struct KeyRun {
    uint32_t begin;
    uint32_t end;
    bool first;  // of the piece, in the order of work
    bool last;
};

// The blocks of a piece's keys in the order of work; the first may have firstKeys. Where query blocks take their keys
// in turn and back, blocks end at whole tiles of K and V, so that those of other query blocks lie at the same keys.
class KeyBlocks {
public:
    FASTATTN_HOST_DEVICE KeyBlocks() = default;
    FASTATTN_HOST_DEVICE KeyBlocks(const FlashAttentionTiling& t, const Piece& piece, uint32_t firstKeys)
        : begin_(piece.keysBegin),
          end_(piece.keysEnd),
          back_(TakesKeysBack(t, piece)),
          most_(firstKeys),
          blockKv_(t.blockKv)
    {
        const uint32_t tileKeys = MaxOf(t.l1TileKv, t.l1TileV);
        const bool turns = t.schedule == RANGES && t.numBlocksQ > 1;
        alignKeys_ = turns && t.blockKv % tileKeys == 0 ? tileKeys : UNIT_KEYS;
    }

    FASTATTN_HOST_DEVICE bool Done() const { return begin_ == end_; }

    FASTATTN_HOST_DEVICE KeyRun Next()
    {
        const uint32_t left = end_ - begin_;
        const uint32_t keys = left > blockKv_ || left > most_ ? KeysOfNext(left) : left;
        const KeyRun run{back_ ? end_ - keys : begin_, back_ ? end_ : begin_ + keys, first_, keys == left};
        if (back_) {
            end_ = run.begin;
        } else {
            begin_ = run.end;
        }
        most_ = blockKv_;
        first_ = false;
        return run;
    }

private:
    // Of several blocks. One that takes what is more than whole blocks, or more, leaves no block more to those behind.
    FASTATTN_HOST_DEVICE uint32_t KeysOfNext(uint32_t left) const
    {
        const uint32_t rest = left % blockKv_;
        const uint32_t keys = MaxOf(most_, rest);
        const uint32_t most = left < blockKv_ ? left : blockKv_;
        const uint32_t upToUnit = keys + UNIT_KEYS - 1 < most ? keys + UNIT_KEYS - 1 : most;
        const uint32_t inTiles = KeysToGrid(upToUnit, alignKeys_);
        const uint32_t inUnits = KeysToGrid(upToUnit, UNIT_KEYS);
        return inTiles != 0 && inTiles >= rest ? inTiles : inUnits != 0 && inUnits >= rest ? inUnits : keys;
    }

    // The most keys, up to `most`, behind which the others begin or end at a multiple of step.
    FASTATTN_HOST_DEVICE uint32_t KeysToGrid(uint32_t most, uint32_t step) const
    {
        const uint32_t past = back_ ? (step - (end_ - most) % step) % step : (begin_ + most) % step;
        return past < most ? most - past : 0;
    }

    // Of the keys that are left.
    uint32_t begin_ = 0;
    uint32_t end_ = 0;
    bool back_ = false;
    bool first_ = true;
    uint32_t most_ = 0;  // keys of the next block
    uint32_t blockKv_ = 0;
    uint32_t alignKeys_ = UNIT_KEYS;
};

}  // namespace fastattn
