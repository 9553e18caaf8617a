// The AllReduce of the token blocks, committed block by block to HCCL's server. Every cube core is a client, as in the
// vendor's examples; the messages leave from block 0. Constraints: Ascend C documentation, "HCCL".
#pragma once
#include "adv_api/hccl/hccl.h"
#include "kernel_operator.h"
#include "tiling.h"

namespace fastattn {

template <class T>
class BlockAllReduce {
public:
    // One Prepare for each run of equal blocks, before any computing, so that the server sets up meanwhile.
    __aicore__ inline void Init(const AttentionLinearAllReduceTiling& tiling, GM_ADDR context, GM_ADDR partial,
                                GM_ADDR out)
    {
        tiling_ = &tiling;
        hccl_.InitV2(context, &tiling);
        hccl_.SetCcTilingV2(MC2_INIT_TILING_BYTES);
        uint64_t offset = 0;
        for (uint32_t run = 0; run < tiling.numRuns; ++run) {
            const uint64_t count = static_cast<uint64_t>(tiling.runTokens[run]) * tiling.linear.n;
            handles_[run] = hccl_.template AllReduce<false>(partial + offset, out + offset, count, DataType(),
                                                            AscendC::HCCL_REDUCE_SUM, tiling.runBlocks[run]);
            offset += count * sizeof(T) * tiling.runBlocks[run];
        }
    }

    // The next block is complete on this rank.
    __aicore__ inline void Commit()
    {
        if (committed_ == tiling_->runBlocks[run_]) {
            ++run_;
            committed_ = 0;
        }
        hccl_.Commit(handles_[run_]);
        ++committed_;
    }

    __aicore__ inline void Finish()
    {
        for (uint32_t run = 0; run < tiling_->numRuns; ++run) {
            for (uint32_t i = 0; i < tiling_->runBlocks[run]; ++i) {
                hccl_.Wait(handles_[run]);
            }
        }
        AscendC::SyncAll<true>();  // a server that ends while another core still polls would hang that core
        hccl_.Finalize();
    }

private:
    __aicore__ inline AscendC::HcclDataType DataType() const
    {
        constexpr bool isHalf = std::is_same_v<T, half>;
        return isHalf ? AscendC::HCCL_DATA_TYPE_FP16 : AscendC::HCCL_DATA_TYPE_BFP16;
    }

    const AttentionLinearAllReduceTiling* tiling_ = nullptr;
    AscendC::Hccl<AscendC::HCCL_SERVER_TYPE_AICPU> hccl_;
    AscendC::HcclHandle handles_[MAX_BLOCK_RUNS] = {};
    uint32_t run_ = 0;
    uint32_t committed_ = 0;
};

}  // namespace fastattn
