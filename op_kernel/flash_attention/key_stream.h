// Tiles of K or of V on their way into L1, ahead of the product that uses them: a piece of l0TileKv keys at each step
// of the cube core, so that tiles of P, which come one by one and late, find gaps in the same queue. The stream runs on
// into the next block. What it acquires it only acquires after the release of the slot's last use, in program order.
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
};

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
            col_ = 0;
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
        ring_->Release(SlotOf(first_ + tile));
        ++released_;
        sinceRelease_ = 0;
    }

    // One piece, if there are keys to come and a slot for them.
    __aicore__ inline void RunAhead()
    {
        ++sinceRelease_;
        if (col_ == Loading().cols && (runsOn_ || !hasNext_)) {
            return;
        }
        const bool opens = col_ == Loading().cols || col_ % source_.tileKeys == 0;
        if (!opens || (acquired_ - released_ < source_.l1.slots && sinceRelease_ > LAG_STEPS)) {
            LoadPiece();
        }
    }

private:
    static constexpr uint32_t MOST_SLOTS = 8;  // events of a pair of pipes
    static constexpr uint32_t LAG_STEPS = 1;   // MTE2 must not stand waiting for a release while tiles of P are due

    __aicore__ inline uint32_t SlotOf(uint32_t tile) const { return slots_[tile % MOST_SLOTS]; }
    __aicore__ inline const Block& Loading() const { return runsOn_ ? next_ : block_; }

    __aicore__ inline void LoadPiece()
    {
        if (col_ == Loading().cols) {
            runsOn_ = true;
            col_ = 0;
        }
        const Block& block = Loading();
        const uint32_t row = col_ % source_.tileKeys;
        if (row == 0) {
            slots_[acquired_++ % MOST_SLOTS] = ring_->Acquire();
        }
        const uint32_t slot = SlotOf(acquired_ - 1);
        const uint32_t keys = Least(block.cols - col_, m_->tiling->l0TileKv);
        LoadRowsToL1(m_->RightL1(source_.l1, slot)[row * PaddedDim(source_.dim)],
                     (*source_.gm)[m_->KeyOffset(*source_.strides, block, col_)], keys, source_.dim,
                     source_.strides->seq, Fractals(keys) * FRACTAL_ROWS);  // [keys, dim]
        col_ += keys;
        if (col_ % source_.tileKeys == 0 || col_ == block.cols) {
            ring_->Publish(slot);
            ++published_;
        }
    }

    CubeMemory<T>* m_ = nullptr;
    L1Ring* ring_ = nullptr;
    KeySource<T> source_{};
    Block block_{};
    Block next_{};
    bool hasNext_ = false;
    bool runsOn_ = false;  // the keys being loaded are the next block's
    uint32_t col_ = 0;     // first key to be loaded next
    // Tiles, counted over all blocks.
    uint32_t first_ = 0;  // of the block
    uint32_t acquired_ = 0;
    uint32_t published_ = 0;
    uint32_t taken_ = 0;
    uint32_t released_ = 0;
    uint32_t sinceRelease_ = LAG_STEPS;  // steps
    uint32_t slots_[MOST_SLOTS] = {};
};

}  // namespace fastattn
