// Rings of buffers between two pipes of one core. A ring owns the pair of flags of each slot: FREE travels from the
// consumer back to the producer, READY forward. FREE is set once for every slot before the first use and waited for
// once after the last, so that no flag is left behind (SetFlag/WaitFlag page of the Ascend C documentation).
// Kernels name stages and slots; events appear only here.
#pragma once
#include "../flash_attention/storage.h"
#include "kernel_operator.h"

namespace fastattn {

template <AscendC::HardEvent READY, AscendC::HardEvent FREE>
class PipeRing {
public:
    // firstEvent: the ring uses firstEvent ... firstEvent + slots - 1 of both flag pairs.
    __aicore__ inline void Init(int32_t firstEvent, uint32_t slots)
    {
        firstEvent_ = firstEvent;
        slots_ = slots;
        next_ = 0;
        for (uint32_t i = 0; i < slots_; ++i) {
            AscendC::SetFlag<FREE>(EventOf(i));
        }
    }

    // Producer: takes the next slot once its last use is over.
    __aicore__ inline uint32_t Acquire()
    {
        const uint32_t slot = next_;
        next_ = next_ + 1 == slots_ ? 0 : next_ + 1;
        AcquireSlot(slot);
        return slot;
    }

    // ... or this slot.
    __aicore__ inline void AcquireSlot(uint32_t slot) { AscendC::WaitFlag<FREE>(EventOf(slot)); }

    // Producer: the slot's contents are on their way.
    __aicore__ inline void Publish(uint32_t slot) { AscendC::SetFlag<READY>(EventOf(slot)); }

    // Consumer: waits for the contents.
    __aicore__ inline void Await(uint32_t slot) { AscendC::WaitFlag<READY>(EventOf(slot)); }

    // Consumer: the slot may be overwritten.
    __aicore__ inline void Release(uint32_t slot) { AscendC::SetFlag<FREE>(EventOf(slot)); }

    __aicore__ inline void Drain()
    {
        for (uint32_t i = 0; i < slots_; ++i) {
            AscendC::WaitFlag<FREE>(EventOf(i));
        }
    }

private:
    __aicore__ inline int32_t EventOf(uint32_t slot) const { return firstEvent_ + static_cast<int32_t>(slot); }

    int32_t firstEvent_ = 0;
    uint32_t slots_ = 0;
    uint32_t next_ = 0;
};

// Producer and consumer pipes of the rings that the kernels use.
using L1Ring = PipeRing<AscendC::HardEvent::MTE2_MTE1, AscendC::HardEvent::MTE1_MTE2>;
using L0Ring = PipeRing<AscendC::HardEvent::MTE1_M, AscendC::HardEvent::M_MTE1>;
using UbInRing = PipeRing<AscendC::HardEvent::MTE2_V, AscendC::HardEvent::V_MTE2>;
using UbOutRing = PipeRing<AscendC::HardEvent::V_MTE3, AscendC::HardEvent::MTE3_V>;

// Slots of L0C, in turn and without flags: unit flags let Mmad and Fixpipe follow each other through each slot piece by
// piece (cube_tiles.h), whatever tile it held before.
class SlotTurn {
public:
    __aicore__ inline void Init(uint32_t slots) { slots_ = slots; }
    __aicore__ inline uint32_t Take()
    {
        const uint32_t slot = next_;
        next_ = next_ + 1 == slots_ ? 0 : next_ + 1;
        return slot;
    }

private:
    uint32_t slots_ = 0;
    uint32_t next_ = 0;
};

// The rings of a matrix product: both operands in L1 and L0, and the result.
struct MatmulRings {
    L1Ring* l1A;
    L1Ring* l1B;
    L0Ring* l0A;
    L0Ring* l0B;
    SlotTurn* l0C;
};

// A tensor over one slot of a buffer.
template <class T>
__aicore__ inline AscendC::LocalTensor<T> SlotTensor(AscendC::TPosition position, const Buffer& buffer, uint32_t slot)
{
    return AscendC::LocalTensor<T>(position, buffer.SlotOffset(slot), buffer.slotBytes / sizeof(T));
}

}  // namespace fastattn
