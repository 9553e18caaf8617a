// Prefill: forward attention of a block of query rows over all its keys.
// Stage: the kernel body; layout, stages, loop. Operands, softmax, masks and copies live in their own files.
// Algorithm: FlashAttention-2 (arXiv 2307.08691), algorithm 1, with the rescaling made conditional (softmax.cuh).
//
// One tile of K and one of V stand in shared memory. While S = Q K^T runs, V of the same tile is copied in pieces;
// while O += P V runs, the next K is. Two barriers a tile separate the two halves.
#pragma once
#include "params.cuh"
#include "score.cuh"
#include "softmax.cuh"
#include "tile_copy.cuh"

template <class Operand_, int kDim_, int kDimV_, int kKeys_, int kWarps_, int kPieces_, bool kQueryInRegs_, bool kBias_>
struct PrefillConfig {
    using Operand = Operand_;
    static constexpr int kDim = kDim_;    // padded head dimension of Q and K
    static constexpr int kDimV = kDimV_;  // columns of V and O that one block computes
    static constexpr int kKeys = kKeys_;  // keys per tile
    static constexpr int kWarps = kWarps_;
    static constexpr int kPieces = kPieces_;
    static constexpr bool kQueryInRegs = kQueryInRegs_;
    static constexpr bool kBias = kBias_;  // softcap, ALiBi, or a scale that is not positive
    static constexpr int kThreads = kWarps * 32;
    static constexpr int kRows = kWarps * Operand::kRows;
    static constexpr int kSteps = kDim / 16;       // of Q K^T
    static constexpr int kStepsPv = kKeys / 16;    // of P V
    static constexpr int kSplitsV = kDim / kDimV;  // blocks that share one row block, each with its own columns of V
    static_assert(kSteps % kPieces == 0 && kStepsPv % kPieces == 0, "pieces must divide both loops");

    static constexpr int kQueryBytes = kRows * kDim * 2;
    static constexpr int kKeyBytes = kKeys * kDim * 2;
    static constexpr int kValueBytes = kKeys * kDimV * 2;
    static constexpr int kKeyOffset = kQueryInRegs ? 0 : kQueryBytes;
    static constexpr int kTilesBytes = kKeyOffset + kKeyBytes + kValueBytes;
    static constexpr int kSharedBytes = kTilesBytes > kQueryBytes ? kTilesBytes : kQueryBytes;
};

template <class C>
struct PrefillWarp {
    using Operand = typename C::Operand;
    using CopyK = TileCopy<C::kKeys, C::kDim, C::kThreads, C::kPieces>;
    using CopyV = TileCopy<C::kKeys, C::kDimV, C::kThreads, C::kPieces>;
    using CopyQ = TileCopy<C::kRows, C::kDim, C::kThreads, C::kRows * C::kDim / 8 / C::kThreads / 4>;
    static constexpr int kColsS = C::kKeys / 4;
    static constexpr int kColsO = C::kDimV / 4;

    const PrefillParams& p;
    const Sequence seq;
    const Visibility see;
    const int thread;
    const int lane;
    const int block_row;  // first query row of the block
    const int row;        // first query row of the warp
    const int col_v;      // first column of V and O of the block
    const unsigned shared_q;
    const unsigned shared_warp_q;
    const unsigned shared_k;
    const unsigned shared_v;

    Word q[C::kQueryInRegs ? C::kSteps : 1][Operand::kQueryRegs];
    float o[Operand::kRowRegs][kColsO];
    Softmax<Operand> softmax;

    __device__ __forceinline__ PrefillWarp(const PrefillParams& params, const Sequence& sequence, int first_row,
                                           int split, unsigned shared)
        : p(params),
          seq(sequence),
          see(sequence.s_q, sequence.s_kv, params.window_left, params.window_right),
          thread(threadIdx.x),
          lane(threadIdx.x & 31),
          block_row(first_row),
          row(first_row + (threadIdx.x >> 5) * Operand::kRows),
          col_v(split * C::kDimV),
          shared_q(shared),
          shared_warp_q(shared + (threadIdx.x >> 5) * Operand::kRows * C::kDim * 2),
          shared_k(shared + C::kKeyOffset),
          shared_v(shared + C::kKeyOffset + C::kKeyBytes)
    {
#pragma unroll
        for (int r = 0; r < Operand::kRowRegs; ++r)
#pragma unroll
            for (int c = 0; c < kColsO; ++c) o[r][c] = 0.0f;
    }

    __device__ __forceinline__ void LoadQuery()
    {
        CopyQ::All(shared_q, seq.q + block_row * p.q_strides.row, p.q_strides.row, seq.s_q - block_row, p.d, thread);
        if constexpr (C::kQueryInRegs) {
            __syncthreads();
#pragma unroll
            for (int step = 0; step < C::kSteps; ++step)
                Operand::template LoadQuery<C::kDim>(q[step], shared_warp_q, step, lane);
            __syncthreads();  // K and V take Q's place
        }
    }
    __device__ __forceinline__ void LoadKey(CopyK& copy, int piece, int key) const
    {
        copy.Load(piece, seq.k + key * p.k_strides.row, p.k_strides.row, seq.s_kv - key, p.d, thread);
    }
    __device__ __forceinline__ void LoadValue(CopyV& copy, int piece, int key) const
    {
        copy.Load(piece, seq.v + key * p.v_strides.row + col_v, p.v_strides.row, seq.s_kv - key, p.d - col_v, thread);
    }

    // S = Q K^T while V is copied
    __device__ __forceinline__ void ScoreTile(float (&s)[Operand::kRowRegs][kColsS], int key)
    {
#pragma unroll
        for (int r = 0; r < Operand::kRowRegs; ++r)
#pragma unroll
            for (int c = 0; c < kColsS; ++c) s[r][c] = 0.0f;
#pragma unroll
        for (int piece = 0; piece < C::kPieces; ++piece) {
            CopyV copy;
            LoadValue(copy, piece, key);
#pragma unroll
            for (int i = 0; i < C::kSteps / C::kPieces; ++i) {
                const int step = piece * (C::kSteps / C::kPieces) + i;
                if constexpr (!C::kQueryInRegs) Operand::template LoadQuery<C::kDim>(q[0], shared_warp_q, step, lane);
                Operand::template MultiplyQk<C::kDim, C::kKeys>(s, q[C::kQueryInRegs ? step : 0], shared_k, step, lane);
            }
            copy.Store(piece, shared_v, thread);
        }
    }

    __device__ __forceinline__ void WeighTile(float (&s)[Operand::kRowRegs][kColsS],
                                              Word (&weights)[Operand::kRowRegs][kColsS / 2], int key)
    {
        const bool masked = !see.AllVisible(row, Operand::kRows, key, C::kKeys);
        if (C::kBias || masked) {
            int query[Operand::kRowRegs];
            float slope[Operand::kRowRegs];
#pragma unroll
            for (int r = 0; r < Operand::kRowRegs; ++r) {
                query[r] = row + Operand::Row(r, lane);
                slope[r] = seq.alibi_slope;
            }
            if constexpr (C::kBias) BiasScores<Operand, kColsS>(s, p, slope, query, see.offset - key, lane);
            if (masked) MaskScores<Operand, kColsS>(s, see, query, key, lane);
        }
        softmax.Apply(s, weights, o, ScaleLog2());
    }

    // O += P V while the next K is copied
    __device__ __forceinline__ void AccumulateTile(const Word (&weights)[Operand::kRowRegs][kColsS / 2], int next_key)
    {
#pragma unroll
        for (int piece = 0; piece < C::kPieces; ++piece) {
            CopyK copy;
            LoadKey(copy, piece, next_key);
#pragma unroll
            for (int i = 0; i < C::kStepsPv / C::kPieces; ++i)
                Operand::template MultiplyPv<C::kDimV, C::kKeys>(o, weights, shared_v,
                                                                 piece * (C::kStepsPv / C::kPieces) + i, lane);
            copy.Store(piece, shared_k, thread);
        }
    }

    // A tile that this warp's rows do not see at all: only the copies and the barriers
    __device__ __forceinline__ void SkipTile(int key, int next_key)
    {
#pragma unroll 1
        for (int piece = 0; piece < C::kPieces; ++piece) {
            CopyV copy;
            LoadValue(copy, piece, key);
            copy.Store(piece, shared_v, thread);
        }
        __syncthreads();
#pragma unroll 1
        for (int piece = 0; piece < C::kPieces; ++piece) {
            CopyK copy;
            LoadKey(copy, piece, next_key);
            copy.Store(piece, shared_k, thread);
        }
        __syncthreads();
    }

    __device__ __forceinline__ void Loop()
    {
        const int end = see.EndKey(block_row + C::kRows - 1);
        const int begin = see.FirstKey(block_row) / C::kKeys * C::kKeys;
        CopyK::All(shared_k, seq.k + begin * p.k_strides.row, p.k_strides.row, seq.s_kv - begin, p.d, thread);
        __syncthreads();
#pragma unroll 1
        for (int key = begin; key < end; key += C::kKeys) {
            if (!see.AnyVisible(row, Operand::kRows, key, C::kKeys)) {
                SkipTile(key, key + C::kKeys);
                continue;
            }
            Word weights[Operand::kRowRegs][kColsS / 2];
            {
                float s[Operand::kRowRegs][kColsS];
                ScoreTile(s, key);
                WeighTile(s, weights, key);
            }
            __syncthreads();
            AccumulateTile(weights, key + C::kKeys);
            __syncthreads();
        }
    }

    __device__ __forceinline__ float ScaleLog2() const { return C::kBias ? 1.0f : p.scale_log2; }

    // Through shared memory (the warp's own rows of Q's place), so that rows leave in 16-byte chunks
    __device__ __forceinline__ void Store()
    {
        using Tile = SharedTile<C::kDimV>;
        softmax.Finish(o, ScaleLog2());
        const unsigned stage = shared_q + (threadIdx.x >> 5) * Operand::kRows * Tile::kRowBytes;
        __syncthreads();
#pragma unroll
        for (int r = 0; r < Operand::kRowRegs; ++r) {
            const int i = Operand::Row(r, lane);
            if (col_v == 0 && Operand::LaneColS(lane) == 0 && row + i < seq.s_q) seq.lse[row + i] = softmax.row_max[r];
#pragma unroll
            for (int c = 0; c < kColsO; c += 2) {
                const int col = Operand::StepColO(c) + Operand::LaneColO(lane);
                StoreShared4(stage + Tile::Offset(i, col >> 3) + (col & 7) * 2, PackHalves(o[r][c], o[r][c + 1]));
            }
        }
        __syncwarp();
#pragma unroll
        for (int n = 0; n < Operand::kRows * Tile::kRowChunks / 32; ++n) {
            const int i = (n * 32 + lane) / Tile::kRowChunks;
            const int chunk = (n * 32 + lane) % Tile::kRowChunks;
            const uint4 value = LoadShared16(stage + Tile::Offset(i, chunk));
            if (row + i < seq.s_q && col_v + chunk * 8 < p.d)
                *reinterpret_cast<uint4*>(seq.o + (row + i) * p.o_strides.row + col_v + chunk * 8) = value;
        }
    }
};

template <class C>
__device__ __forceinline__ void Prefill(const PrefillParams& p)
{
    extern __shared__ uint4 shared[];
    const int block = blockIdx.x / C::kSplitsV;
    const BlockPlace place(p, block);
    const Sequence seq(p, place.batch, place.head);
    if (place.row_block * C::kRows >= seq.s_q) return;
    PrefillWarp<C> warp(p, seq, place.row_block * C::kRows, blockIdx.x % C::kSplitsV, SharedAddress(shared));
    warp.LoadQuery();
    warp.Loop();
    warp.Store();
}
