// The token blocks that are sent one by one: contiguous ranges of the tokens of all sequences, laid end to end.
#pragma once
#include "../flash_attention/work.h"
#include "tiling.h"

namespace fastattn {

struct TokenBlock {
    uint32_t begin;
    uint32_t tokens;
};

class TokenBlocks {
public:
    __aicore__ inline void Init(const AttentionLinearAllReduceTiling& tiling) { tiling_ = &tiling; }

    __aicore__ inline uint32_t Count() const
    {
        uint32_t count = 0;
        for (uint32_t run = 0; run < tiling_->numRuns; ++run) {
            count += tiling_->runBlocks[run];
        }
        return count;
    }

    __aicore__ inline TokenBlock At(uint32_t index) const
    {
        uint32_t begin = 0;
        for (uint32_t run = 0; run < tiling_->numRuns; ++run) {
            const uint32_t tokens = tiling_->runTokens[run];
            if (index < tiling_->runBlocks[run]) {
                return {begin + index * tokens, tokens};
            }
            index -= tiling_->runBlocks[run];
            begin += tiling_->runBlocks[run] * tokens;
        }
        return {begin, 0};
    }

    // The block that needs a piece of attention first: the one that holds its first token.
    __aicore__ inline uint32_t Of(const Piece& piece) const
    {
        const uint32_t token =
            tiling_->attention.hasCuSeqlens != 0 ? piece.sequence.startQ : piece.batch * tiling_->attention.seqQ;
        return Holding(token + piece.queries.row0);
    }

private:
    __aicore__ inline uint32_t Holding(uint32_t token) const
    {
        uint32_t before = 0;
        uint32_t begin = 0;
        for (uint32_t run = 0; run < tiling_->numRuns; ++run) {
            const uint32_t tokens = tiling_->runTokens[run];
            const uint32_t end = begin + tiling_->runBlocks[run] * tokens;
            if (token < end) {
                return before + (token - begin) / tokens;
            }
            before += tiling_->runBlocks[run];
            begin = end;
        }
        return before;
    }

    const AttentionLinearAllReduceTiling* tiling_ = nullptr;
};

}  // namespace fastattn
