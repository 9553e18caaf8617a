// What the host passes by value to the prefill kernel, and how a block finds its sequence in it.
// Stage: argument passing. The field order is mirrored by PrefillParams in fastattention_npu/cuda/params.py;
// tests/cuda/test_cuda_params.py holds the two together.
#pragma once
#include "common.cuh"

struct Strides {  // in elements; the head dimension itself is always contiguous
    Long batch;
    Long row;
    Long head;
};

struct PrefillParams {
    const Half* q;              // [b, s_q, h_q, d] through strides, or [total_q, h_q, d]
    const Half* k;              // [b, s_kv, h_kv, d]
    const Half* v;              // [b, s_kv, h_kv, d]
    Half* o;                    // as q
    float* lse;                 // [b, h_q, s_q] or [h_q, total_q], natural logarithm
    const int* cu_seqlens_q;    // [b + 1] or null
    const int* cu_seqlens_k;    // [b + 1] or null
    const int* seqused_k;       // [b] or null: keys in use of each sequence
    const float* alibi_slopes;  // [h_q] or [b, h_q], or null
    Strides q_strides;
    Strides k_strides;
    Strides v_strides;
    Strides o_strides;
    Long lse_batch_stride;
    Long lse_head_stride;
    int alibi_batch_stride;
    int b;
    int s_q;  // rows of the longest sequence when cu_seqlens_q is given
    int s_kv;
    int h_q;
    int h_kv;
    int d;             // the true head dimension, a multiple of 8
    int window_left;   // -1: unlimited
    int window_right;  // -1: unlimited; causal is 0
    int head_section;  // heads that share one sweep over the row blocks: see BlockPlace
    int row_blocks;
    float scale_log2;  // softmax_scale * log2(e)
    float softmax_scale;
    float softcap;  // 0: none
};

struct Sequence {
    const Half* q;  // [s_q, d] of this head
    const Half* k;  // [s_kv, d]
    const Half* v;  // [s_kv, d]
    Half* o;        // [s_q, d]
    float* lse;     // [s_q]
    int s_q;
    int s_kv;
    float alibi_slope;

    __device__ Sequence(const PrefillParams& p, int batch, int head)
    {
        const int head_kv = head / (p.h_q / p.h_kv);
        const int begin_q = p.cu_seqlens_q ? p.cu_seqlens_q[batch] : 0;
        const int begin_k = p.cu_seqlens_k ? p.cu_seqlens_k[batch] : 0;
        s_q = p.cu_seqlens_q ? p.cu_seqlens_q[batch + 1] - begin_q : p.s_q;
        s_kv = p.cu_seqlens_k ? p.cu_seqlens_k[batch + 1] - begin_k : p.s_kv;
        if (p.seqused_k) s_kv = Min(s_kv, p.seqused_k[batch]);
        const Long batch_q = p.cu_seqlens_q ? 0 : batch;
        const Long batch_k = p.cu_seqlens_k ? 0 : batch;
        q = p.q + batch_q * p.q_strides.batch + begin_q * p.q_strides.row + head * p.q_strides.head;
        k = p.k + batch_k * p.k_strides.batch + begin_k * p.k_strides.row + head_kv * p.k_strides.head;
        v = p.v + batch_k * p.v_strides.batch + begin_k * p.v_strides.row + head_kv * p.v_strides.head;
        o = p.o + batch_q * p.o_strides.batch + begin_q * p.o_strides.row + head * p.o_strides.head;
        lse = p.lse + batch_q * p.lse_batch_stride + head * p.lse_head_stride + begin_q;
        alibi_slope = p.alibi_slopes ? p.alibi_slopes[batch * p.alibi_batch_stride + head] : 0.0f;
    }
};

// One-dimensional grid: heads run fastest inside a section of head_section heads, row blocks from the last (the
// heaviest under a causal mask) to the first. A section of one head sweeps each head's rows together, which keeps its
// keys in L2; a large section starts all heavy blocks first, which shortens the tail.
struct BlockPlace {
    int batch;
    int head;
    int row_block;

    __device__ BlockPlace(const PrefillParams& p, int block)
    {
        const int per_section = p.head_section * p.row_blocks;
        const int section = block / per_section;
        const int rest = block - section * per_section;
        const int first_head = section * p.head_section;
        const int heads = Min(p.head_section, p.b * p.h_q - first_head);
        const int level = rest / heads;
        const int flat_head = first_head + rest - level * heads;
        row_block = p.row_blocks - 1 - level;
        batch = flat_head / p.h_q;
        head = flat_head - batch * p.h_q;
    }
};
