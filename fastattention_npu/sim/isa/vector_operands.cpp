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
        Nothing(count == 0, "the count of elements is 0");
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
    Nothing(plan.repeats == 0, last == 0 ? "the mask has no lane" : "repeatTime is 0");
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

// Lanes [first, first + lanes) of `repeats` repeats from repeat `repeat` on, and how often they recur `pitchLanes` on.
struct LaneRuns {
    uint32_t first;
    uint32_t lanes;
    uint32_t count;
    uint32_t pitchLanes;
};

// The set bits below `active` as runs, those of equal length and distance together. Where blocks do not lie back to
// back a run ends with its block.
std::vector<LaneRuns> RunsOf(const LanePlan& plan, uint32_t active, uint32_t blockLanes)
{
    std::vector<LaneRuns> runs;
    for (uint32_t lane = 0; lane < active; ++lane) {
        if (!plan.Lane(lane)) continue;
        const uint32_t first = lane;
        const uint32_t border = blockLanes == 0 ? active : (lane / blockLanes + 1) * blockLanes;
        while (lane < std::min(border, active) && plan.Lane(lane)) ++lane;
        const uint32_t lanes = lane - first;
        --lane;
        if (!runs.empty() && runs.back().lanes == lanes) {
            LaneRuns& last = runs.back();
            const uint32_t pitch = first - last.first - (last.count - 1) * last.pitchLanes;
            if (last.count == 1 || pitch == last.pitchLanes) {
                last.pitchLanes = pitch;
                ++last.count;
                continue;
            }
        }
        runs.push_back({first, lanes, 1, 0});
    }
    return runs;
}

Region Repeats(const VectorOperand& operand, uint32_t first, uint32_t repeats, uint64_t bytes)
{
    Region region = Run(Space::UB, operand.address + first * operand.repeatStride * VECTOR_BLOCK_BYTES, bytes);
    region.count2 = operand.repeatStride == 0 ? 1 : repeats;
    region.pitch2 = static_cast<uint64_t>(operand.repeatStride) * VECTOR_BLOCK_BYTES;
    return region;
}

// Lanes that a mask with gaps leaves out are neither read nor written: each run is an operand of its own.
void AddMasked(Instruction& instruction, const char* name, const VectorOperand& operand, const LanePlan& plan,
               uint32_t elementBytes, bool write)
{
    const auto blockLanes = static_cast<uint32_t>(VECTOR_BLOCK_BYTES) / elementBytes;
    const bool dense = operand.blockStride == 1;
    for (LaneRuns runs : RunsOf(plan, plan.active, dense ? 0 : blockLanes)) {
        // Without a gap between blocks lanes have one distance; else runs of one block each are placed one by one.
        const bool together = dense || runs.pitchLanes % blockLanes == 0;
        const uint32_t parts = together ? 1 : runs.count;
        for (uint32_t part = 0; part < parts; ++part) {
            const uint32_t lane = runs.first + part * runs.pitchLanes;
            const uint64_t block = lane / blockLanes * static_cast<uint64_t>(operand.blockStride) * VECTOR_BLOCK_BYTES;
            const uint64_t skip = block + lane % blockLanes * elementBytes;
            Region region = Repeats(operand, 0, plan.repeats, uint64_t{runs.lanes} * elementBytes);
            region.start += skip;
            if (together && runs.count > 1) {
                region.count1 = operand.blockStride == 0 ? 1 : runs.count;
                region.pitch1 = dense ? uint64_t{runs.pitchLanes} * elementBytes
                                      : runs.pitchLanes / blockLanes * static_cast<uint64_t>(operand.blockStride) *
                                            VECTOR_BLOCK_BYTES;
            }
            region.Normalise();
            Operand masked{region, name, VECTOR_BLOCK_BYTES, write, false};
            masked.skipBytes = static_cast<uint32_t>(skip);
            instruction.operands.Add(masked);
        }
    }
}

}  // namespace

Region Cover(const VectorOperand& operand, uint32_t first, uint32_t repeats, uint64_t bytes)
{
    Region region = Repeats(operand, first, repeats, bytes);
    if (operand.blockStride != 1 && bytes > VECTOR_BLOCK_BYTES) {
        region.bytes = VECTOR_BLOCK_BYTES;
        region.count1 = static_cast<uint32_t>((bytes + VECTOR_BLOCK_BYTES - 1) / VECTOR_BLOCK_BYTES);
        region.pitch1 = static_cast<uint64_t>(operand.blockStride) * VECTOR_BLOCK_BYTES;
    }
    if (operand.blockStride == 0) region.count1 = 1;
    region.Normalise();
    return region;
}

void AddOperand(Instruction& instruction, const char* name, const VectorOperand& operand, const LanePlan& plan,
                uint32_t elementBytes, bool write)
{
    if (plan.repeats == 0) return;
    if (!plan.contiguous) {
        AddMasked(instruction, name, operand, plan, elementBytes, write);
        return;
    }
    const bool tail = plan.lastActive != plan.active;
    const uint32_t full = tail ? plan.repeats - 1 : plan.repeats;
    if (full != 0) {
        new (instruction.operands.Next())
            Operand{Cover(operand, 0, full, uint64_t{plan.active} * elementBytes), name, VECTOR_BLOCK_BYTES, write};
    }
    if (tail) {
        new (instruction.operands.Next())
            Operand{Cover(operand, full, 1, uint64_t{plan.lastActive} * elementBytes), name, VECTOR_BLOCK_BYTES, write};
    }
}

void RequireOverlap(const char* name, const VectorOperand& dst, const VectorOperand& src, const LanePlan& plan,
                    uint32_t elementBytes, bool mayCollect)
{
    if (plan.repeats == 0) return;
    const uint32_t blocks = BlocksOfLanes(plan.active, elementBytes);
    const auto span = [blocks](const VectorOperand& operand, uint32_t repeats) {
        const int64_t last = (repeats - 1) * operand.repeatStride + (blocks - 1) * operand.blockStride;
        return static_cast<uint64_t>(last + 1) * VECTOR_BLOCK_BYTES;
    };
    // The two usual cases: apart, and the same tensor with its repeats apart.
    if (dst.address + span(dst, plan.repeats) <= src.address || src.address + span(src, plan.repeats) <= dst.address) {
        return;
    }
    const bool sameTensor = dst.address == src.address && dst.blockStride == src.blockStride &&
                            (plan.repeats == 1 || dst.repeatStride == src.repeatStride);
    if (sameTensor &&
        (plan.repeats == 1 || static_cast<uint64_t>(dst.repeatStride) * VECTOR_BLOCK_BYTES >= span(dst, 1))) {
        return;
    }
    const auto bytesOf = [&](uint32_t first, uint32_t count) {
        return uint64_t{first + count == plan.repeats && count == 1 ? plan.lastActive : plan.active} * elementBytes;
    };
    const auto of = [&](const VectorOperand& operand) {
        return [&](uint32_t first, uint32_t count) { return Cover(operand, first, count, bytesOf(first, count)); };
    };
    for (uint32_t r = 0; r < plan.repeats; ++r) {
        const Region out = of(dst)(r, 1);
        const Region in = of(src)(r, 1);
        const bool same = out.start == in.start && out.count1 == in.count1 && out.pitch1 == in.pitch1;
        if (same || !Overlap(out, in)) continue;
        Self().Refuse(Rule::VECTOR_OVERLAP, Format("dst and %s overlap in repeat %u without being the same", name, r));
    }
    if (mayCollect && (dst.repeatStride == 0 || src.repeatStride == 0)) return;
    // A partial last repeat is looked at for itself, so that its missing lanes feed nobody.
    const uint32_t whole = plan.lastActive == plan.active ? plan.repeats : plan.repeats - 1;
    RequireNoFeeding(name, whole, of(dst), of(src));
    for (uint32_t r = 0; r < whole && whole < plan.repeats; ++r) {
        if (!Overlap(of(dst)(r, 1), of(src)(whole, 1))) continue;
        Self().Refuse(Rule::VECTOR_OVERLAP,
                      Format("dst and %s overlap: repeat %u writes what a later repeat reads", name, r));
    }
}

double VectorLatency()
{
    const auto& soc = Self().Soc();
    return soc.vectorHeadCycles + soc.vectorTailCycles;
}

}  // namespace ascend_sim
