// See hccl.h. Every call costs the scalar unit a visit to GM, as its message area lies there.
#include "hccl.h"

#include "../machine/hccl.h"
#include "engine.h"

namespace ascend_sim {

namespace {

void Message(const char* name) { Self().Scalar(name, Self().Soc().scalarGmReadCycles); }

}  // namespace

uint64_t HcclContext() { return Self().Hccl().Context(); }
uint32_t HcclRankId() { return Self().Hccl().Index(); }
uint32_t HcclRankDim() { return Self().Hccl().Ranks(); }

void HcclInit(uint64_t context, uint64_t tiling, uint32_t kind, int64_t block)
{
    Message("hccl_init");
    Self().Hccl().Init(Self(), context, tiling, {kind == 0, kind == 2, block});
}

void HcclSetTiling(uint64_t offset) { Self().Hccl().SetTiling(Self(), offset); }

int8_t HcclAllReduce(const HcclRequest& request)
{
    Message("hccl_all_reduce");
    const HcclCommand command{request.send,
                              request.recv,
                              request.count,
                              static_cast<HcclType>(request.dataType),
                              static_cast<HcclOp>(request.op),
                              request.repeat};
    return Self().Hccl().Prepare(Self(), command, request.commit);
}

void HcclCommit(int8_t handle)
{
    Message("hccl_commit");
    Self().Hccl().Commit(Self(), handle);
}

void HcclWait(int8_t handle) { Self().Hccl().Wait(Self(), handle); }

void HcclFinalize()
{
    Message("hccl_finalize");
    Self().Hccl().Finalize(Self());
}

}  // namespace ascend_sim
