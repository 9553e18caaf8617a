// How the cores agree on finished token blocks. Vector cores: each says that it has stored its rows of a block (mode
// 0), goes on with the next block, and passes the word to its cube core (mode 2) at the end of its first piece there,
// when the others will have arrived. Whatever comes late, no core waits for one that waits for it: a core announces
// block j before it touches block j + 1 and passes j on before it announces j + 1.
#pragma once
#include "token_blocks.h"

namespace fastattn {

// Beside CrossCoreFlag of the attention.
enum FusedFlag : uint16_t {
    ROWS_STORED = 8,  // mode 0: attention rows of a token block are in GM, by all vector cores
    BLOCK_READY = 9,  // vector -> cube: so a token block may be projected
    PROJECTED = 10,   // mode 0: the projection of a token block is in GM, by all cube cores
};

class RowsStored {
public:
    __aicore__ inline void Init(const TokenBlocks& blocks) { blocks_ = &blocks; }

    // A level-1 block of this piece is about to be accumulated.
    __aicore__ inline void Enter(const Piece& piece)
    {
        for (const uint32_t block = blocks_->Of(piece); announced_ < block;) {
            Announce();
        }
    }

    // A piece has been stored.
    __aicore__ inline void Leave()
    {
        if (forwarded_ < announced_) {
            Forward();
        }
    }

    __aicore__ inline void Finish()
    {
        for (const uint32_t count = blocks_->Count(); announced_ < count;) {
            Announce();
        }
        Leave();
    }

private:
    __aicore__ inline void Announce()
    {
        Leave();
        AscendC::CrossCoreSetFlag<0, PIPE_MTE3>(ROWS_STORED);
        ++announced_;
    }

    __aicore__ inline void Forward()
    {
        AscendC::CrossCoreWaitFlag(ROWS_STORED);
        AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(BLOCK_READY);
        ++forwarded_;
    }

    const TokenBlocks* blocks_ = nullptr;
    uint32_t announced_ = 0;
    uint32_t forwarded_ = 0;
};

}  // namespace fastattn
