// The projection of finished token blocks on a cube core, a few tiles at a time between the level-1 blocks of the next
// block's attention, and the commit of a block once all cube cores have projected theirs. Tiles of a block go to the
// cores in turn. Which token blocks may be waited for without blocking the vector cores follows from progress.h: a
// core's own vector cores pass block j on after their first piece behind it, so the cube core must have given them that
// piece's last P·V.
#pragma once
#include "../matmul/matmul_stage.h"
#include "all_reduce.h"
#include "progress.h"

namespace fastattn {

struct ProjectionOperands {
    GM_ADDR attention;  // (tokens, heads * headDimV)
    GM_ADDR weight;     // (hidden, heads * headDimV)
    GM_ADDR bias;       // (hidden) and blockM ones
    GM_ADDR partial;    // (tokens, hidden), this rank's share of the sum
};

template <class T>
class Projection {
public:
    __aicore__ inline void Init(const AttentionLinearAllReduceTiling& tiling, const TokenBlocks& blocks,
                                const MatmulMap& map, const MatmulRings& rings, const ProjectionOperands& operands,
                                BlockAllReduce<T>& allReduce, uint32_t group)
    {
        tiling_ = &tiling;
        blocks_ = &blocks;
        allReduce_ = &allReduce;
        group_ = group;
        stage_.Init(tiling.linear, map, rings, operands.attention, operands.weight, operands.partial,
                    tiling.hasBias != 0 ? operands.bias : nullptr);
    }

    // P·V of a level-1 block of this piece comes next. The vector cores will announce the blocks before the piece's own
    // and must not find all cube cores waiting for projections two blocks back.
    __aicore__ inline void Enter(const Piece& piece)
    {
        entered_ = blocks_->Of(piece);
        CloseUpTo(entered_ == 0 ? 0 : entered_ - 1);
    }

    // P·V of a level-1 block is done; last: of its piece.
    __aicore__ inline void AfterStep(bool last)
    {
        if (open_ || ready_ > closed_) {
            Compute(tiling_->tilesPerStep);
        }
        if (uncommitted_ && ++sinceClose_ > DELAY_STEPS) {
            Commit();
        }
        // What this step allows is used by the next: the vector cores are still at its softmax.
        if (last) {
            ready_ = entered_;
        }
    }

    __aicore__ inline void Finish()
    {
        CloseUpTo(blocks_->Count());
        if (uncommitted_) {
            Commit();
        }
    }

private:
    // Steps between a core's last tile of a block and the wait for the other cores': they are about as far.
    static constexpr uint32_t DELAY_STEPS = 1;

    __aicore__ inline void CloseUpTo(uint32_t end)
    {
        while (closed_ < end) {
            ready_ = ready_ < closed_ + 1 ? closed_ + 1 : ready_;
            Compute(~0U);
        }
    }

    // At most `budget` tiles of the block at hand.
    __aicore__ inline void Compute(uint32_t budget)
    {
        if (!open_) {
            AscendC::CrossCoreWaitFlag(BLOCK_READY);
            block_ = blocks_->At(closed_);
            tile_ = group_;
            open_ = true;
        }
        const uint32_t tilesN = static_cast<uint32_t>(CeilDiv(tiling_->linear.n, tiling_->linear.baseN));
        const uint32_t tilesM = static_cast<uint32_t>(CeilDiv(block_.tokens, tiling_->linear.baseM));
        const uint32_t tiles = tilesM * tilesN;
        // Cores at work side by side read different columns of the weight: one that all ask for together is slow to
        // come, as the L2 serves it from one place.
        const uint32_t shift = tilesN > tilesM ? tilesN / tilesM : 1;
        for (; tile_ < tiles && budget != 0; --budget, tile_ += tiling_->attention.blockDim) {
            const uint32_t tileM = tile_ % tilesM;
            const uint32_t row = tileM * tiling_->linear.baseM;
            const uint32_t col = (tile_ / tilesM + tileM * shift) % tilesN * tiling_->linear.baseN;
            stage_.ComputeTile({block_.begin + row, Least(block_.tokens - row, tiling_->linear.baseM), col,
                                Least(tiling_->linear.n - col, tiling_->linear.baseN)});
        }
        if (tile_ >= tiles) {
            Close();
        }
    }

    __aicore__ inline void Close()
    {
        if (uncommitted_) {
            Commit();
        }
        AscendC::CrossCoreSetFlag<0, PIPE_FIX>(PROJECTED);
        open_ = false;
        ++closed_;
        uncommitted_ = true;
        sinceClose_ = 0;
    }

    __aicore__ inline void Commit()
    {
        AscendC::CrossCoreWaitFlag(PROJECTED);
        allReduce_->Commit();
        uncommitted_ = false;
    }

    __aicore__ inline uint32_t Least(uint32_t x, uint32_t y) const { return x < y ? x : y; }

    const AttentionLinearAllReduceTiling* tiling_ = nullptr;
    const TokenBlocks* blocks_ = nullptr;
    BlockAllReduce<T>* allReduce_ = nullptr;
    MatmulStage<T, T> stage_;
    uint32_t group_ = 0;
    uint32_t entered_ = 0;  // token block of the piece at hand
    uint32_t ready_ = 0;    // token blocks that may be waited for
    uint32_t closed_ = 0;   // token blocks that this core has projected
    bool open_ = false;     // one more is under way
    TokenBlock block_{};
    uint32_t tile_ = 0;
    bool uncommitted_ = false;
    uint32_t sinceClose_ = 0;
};

}  // namespace fastattn
