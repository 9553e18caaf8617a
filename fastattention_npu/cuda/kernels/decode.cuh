// Decode: few query rows against a long, contiguous or paged cache. Bound by reading the cache once.
// Stage: the kernel body. The rows of a block are (query, head of one GQA group) pairs packed together, so that a group
// reads its keys once. Keys are split over blocks and, in chunks of 16, over the warps of a block; a warp streams its
// chunks through registers into shared memory that no other warp touches, so the loop has no block barrier.
// The next chunk is always in flight while the present one is computed: 64 d bytes a warp.
#pragma once
#include "decode_params.cuh"
#include "score.cuh"
#include "softmax.cuh"
#include "tile_copy.cuh"

template <class Operand_, int kDim_, int kWarps_, bool kPrefetch_, bool kBias_>
struct DecodeConfig {
    using Operand = Operand_;
    static constexpr int kDim = kDim_;
    static constexpr int kWarps = kWarps_;
    static constexpr bool kPrefetch = kPrefetch_;  // false where two chunks of K and V do not fit the registers
    static constexpr bool kBias = kBias_;
    static constexpr int kThreads = kWarps * 32;
    static constexpr int kRows = Operand::kRows;
    static constexpr int kKeys = 16;  // a chunk never crosses a page
    static constexpr int kQueryBytes = kRows * kDim * 2;
    static constexpr int kChunkBytes = kKeys * kDim * 2;
    static constexpr int kStatsBytes = kWarps * kRows * 2 * 4;  // maximum and sum of each warp's rows
    static constexpr int kOutputBytes = kRows * kDim * 4;  // a warp's O, which takes the place of its chunks at the end
    static constexpr int kWarpBytes = kOutputBytes > 2 * kChunkBytes ? kOutputBytes : 2 * kChunkBytes;
    static constexpr int kSharedBytes = kQueryBytes + kWarps * kWarpBytes + kStatsBytes;
};

// Which rows and keys a block has, and where they lie
struct DecodePlace {
    int batch;
    int head_kv;
    int split;
    int first_row;  // of the packed rows
    int group;
    int rows;  // packed rows in all
    int keys;  // of this sequence

    __device__ DecodePlace(const DecodeParams& p, int block, int tile_rows)
    {
        split = block % p.num_splits;
        const int tile = block / p.num_splits;
        first_row = tile % p.row_tiles * tile_rows;
        const int flat = tile / p.row_tiles;
        head_kv = flat % p.h_kv;
        batch = flat / p.h_kv;
        group = p.h_q / p.h_kv;
        rows = p.s_q * group;
        keys = p.seqused_k ? Min(p.s_kv, p.seqused_k[batch]) : p.s_kv;
    }
    __device__ __forceinline__ int Query(int row) const { return row / group; }
    __device__ __forceinline__ int Head(int row) const { return head_kv * group + row % group; }
};

template <class C>
struct DecodeWarp {
    using Operand = typename C::Operand;
    using Copy = TileCopy<C::kKeys, C::kDim, 32, C::kPrefetch ? 1 : 4>;
    static constexpr int kColsS = C::kKeys / 4;
    static constexpr int kColsO = C::kDim / 4;

    const DecodeParams& p;
    const DecodePlace& place;
    const Visibility see;
    const int lane;
    const int warp;
    const unsigned shared_q;
    const unsigned shared_k;
    const unsigned shared_v;
    int query[Operand::kRowRegs];
    float slope[Operand::kRowRegs];
    float o[Operand::kRowRegs][kColsO];
    Softmax<Operand> softmax;

    __device__ __forceinline__ DecodeWarp(const DecodeParams& params, const DecodePlace& where, unsigned shared)
        : p(params),
          place(where),
          see(params.s_q, where.keys, params.window_left, params.window_right),
          lane(threadIdx.x & 31),
          warp(threadIdx.x >> 5),
          shared_q(shared),
          shared_k(shared + C::kQueryBytes + (threadIdx.x >> 5) * C::kWarpBytes),
          shared_v(shared_k + C::kChunkBytes)
    {
#pragma unroll
        for (int r = 0; r < Operand::kRowRegs; ++r) {
            const int row = Min(place.first_row + Operand::Row(r, lane), place.rows - 1);
            query[r] = place.Query(row);
            slope[r] = 0.0f;
            if (C::kBias && p.alibi_slopes)
                slope[r] = p.alibi_slopes[place.batch * p.alibi_batch_stride + place.Head(row)];
#pragma unroll
            for (int c = 0; c < kColsO; ++c) o[r][c] = 0.0f;
        }
    }

    __device__ __forceinline__ void LoadQuery() const
    {
        constexpr int kRowChunks = C::kDim / 8;
        for (int i = threadIdx.x; i < C::kRows * kRowChunks; i += C::kThreads) {
            const int row = place.first_row + i / kRowChunks;
            const int chunk = i % kRowChunks;
            uint4 value = make_uint4(0, 0, 0, 0);
            if (row < place.rows && chunk * 8 < p.d)
                value = *reinterpret_cast<const uint4*>(p.q + place.batch * p.q_strides.batch +
                                                        place.Query(row) * p.q_strides.row +
                                                        place.Head(row) * p.q_strides.head + chunk * 8);
            StoreShared16(shared_q + SharedTile<C::kDim>::Offset(i / kRowChunks, chunk), value);
        }
    }

    // the page that holds a key, or the cache row of the sequence
    __device__ __forceinline__ int Page(int key) const
    {
        if (p.block_table == nullptr) return p.cache_batch_idx ? p.cache_batch_idx[place.batch] : place.batch;
        return key < place.keys ? p.block_table[place.batch * p.block_table_stride + key / p.page_size] : 0;
    }
    __device__ __forceinline__ const Half* Source(const Half* base, const Strides& strides, int page, int key) const
    {
        const int row = p.block_table ? key % p.page_size : key;
        return base + page * strides.batch + row * strides.row + place.head_kv * strides.head;
    }
    __device__ __forceinline__ void LoadChunk(Copy& k, Copy& v, int piece, int page, int key) const
    {
        const int count = place.keys - key;
        k.Load(piece, Source(p.k, p.k_strides, page, key), p.k_strides.row, count, p.d, lane);
        v.Load(piece, Source(p.v, p.v_strides, page, key), p.v_strides.row, count, p.d, lane);
    }

    __device__ __forceinline__ void Compute(int key)
    {
        float s[Operand::kRowRegs][kColsS];
        Word weights[Operand::kRowRegs][kColsS / 2];
#pragma unroll
        for (int r = 0; r < Operand::kRowRegs; ++r)
#pragma unroll
            for (int c = 0; c < kColsS; ++c) s[r][c] = 0.0f;
#pragma unroll
        for (int step = 0; step < C::kDim / 16; ++step) {
            Word q[Operand::kQueryRegs];
            Operand::template LoadQuery<C::kDim>(q, shared_q, step, lane);
            Operand::template MultiplyQk<C::kDim, C::kKeys>(s, q, shared_k, step, lane);
        }
        if constexpr (C::kBias) BiasScores<Operand, kColsS>(s, p, slope, query, see.offset - key, lane);
        const int last = place.Query(Min(place.first_row + C::kRows, place.rows) - 1);
        const int first = place.Query(place.first_row);
        if (!see.AllVisible(first, last - first + 1, key, C::kKeys))
            MaskScores<Operand, kColsS>(s, see, query, key, lane);
        softmax.Apply(s, weights, o, ScaleLog2());
        Operand::template MultiplyPv<C::kDim, C::kKeys>(o, weights, shared_v, 0, lane);
    }

    __device__ __forceinline__ float ScaleLog2() const { return C::kBias ? 1.0f : p.scale_log2; }

    // chunks begin, begin + kWarps * 16, ... of this warp, below end
    __device__ __forceinline__ void Stream(int begin, int end)
    {
        constexpr int kStride = C::kWarps * C::kKeys;
        Copy k, v;
        if constexpr (C::kPrefetch)
            if (begin < end) LoadChunk(k, v, 0, Page(begin), begin);
        int next_page = Page(begin + (C::kPrefetch ? kStride : 0));
#pragma unroll 1
        for (int key = begin; key < end; key += kStride) {
            __syncwarp();  // every lane is done with the previous chunk
            if constexpr (C::kPrefetch) {
                k.Store(0, shared_k, lane);
                v.Store(0, shared_v, lane);
                if (key + kStride < end) LoadChunk(k, v, 0, next_page, key + kStride);
                next_page = Page(key + 2 * kStride);
            } else {
#pragma unroll 1
                for (int piece = 0; piece < 4; ++piece) {
                    LoadChunk(k, v, piece, next_page, key);
                    k.Store(piece, shared_k, lane);
                    v.Store(piece, shared_v, lane);
                }
                next_page = Page(key + kStride);
            }
            __syncwarp();
            Compute(key);
        }
    }
};

#include "decode_store.cuh"

template <class C>
__device__ __forceinline__ void Decode(const DecodeParams& p)
{
    extern __shared__ uint4 shared[];
    const unsigned base = SharedAddress(shared);
    const DecodePlace place(p, blockIdx.x, C::kRows);
    DecodeWarp<C> warp(p, place, base);
    warp.LoadQuery();
    __syncthreads();
    const int last = place.Query(Min(place.first_row + C::kRows, place.rows) - 1);
    const int begin = warp.see.FirstKey(place.Query(place.first_row)) / C::kKeys;
    const int chunks = Max(0, CeilDiv(warp.see.EndKey(last), C::kKeys) - begin);
    const int per_split = CeilDiv(chunks, p.num_splits);
    const int first = begin + place.split * per_split;
    const int end = Min(first + per_split, begin + chunks);
    warp.Stream((first + warp.warp) * C::kKeys, end * C::kKeys);
    StoreDecode<C>(warp, reinterpret_cast<float*>(reinterpret_cast<char*>(shared) + C::kQueryBytes));
}
