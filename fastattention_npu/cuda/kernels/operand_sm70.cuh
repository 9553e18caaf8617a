// Volta's operand layer: mma.m8n8k4 with fp32 accumulation. docs/volta.md draws the layouts.
// Stage: shared memory -> registers -> S or O of one warp. A warp owns kRows = 16 * kMTiles query rows.
//
// The four quad-pairs stand in a 2 x 2 grid, i = lane bit 2 along the rows, j = lane bit 3 along the columns, so that
// one operand of K serves both rows of quad-pairs' tiles of kMTiles m tiles and the shared-memory path, the scarcest
// resource of m8n8k4, carries 16 columns per 8-byte read instead of 8. For P V the quad-pairs of one grid row exchange
// P and split the head dimension. Every permutation of rows, keys and columns below is free: it only renames registers.
#pragma once
#include "common.cuh"

template <int kMTiles_>
struct OperandSm70 {
    static constexpr int kMTiles = kMTiles_;
    static constexpr int kRows = 16 * kMTiles;
    static constexpr int kRowRegs = 2 * kMTiles;
    static constexpr int kReduceXor0 = 2;
    static constexpr int kReduceXor1 = 8;
    static constexpr int kQueryRegs = 8 * kMTiles;  // registers of Q per 16 columns: twice Turing's, for the 2 x 2 grid

    static __device__ __forceinline__ int GridRow(int lane) { return (lane >> 2) & 1; }
    static __device__ __forceinline__ int GridCol(int lane) { return (lane >> 3) & 1; }

    static __device__ __forceinline__ int Row(int r, int lane)
    {
        return (r >> 1) * 16 + (lane & 1) + 2 * (r & 1) + 4 * GridRow(lane) + 8 * (lane >> 4);
    }
    static __device__ __forceinline__ int LaneColS(int lane) { return GridCol(lane) * 8 + (lane & 2); }
    static constexpr __device__ int StepColS(int c) { return (c >> 2) * 16 + ((c >> 1) & 1) * 4 + (c & 1); }
    static __device__ __forceinline__ int LaneColO(int lane) { return GridCol(lane) * 16 + (lane & 2); }
    static constexpr __device__ int StepColO(int c)
    {
        return (c >> 3) * 32 + ((c >> 1) & 1) * 8 + ((c >> 2) & 1) * 4 + (c & 1);
    }

    // B is column-major (K: four consecutive columns of one key)
    static __device__ __forceinline__ void MmaCol(float* c0, float* c1, Word a0, Word a1, Word b0, Word b1)
    {
        asm("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, {%8, %9}, "
            "{%10, %11}, {%0, %1, %2, %3, %4, %5, %6, %7};"
            : "+f"(c0[0]), "+f"(c0[1]), "+f"(c1[0]), "+f"(c1[1]), "+f"(c0[2]), "+f"(c0[3]), "+f"(c1[2]), "+f"(c1[3])
            : "r"(a0), "r"(a1), "r"(b0), "r"(b1));
    }
    // B is row-major (V: one key, four consecutive columns), so V needs no transpose
    static __device__ __forceinline__ void MmaRow(float* c0, float* c1, Word a0, Word a1, Word b0, Word b1)
    {
        asm("mma.sync.aligned.m8n8k4.row.row.f32.f16.f16.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, {%8, %9}, "
            "{%10, %11}, {%0, %1, %2, %3, %4, %5, %6, %7};"
            : "+f"(c0[0]), "+f"(c0[1]), "+f"(c1[0]), "+f"(c1[1]), "+f"(c0[2]), "+f"(c0[3]), "+f"(c1[2]), "+f"(c1[3])
            : "r"(a0), "r"(a1), "r"(b0), "r"(b1));
    }

    // Q of 16 columns: [eight][m tile][four words of eight columns]
    template <int kDim>
    static __device__ __forceinline__ void LoadQuery(Word (&q)[kQueryRegs], unsigned tile, int k16, int lane)
    {
        using Tile = SharedTile<kDim>;
        const int row = (lane & 3) + 4 * GridRow(lane) + 8 * (lane >> 4);
        const int swizzle = Tile::Swizzle(row);
#pragma unroll
        for (int eight = 0; eight < 2; ++eight)
#pragma unroll
            for (int m = 0; m < kMTiles; ++m) {
                const int chunk = swizzle ^ (k16 * 2 + eight);
                const uint4 r = LoadShared16(tile + (m * 16 + row) * Tile::kRowBytes + (chunk << 4));
                Word* out = q + (eight * kMTiles + m) * 4;
                out[0] = r.x;
                out[1] = r.y;
                out[2] = r.z;
                out[3] = r.w;
            }
    }

    // S += Q K^T over 16 columns of the head dimension; each 16-byte read of K feeds 2 * kMTiles products
    template <int kDim, int kKeys>
    static __device__ __forceinline__ void MultiplyQk(float (&s)[kRowRegs][kKeys / 4], const Word (&q)[kQueryRegs],
                                                      unsigned tile, int k16, int lane)
    {
        using Tile = SharedTile<kDim>;
        const int row = GridCol(lane) * 8 + (lane & 3) + 4 * (lane >> 4);
        const int swizzle = Tile::Swizzle(row);
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
            const unsigned base = tile + row * Tile::kRowBytes + ((swizzle ^ (k16 * 2 + eight)) << 4);
#pragma unroll
            for (int n = 0; n < kKeys / 16; ++n) {
                const uint4 k = LoadShared16(base + n * 16 * Tile::kRowBytes);
#pragma unroll
                for (int m = 0; m < kMTiles; ++m) {
                    const Word* a = q + (eight * kMTiles + m) * 4;
                    MmaCol(&s[m * 2][n * 4], &s[m * 2 + 1][n * 4], a[0], a[1], k.x, k.y);
                }
#pragma unroll
                for (int m = 0; m < kMTiles; ++m) {
                    const Word* a = q + (eight * kMTiles + m) * 4;
                    MmaCol(&s[m * 2][n * 4], &s[m * 2 + 1][n * 4], a[2], a[3], k.z, k.w);
                }
            }
        }
    }

    // C layout -> A layout of one m tile and 16 keys: lanes l and l ^ 2 hold the same two rows, each half of the keys;
    // after the exchange each holds one row with all eight keys of its quad-pair, as keys {0,1,4,5} then {2,3,6,7}.
    static __device__ __forceinline__ void ExchangeRows(Word (&a)[4], Word x0, Word x1, Word y0, Word y1, int lane)
    {
        const bool odd = lane & 2;
        const Word r0 = __shfl_xor_sync(kFullWarp, odd ? x0 : y0, 2);
        const Word r1 = __shfl_xor_sync(kFullWarp, odd ? x1 : y1, 2);
        a[0] = odd ? r0 : x0;
        a[1] = odd ? r1 : x1;
        a[2] = odd ? y0 : r0;
        a[3] = odd ? y1 : r1;
    }

    template <int kDim>
    static __device__ __forceinline__ void MultiplyHalf(float (&o)[kRowRegs][kDim / 4], const Word (&a)[kMTiles][4],
                                                        unsigned row_address, int chunk)
    {
        using Tile = SharedTile<kDim>;
#pragma unroll
        for (int step = 0; step < 2; ++step)
#pragma unroll
            for (int n = 0; n < kDim / 32; ++n) {
                const int place = chunk ^ (n * 4) ^ Tile::Swizzle(step * 2);
                const uint4 v = LoadShared16(row_address + step * 2 * Tile::kRowBytes + (place << 4));
#pragma unroll
                for (int m = 0; m < kMTiles; ++m)
                    MmaRow(&o[m * 2][n * 8], &o[m * 2 + 1][n * 8], a[m][step * 2], a[m][step * 2 + 1], v.x, v.y);
#pragma unroll
                for (int m = 0; m < kMTiles; ++m)
                    MmaRow(&o[m * 2][n * 8 + 4], &o[m * 2 + 1][n * 8 + 4], a[m][step * 2], a[m][step * 2 + 1], v.z,
                           v.w);
            }
    }

    // O += P V over 16 keys: first the quad-pair's own eight keys, then those of its neighbour in the grid row
    template <int kDim, int kKeys>
    static __device__ __forceinline__ void MultiplyPv(float (&o)[kRowRegs][kDim / 4],
                                                      const Word (&p)[kRowRegs][kKeys / 8], unsigned tile, int k16,
                                                      int lane)
    {
        using Tile = SharedTile<kDim>;
        const int key = (lane & 1) + ((lane & 2) << 1);
        const int chunk = (GridCol(lane) * 2 + (lane >> 4)) ^ Tile::Swizzle(key);
        const int eight = GridCol(lane) * 8;
        Word a[kMTiles][4];
#pragma unroll
        for (int m = 0; m < kMTiles; ++m)
            ExchangeRows(a[m], p[m * 2][k16 * 2], p[m * 2][k16 * 2 + 1], p[m * 2 + 1][k16 * 2],
                         p[m * 2 + 1][k16 * 2 + 1], lane);
        MultiplyHalf<kDim>(o, a, tile + (k16 * 16 + eight + key) * Tile::kRowBytes, chunk);
#pragma unroll
        for (int m = 0; m < kMTiles; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) a[m][i] = __shfl_xor_sync(kFullWarp, a[m][i], 8);
        MultiplyHalf<kDim>(o, a, tile + (k16 * 16 + (eight ^ 8) + key) * Tile::kRowBytes, chunk);
    }
};
