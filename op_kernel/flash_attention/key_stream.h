// Tiles of K or of V on their way into L1, ahead of the product that uses them: a piece of l0TileKv keys at each step
// of the cube core, so that tiles of P, which come one by one and late, find gaps in the same queue. The stream runs on
// into the next block. What it acquires it only acquires after the release of the slot's last use, in program order.
//
// RANGES: a tile whose first keys lie in L1 is not loaded again, or only the keys behind them. Query blocks of a head
// take their keys in turn and back (partition.h), and where they turn they have the last tiles in common.
#pragma once
#include "cube_memory.h"

namespace fastattn {

// Where a stream's keys come from and go to.
template <class T>
struct KeySource {
    const AscendC::GlobalTensor<T>* gm;
    const TensorStrides* strides;
    uint32_t dim;
    Buffer l1;
    uint32_t tileKeys;
    bool turns;  // a block that takes its keys back takes the last tile first
};

// Tiles of a block in the order in which a stream brings them.
__aicore__ inline uint32_t TilesOf(const Block& block, uint32_t tileKeys)
{
    return static_cast<uint32_t>(CeilDiv(block.cols, tileKeys));
}
__aicore__ inline uint32_t ColumnOfTile(const Block& block, uint32_t tileKeys, bool turns, uint32_t tile)
{
    return (turns && block.back ? TilesOf(block, tileKeys) - 1 - tile : tile) * tileKeys;
}

template <class T>
class KeyStream {
public:
    __aicore__ inline void Init(CubeMemory<T>& memory, L1Ring& ring, const KeySource<T>& source)
    {
        m_ = &memory;
        ring_ = &ring;
        source_ = source;
    }

    // next: the block that follows, if the stream may run on into it.
    __aicore__ inline void Begin(const Block& block, const Block* next)
    {
        if (!runsOn_) {
            tile_ = keys_ = 0;
        }
        runsOn_ = false;
        block_ = block;
        first_ = taken_;
        Follow(next);
    }

    // What comes behind the block.
    __aicore__ inline void Follow(const Block* next)
    {
        hasNext_ = next != nullptr;
        if (hasNext_) {
            next_ = *next;
        }
    }

    // The slot of the block's so many-eth tile, which has come.
    __aicore__ inline uint32_t Take(uint32_t tile)
    {
        while (taken_ <= first_ + tile) {
            while (published_ == taken_) {
                LoadPiece();
            }
            ring_->Await(SlotOf(taken_));
            ++taken_;
        }
        return SlotOf(first_ + tile);
    }

    // Tiles are released in their order.
    __aicore__ inline void DoneWith(uint32_t tile)
    {
        const uint32_t slot = SlotOf(first_ + tile);
        ring_->Release(slot);
        held_[slot].inUse = false;
        held_[slot].released = ++released_;
        sinceRelease_ = 0;
    }

    // One piece, if there are keys to come and a slot for them.
    __aicore__ inline void RunAhead()
    {
        ++sinceRelease_;
        const bool atEnd = AtEnd();
        if (atEnd && (runsOn_ || !hasNext_)) {
            return;
        }
        if ((!atEnd && keys_ != 0) ||
            (sinceRelease_ > LAG_STEPS && HasSlot(atEnd ? next_ : Loading(), atEnd ? 0 : tile_))) {
            LoadPiece();
        }
    }

private:
    static constexpr uint32_t MOST_SLOTS = EVENTS_PER_PIPE_PAIR;
    static constexpr uint32_t LAG_STEPS = 1;  // MTE2 must not stand waiting for a release while tiles of P are due

    // What a slot holds.
    struct Held {
        uint64_t offset;    // of the first key in GM, in elements
        uint32_t keys;      // from there on; 0: nothing
        uint32_t released;  // how many releases came before and with its last
        bool inUse;
    };

    __aicore__ inline uint32_t SlotOf(uint32_t tile) const { return slots_[tile % MOST_SLOTS]; }
    __aicore__ inline const Block& Loading() const { return runsOn_ ? next_ : block_; }
    __aicore__ inline bool AtEnd() const { return tile_ == TilesOf(Loading(), source_.tileKeys); }

    __aicore__ inline uint32_t ColumnOf(const Block& block, uint32_t tile) const
    {
        return ColumnOfTile(block, source_.tileKeys, source_.turns, tile);
    }

    __aicore__ inline uint64_t OffsetOf(const Block& block, uint32_t tile) const
    {
        return m_->KeyOffset(*source_.strides, block, ColumnOf(block, tile));
    }

    __aicore__ inline bool Holds(uint32_t slot, uint64_t offset) const
    {
        return m_->tiling->schedule == RANGES && held_[slot].keys != 0 && held_[slot].offset == offset;
    }

    __aicore__ inline bool HasSlot(const Block& block, uint32_t tile) const
    {
        return acquired_ - released_ < source_.l1.slots && SlotFor(OffsetOf(block, tile)) < source_.l1.slots;
    }

    // The slot that holds a tile's first keys, once it is free (until then none); else, of the free ones, the one that
    // was released first.
    __aicore__ inline uint32_t SlotFor(uint64_t offset) const
    {
        const uint32_t none = source_.l1.slots;
        uint32_t oldest = none;
        for (uint32_t slot = 0; slot < source_.l1.slots; ++slot) {
            if (Holds(slot, offset)) {
                return held_[slot].inUse ? none : slot;
            }
            if (!held_[slot].inUse && (oldest == none || held_[slot].released < held_[oldest].released)) {
                oldest = slot;
            }
        }
        return oldest;
    }

    // Takes a slot for the tile; keeps what it holds of it, in whole pieces.
    __aicore__ inline void OpenTile(uint32_t cols)
    {
        const uint64_t offset = OffsetOf(Loading(), tile_);
        const uint32_t slot = SlotFor(offset);
        Held& held = held_[slot];
        ring_->AcquireSlot(slot);
        if (!Holds(slot, offset)) {
            held.offset = offset;
            held.keys = 0;
        }
        held.inUse = true;
        slots_[acquired_++ % MOST_SLOTS] = slot;
        const uint32_t piece = m_->tiling->l0TileKv;
        keys_ = held.keys == cols ? cols : Least(held.keys, cols) / piece * piece;
    }

    __aicore__ inline void LoadPiece()
    {
        if (AtEnd()) {
            runsOn_ = true;
            tile_ = keys_ = 0;
        }
        const Block& block = Loading();
        const uint32_t col = ColumnOf(block, tile_);
        const uint32_t cols = Least(block.cols - col, source_.tileKeys);
        if (keys_ == 0) {
            OpenTile(cols);
        }
        const uint32_t slot = SlotOf(acquired_ - 1);
        if (keys_ < cols) {
            const uint32_t keys = Least(cols - keys_, m_->tiling->l0TileKv);
            LoadRowsToL1(m_->RightL1(source_.l1, slot)[keys_ * PaddedDim(source_.dim)],
                         (*source_.gm)[m_->KeyOffset(*source_.strides, block, col + keys_)], keys, source_.dim,
                         source_.strides->seq, Fractals(keys) * FRACTAL_ROWS);  // [keys, dim]
            keys_ += keys;
            held_[slot].keys = keys_;
        }
        if (keys_ == cols) {
            ring_->Publish(slot);
            ++published_;
            ++tile_;
            keys_ = 0;
        }
    }

    CubeMemory<T>* m_ = nullptr;
    L1Ring* ring_ = nullptr;
    KeySource<T> source_{};
    Block block_{};
    Block next_{};
    bool hasNext_ = false;
    bool runsOn_ = false;  // the tile being loaded is the next block's
    uint32_t tile_ = 0;    // of its block, the one being loaded
    uint32_t keys_ = 0;    // of the tile, that are on their way; 0: it has no slot yet
    // Tiles, counted over all blocks.
    uint32_t first_ = 0;  // of the block
    uint32_t acquired_ = 0;
    uint32_t published_ = 0;
    uint32_t taken_ = 0;
    uint32_t released_ = 0;
    uint32_t sinceRelease_ = LAG_STEPS;  // steps
    uint32_t slots_[MOST_SLOTS] = {};
    Held held_[MOST_SLOTS] = {};
};

}  // namespace fastattn
