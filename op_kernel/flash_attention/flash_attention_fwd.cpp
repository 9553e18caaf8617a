// FlashAttention-2 forward for dav-2201: one mixed kernel, a cube core and two vector cores per block of the launch.
// The cube core computes scores `preload` level-1 blocks ahead; the vector cores turn them into probabilities; the cube
// core multiplies those with V; the vector cores sum up. All exchange goes through a ring of workspace slots in GM.
// With slices (tiling.h) each of them is a block here.
// A slot may be reused after `ring` blocks without further flags, because ring > preload: before the cube core writes S
// of block j + ring it has waited for P of block j (so S was read); it says so only when P·V of block j is behind it
// (so P was read), and its wait for P of block j + ring implies that the vector cores have read O of block j.
#include "block_loop.h"
#include "cube_stages.h"
#include "vector_stages.h"

namespace fastattn {

// What is left once all blocks are done: parts of split tasks become results.
template <class T>
__aicore__ inline void RunEpilogue(VectorStages<T>& stages, PieceCursor pieces)
{
    stages.AwaitParts();
    while (pieces.Next(false)) {
        if (pieces.Current().KeepsPart()) {
            stages.Combine(pieces);
        }
    }
}

template <class T>
__aicore__ inline void FlashAttentionForward(const Operands& operands, const FlashAttentionTiling& tiling)
{
    const auto group = static_cast<uint32_t>(AscendC::GetBlockIdx() / AscendC::GetSubBlockNum());
    Lengths lengths;
    lengths.Init(tiling, operands.cuSeqlensQ, operands.cuSeqlensKv, operands.seqUsedKv);
    WorkCursor work;
    work.Init(tiling, lengths, group);
    if ASCEND_IS_AIC {
        CubeStages<T> stages;
        stages.Init(tiling, operands, operands.GroupWorkspace(tiling, group));
        RunBlocks(
            work, tiling.preload,
            [&](const Block& block, const Block* next, bool finishes) { stages.ComputeScores(block, next, finishes); },
            [&](const Block& block, const Block* next) { stages.ComputeOutput(block, next); });
        stages.Drain();
    }
    if ASCEND_IS_AIV {
        VectorStages<T> stages;
        stages.Init(tiling, operands, group, static_cast<uint32_t>(AscendC::GetSubBlockIdx()));
        PieceCursor pieces;
        pieces.Init(tiling, lengths, group);
        stages.StoreEmptyTasks(pieces);
        RunBlocks(
            work, tiling.preload, [&](const Block& block, const Block*, bool) { stages.Softmax(block); },
            [&](const Block& block, const Block*) { stages.Accumulate(block); });
        if (tiling.schedule == RANGES) {
            RunEpilogue(stages, pieces);
        }
        stages.Drain();
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}

}  // namespace fastattn

// Operands in GM as struct Operands has them; absent ones may be null. workspace: blockDim * workspaceBytesPerGroup
// bytes, 512 B aligned. Scheduled all or nothing: with PART_STORED, two launches on different streams that each got
// some of the cores would wait for each other.
extern "C" __schedmode__(1)
    __global__ __mix__(1, 2) void flash_attention_fwd(GM_ADDR q, GM_ADDR k, GM_ADDR v, GM_ADDR mask, GM_ADDR cuSeqlensQ,
                                                      GM_ADDR cuSeqlensKv, GM_ADDR seqUsedKv, GM_ADDR sinks,
                                                      GM_ADDR alibiSlopes, GM_ADDR attnMask, GM_ADDR o, GM_ADDR lse,
                                                      GM_ADDR workspace, fastattn::FlashAttentionTiling tiling)
{
    AscendC::InitSocState();
    const fastattn::Operands operands{q,     k,           v,        mask, cuSeqlensQ, cuSeqlensKv, seqUsedKv,
                                      sinks, alibiSlopes, attnMask, o,    lse,        workspace};
    if (tiling.elementType == fastattn::BF16) {
        fastattn::FlashAttentionForward<bfloat16_t>(operands, tiling);
    } else {
        fastattn::FlashAttentionForward<half>(operands, tiling);
    }
}
