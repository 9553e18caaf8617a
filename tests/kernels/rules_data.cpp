// Rules of operands, copies and the vector unit.
#include "rule_kernel.h"

using namespace rules;

RULE_KERNEL(alignment) { Duplicate(Ub<float>(variant == 0 ? 32 : 16), 1.0F, 64); }

RULE_KERNEL(extent) { Duplicate(Ub<float>(variant == 0 ? 196352 - 256 : 196352 - 224), 1.0F, 64); }

RULE_KERNEL(position)
{
    const auto dst = variant == 0 ? Ub<float>(0) : LocalTensor<float>(TPosition::CO1, 0, 0);
    DataCopyExtParams p(1, 64, 0, 0, 0);
    DataCopyPad(dst, Gm<float>(in), p, DataCopyPadExtParams<float>(false, 0, 0, 0));
}

RULE_KERNEL(pipe_missing)
{
    if (variant == 0) PipeBarrier<PIPE_M>();
    if (variant == 1) PipeBarrier<PIPE_V>();
    if (variant == 2) Duplicate(Ub<float>(0), 1.0F, 64);
}

RULE_KERNEL(gm_bounds)
{
    // The input has 65536 B.
    DataCopy(Ub<float>(0), Gm<float>(in)[variant == 2 ? 1 << 24 : 16384 - 64 + (variant == 1 ? 8 : 0)], 64);
}

RULE_KERNEL(gm_read_only)
{
    FillUb();
    Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<float>(variant == 0 ? out : in), Ub<float>(0), 64);
}

RULE_KERNEL(unwritten)
{
    if (variant != 1) FillUb();
    PipeBarrier<PIPE_V>();
    Adds(Ub<float>(8192), Ub<float>(0), 1.0F, 64);
    // Nobody has written the workspace.
    if (variant == 2) DataCopy(Ub<float>(16384), Gm<float>(workspace), 64);
}

// Rows of 5 floats: the filler is read when the whole block is (1), unless it has a value.
RULE_KERNEL(pad_filler)
{
    DataCopyExtParams p(4, 20, 0, 0, 0);
    const bool pad = variant == 2;
    DataCopyPad(Ub<float>(0), Gm<float>(in), p, DataCopyPadExtParams<float>(pad, 0, pad ? 3 : 0, -1.0F));
    Pass<HardEvent::MTE2_V>();
    const uint64_t lanes = variant == 0 ? 5 : 8;
    Adds(Ub<float>(1024), Ub<float>(0), 1.0F, lanes, 4, UnaryRepeatParams(1, 1, 1, 1));
    Pass<HardEvent::V_MTE3>();
    DataCopyExtParams back(4, 20, 0, 0, 0);
    if (pad) back.blockLen = 32;
    DataCopyPad(Gm<float>(out), Ub<float>(1024), back);
    ResetMask();
}

RULE_KERNEL(pad_amount)
{
    DataCopyExtParams p(1, 32, 0, 0, 0);
    DataCopyPad(Ub<float>(0), Gm<float>(in), p, DataCopyPadExtParams<float>(true, variant == 1 ? 9 : 8, 0, 2.0F));
}

RULE_KERNEL(scalar_memory)
{
    const auto tensor = variant == 0 ? Ub<float>(0) : L1<float>(0);
    tensor.SetValue(0, 1.0F);
}

RULE_KERNEL(field_range)
{
    DataCopyExtParams p(1, variant == 0 ? 64 : 64, 0, 0, 0);
    if (variant == 1) p.blockCount = 4096;
    DataCopyPad(Ub<float>(0), Gm<float>(in), p, DataCopyPadExtParams<float>(false, 0, 0, 0));
}

RULE_KERNEL(repeat_wrap)
{
    const uint32_t repeats = variant == 0 ? 255 : 256;
    Duplicate(Ub<float>(0), 1.0F, uint64_t{8}, repeats, 1, 1);
    ResetMask();
}

RULE_KERNEL(stride_wrap)
{
    FillUb(64);
    PipeBarrier<PIPE_V>();
    const uint32_t stride = variant == 0 ? 255 : 256;
    Adds(Ub<float>(4096), Ub<float>(0), 1.0F, 64, 1, UnaryRepeatParams(1, 1, stride, 8));
    ResetMask();
}

RULE_KERNEL(dst_block_stride)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Adds(Ub<float>(8192), Ub<float>(0), 1.0F, 64, 2, UnaryRepeatParams(variant == 0 ? 1 : 0, 1, 8, 8));
    ResetMask();
}

RULE_KERNEL(tail_dropped) { DataCopy(Ub<float>(0), Gm<float>(in), variant == 0 ? 16 : 17); }

RULE_KERNEL(burst_elements)
{
    DataCopyExtParams p(1, variant == 0 ? 20 : 18, 0, 0, 0);
    DataCopyPad(Ub<float>(0), Gm<float>(in), p, DataCopyPadExtParams<float>(false, 0, 0, 0));
}

// dst = src + 16 lanes: within a repeat they overlap (1); across repeats a result feeds a later source (2).
RULE_KERNEL(vector_overlap)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    const uint32_t shift = variant == 0 ? 0 : variant == 1 ? 64 : 256;
    Adds(Ub<float>(shift), Ub<float>(0), 1.0F, 64, 2, UnaryRepeatParams(1, 1, 8, 8));
    ResetMask();
}

RULE_KERNEL(bf16_arithmetic)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    if (variant == 0) Add(Ub<half>(8192), Ub<half>(0), Ub<half>(0), 128);
    if (variant == 1) Add(Ub<bfloat16_t>(8192), Ub<bfloat16_t>(0), Ub<bfloat16_t>(0), 128);
}

RULE_KERNEL(cast_mode)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Cast(Ub<bfloat16_t>(8192), Ub<float>(0), variant == 0 ? RoundMode::CAST_RINT : RoundMode::CAST_NONE, 64);
}

RULE_KERNEL(cast_pair)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    if (variant == 0) Cast(Ub<float>(8192), Ub<bfloat16_t>(0), RoundMode::CAST_NONE, 64);
    if (variant == 1) Cast(Ub<half>(8192), Ub<bfloat16_t>(0), RoundMode::CAST_NONE, 64);
}

// Data in the last 8 KB of UB before (1) or after (2) a Select.
RULE_KERNEL(select_reserved)
{
    FillUb();
    if (variant == 1) Duplicate(Ub<float>(184 * 1024), 1.0F, 64);
    PipeBarrier<PIPE_V>();
    Compares(Ub<uint8_t>(8192), Ub<float>(0), 0.5F, CMPMODE::GT, 64);
    PipeBarrier<PIPE_V>();
    Select(Ub<float>(9216), Ub<uint8_t>(8192), Ub<float>(0), 2.0F, SELMODE::VSEL_TENSOR_SCALAR_MODE, 64);
    PipeBarrier<PIPE_V>();
    if (variant == 2) Duplicate(Ub<float>(184 * 1024 + 4096), 1.0F, 64);
}

RULE_KERNEL(compare_count)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Compares(Ub<uint8_t>(8192), Ub<float>(0), 0.5F, CMPMODE::GT, variant == 0 ? 128 : 100);
}

// isSetMask = false behind a SetVectorMask (0), or behind a call that set a mask of its own (1).
RULE_KERNEL(mask_stale)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Adds(Ub<float>(8192), Ub<float>(0), 1.0F, 32, 1, UnaryRepeatParams(1, 1, 8, 8));
    if (variant == 0) SetVectorMask<float>(0, 0xFF);
    Adds<float, false>(Ub<float>(12288), Ub<float>(0), 1.0F, 0, 1, UnaryRepeatParams(1, 1, 8, 8));
    ResetMask();
}

RULE_KERNEL(mask_left)
{
    SetVectorMask<float>(0, 0xFF);
    if (variant == 0) ResetMask();
    if (variant == 2) {
        ResetMask();
        SetMaskCount();
    }
}

// What the values come to: a scalar loop over UB, ordered both ways.
RULE_KERNEL(scalar_ub)
{
    FillUb(64);
    if (variant != 1) Pass<HardEvent::V_S>();
    const float value = Ub<float>(0).GetValue(3);
    Ub<float>(0).SetValue(3, value + 1.0F);
    if (variant != 2) Pass<HardEvent::S_MTE3>();
    DataCopy(Gm<float>(out), Ub<float>(0), 64);
}

// Counts that overlap only where the last, partial repeat has no lanes (0); where it has (1).
RULE_KERNEL(overlap_tail)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Adds(Ub<float>(variant == 0 ? 416 : 384), Ub<float>(0), 1.0F, 104);
}

// The same tensor as source and destination: repeats apart (0), a block apart, so that each feeds the next (1). Results
// collected by a repeat stride of 0 in the second source (2) are documented, in the first (3) are not.
RULE_KERNEL(overlap_repeats)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    const uint8_t step = variant == 1 ? 1 : 8;
    if (variant <= 1) Adds(Ub<float>(0), Ub<float>(0), 1.0F, 64, 4, UnaryRepeatParams(1, 1, step, step));
    if (variant == 2) Add(Ub<float>(0), Ub<float>(1024), Ub<float>(0), 64, 4, BinaryRepeatParams(1, 1, 1, 0, 8, 0));
    if (variant == 3) Add(Ub<float>(0), Ub<float>(0), Ub<float>(1024), 64, 4, BinaryRepeatParams(1, 1, 1, 0, 0, 8));
    ResetMask();
}

// Narrowing in place (0) leaves later sources alone; widening in place (1), a reduction (2) and Brcb (3) do not.
RULE_KERNEL(overlap_sizes)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    const auto x = Ub<float>(0);
    if (variant == 0) Cast(Ub<half>(0), x, RoundMode::CAST_RINT, 64, 4, UnaryRepeatParams(1, 1, 4, 8));
    if (variant == 1) Cast(x, Ub<half>(0), RoundMode::CAST_NONE, 64, 4, UnaryRepeatParams(1, 1, 8, 4));
    if (variant == 2) BlockReduceMax<float>(x[64], x, 4, 64, 8, 1, 8);
    if (variant == 3) Brcb(x, x, 2, BrcbRepeatParams(1, 8));
    ResetMask();
}

// Lanes that a mask leaves out stay unwritten (1) and unread (0).
RULE_KERNEL(masked_lanes)
{
    uint64_t bits[2] = {0xF0F0F0F0F0F0F0F0, 0};
    Duplicate(Ub<float>(0), 1.0F, bits, 2, 1, 8);
    PipeBarrier<PIPE_V>();
    if (variant == 0) SetVectorMask<float>(0, bits[0]);
    if (variant == 1) ResetMask();
    Adds<float, false>(Ub<float>(4096), Ub<float>(0), 1.0F, 0, 2, UnaryRepeatParams(1, 1, 8, 8));
    ResetMask();
}

// Two writes into one row of blocks through masks: different lanes (0) need no barrier, the same lanes (1) do.
RULE_KERNEL(masked_race)
{
    uint64_t even[2] = {0x00FF00FF00FF00FF, 0};
    uint64_t odd[2] = {0xFF00FF00FF00FF00, 0};
    Duplicate(Ub<float>(0), 1.0F, even, 2, 2, 16);
    Duplicate(Ub<float>(0), 2.0F, variant == 0 ? odd : even, 2, 2, 16);
    ResetMask();
}

RULE_KERNEL(mask_clipped)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Adds(Ub<float>(4096), Ub<float>(0), 1.0F, variant == 0 ? 64 : 65, 1, UnaryRepeatParams(1, 1, 8, 8));
    ResetMask();
}

// A lane (0) or none (1), no repeat (2), no row (3), no byte (4).
RULE_KERNEL(no_operation)
{
    FillUb();
    PipeBarrier<PIPE_V>();
    Adds(Ub<float>(4096), Ub<float>(0), 1.0F, variant == 1 ? 0 : 1, variant == 2 ? 0 : 1,
         UnaryRepeatParams(1, 1, 8, 8));
    DataCopyExtParams p(variant == 3 ? 0 : 1, variant == 4 ? 0 : 32, 0, 0, 0);
    DataCopyPad(Ub<float>(8192), Gm<float>(in), p, DataCopyPadExtParams<float>(false, 0, 0, 0));
    ResetMask();
}

RULE_KERNEL(l2_cache_mode)
{
    auto gm = Gm<float>(in);
    gm.SetL2CacheHint(variant == 0 ? CacheMode::CACHE_MODE_NORMAL : CacheMode::CACHE_MODE_PERSISTENT);
}
