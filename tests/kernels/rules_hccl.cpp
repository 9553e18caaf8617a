// One kernel for each rule of the communication server. Every core of a kind is a client, as in the vendor's examples:
// `Talk` is the right order of calls, and each kernel breaks one of them in its variants.
#include "adv_api/hccl/hccl.h"
#include "rule_kernel.h"

using namespace rules;

namespace {

struct HcclTiling {
    uint8_t init[64];
    uint8_t allReduce[280];
};

constexpr uint64_t COUNT = 64;
constexpr uint32_t TASKS = 2;
constexpr uint64_t TASK_BYTES = COUNT * sizeof(float);

struct Client {
    HcclTiling tiling{};
    Hccl<HCCL_SERVER_TYPE_AICPU> hccl;

    void Init()
    {
        hccl.InitV2(GetHcclContext<0>(), &tiling);
        hccl.SetCcTilingV2(offsetof(HcclTiling, allReduce));
    }
    HcclHandle Prepare(GM_ADDR send, GM_ADDR recv, uint64_t count = COUNT, int64_t repeat = TASKS)
    {
        return hccl.AllReduce<false>(send, recv, count, HCCL_DATA_TYPE_FP32, HCCL_REDUCE_SUM, repeat);
    }
    void CommitAll(HcclHandle handle, uint32_t times = TASKS)
    {
        for (uint32_t i = 0; i < times; ++i) hccl.Commit(handle);
    }
    void WaitAll(HcclHandle handle, uint32_t times = TASKS)
    {
        for (uint32_t i = 0; i < times; ++i) hccl.Wait(handle);
    }
    void End()
    {
        SyncAll<true>();
        hccl.Finalize();
    }
    void Talk(GM_ADDR send, GM_ADDR recv)
    {
        const HcclHandle handle = Prepare(send, recv);
        CommitAll(handle);
        WaitAll(handle);
        End();
    }
};

}  // namespace

// 1: Prepare before InitV2; 2: before SetCcTilingV2; 3: after Finalize; 4: another communicator's context.
RULE_KERNEL(hccl_init)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    if (variant == 1) c.Prepare(in, out);
    if (variant == 2) {
        c.hccl.InitV2(GetHcclContext<0>(), &c.tiling);
        c.Prepare(in, out);
    }
    if (variant == 4) c.hccl.InitV2(in, &c.tiling);
    c.Init();
    c.Talk(in, out);
    if (variant == 3) c.Prepare(in, out);
}

RULE_KERNEL(hccl_init_twice)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    Client second;
    c.Init();
    if (variant == 1) second.Init();
    c.Talk(in, out);
}

RULE_KERNEL(hccl_tiling)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    if (variant == 1) c.hccl.InitV2(GetHcclContext<0>(), workspace);
    c.Init();
    c.Talk(in, out);
}

RULE_KERNEL(hccl_core_kind)
{
    Client c;
    if (variant == 0 && is_aic()) return;
    c.Init();
    c.Talk(in, out);
}

// 1: no send buffer; 2: no receive buffer; 3: no elements; 4: no task; 5: a product; 6: past the end of its buffer;
// 7: repeat does not fit; 8: an integer type, which the simulator does not add.
RULE_KERNEL(hccl_argument)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    if (variant == 1) c.Prepare(nullptr, out);
    if (variant == 2) c.Prepare(in, nullptr);
    if (variant == 3) c.Prepare(in, out, 0);
    if (variant == 4) c.Prepare(in, out, COUNT, 0);
    if (variant == 5) c.hccl.AllReduce(in, out, COUNT, HCCL_DATA_TYPE_FP32, HCCL_REDUCE_PROD);
    if (variant == 6) c.Prepare(in, out, 16000);
    if (variant == 7) c.Prepare(in, out, 1, 256);
    if (variant == 8) c.hccl.AllReduce(in, out, COUNT, HCCL_DATA_TYPE_INT32, HCCL_REDUCE_SUM);
    c.Talk(in, out);
}

RULE_KERNEL(hccl_prepares)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    const int64_t prepares = variant == 0 ? 63 : 64;
    for (int64_t i = 0; i < prepares; ++i) c.Prepare(in, out + i * TASK_BYTES, COUNT, 1);
    for (int64_t i = 0; i < prepares; ++i) c.hccl.Commit(static_cast<HcclHandle>(i));
    for (int64_t i = 0; i < prepares; ++i) c.hccl.Wait(static_cast<HcclHandle>(i));
    c.End();
}

// 1: Commit; 2: Wait; of a handle that nobody has.
RULE_KERNEL(hccl_handle)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    if (variant == 1) c.hccl.Commit(1);
    if (variant == 2) c.hccl.Wait(-1);
    c.Talk(in, out);
}

// 1: a Commit too many; 2: too few Commits before Finalize; 3: too few Waits.
RULE_KERNEL(hccl_commits)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    const HcclHandle handle = c.Prepare(in, out);
    c.CommitAll(handle, variant == 1 ? TASKS + 1 : variant == 2 ? TASKS - 1 : TASKS);
    c.WaitAll(handle, variant >= 2 ? TASKS - 1 : TASKS);
    c.End();
}

// 1: Wait before Commit; 2: a Wait more than Commits; 3: a core that waits and has not committed itself.
RULE_KERNEL(hccl_wait_early)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    const HcclHandle handle = c.Prepare(in, out);
    if (variant == 1) c.hccl.Wait(handle);
    if (variant != 3 || GetBlockIdx() == 0) c.CommitAll(handle);
    c.WaitAll(handle, variant == 2 ? TASKS + 1 : TASKS);
    c.End();
}

RULE_KERNEL(hccl_wait_order)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    const HcclHandle first = c.Prepare(in, out);
    const HcclHandle second = c.Prepare(in, out + TASKS * TASK_BYTES);
    c.CommitAll(first);
    c.CommitAll(second);
    if (variant == 1) c.WaitAll(second);
    c.WaitAll(first);
    if (variant == 0) c.WaitAll(second);
    c.End();
}

RULE_KERNEL(hccl_finalize)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    const HcclHandle handle = c.Prepare(in, out);
    c.CommitAll(handle);
    c.WaitAll(handle);
    if (variant != 2) SyncAll<true>();
    if (variant != 1) c.hccl.Finalize();
}

// The rule is about several waiting cores: a single client needs no SyncAll.
RULE_KERNEL(hccl_single_client)
{
    if (is_aic() || GetBlockIdx() != 0) return;
    Client c;
    c.Init();
    const HcclHandle handle = c.Prepare(in, out);
    c.CommitAll(handle);
    c.WaitAll(handle);
    c.hccl.Finalize();
}

// Two ranks that do not agree on the tasks (1: count; 2: repeat and order).
RULE_KERNEL(hccl_mismatch)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    const bool other = variant != 0 && c.hccl.GetRankId() == 1;
    const HcclHandle handle = c.Prepare(in, out, other && variant == 1 ? COUNT - 1 : COUNT, other && variant == 2 ? 1 : TASKS);
    c.CommitAll(handle, other && variant == 2 ? 1 : TASKS);
    c.WaitAll(handle, other && variant == 2 ? 1 : TASKS);
    c.End();
}

// Rank 1 never commits its second task and waits for a core of its own (1), or leaves the kernel at once (2).
RULE_KERNEL(hccl_missing)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    const bool other = variant != 0 && GetHcclContext<0>() != nullptr && c.hccl.GetRankId() == 1;
    if (other && variant == 2) return;
    c.Init();
    const HcclHandle handle = c.Prepare(in, out);
    c.hccl.Commit(handle);
    c.hccl.Wait(handle);
    if (other) {
        const HcclHandle second = c.Prepare(in, out + TASKS * TASK_BYTES);
        c.hccl.Commit(second);
        c.hccl.Wait(second);
    }
    c.hccl.Commit(handle);
    c.hccl.Wait(handle);
    c.End();
}

// What the server reads and writes is its own from Commit to Wait: a store to the send buffer that nothing orders
// before the Commit (1), a store to it after (2), a load of the result before the Wait by the core that waits (3) and by
// one of another group (4).
RULE_KERNEL(hccl_race)
{
    if ASCEND_IS_AIC
        return;
    Client c;
    c.Init();
    auto send = Gm<float>(workspace);
    auto recv = Gm<float>(out);
    const bool first = GetBlockIdx() == 0;
    if (first) {
        FillUb();
        Pass<HardEvent::V_MTE3>();
        DataCopy(send, Ub<float>(0), COUNT * TASKS);
        if (variant != 1) Pass<HardEvent::MTE3_S>();
    }
    const HcclHandle handle = c.Prepare(workspace, out);
    c.CommitAll(handle);
    if (variant == 2 && first) DataCopy(send, Ub<float>(0), COUNT);
    if (variant == 3 && first) DataCopy(Ub<float>(8192), recv, COUNT);
    if (variant == 4 && GetBlockIdx() == 2) DataCopy(Ub<float>(8192), recv, COUNT);
    c.WaitAll(handle);
    if (variant == 0) DataCopy(Ub<float>(8192), recv, COUNT);
    if (variant == 0 && first) DataCopy(send, Ub<float>(0), COUNT);
    c.End();
}

// Sums over the ranks: every rank sends its number plus one.
RULE_KERNEL(hccl_sum)
{
    if (is_aic() || GetBlockIdx() != 0) return;
    Client c;
    c.Init();
    Duplicate(Ub<float>(0), static_cast<float>(c.hccl.GetRankId() + 1), 2 * COUNT);
    Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<float>(workspace), Ub<float>(0), COUNT * TASKS);
    Pass<HardEvent::MTE3_S>();
    const HcclHandle handle = c.Prepare(workspace, out);
    c.CommitAll(handle);
    c.WaitAll(handle);
    c.hccl.Finalize();
}
