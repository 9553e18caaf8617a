// Attention, output projection and AllReduce of one tensor-parallel rank as one pipeline over token blocks:
// out = sum over ranks of Attn(q, k, v) · W_oᵀ, plus bias once. The attention is flash_attention's, its tasks in the
// order of the tokens; the cube core projects a finished token block between the level-1 blocks of the next, while the
// vector cores are at their softmax; what all cube cores have projected is committed to HCCL's server, which adds it
// over the ranks while computing goes on. Definitions, schedule and cost: docs/allreduce.md.
#include "../flash_attention/block_loop.h"
#include "../flash_attention/cube_stages.h"
#include "../flash_attention/vector_stages.h"
#include "projection.h"

namespace fastattn {

struct FusedOperands {
    Operands attention;
    GM_ADDR weight;
    GM_ADDR bias;
    GM_ADDR context;  // of the communicator
    GM_ADDR partial;
    GM_ADDR out;
};

// Left operands go through P's buffers, right ones through V's.
template <class T>
__aicore__ inline MatmulMap ProjectionMap(const FlashAttentionTiling& tiling)
{
    const L1Map l1 = MakeL1Map(tiling);
    const L0Map l0 = MakeL0Map(tiling);
    return {l1.p, l1.v, l0.a, l0.b, l0.c};
}

template <class T>
__aicore__ inline void RunFusedCube(const FusedOperands& operands, const AttentionLinearAllReduceTiling& tiling,
                                    const TokenBlocks& blocks, const WorkCursor& work, uint32_t group)
{
    BlockAllReduce<T> allReduce;
    allReduce.Init(tiling, operands.context, operands.partial, operands.out);
    CubeStages<T> stages;
    stages.Init(tiling.attention, operands.attention, operands.attention.GroupWorkspace(tiling.attention, group));
    Projection<T> projection;
    projection.Init(tiling, blocks, ProjectionMap<T>(tiling.attention), stages.ProductRings(),
                    {operands.attention.o, operands.weight, operands.bias, operands.partial}, allReduce, group);
    RunBlocks(
        work, tiling.attention.preload,
        [&](const Block& block, const Block* next, bool finishes) { stages.ComputeScores(block, next, finishes); },
        [&](const Block& block, const Block*) {
            projection.Enter(block.piece);
            stages.ComputeOutput(block, nullptr);  // the projection takes V's buffers in between
            projection.AfterStep(block.ends);
        });
    projection.Finish();
    stages.Drain();
    allReduce.Finish();
}

template <class T>
__aicore__ inline void RunFusedVector(const FusedOperands& operands, const AttentionLinearAllReduceTiling& tiling,
                                      const TokenBlocks& blocks, const WorkCursor& work, const PieceCursor& pieces,
                                      uint32_t group)
{
    VectorStages<T> stages;
    stages.Init(tiling.attention, operands.attention, group, static_cast<uint32_t>(AscendC::GetSubBlockIdx()));
    stages.StoreEmptyTasks(pieces);
    RowsStored stored;
    stored.Init(blocks);
    RunBlocks(
        work, tiling.attention.preload, [&](const Block& block, const Block*, bool) { stages.Softmax(block); },
        [&](const Block& block, const Block*) {
            stored.Enter(block.piece);
            stages.Accumulate(block);
            if (block.ends) {
                stored.Leave();
            }
        });
    stored.Finish();
    stages.Drain();
}

template <class T>
__aicore__ inline void AttentionLinearAllReduce(const FusedOperands& operands,
                                                const AttentionLinearAllReduceTiling& tiling)
{
    const auto group = static_cast<uint32_t>(AscendC::GetBlockIdx() / AscendC::GetSubBlockNum());
    TokenBlocks blocks;
    blocks.Init(tiling);
    Lengths lengths;
    lengths.Init(tiling.attention, operands.attention.cuSeqlensQ, operands.attention.cuSeqlensKv,
                 operands.attention.seqUsedKv);
    WorkCursor work;
    work.Init(tiling.attention, lengths, group);
    if ASCEND_IS_AIC {
        RunFusedCube<T>(operands, tiling, blocks, work, group);
    }
    if ASCEND_IS_AIV {
        PieceCursor pieces;
        pieces.Init(tiling.attention, lengths, group);
        RunFusedVector<T>(operands, tiling, blocks, work, pieces, group);
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}

}  // namespace fastattn

// attention: (tokens, heads * headDimV), lse: fp32, partial and out: (tokens, hidden); the first three are scratch.
// bias: (hidden) and blockQ ones, or null. The rest as for flash_attention_fwd.
extern "C" __global__ __mix__(1, 2) void attention_linear_allreduce(
    GM_ADDR q, GM_ADDR k, GM_ADDR v, GM_ADDR mask, GM_ADDR cuSeqlensQ, GM_ADDR cuSeqlensKv, GM_ADDR seqUsedKv,
    GM_ADDR sinks, GM_ADDR alibiSlopes, GM_ADDR attnMask, GM_ADDR weight, GM_ADDR bias, GM_ADDR context,
    GM_ADDR attention, GM_ADDR lse, GM_ADDR partial, GM_ADDR out, GM_ADDR workspace,
    fastattn::AttentionLinearAllReduceTiling tiling)
{
    AscendC::InitSocState();
    const fastattn::FusedOperands operands{
        {q, k, v, mask, cuSeqlensQ, cuSeqlensKv, seqUsedKv, sinks, alibiSlopes, attnMask, attention, lse, workspace},
        weight,
        bias,
        context,
        partial,
        out};
    if (tiling.attention.elementType == fastattn::BF16) {
        fastattn::AttentionLinearAllReduce<bfloat16_t>(operands, tiling);
    } else {
        fastattn::AttentionLinearAllReduce<half>(operands, tiling);
    }
}
