// The kernel's client of the communication library HCCL: names, parameters and constraints as in the Ascend C
// documentation, "HCCL" (AI CPU server). What the server does stands in sim/machine/hccl.h.
#pragma once
#include "../../macros.h"
#include "fastattention_npu/sim/isa/hccl.h"

namespace AscendC {

using HcclHandle = int8_t;

enum HcclServerType { HCCL_SERVER_TYPE_AICPU = 0, HCCL_SERVER_TYPE_CCU = 5, HCCL_SERVER_TYPE_END };
enum class CoreType : uint8_t { DEFAULT, ON_AIV, ON_AIC };
struct HcclServerConfig {
    CoreType type;
    int64_t blockId;
};
static constexpr HcclServerConfig DEFAULT_CFG = {CoreType::DEFAULT, 0};

enum HcclDataType {
    HCCL_DATA_TYPE_INT8 = 0,
    HCCL_DATA_TYPE_INT16 = 1,
    HCCL_DATA_TYPE_INT32 = 2,
    HCCL_DATA_TYPE_FP16 = 3,
    HCCL_DATA_TYPE_FP32 = 4,
    HCCL_DATA_TYPE_BFP16 = 11
};
enum HcclReduceOp { HCCL_REDUCE_SUM = 0, HCCL_REDUCE_PROD = 1, HCCL_REDUCE_MAX = 2, HCCL_REDUCE_MIN = 3 };

constexpr int32_t HCCL_SUCCESS = 0;
constexpr int32_t HCCL_FAILED = -1;

// The communicator's context, as the host set it for the launch.
template <uint32_t index>
GM_ADDR GetHcclContext()
{
    static_assert(index == 0, "the simulator has one communicator a launch");
    return reinterpret_cast<GM_ADDR>(ascend_sim::HcclContext());
}

template <HcclServerType serverType = HcclServerType::HCCL_SERVER_TYPE_AICPU, const auto& config = DEFAULT_CFG>
class Hccl {
    static_assert(serverType == HcclServerType::HCCL_SERVER_TYPE_AICPU, "dav-2201 has the AI CPU server only");

public:
    void InitV2(GM_ADDR context, const void* initTiling, ASCENDC_HERE)
    {
        Here("Hccl::InitV2", file, line);
        ascend_sim::HcclInit(reinterpret_cast<uint64_t>(context), reinterpret_cast<uint64_t>(initTiling),
                             static_cast<uint32_t>(config.type), config.blockId);
    }

    int32_t SetCcTilingV2(uint64_t offset, ASCENDC_HERE)
    {
        Here("Hccl::SetCcTilingV2", file, line);
        ascend_sim::HcclSetTiling(offset);
        return HCCL_SUCCESS;
    }

    template <bool commit = false>
    HcclHandle AllReduce(GM_ADDR sendBuf, GM_ADDR recvBuf, uint64_t count, HcclDataType dataType, HcclReduceOp op,
                         Narrow<uint8_t> repeat = 1, ASCENDC_HERE)
    {
        Here("Hccl::AllReduce", file, line);
        return ascend_sim::HcclAllReduce({reinterpret_cast<uint64_t>(sendBuf), reinterpret_cast<uint64_t>(recvBuf),
                                          count, static_cast<uint32_t>(dataType), static_cast<uint32_t>(op),
                                          static_cast<uint32_t>(repeat.Get("repeat")), commit});
    }

    void Commit(HcclHandle handleId, ASCENDC_HERE)
    {
        Here("Hccl::Commit", file, line);
        ascend_sim::HcclCommit(handleId);
    }

    // 0: the task is done. Without an own Commit before it the chip returns -1 at once, which is refused here.
    int32_t Wait(HcclHandle handleId, ASCENDC_HERE)
    {
        Here("Hccl::Wait", file, line);
        ascend_sim::HcclWait(handleId);
        return HCCL_SUCCESS;
    }

    template <bool sync = true>
    void Finalize(ASCENDC_HERE)
    {
        static_assert(sync, "dav-2201 waits for the server");
        Here("Hccl::Finalize", file, line);
        ascend_sim::HcclFinalize();
    }

    uint32_t GetRankId() { return ascend_sim::HcclRankId(); }
    uint32_t GetRankDim() { return ascend_sim::HcclRankDim(); }
};

}  // namespace AscendC
