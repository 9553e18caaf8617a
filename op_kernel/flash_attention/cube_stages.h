// Cube core of the FlashAttention forward kernel: both products of the level-1 blocks, in the order that block_loop.h
// asks for. Interleaved, the scores of a block wait for the output that follows them, and steps of both alternate: the
// tile that leaves L0C is hidden behind the other product. Where a block of scores is shorter than the one of P·V
// beside it, as at the diagonal, the scores of the next block begin early; its last step, which hands the block over,
// waits for its turn.
#pragma once
#include "output_steps.h"
#include "score_steps.h"

namespace fastattn {

template <class T>
class CubeStages {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, const Operands& operands, GM_ADDR workspace)
    {
        memory_.Init(tiling, operands, workspace);
        scores_.Init(memory_);
        output_.Init(memory_);
    }

    __aicore__ inline void Drain() { memory_.Drain(); }

    // S (rows x cols) of the block -> its workspace slot; if interleaved, together with ComputeOutput, which
    // follows if `finishes`.
    __aicore__ inline void ComputeScores(const Block& block, const Block* next, bool finishes)
    {
        if (early_) {
            scores_.Follow(next);
            early_ = false;
        } else {
            scores_.Begin(block, next);
        }
        if (memory_.tiling->interleave == 0 || !finishes) {
            RunSteps();
        }
    }

    // P·V (rows x headDimV, fp32) of the block, summed in L0C over all of its keys -> its workspace slot.
    __aicore__ inline void ComputeOutput(const Block& block, const Block* next)
    {
        output_.Begin(block, next);
        RunSteps();
    }

    // For other matrix products between the blocks: left operands through P's buffers, right ones through V's. Without
    // interleaving, L0 has no buffers of its own for either product.
    __aicore__ inline MatmulRings ProductRings()
    {
        return {&memory_.ringP, &memory_.ringV, &memory_.ringA, &memory_.ringB, &memory_.turnC};
    }

private:
    __aicore__ inline void RunSteps()
    {
        while (!output_.Done() || (!early_ && !scores_.Done())) {
            if (scores_.Done() && !early_ && memory_.tiling->interleave != 0) {
                early_ = scores_.BeginNext();
            }
            const bool scoresWait = early_ ? scores_.LastStep() : scores_.Done();
            if (!output_.Done() && (scoresWait || OutputIsNext())) {
                output_.Step();
                --scoresAhead_;
            } else {
                scores_.Step();
                ++scoresAhead_;
            }
        }
        scoresAhead_ = 0;
    }

    // Steps of both alternate. But a new sum in L0C waits until the one before it has been stored: two tiles of scores
    // fill that time.
    __aicore__ inline bool OutputIsNext() const
    {
        return scoresAhead_ > 1 || (scoresAhead_ == 1 && !output_.StartsTile());
    }

    CubeMemory<T> memory_;
    ScoreSteps<T> scores_;
    OutputSteps<T> output_;
    bool early_ = false;       // the scores under way are of a block that ComputeScores has not named yet
    int32_t scoresAhead_ = 0;  // steps
};

}  // namespace fastattn
