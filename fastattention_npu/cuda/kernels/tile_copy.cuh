// Global memory -> registers -> shared memory, in pieces: neither architecture has an asynchronous copy, so a piece is
// loaded before a stretch of matrix products and stored after it, and only one piece is in registers at a time.
// Stage: loading. It must not compute; rows and columns outside the tensor become zeros (0 * garbage could be NaN).
#pragma once
#include "common.cuh"

template <int kRows, int kDim, int kThreads, int kPieces>
struct TileCopy {
    static constexpr int kRowChunks = kDim / 8;
    static constexpr int kChunks = kRows * kRowChunks;
    static constexpr int kPerThread = CeilDiv(kChunks, kThreads* kPieces);  // 16-byte registers of one piece
    static constexpr bool kWhole = kChunks % (kThreads * kPieces) == 0;

    uint4 held[kPerThread];

    static __device__ __forceinline__ int Index(int piece, int i, int thread)
    {
        return (piece * kPerThread + i) * kThreads + thread;
    }

    // source: row 0 of the tile; row_count rows and col_count columns (a multiple of 8) of it exist
    __device__ __forceinline__ void Load(int piece, const Half* source, Long row_stride, int row_count, int col_count,
                                         int thread)
    {
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
            const int index = Index(piece, i, thread);
            const int row = index / kRowChunks;
            const int chunk = index % kRowChunks;
            held[i] = make_uint4(0, 0, 0, 0);
            if (row < row_count && chunk * 8 < col_count && (kWhole || index < kChunks))
                held[i] = __ldg(reinterpret_cast<const uint4*>(source + row * row_stride + chunk * 8));
        }
    }

    __device__ __forceinline__ void Store(int piece, unsigned tile, int thread) const
    {
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
            const int index = Index(piece, i, thread);
            if (kWhole || index < kChunks)
                StoreShared16(tile + SharedTile<kDim>::Offset(index / kRowChunks, index % kRowChunks), held[i]);
        }
    }

    // the whole tile at once, for prologues
    static __device__ __forceinline__ void All(unsigned tile, const Half* source, Long row_stride, int row_count,
                                               int col_count, int thread)
    {
#pragma unroll
        for (int piece = 0; piece < kPieces; ++piece) {
            TileCopy copy;
            copy.Load(piece, source, row_stride, row_count, col_count, thread);
            copy.Store(piece, tile, thread);
        }
    }
};
