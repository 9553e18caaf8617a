// Flags, barriers, cross-core flags, and the core's identity.
#pragma once
#include "params.h"

namespace AscendC {

enum class HardEvent : uint8_t {
    MTE2_MTE1,
    MTE1_MTE2,
    MTE1_M,
    M_MTE1,
    M_FIX,
    FIX_M,
    MTE2_M,
    M_MTE2,
    MTE1_FIX,
    FIX_MTE1,
    MTE2_V,
    V_MTE2,
    MTE3_V,
    V_MTE3,
    MTE2_MTE3,
    MTE3_MTE2,
    MTE3_MTE1,
    MTE1_MTE3,
    S_V,
    V_S,
    S_MTE2,
    MTE2_S,
    S_MTE3,
    MTE3_S,
    M_S,
    FIX_S,
    MAX
};

struct EventPipes {
    pipe_t from;
    pipe_t to;
};

constexpr EventPipes PipesOf(HardEvent event)
{
    switch (event) {
        case HardEvent::MTE2_MTE1: return {PIPE_MTE2, PIPE_MTE1};
        case HardEvent::MTE1_MTE2: return {PIPE_MTE1, PIPE_MTE2};
        case HardEvent::MTE1_M: return {PIPE_MTE1, PIPE_M};
        case HardEvent::M_MTE1: return {PIPE_M, PIPE_MTE1};
        case HardEvent::M_FIX: return {PIPE_M, PIPE_FIX};
        case HardEvent::FIX_M: return {PIPE_FIX, PIPE_M};
        case HardEvent::MTE2_M: return {PIPE_MTE2, PIPE_M};
        case HardEvent::M_MTE2: return {PIPE_M, PIPE_MTE2};
        case HardEvent::MTE1_FIX: return {PIPE_MTE1, PIPE_FIX};
        case HardEvent::FIX_MTE1: return {PIPE_FIX, PIPE_MTE1};
        case HardEvent::MTE2_V: return {PIPE_MTE2, PIPE_V};
        case HardEvent::V_MTE2: return {PIPE_V, PIPE_MTE2};
        case HardEvent::MTE3_V: return {PIPE_MTE3, PIPE_V};
        case HardEvent::V_MTE3: return {PIPE_V, PIPE_MTE3};
        case HardEvent::MTE2_MTE3: return {PIPE_MTE2, PIPE_MTE3};
        case HardEvent::MTE3_MTE2: return {PIPE_MTE3, PIPE_MTE2};
        case HardEvent::MTE3_MTE1: return {PIPE_MTE3, PIPE_MTE1};
        case HardEvent::MTE1_MTE3: return {PIPE_MTE1, PIPE_MTE3};
        case HardEvent::S_V: return {PIPE_S, PIPE_V};
        case HardEvent::V_S: return {PIPE_V, PIPE_S};
        case HardEvent::S_MTE2: return {PIPE_S, PIPE_MTE2};
        case HardEvent::MTE2_S: return {PIPE_MTE2, PIPE_S};
        case HardEvent::S_MTE3: return {PIPE_S, PIPE_MTE3};
        case HardEvent::MTE3_S: return {PIPE_MTE3, PIPE_S};
        case HardEvent::M_S: return {PIPE_M, PIPE_S};
        default: return {PIPE_FIX, PIPE_S};
    }
}

template <HardEvent event>
void SetFlag(int32_t eventId, ASCENDC_HERE)
{
    Here("SetFlag", file, line, PipesOf(event).from);
    set_flag(PipesOf(event).from, PipesOf(event).to, eventId);
}

template <HardEvent event>
void WaitFlag(int32_t eventId, ASCENDC_HERE)
{
    Here("WaitFlag", file, line, PipesOf(event).to);
    wait_flag(PipesOf(event).from, PipesOf(event).to, eventId);
}

template <pipe_t pipe>
void PipeBarrier(ASCENDC_HERE)
{
    Here("PipeBarrier", file, line, pipe);
    pipe_barrier(pipe);
}

template <uint8_t modeId, pipe_t pipe>
void CrossCoreSetFlag(uint16_t flagId, ASCENDC_HERE)
{
    Here("CrossCoreSetFlag", file, line, pipe);
    ascend_sim::Limit("flagId", flagId, 0, 15, ascend_sim::Rule::CROSS_ID);
    ffts_cross_core_sync(pipe, 1 | (uint64_t{modeId} << 4) | (uint64_t{flagId} << 8));
}

// On this chip the wait ignores its mode and pipe: it holds the issue of everything that follows.
template <uint8_t modeId = 0, pipe_t pipe = PIPE_S>
void CrossCoreWaitFlag(uint16_t flagId, ASCENDC_HERE)
{
    Here("CrossCoreWaitFlag", file, line);
    wait_flag_dev(flagId);
}

// <true>: all cores of the calling kind. <false>: every AIC and AIV of the launch. Flag ids 11 ... 14 are its own.
template <bool isAIVOnly = true>
void SyncAll(ASCENDC_HERE)
{
    constexpr uint16_t AIC_ALL = 11;
    constexpr uint16_t AIV_TO_AIC = 12;
    constexpr uint16_t AIC_TO_AIV = 13;
    constexpr uint16_t AIV_ALL = 14;
    const auto set = [](pipe_t pipe, uint64_t mode, uint16_t id) {
        ffts_cross_core_sync(pipe, 1 | mode << 4 | uint64_t{id} << 8);
    };
    Here("SyncAll", file, line, PIPE_ALL);
    ascend_sim::NoteSyncAll(isAIVOnly);
    pipe_barrier(PIPE_ALL);
    if constexpr (isAIVOnly) {
        set(PIPE_MTE3, 0, AIV_ALL);  // AICs use the same flag among themselves
        wait_flag_dev(AIV_ALL);
    } else if (is_aic()) {
        wait_flag_dev(AIV_TO_AIC);
        set(PIPE_FIX, 0, AIC_ALL);
        wait_flag_dev(AIC_ALL);
        set(PIPE_MTE3, 2, AIC_TO_AIV);
    } else {
        set(PIPE_MTE3, 2, AIV_TO_AIC);
        wait_flag_dev(AIC_TO_AIV);
    }
    ascend_sim::NoteSyncAll(isAIVOnly);
}

// Every later store to GM of this core adds to what is there, until SetAtomicNone.
template <class T>
void SetAtomicAdd(ASCENDC_HERE)
{
    Here("SetAtomicAdd", file, line);
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t>,
                  "SetAtomicAdd of float, half or bfloat16_t");
    set_atomic_add();
    if constexpr (std::is_same_v<T, float>) {
        set_atomic_f32();
    } else if constexpr (std::is_same_v<T, half>) {
        set_atomic_f16();
    } else {
        set_atomic_bf16();
    }
}

inline void SetAtomicNone(ASCENDC_HERE)
{
    Here("SetAtomicNone", file, line);
    set_atomic_none();
}
inline void DisableDmaAtomic(ASCENDC_HERE)
{
    Here("DisableDmaAtomic", file, line);
    set_atomic_none();
}

inline int64_t GetBlockNum() { return get_block_num(); }
inline int64_t GetSubBlockNum() { return get_subblockdim(); }
inline int64_t GetSubBlockIdx() { return get_subblockid(); }
// AICs count 0 ... N-1, AIVs 0 ... 2N-1.
inline int64_t GetBlockIdx() { return get_block_idx() * get_subblockdim() + get_subblockid(); }

// Static tensor programs set the initial state of the registers themselves.
inline void InitSocState(ASCENDC_HERE)
{
    Here("InitSocState", file, line);
    set_atomic_none();
    set_mask_norm();
    if ASCEND_IS_AIC {
        set_l1_3d_size(0);
        set_padding(0);
    } else {
        set_vector_mask(~uint64_t{0}, ~uint64_t{0});
    }
}

}  // namespace AscendC
