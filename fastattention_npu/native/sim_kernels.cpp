// See sim_kernels.h.
#include "sim_kernels.h"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "../../op_kernel/attention_linear_allreduce/tiling.h"
#include "../../op_kernel/flash_attention/tiling.h"
#include "../../op_kernel/kv_cache/tiling.h"
#include "../../op_kernel/matmul/tiling.h"
#include "../../op_kernel/microbench/tiling.h"
#include "../../op_kernel/standard_attention/tiling.h"

using Gm = uint8_t*;
extern "C" {
void flash_attention_fwd(Gm q, Gm k, Gm v, Gm mask, Gm cuSeqlensQ, Gm cuSeqlensKv, Gm seqUsedKv, Gm sinks,
                         Gm alibiSlopes, Gm attnMask, Gm o, Gm lse, Gm workspace,
                         fastattn::FlashAttentionTiling tiling);
void attention_linear_allreduce(Gm q, Gm k, Gm v, Gm mask, Gm cuSeqlensQ, Gm cuSeqlensKv, Gm seqUsedKv, Gm sinks,
                                Gm alibiSlopes, Gm attnMask, Gm weight, Gm bias, Gm context, Gm attention, Gm lse,
                                Gm partial, Gm out, Gm workspace, fastattn::AttentionLinearAllReduceTiling tiling);
void append_kv_cache(Gm k, Gm v, Gm cacheSeqlens, Gm cacheBatchIdx, Gm blockTable, Gm kCache, Gm vCache, Gm lengths,
                     fastattn::AppendKvCacheTiling tiling);
void matmul_fp16(Gm a, Gm b, Gm c, fastattn::MatmulTiling tiling);
void matmul_fp16_fp32(Gm a, Gm b, Gm c, fastattn::MatmulTiling tiling);
void matmul_bf16(Gm a, Gm b, Gm c, fastattn::MatmulTiling tiling);
void matmul_bf16_fp32(Gm a, Gm b, Gm c, fastattn::MatmulTiling tiling);
void standard_scores_fp16(Gm q, Gm k, Gm s, fastattn::StandardAttentionTiling tiling);
void standard_softmax_fp16(Gm s, Gm p, fastattn::StandardAttentionTiling tiling);
void standard_output_fp16(Gm p, Gm v, Gm o, fastattn::StandardAttentionTiling tiling);
void standard_scores_bf16(Gm q, Gm k, Gm s, fastattn::StandardAttentionTiling tiling);
void standard_softmax_bf16(Gm s, Gm p, fastattn::StandardAttentionTiling tiling);
void standard_output_bf16(Gm p, Gm v, Gm o, fastattn::StandardAttentionTiling tiling);
void copy_bench(Gm x, fastattn::CopyBenchTiling tiling);
void add_bench(Gm x, Gm y, Gm z, fastattn::AddBenchTiling tiling);
void vector_bench(Gm x, fastattn::VectorBenchTiling tiling);
void mmad_bench(fastattn::MmadBenchTiling tiling);
}

namespace fastattn {
namespace {

template <class Tiling, size_t>
using GmArgument = uint8_t*;

template <class Tiling, size_t... I>
void Call(void* entry, uint8_t* const* operands, const void* tiling)
{
    Tiling copy;
    std::memcpy(&copy, tiling, sizeof(copy));
    reinterpret_cast<void (*)(GmArgument<Tiling, I>..., Tiling)>(entry)(operands[I]..., copy);
}

template <class Tiling, size_t... I>
constexpr auto CallerOf(std::index_sequence<I...>)
{
    return &Call<Tiling, I...>;
}

template <class Tiling, class... Operands>
SimKernel Row(const char* name, void (*entry)(Operands...), std::vector<SimOperand> operands)
{
    constexpr size_t COUNT = sizeof...(Operands) - 1;  // the tiling comes last
    return {name, reinterpret_cast<void*>(entry), sizeof(Tiling), CallerOf<Tiling>(std::make_index_sequence<COUNT>{}),
            std::move(operands)};
}

}  // namespace

const std::vector<SimKernel>& SimKernels()
{
    static const std::vector<SimOperand> abc = {{"a", false}, {"b", false}, {"c", true}};
    static const std::vector<SimOperand> qks = {{"q", false}, {"k", false}, {"s", true}};
    static const std::vector<SimOperand> sp = {{"s", false}, {"p", true}};
    static const std::vector<SimOperand> pvo = {{"p", false}, {"v", false}, {"o", true}};
    static const std::vector<SimKernel> kernels = {
        Row<FlashAttentionTiling>("flash_attention_fwd", flash_attention_fwd,
                                  {{"q", false},
                                   {"k", false},
                                   {"v", false},
                                   {"mask", false},
                                   {"cu_seqlens_q", false},
                                   {"cu_seqlens_k", false},
                                   {"seqused_k", false},
                                   {"sinks", false},
                                   {"alibi_slopes", false},
                                   {"attn_mask", false},
                                   {"o", true},
                                   {"lse", true},
                                   {WORKSPACE, true}}),
        Row<AttentionLinearAllReduceTiling>("attention_linear_allreduce", attention_linear_allreduce,
                                            {{"q", false},
                                             {"k", false},
                                             {"v", false},
                                             {"mask", false},
                                             {"cu_seqlens_q", false},
                                             {"cu_seqlens_k", false},
                                             {"seqused_k", false},
                                             {"sinks", false},
                                             {"alibi_slopes", false},
                                             {"attn_mask", false},
                                             {"weight", false},
                                             {"bias", false},
                                             {HCCL_CONTEXT, false},
                                             {"attention", true},
                                             {"lse", true},
                                             {"partial", true},
                                             {"out", true},
                                             {WORKSPACE, true}}),
        Row<AppendKvCacheTiling>("append_kv_cache", append_kv_cache,
                                 {{"k", false},
                                  {"v", false},
                                  {"cache_seqlens", false},
                                  {"cache_batch_idx", false},
                                  {"block_table", false},
                                  {"k_cache", true},
                                  {"v_cache", true},
                                  {"lengths", true}}),
        Row<MatmulTiling>("matmul_fp16", matmul_fp16, abc),
        Row<MatmulTiling>("matmul_fp16_fp32", matmul_fp16_fp32, abc),
        Row<MatmulTiling>("matmul_bf16", matmul_bf16, abc),
        Row<MatmulTiling>("matmul_bf16_fp32", matmul_bf16_fp32, abc),
        Row<StandardAttentionTiling>("standard_scores_fp16", standard_scores_fp16, qks),
        Row<StandardAttentionTiling>("standard_softmax_fp16", standard_softmax_fp16, sp),
        Row<StandardAttentionTiling>("standard_output_fp16", standard_output_fp16, pvo),
        Row<StandardAttentionTiling>("standard_scores_bf16", standard_scores_bf16, qks),
        Row<StandardAttentionTiling>("standard_softmax_bf16", standard_softmax_bf16, sp),
        Row<StandardAttentionTiling>("standard_output_bf16", standard_output_bf16, pvo),
        Row<CopyBenchTiling>("copy_bench", copy_bench, {{"x", false}}),
        Row<AddBenchTiling>("add_bench", add_bench, {{"x", false}, {"y", false}, {"z", true}}),
        Row<VectorBenchTiling>("vector_bench", vector_bench, {{"x", false}}),
        Row<MmadBenchTiling>("mmad_bench", mmad_bench, {}),
    };
    return kernels;
}

const SimKernel& FindSimKernel(const std::string& name)
{
    for (const SimKernel& kernel : SimKernels()) {
        if (name == kernel.name) return kernel;
    }
    throw std::invalid_argument("unknown kernel '" + name + "'; kernels() lists them");
}

}  // namespace fastattn
