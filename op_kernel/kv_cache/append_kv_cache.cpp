// New keys and values into a KV cache, in place: token t of batch entry b goes to position cacheSeqlens[b] + t of its
// row, or of its pages, and lengths[b] becomes cacheSeqlens[b] + tokens. Vector cores only; nothing is computed.
// Lengths, rows and pages come from the device, where nobody has checked them: a token whose position, row or page the
// cache does not have is left out, and lengths stay within 0 and the capacity. Two batch entries must not share a row.
#include "../common/pipeline.h"
#include "kernel_operator.h"
#include "tiling.h"

namespace fastattn {

using CopyRing = PipeRing<AscendC::HardEvent::MTE2_MTE3, AscendC::HardEvent::MTE3_MTE2>;

struct AppendOperands {
    GM_ADDR k;
    GM_ADDR v;
    GM_ADDR cacheSeqlens;
    GM_ADDR cacheBatchIdx;
    GM_ADDR blockTable;
    GM_ADDR kCache;
    GM_ADDR vCache;
    GM_ADDR lengths;
};

// Rows of equal width, `pitch` bytes apart.
struct ByteRows {
    AscendC::GlobalTensor<uint8_t> gm;
    uint64_t offset;
    uint64_t pitch;
};

class CacheAppend {
public:
    __aicore__ inline void Init(const AppendKvCacheTiling& tiling, const AppendOperands& x)
    {
        tiling_ = &tiling;
        gmK_.SetGlobalBuffer((__gm__ uint8_t*)x.k);
        gmV_.SetGlobalBuffer((__gm__ uint8_t*)x.v);
        gmKCache_.SetGlobalBuffer((__gm__ uint8_t*)x.kCache);
        gmVCache_.SetGlobalBuffer((__gm__ uint8_t*)x.vCache);
        gmSeqlens_.SetGlobalBuffer((__gm__ int32_t*)x.cacheSeqlens);
        gmBatchIdx_.SetGlobalBuffer((__gm__ int32_t*)x.cacheBatchIdx);
        gmTable_.SetGlobalBuffer((__gm__ int32_t*)x.blockTable);
        gmLengths_.SetGlobalBuffer((__gm__ int32_t*)x.lengths);
        ring_.Init(0, APPEND_SLOTS);
        lengthRing_.Init(0, 1);
    }

    __aicore__ inline void Drain()
    {
        ring_.Drain();
        lengthRing_.Drain();
    }

    // Chunks of K, then those of V, dealt to the cores in turn.
    __aicore__ inline void Run(uint32_t core, uint32_t cores)
    {
        const AppendKvCacheTiling& t = *tiling_;
        const uint64_t chunks = CeilDiv(t.tokens, t.chunkTokens);
        const uint64_t pieces = t.batch * chunks;
        for (uint64_t piece = core; piece < 2 * pieces; piece += cores) {
            const bool keys = piece < pieces;
            const uint64_t index = keys ? piece : piece - pieces;
            const auto batch = static_cast<uint32_t>(index / chunks);
            const auto first = static_cast<uint32_t>(index % chunks) * t.chunkTokens;
            const uint32_t left = t.tokens - first;
            AppendChunk(keys, batch, first, left < t.chunkTokens ? left : t.chunkTokens);
            if (keys && first == 0) {
                StoreLength(batch);
            }
        }
    }

private:
    __aicore__ inline int64_t Capacity() const
    {
        const uint32_t rows = tiling_->sequencePages == 0 ? 1 : tiling_->sequencePages;
        return static_cast<int64_t>(tiling_->rowTokens) * rows;
    }

    // The tokens of a chunk that have a position, one row or page after the other.
    __aicore__ inline void AppendChunk(bool keys, uint32_t batch, uint32_t first, uint32_t count)
    {
        const int64_t length = gmSeqlens_.GetValue(batch);
        const int64_t start = length + first;
        const int64_t end = start + count < Capacity() ? start + count : Capacity();
        for (int64_t position = start < 0 ? 0 : start; position < end;) {
            const int64_t page = position / tiling_->rowTokens;
            const int64_t within = position % tiling_->rowTokens;
            const int64_t left = tiling_->rowTokens - within;
            const int64_t run = left < end - position ? left : end - position;
            const int64_t row = RowOf(batch, static_cast<uint32_t>(page));
            if (row >= 0 && row < tiling_->cacheRows) {
                AppendRun(keys, batch, position - length, static_cast<uint64_t>(row), static_cast<uint64_t>(within),
                          static_cast<uint32_t>(run));
            }
            position += run;
        }
    }

    __aicore__ inline int64_t RowOf(uint32_t batch, uint32_t page) const
    {
        if (tiling_->sequencePages != 0) {
            return gmTable_.GetValue(static_cast<uint64_t>(batch) * tiling_->tableStride + page);
        }
        return tiling_->hasCacheBatchIdx != 0 ? gmBatchIdx_.GetValue(batch) : batch;
    }

    // Tokens token ... -> positions within ... of a row. Rows of the copy are tokens, or heads where those are more.
    __aicore__ inline void AppendRun(bool keys, uint32_t batch, int64_t token, uint64_t row, uint64_t within,
                                     uint32_t tokens)
    {
        const CacheTensor& c = keys ? tiling_->k : tiling_->v;
        ByteRows from{keys ? gmK_ : gmV_, batch * c.newBatchBytes + static_cast<uint64_t>(token) * c.newTokenBytes,
                      c.newTokenBytes};
        ByteRows to{keys ? gmKCache_ : gmVCache_, row * c.cacheRowBytes + within * c.cacheTokenBytes,
                    c.cacheTokenBytes};
        if (c.newHeadBytes == c.headBytes && c.cacheHeadBytes == c.headBytes) {
            CopyRows(from, to, tokens, c.headBytes * tiling_->heads);
            return;
        }
        const bool byHead = tokens >= tiling_->heads;
        const uint64_t fromStep = byHead ? c.newHeadBytes : c.newTokenBytes;
        const uint64_t toStep = byHead ? c.cacheHeadBytes : c.cacheTokenBytes;
        from.pitch = byHead ? c.newTokenBytes : c.newHeadBytes;
        to.pitch = byHead ? c.cacheTokenBytes : c.cacheHeadBytes;
        for (uint32_t i = 0; i < (byHead ? tiling_->heads : tokens); ++i) {
            CopyRows(from, to, byHead ? tokens : tiling_->heads, c.headBytes);
            from.offset += fromStep;
            to.offset += toStep;
        }
    }

    __aicore__ inline void CopyRows(const ByteRows& from, const ByteRows& to, uint64_t rows, uint64_t width)
    {
        if (from.pitch == width && to.pitch == width) {
            width *= rows;  // one row
            rows = 1;
        }
        for (uint64_t column = 0; column < width; column += APPEND_SLOT_BYTES) {
            const uint64_t left = width - column;
            const auto bytes = static_cast<uint32_t>(left < APPEND_SLOT_BYTES ? left : APPEND_SLOT_BYTES);
            // Further apart than a copy's field can say, or overlapping, as rows of an expanded tensor do: one by one.
            const bool single = !GapFits(from.pitch, bytes) || !GapFits(to.pitch, bytes);
            const auto fit = static_cast<uint32_t>(APPEND_SLOT_BYTES / RoundUp(bytes, BLOCK_BYTES));
            const uint32_t most = single ? 1 : fit;
            for (uint64_t row = 0; row < rows; row += most) {
                const uint64_t rest = rows - row;
                CopyBlock(from.gm[from.offset + column + row * from.pitch], to.gm[to.offset + column + row * to.pitch],
                          static_cast<uint32_t>(rest < most ? rest : most), bytes, single ? 0 : from.pitch - bytes,
                          single ? 0 : to.pitch - bytes);
            }
        }
    }

    __aicore__ inline bool GapFits(uint64_t pitch, uint32_t bytes) const
    {
        return pitch >= bytes && pitch - bytes <= MAX_GAP_BYTES;
    }

    // GM -> UB -> GM; in UB every row starts a 32 B block.
    __aicore__ inline void CopyBlock(const AscendC::GlobalTensor<uint8_t>& from,
                                     const AscendC::GlobalTensor<uint8_t>& to, uint32_t rows, uint32_t bytes,
                                     uint64_t fromGap, uint64_t toGap)
    {
        const uint32_t slot = ring_.Acquire();
        const AscendC::LocalTensor<uint8_t> ub(AscendC::TPosition::VECIN, slot * APPEND_SLOT_BYTES, APPEND_SLOT_BYTES);
        AscendC::DataCopyPad(ub, from, AscendC::DataCopyExtParams(rows, bytes, fromGap, 0, 0),
                             AscendC::DataCopyPadExtParams<uint8_t>(false, 0, 0, 0));  // [rows, bytes]
        ring_.Publish(slot);
        ring_.Await(slot);
        AscendC::DataCopyPad(to, ub, AscendC::DataCopyExtParams(rows, bytes, 0, toGap, 0));  // [rows, bytes]
        ring_.Release(slot);
    }

    __aicore__ inline void StoreLength(uint32_t batch)
    {
        int64_t length = static_cast<int64_t>(gmSeqlens_.GetValue(batch)) + tiling_->tokens;
        length = length < Capacity() ? length : Capacity();
        const AscendC::LocalTensor<int32_t> ub(AscendC::TPosition::VECCALC, APPEND_LENGTH_OFFSET_BYTES,
                                               BLOCK_BYTES / sizeof(int32_t));
        const uint32_t slot = lengthRing_.Acquire();
        AscendC::Duplicate(ub, static_cast<int32_t>(length < 0 ? 0 : length),
                           static_cast<int32_t>(BLOCK_BYTES / sizeof(int32_t)));
        lengthRing_.Publish(slot);
        lengthRing_.Await(slot);
        AscendC::DataCopyPad(gmLengths_[batch], ub, AscendC::DataCopyExtParams(1, sizeof(int32_t), 0, 0, 0));  // [1]
        lengthRing_.Release(slot);
    }

    static constexpr uint64_t MAX_GAP_BYTES = 0xffffffff;  // DataCopyExtParams.srcStride, dstStride: uint32
    static_assert(APPEND_SLOT_BYTES / BLOCK_BYTES <= 4095, "DataCopyExtParams.blockCount takes 4095 rows");

    const AppendKvCacheTiling* tiling_ = nullptr;
    AscendC::GlobalTensor<uint8_t> gmK_;
    AscendC::GlobalTensor<uint8_t> gmV_;
    AscendC::GlobalTensor<uint8_t> gmKCache_;
    AscendC::GlobalTensor<uint8_t> gmVCache_;
    AscendC::GlobalTensor<int32_t> gmSeqlens_;
    AscendC::GlobalTensor<int32_t> gmBatchIdx_;
    AscendC::GlobalTensor<int32_t> gmTable_;
    AscendC::GlobalTensor<int32_t> gmLengths_;
    CopyRing ring_;
    UbOutRing lengthRing_;
};

}  // namespace fastattn

// cacheSeqlens and lengths: (batch) int32, of its own each; cacheBatchIdx: (batch) int32 or null; blockTable: (batch,
// sequencePages) int32 or null.
extern "C"
    __global__ __mix__(1, 2) void append_kv_cache(GM_ADDR k, GM_ADDR v, GM_ADDR cacheSeqlens, GM_ADDR cacheBatchIdx,
                                                  GM_ADDR blockTable, GM_ADDR kCache, GM_ADDR vCache, GM_ADDR lengths,
                                                  fastattn::AppendKvCacheTiling tiling)
{
    AscendC::InitSocState();
    if ASCEND_IS_AIV {
        fastattn::CacheAppend append;
        append.Init(tiling, {k, v, cacheSeqlens, cacheBatchIdx, blockTable, kCache, vCache, lengths});
        append.Run(static_cast<uint32_t>(AscendC::GetBlockIdx()),
                   static_cast<uint32_t>(AscendC::GetBlockNum() * AscendC::GetSubBlockNum()));
        append.Drain();
    }
    AscendC::PipeBarrier<PIPE_ALL>();
}
