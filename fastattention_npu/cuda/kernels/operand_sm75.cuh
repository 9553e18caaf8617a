// Turing's operand layer: mma.m16n8k8 with fp32 accumulation, operands through ldmatrix.
// Stage: shared memory -> registers -> S or O of one warp. A warp owns kRows = 16 * kMTiles query rows.
// S and O registers are indexed [register row][register column]; Row, LaneCol*, StepCol* name their place in the tile.
// P needs no exchange here: two neighbouring fp32 results of a row are one half of the next A operand.
#pragma once
#include "common.cuh"

template <int kMTiles_>
struct OperandSm75 {
    static constexpr int kMTiles = kMTiles_;
    static constexpr int kRows = 16 * kMTiles;
    static constexpr int kRowRegs = 2 * kMTiles;
    static constexpr int kReduceXor0 = 1;  // lanes that share a row differ in these two bits
    static constexpr int kReduceXor1 = 2;
    static constexpr int kQueryRegs = 4 * kMTiles;  // registers of Q per 16 columns

    static __device__ __forceinline__ int Row(int r, int lane) { return (r >> 1) * 16 + (r & 1) * 8 + (lane >> 2); }
    static __device__ __forceinline__ int LaneColS(int lane) { return (lane & 3) * 2; }
    static constexpr __device__ int StepColS(int c) { return (c >> 1) * 8 + (c & 1); }
    static __device__ __forceinline__ int LaneColO(int lane) { return LaneColS(lane); }
    static constexpr __device__ int StepColO(int c) { return StepColS(c); }

    static __device__ __forceinline__ void LoadMatrix(Word (&r)[4], unsigned address)
    {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    }
    static __device__ __forceinline__ void LoadMatrixTransposed(Word (&r)[4], unsigned address)
    {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    }
    static __device__ __forceinline__ void Mma(float& c0, float& c1, float& c2, float& c3, Word a0, Word a1, Word b)
    {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
            "{%0, %1, %2, %3};"
            : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
            : "r"(a0), "r"(a1), "r"(b));
    }

    // Q of 16 columns: [step of 8][m tile][upper, lower eight rows]
    template <int kDim>
    static __device__ __forceinline__ void LoadQuery(Word (&q)[kQueryRegs], unsigned tile, int k16, int lane)
    {
        using Tile = SharedTile<kDim>;
        const int row = lane & 15;
        const int chunk = (lane >> 4) ^ Tile::Swizzle(row);
#pragma unroll
        for (int m = 0; m < kMTiles; ++m) {
            Word r[4];
            LoadMatrix(r, tile + (m * 16 + row) * Tile::kRowBytes + ((chunk ^ (k16 * 2)) << 4));
            q[m * 2] = r[0];
            q[m * 2 + 1] = r[1];
            q[(kMTiles + m) * 2] = r[2];
            q[(kMTiles + m) * 2 + 1] = r[3];
        }
    }

    // S += Q K^T over 16 columns of the head dimension
    template <int kDim, int kKeys>
    static __device__ __forceinline__ void MultiplyQk(float (&s)[kRowRegs][kKeys / 4], const Word (&q)[kQueryRegs],
                                                      unsigned tile, int k16, int lane)
    {
        using Tile = SharedTile<kDim>;
        const int row = (lane & 7) + (lane >> 4) * 8;
        const int chunk = ((lane >> 3) & 1) ^ Tile::Swizzle(row);
        const unsigned base = tile + row * Tile::kRowBytes + ((chunk ^ (k16 * 2)) << 4);
#pragma unroll
        for (int n = 0; n < kKeys / 16; ++n) {
            Word k[4];  // [key eight][step of 8]
            LoadMatrix(k, base + n * 16 * Tile::kRowBytes);
#pragma unroll
            for (int step = 0; step < 2; ++step)
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int m = 0; m < kMTiles; ++m) {
                        const int c = (n * 2 + half) * 2;
                        Mma(s[m * 2][c], s[m * 2][c + 1], s[m * 2 + 1][c], s[m * 2 + 1][c + 1],
                            q[(step * kMTiles + m) * 2], q[(step * kMTiles + m) * 2 + 1], k[half * 2 + step]);
                    }
        }
    }

    // O += P V over 16 keys; p holds the packed columns of all keys of the tile
    template <int kDim, int kKeys>
    static __device__ __forceinline__ void MultiplyPv(float (&o)[kRowRegs][kDim / 4],
                                                      const Word (&p)[kRowRegs][kKeys / 8], unsigned tile, int k16,
                                                      int lane)
    {
        using Tile = SharedTile<kDim>;
        const int row = lane & 7;
        const int chunk = (lane >> 3) ^ Tile::Swizzle(row);
        const unsigned base = tile + (k16 * 16 + row) * Tile::kRowBytes;
#pragma unroll
        for (int step = 0; step < 2; ++step)
#pragma unroll
            for (int n = 0; n < kDim / 32; ++n) {
                Word v[4];
                LoadMatrixTransposed(v, base + step * 8 * Tile::kRowBytes + ((chunk ^ (n * 4)) << 4));
#pragma unroll
                for (int t = 0; t < 4; ++t)
#pragma unroll
                    for (int m = 0; m < kMTiles; ++m) {
                        const int c = (n * 4 + t) * 2;
                        Mma(o[m * 2][c], o[m * 2][c + 1], o[m * 2 + 1][c], o[m * 2 + 1][c + 1],
                            p[m * 2][k16 * 2 + step], p[m * 2 + 1][k16 * 2 + step], v[t]);
                    }
            }
    }
};
