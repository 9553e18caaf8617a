// The calls of the HCCL client as the API layer makes them: plain functions of the core that runs. No instructions of
// the chip: on the NPU they are scalar reads and writes of a message area in GM.
#pragma once
#include <cstdint>

namespace ascend_sim {

struct HcclRequest {
    uint64_t send;
    uint64_t recv;
    uint64_t count;
    uint32_t dataType;
    uint32_t op;
    uint32_t repeat;
    bool commit;
};

uint64_t HcclContext();
uint32_t HcclRankId();
uint32_t HcclRankDim();
// kind: 0 any, 1 AIV, 2 AIC (CoreType of the Ascend C headers).
void HcclInit(uint64_t context, uint64_t tiling, uint32_t kind, int64_t block);
void HcclSetTiling(uint64_t offset);
int8_t HcclAllReduce(const HcclRequest& request);
void HcclCommit(int8_t handle);
void HcclWait(int8_t handle);
void HcclFinalize();

}  // namespace ascend_sim
