// What the host passes by value to the decode and combine kernels.
// Stage: argument passing. Mirrored by DecodeParams in fastattention_npu/cuda/params.py.
#pragma once
#include "params.cuh"

struct DecodeParams {
    const Half* q;  // [b, s_q, h_q, d] through strides
    const Half* k;  // [b, s_kv, h_kv, d], or pages [page, page_size, h_kv, d]
    const Half* v;
    Half* o;                     // [b, s_q, h_q, d]
    float* lse;                  // [b, h_q, s_q]
    float* o_partial;            // [num_splits, b, h_q, s_q, d]: each split normalised by itself
    float* lse_partial;          // [num_splits, b, h_q, s_q], in log2
    const int* seqused_k;        // [b] or null
    const int* block_table;      // [b, pages a sequence] or null
    const int* cache_batch_idx;  // [b] or null: the cache row of each sequence
    const float* alibi_slopes;   // [h_q] or [b, h_q], or null
    Strides q_strides;
    Strides k_strides;  // batch is the page stride for paged caches
    Strides v_strides;
    Strides o_strides;
    Long block_table_stride;
    int alibi_batch_stride;
    int b;
    int s_q;
    int s_kv;  // room for keys, in use up to seqused_k
    int h_q;
    int h_kv;
    int d;          // a multiple of 8
    int page_size;  // a multiple of 16
    int window_left;
    int window_right;
    int num_splits;
    int row_tiles;  // tiles of packed (query, head of the group) rows
    float scale_log2;
    float softmax_scale;
    float softcap;
};
