// Rules of flags, barriers, cross-core flags and order.
#include "rule_kernel.h"

using namespace rules;

RULE_KERNEL(event_id) { Pass<HardEvent::V_MTE3>(variant == 0 ? 7 : 8); }

RULE_KERNEL(flag_pair)
{
    if (variant == 0) {
        Pass<HardEvent::M_FIX>();
    } else {
        Pass<HardEvent::MTE2_V>();
    }
}

RULE_KERNEL(flag_twice)
{
    SetFlag<HardEvent::V_MTE3>(0);
    if (variant == 1) SetFlag<HardEvent::V_MTE3>(0);
    WaitFlag<HardEvent::V_MTE3>(0);
}

RULE_KERNEL(flag_never_set)
{
    if (variant == 0) SetFlag<HardEvent::V_MTE3>(2);
    WaitFlag<HardEvent::V_MTE3>(2);
}

RULE_KERNEL(flag_left)
{
    SetFlag<HardEvent::V_MTE3>(3);
    if (variant == 0) WaitFlag<HardEvent::V_MTE3>(3);
}

RULE_KERNEL(barrier_scalar)
{
    PipeBarrier<PIPE_V>();
    if (variant == 1) PipeBarrier<PIPE_S>();
}

RULE_KERNEL(barrier_pending)
{
    SetFlag<HardEvent::V_MTE3>(0);
    if (variant == 0) WaitFlag<HardEvent::V_MTE3>(0);
    PipeBarrier<PIPE_ALL>();
    if (variant == 1) WaitFlag<HardEvent::V_MTE3>(0);
}

RULE_KERNEL(cross_id)
{
    const uint16_t id = variant == 0 ? 10 : 16;
    if ASCEND_IS_AIC {
        CrossCoreSetFlag<2, PIPE_FIX>(id);
    } else {
        CrossCoreWaitFlag(id);
    }
}

RULE_KERNEL(cross_reserved)
{
    if ASCEND_IS_AIC
        return;
    const uint16_t id = variant == 0 ? 3 : 12;
    CrossCoreSetFlag<1, PIPE_MTE3>(id);
    CrossCoreWaitFlag(id);
    SyncAll<true>();
}

RULE_KERNEL(cross_mode)
{
    if ASCEND_IS_AIV {
        CrossCoreSetFlag<1, PIPE_MTE3>(0);
        CrossCoreWaitFlag(0);
    } else if (variant == 1) {
        CrossCoreSetFlag<1, PIPE_FIX>(0);
    } else if (variant == 2) {
        CrossCoreSetFlag<3, PIPE_FIX>(0);
    }
}

RULE_KERNEL(cross_mode_mixed)
{
    if ASCEND_IS_AIC {
        CrossCoreSetFlag<2, PIPE_FIX>(4);
        CrossCoreSetFlag<0, PIPE_FIX>(5);
        CrossCoreWaitFlag(5);
        return;
    }
    if (variant == 0) CrossCoreWaitFlag(4);
    CrossCoreSetFlag<1, PIPE_MTE3>(4);
    CrossCoreWaitFlag(4);
    if (variant == 1) CrossCoreWaitFlag(4);
}

RULE_KERNEL(cross_pipe)
{
    if ASCEND_IS_AIC {
        if (variant == 1) CrossCoreSetFlag<2, PIPE_S>(0);
        CrossCoreSetFlag<2, PIPE_FIX>(0);
    } else {
        CrossCoreWaitFlag(0);
    }
}

// A producer that runs ahead of its consumers by 16.
RULE_KERNEL(cross_overflow)
{
    const int sets = variant == 0 ? 15 : 16;
    for (int i = 0; i < sets; ++i) {
        if ASCEND_IS_AIC {
            CrossCoreSetFlag<2, PIPE_FIX>(1);
        } else {
            CrossCoreWaitFlag(1);
        }
    }
}

// The second AIV has nothing to do and forgets to signal: nobody waits (1), or the AIC does (2).
RULE_KERNEL(cross_twin)
{
    if ASCEND_IS_AIV {
        if (variant == 0 || GetSubBlockIdx() == 0) CrossCoreSetFlag<2, PIPE_MTE3>(6);
    } else if (variant != 1) {
        CrossCoreWaitFlag(6);
    }
}

RULE_KERNEL(cross_left)
{
    if ASCEND_IS_AIC {
        CrossCoreSetFlag<2, PIPE_FIX>(7);
    } else if (variant == 0) {
        CrossCoreWaitFlag(7);
    }
}

RULE_KERNEL(kernel_type)
{
    PipeBarrier<PIPE_ALL>();
    if (variant == 1) CrossCoreSetFlag<1, PIPE_MTE3>(0);
    if (variant == 2) CrossCoreWaitFlag(0);
}

RULE_KERNEL(sync_all_mixed)
{
    const bool misses = variant == 1 && GetBlockIdx() == 1 && !is_aic();
    if (!misses) SyncAll<false>();
}

RULE_KERNEL(sync_all_vector)
{
    if ASCEND_IS_AIC
        return;
    const bool misses = variant == 1 && GetBlockIdx() == 3;
    if (!misses) SyncAll<true>();
}

// One core is a release ahead of the others: each set counts for its own turn.
RULE_KERNEL(run_ahead)
{
    if ASCEND_IS_AIV
        return;
    auto ws = Gm<float>(workspace);
    const int64_t block = GetBlockIdx();
    CrossCoreSetFlag<0, PIPE_FIX>(0);
    if (block == 0) CrossCoreSetFlag<0, PIPE_FIX>(0);
    CrossCoreWaitFlag(0);
    if (block != 0) CrossCoreSetFlag<0, PIPE_FIX>(0);
    CrossCoreWaitFlag(0);
    (void)ws;
}

// Three races on UB: pipes V and MTE3, and V with itself.
RULE_KERNEL(race_local)
{
    FillUb();
    if (variant != 1) Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<float>(out), Ub<float>(0), 64);
    if (variant != 2) Pass<HardEvent::MTE3_V>(1);
    FillUb();
    if (variant != 3) PipeBarrier<PIPE_V>();
    FillUb();
}

// Block 0 writes the workspace, block 1 reads it. The order comes from SyncAll (0), is missing (1), or comes too early
// (2). Block 1 reads what the launcher put there, so that nothing else is wrong.
RULE_KERNEL(race_groups)
{
    if ASCEND_IS_AIC
        return;
    const int64_t core = GetBlockIdx();
    auto gm = Gm<float>(out);
    if (variant == 2) SyncAll<true>();
    if (core == 0) {
        FillUb();
        Pass<HardEvent::V_MTE3>();
        DataCopy(gm, Ub<float>(0), 64);
    }
    if (variant == 0) SyncAll<true>();
    if (core == 2) DataCopy(Ub<float>(0), gm[8], 64);
    if (core == 3 && variant == 3) DataCopy(gm[8], Ub<float>(0), 0);
}

// Every vector core adds to the same place: atomics need no order among themselves, a plain store (1) does.
RULE_KERNEL(race_atomic)
{
    if ASCEND_IS_AIC
        return;
    Duplicate(Ub<float>(0), 1.0F + 0.1F * static_cast<float>(GetBlockIdx()), 64);
    Pass<HardEvent::V_MTE3>();
    if (variant == 0) SetAtomicAdd<float>();
    DataCopy(Gm<float>(out), Ub<float>(0), 64);
    SetAtomicNone();
}

RULE_KERNEL(atomic_left)
{
    SetAtomicAdd<float>();
    if (variant == 0) SetAtomicNone();
}

RULE_KERNEL(atomic_type)
{
    FillUb();
    Pass<HardEvent::V_MTE3>();
    SetAtomicAdd<float>();
    if (variant == 0) {
        DataCopy(Gm<float>(out), Ub<float>(0), 64);
    } else {
        DataCopy(Gm<half>(out), Ub<half>(0), 64);
    }
    SetAtomicNone();
}

// Publishing through scalar stores: the reader waits, and looks past its cache (0), or does not (1). Variant 2 never
// writes its line back.
RULE_KERNEL(dcache)
{
    auto ws = Gm<uint32_t>(workspace);
    if ASCEND_IS_AIC
        return;
    if (GetSubBlockIdx() == 0) {
        ws.SetValue(0, 7U);
        if (variant != 2) DataCacheCleanAndInvalid<uint32_t, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(ws);
        PipeBarrier<PIPE_ALL>();
    }
    CrossCoreSetFlag<1, PIPE_MTE3>(0);
    CrossCoreWaitFlag(0);
    if (GetSubBlockIdx() == 1 && variant != 2) {
        if (variant == 0) DataCacheCleanAndInvalid<uint32_t>(ws);
        Gm<uint32_t>(out).SetValue(0, ws.GetValue(0));
        DataCacheCleanAndInvalid<uint32_t>(Gm<uint32_t>(out));
    }
}

// The set of one flag on two pipes, with a wait between (0) or both pending (1).
RULE_KERNEL(cross_order)
{
    if ASCEND_IS_AIC {
        CrossCoreSetFlag<2, PIPE_FIX>(1);
        if (variant == 0) CrossCoreWaitFlag(2);
        CrossCoreSetFlag<2, PIPE_MTE2>(1);
    } else {
        CrossCoreWaitFlag(1);
        if (variant == 0) CrossCoreSetFlag<2, PIPE_MTE3>(2);
        CrossCoreWaitFlag(1);
    }
}

// Two and a half thousand writes, then another pipe reads what the first of them wrote, ordered (0) or not (1).
RULE_KERNEL(race_old_write)
{
    FillUb(64);
    PipeBarrier<PIPE_V>();
    for (int i = 0; i < 2500; ++i) {
        Duplicate(Ub<float>(4096), 1.0F, 64);
        PipeBarrier<PIPE_V>();
    }
    if (variant == 0) Pass<HardEvent::V_MTE3>();
    DataCopy(Gm<float>(out), Ub<float>(0), 64);
}

// Two cores write different words of one cache line: after each other, each with a line of its own (0), or both at
// once, so that the one who cleans last brings back what the other had written (1).
RULE_KERNEL(dcache_line)
{
    if ASCEND_IS_AIC
        return;
    auto line = Gm<uint32_t>(out);
    const uint32_t core = GetSubBlockIdx();
    const auto write = [&] {
        line.SetValue(core, core + 1);
        DataCacheCleanAndInvalid<uint32_t>(line);
    };
    const auto meet = [] {
        PipeBarrier<PIPE_ALL>();
        CrossCoreSetFlag<1, PIPE_MTE3>(0);
        CrossCoreWaitFlag(0);
    };
    if (variant == 0 && core == 0) write();
    if (variant == 0) meet();
    if (variant == 1 || core == 1) write();
    if (variant == 1) meet();
}
