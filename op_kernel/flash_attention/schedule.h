// The partition of the work as the device sees it: sequence lengths come from GM, because they may be known only there.
#pragma once
#include "kernel_operator.h"
#include "partition.h"

namespace fastattn {

class Lengths {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& tiling, GM_ADDR cuSeqlensQ, GM_ADDR cuSeqlensKv,
                                GM_ADDR seqUsedKv)
    {
        tiling_ = &tiling;
        gmCuSeqlensQ_.SetGlobalBuffer((__gm__ int32_t*)cuSeqlensQ);
        gmCuSeqlensKv_.SetGlobalBuffer((__gm__ int32_t*)cuSeqlensKv);
        gmSeqUsedKv_.SetGlobalBuffer((__gm__ int32_t*)seqUsedKv);
    }

    __aicore__ inline Sequence Of(uint32_t batch) const
    {
        Sequence before{};
        if (tiling_->hasCuSeqlens != 0) {
            before.startQ = static_cast<uint32_t>(gmCuSeqlensQ_.GetValue(batch));
            before.endKv = static_cast<uint32_t>(gmCuSeqlensKv_.GetValue(batch));
        }
        return Following(before, batch);
    }

    __aicore__ inline Sequence Following(const Sequence& previous, uint32_t batch) const
    {
        Sequence s{0, 0, tiling_->seqQ, tiling_->seqKv};
        if (tiling_->hasCuSeqlens != 0) {
            s.startQ = previous.startQ + previous.lengthQ;
            s.startKv = previous.endKv;
            s.endKv = static_cast<uint32_t>(gmCuSeqlensKv_.GetValue(batch + 1));
            s.lengthQ = static_cast<uint32_t>(gmCuSeqlensQ_.GetValue(batch + 1)) - s.startQ;
            s.lengthKv = s.endKv - s.startKv;
        }
        if (tiling_->hasSeqUsedKv != 0) {
            const int32_t used = gmSeqUsedKv_.GetValue(batch);
            const uint32_t keys = used < 0 ? 0 : static_cast<uint32_t>(used);
            s.lengthKv = keys < s.lengthKv ? keys : s.lengthKv;
        }
        return s;
    }

private:
    const FlashAttentionTiling* tiling_ = nullptr;
    AscendC::GlobalTensor<int32_t> gmCuSeqlensQ_;
    AscendC::GlobalTensor<int32_t> gmCuSeqlensKv_;
    AscendC::GlobalTensor<int32_t> gmSeqUsedKv_;
};

using PieceCursor = PieceWalk<Lengths>;

}  // namespace fastattn
