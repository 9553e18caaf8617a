// What the position of a queue means: where its buffers lie and which pair of events orders its two sides
// (TQue and TQueBind pages).
#pragma once
#include "sync.h"
#include "tensor.h"

namespace AscendC {

// The two ends of a queue that is named by one position.
constexpr TPosition QueueEnd(TPosition position, bool source)
{
    switch (position) {
        case TPosition::A1:
        case TPosition::B1:
        case TPosition::C1:
        case TPosition::VECIN: return source ? TPosition::GM : position;
        case TPosition::A2: return source ? TPosition::A1 : position;
        case TPosition::B2: return source ? TPosition::B1 : position;
        case TPosition::C2: return source ? TPosition::C1 : position;
        case TPosition::C2PIPE2GM: return source ? TPosition::B1 : position;
        case TPosition::CO1: return source ? position : TPosition::CO2;
        default: return source ? position : TPosition::GM;  // VECOUT, CO2
    }
}

// Where the buffers of a queue between two positions lie.
constexpr TPosition QueueBuffers(TPosition source, TPosition destination)
{
    return destination == TPosition::GM || destination == TPosition::CO2 ? source : destination;
}

constexpr ascend_sim::Space SpaceOf(TPosition position)
{
    switch (position) {
        case TPosition::VECIN:
        case TPosition::VECOUT:
        case TPosition::VECCALC: return ascend_sim::Space::UB;
        case TPosition::A1:
        case TPosition::B1:
        case TPosition::C1:
        case TPosition::TSCM: return ascend_sim::Space::L1;
        case TPosition::A2: return ascend_sim::Space::L0A;
        case TPosition::B2: return ascend_sim::Space::L0B;
        case TPosition::CO1: return ascend_sim::Space::L0C;
        case TPosition::C2: return ascend_sim::Space::BT;
        case TPosition::C2PIPE2GM: return ascend_sim::Space::FB;
        default: return ascend_sim::Space::GM;
    }
}

// Producer to consumer, or back.
constexpr HardEvent QueueEvent(TPosition source, TPosition destination, bool forward)
{
    using ascend_sim::Space;
    const Space from = SpaceOf(source);
    const Space to = SpaceOf(destination);
    if (from == Space::GM && to == Space::UB) return forward ? HardEvent::MTE2_V : HardEvent::V_MTE2;
    if (from == Space::GM && to == Space::L1) return forward ? HardEvent::MTE2_MTE1 : HardEvent::MTE1_MTE2;
    if (from == Space::GM) return forward ? HardEvent::MTE2_M : HardEvent::M_MTE2;
    if (from == Space::UB && to == Space::UB) return forward ? HardEvent::MTE2_MTE3 : HardEvent::MTE3_MTE2;
    if (from == Space::UB) return forward ? HardEvent::V_MTE3 : HardEvent::MTE3_V;
    if (from == Space::L1 && to == Space::FB) return forward ? HardEvent::MTE1_FIX : HardEvent::FIX_MTE1;
    if (from == Space::L1) return forward ? HardEvent::MTE1_M : HardEvent::M_MTE1;
    return forward ? HardEvent::M_FIX : HardEvent::FIX_M;
}

}  // namespace AscendC
