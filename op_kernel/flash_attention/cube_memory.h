// What the two products of the cube core share: its buffers, their rings, the operands in GM, and copies into L1.
// Interleaved products have their own buffers in L0A and L0C; otherwise they take turns with one pair.
#pragma once
#include "../common/cube_tiles.h"
#include "../common/pipeline.h"
#include "work.h"

namespace fastattn {

// Rings of the same pipe pair must not overlap: L1 rings share MTE2 <-> MTE1, L0A and L0B MTE1 <-> M.
enum CubeEvent : int32_t {
    L1_FIRST_EVENT = 0,
    L0A_EVENT = 0,
    L0B_EVENT = 2,
    L0A_Q_EVENT = 6,
};

__aicore__ inline uint32_t Least(uint32_t x, uint32_t y) { return x < y ? x : y; }

template <class T>
class CubeMemory {
public:
    __aicore__ inline void Init(const FlashAttentionTiling& t, const Operands& operands, GM_ADDR workspace)
    {
        tiling = &t;
        l1 = MakeL1Map(t);
        l0 = MakeL0Map(t);
        gmQ.SetGlobalBuffer((__gm__ T*)operands.q);
        gmK.SetGlobalBuffer((__gm__ T*)operands.k);
        gmV.SetGlobalBuffer((__gm__ T*)operands.v);
        gmS = workspace + t.workspaceSOffsetBytes;
        gmP.SetGlobalBuffer((__gm__ T*)(workspace + t.workspacePOffsetBytes));
        gmO.SetGlobalBuffer((__gm__ float*)(workspace + t.workspaceOOffsetBytes));
        BeginRowMajorStores();
        int32_t event = StartRing(ringQ, l1.q, L1_FIRST_EVENT);
        event = StartRing(ringK, l1.k, event);
        event = StartRing(ringV, l1.v, event);
        StartRing(ringP, l1.p, event);
        ringA.Init(L0A_EVENT, l0.a.slots);
        ringB.Init(L0B_EVENT, l0.b.slots);
        turnC.Init(l0.c.slots);
        ringAQ.Init(L0A_Q_EVENT, l0.aQ.slots);
        turnCO.Init(l0.cO.slots);
    }

    __aicore__ inline void Drain()
    {
        ringQ.Drain();
        ringK.Drain();
        ringV.Drain();
        ringP.Drain();
        ringA.Drain();
        ringB.Drain();
        ringAQ.Drain();
        EndRowMajorStores();
    }

    // Q tiles in L0A and the sum of P·V in L0C.
    __aicore__ inline L0Ring& QueryRing() { return l0.aQ.slots != 0 ? ringAQ : ringA; }
    __aicore__ inline SlotTurn& OutputTurn() { return l0.cO.slots != 0 ? turnCO : turnC; }

    __aicore__ inline AscendC::LocalTensor<T> LeftL1(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<T>(AscendC::TPosition::A1, buffer, slot);
    }
    __aicore__ inline AscendC::LocalTensor<T> RightL1(const Buffer& buffer, uint32_t slot) const
    {
        return SlotTensor<T>(AscendC::TPosition::B1, buffer, slot);
    }
    __aicore__ inline AscendC::LocalTensor<T> Left(uint32_t slot) const
    {
        return SlotTensor<T>(AscendC::TPosition::A2, l0.a, slot);
    }
    __aicore__ inline AscendC::LocalTensor<T> Query(uint32_t slot) const
    {
        return SlotTensor<T>(AscendC::TPosition::A2, l0.aQ.slots != 0 ? l0.aQ : l0.a, slot);
    }
    __aicore__ inline AscendC::LocalTensor<T> Right(uint32_t slot) const
    {
        return SlotTensor<T>(AscendC::TPosition::B2, l0.b, slot);
    }
    __aicore__ inline AscendC::LocalTensor<float> Scores(uint32_t slot) const
    {
        return SlotTensor<float>(AscendC::TPosition::CO1, l0.c, slot);
    }
    __aicore__ inline AscendC::LocalTensor<float> Output(uint32_t slot) const
    {
        return SlotTensor<float>(AscendC::TPosition::CO1, l0.cO.slots != 0 ? l0.cO : l0.c, slot);
    }

    // Element offset of the block's key `key` in K or V.
    __aicore__ inline uint64_t KeyOffset(const TensorStrides& strides, const Block& block, uint32_t key) const
    {
        return TokenOffset(strides, block.piece, block.piece.sequence.startKv, block.col0 + key,
                           block.piece.head / (tiling->headsQ / tiling->headsKv));
    }

    const FlashAttentionTiling* tiling = nullptr;
    L1Map l1{};
    L0Map l0{};
    AscendC::GlobalTensor<T> gmQ;
    AscendC::GlobalTensor<T> gmK;
    AscendC::GlobalTensor<T> gmV;
    GM_ADDR gmS = nullptr;  // in sExchange's type
    AscendC::GlobalTensor<T> gmP;
    AscendC::GlobalTensor<float> gmO;
    L1Ring ringQ;
    L1Ring ringK;
    L1Ring ringV;
    L1Ring ringP;
    L0Ring ringA;
    L0Ring ringB;
    SlotTurn turnC;

private:
    // The first event behind the ring's own.
    __aicore__ inline int32_t StartRing(L1Ring& ring, const Buffer& buffer, int32_t event)
    {
        ring.Init(event, buffer.slots);
        return event + static_cast<int32_t>(buffer.slots);
    }

    L0Ring ringAQ;
    SlotTurn turnCO;
};

}  // namespace fastattn
