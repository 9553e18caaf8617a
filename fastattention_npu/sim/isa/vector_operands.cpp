// See vector_operands.h.
#include "vector_operands.h"

#include <algorithm>

namespace ascend_sim {

LanePlan PlanLanes(uint32_t elementBytes, int64_t repeat)
{
    Limit("repeatTime", repeat, 0, 255, Rule::REPEAT_WRAP);
    const Registers& registers = Self().Regs();
    LanePlan plan;
    plan.lanes = static_cast<uint32_t>(VECTOR_BLOCK_BYTES * BLOCKS_PER_REPEAT) / elementBytes;
    if (registers.countMode) {
        const auto count = static_cast<uint32_t>(registers.vectorMask[0]);
        plan.repeats = (count + plan.lanes - 1) / plan.lanes;
        plan.lastActive = plan.repeats == 0 ? 0 : count - (plan.repeats - 1) * plan.lanes;
        plan.active = plan.repeats > 1 ? plan.lanes : plan.lastActive;
        plan.mask[0] = plan.mask[1] = ~uint64_t{0};
        return plan;
    }
    plan.mask[0] = registers.vectorMask[0];
    plan.mask[1] = plan.lanes > 64 ? registers.vectorMask[1] : 0;
    if (plan.lanes < 64) plan.mask[0] &= (uint64_t{1} << plan.lanes) - 1;
    const uint32_t last = plan.mask[1] != 0   ? 128 - static_cast<uint32_t>(__builtin_clzll(plan.mask[1]))
                          : plan.mask[0] != 0 ? 64 - static_cast<uint32_t>(__builtin_clzll(plan.mask[0]))
                                              : 0;
    const auto count = static_cast<uint32_t>(__builtin_popcountll(plan.mask[0]) + __builtin_popcountll(plan.mask[1]));
    plan.active = plan.lastActive = last;
    plan.contiguous = last == count;
    plan.repeats = last == 0 ? 0 : static_cast<uint32_t>(repeat);
    return plan;
}

void LimitOperand(const char* name, const VectorOperand& operand, int64_t blockStrideMax, bool destination)
{
    const int64_t low = destination ? 1 : 0;
    if (operand.blockStride < low || operand.blockStride > blockStrideMax) {
        const Rule rule = operand.blockStride == 0 ? Rule::DST_BLOCK_STRIDE : Rule::STRIDE_WRAP;
        Self().Refuse(rule, Format("%s block stride %lld is outside %lld ... %lld", name,
                                   static_cast<long long>(operand.blockStride), static_cast<long long>(low),
                                   static_cast<long long>(blockStrideMax)));
    }
    if (operand.repeatStride < 0 || operand.repeatStride > 255) {
        Self().Refuse(Rule::STRIDE_WRAP, Format("%s repeat stride %lld is outside 0 ... 255", name,
                                                static_cast<long long>(operand.repeatStride)));
    }
}

namespace {

// `active` leading lanes of `repeats` repeats that start at `first`.
Region Cover(const VectorOperand& operand, uint32_t first, uint32_t repeats, uint32_t active, uint32_t elementBytes)
{
    const uint64_t bytes = static_cast<uint64_t>(active) * elementBytes;
    Region region = Run(Space::UB, operand.address + first * operand.repeatStride * VECTOR_BLOCK_BYTES, bytes);
    region.count2 = repeats;
    region.pitch2 = static_cast<uint64_t>(operand.repeatStride) * VECTOR_BLOCK_BYTES;
    if (operand.blockStride != 1 && bytes > VECTOR_BLOCK_BYTES) {
        region.bytes = VECTOR_BLOCK_BYTES;
        region.count1 = static_cast<uint32_t>((bytes + VECTOR_BLOCK_BYTES - 1) / VECTOR_BLOCK_BYTES);
        region.pitch1 = static_cast<uint64_t>(operand.blockStride) * VECTOR_BLOCK_BYTES;
    }
    if (operand.blockStride == 0) region.count1 = 1;
    if (operand.repeatStride == 0) region.count2 = 1;
    region.Normalise();
    return region;
}

}  // namespace

void AddOperand(Instruction& instruction, const char* name, const VectorOperand& operand, const LanePlan& plan,
                uint32_t elementBytes, bool write)
{
    if (plan.repeats == 0) return;
    const bool tail = plan.lastActive != plan.active;
    const uint32_t full = tail ? plan.repeats - 1 : plan.repeats;
    if (full != 0) {
        const Region region = Cover(operand, 0, full, plan.active, elementBytes);
        instruction.operands.Add({region, name, VECTOR_BLOCK_BYTES, write, false});
    }
    if (tail) {
        const Region region = Cover(operand, full, 1, plan.lastActive, elementBytes);
        instruction.operands.Add({region, name, VECTOR_BLOCK_BYTES, write, false});
    }
}

void RequireNoPartialOverlap(const char* name, const VectorOperand& dst, const VectorOperand& src, const LanePlan& plan,
                             uint32_t elementBytes)
{
    const bool same = dst.address == src.address && dst.blockStride == src.blockStride &&
                      (dst.repeatStride == src.repeatStride || plan.repeats <= 1);
    if (same || plan.repeats == 0) return;
    const Region out = Cover(dst, 0, plan.repeats, plan.active, elementBytes);
    const Region in = Cover(src, 0, plan.repeats, plan.active, elementBytes);
    // Accumulating into one repeat-sized destination (repeat stride 0) is documented; anything else is undefined.
    const bool accumulates = dst.repeatStride == 0 && src.repeatStride == 0 && dst.address == src.address;
    if (!accumulates && Overlap(out, in)) {
        Self().Refuse(Rule::VECTOR_OVERLAP, Format("dst and %s overlap without being the same", name));
    }
}

double VectorLatency()
{
    const auto& soc = Self().Soc();
    return soc.vectorHeadCycles + soc.vectorTailCycles;
}

}  // namespace ascend_sim
