// The vector unit's operand model: which lanes of which repeats an instruction touches. A repeat is 8 blocks of 32 B;
// normal mode masks the lanes of every repeat alike, counter mode runs over the first `count` elements.
#pragma once
#include "engine.h"

namespace ascend_sim {

constexpr uint64_t VECTOR_BLOCK_BYTES = 32;
constexpr uint32_t BLOCKS_PER_REPEAT = 8;

// Lanes of one instruction, decoded from the mask registers at issue.
struct LanePlan {
    uint32_t lanes = 0;       // of a full repeat
    uint32_t repeats = 0;     // repeats to run
    uint32_t active = 0;      // leading lanes that are active in every full repeat
    uint32_t lastActive = 0;  // active lanes of the last repeat (counter mode ends inside it)
    bool contiguous = true;   // the active lanes are the leading ones
    uint64_t mask[2] = {0, 0};

    uint32_t ActiveIn(uint32_t repeat) const { return repeat + 1 == repeats ? lastActive : active; }
    bool Lane(uint32_t lane) const { return ((mask[lane / 64] >> (lane % 64)) & 1) != 0; }
};

LanePlan PlanLanes(uint32_t elementBytes, int64_t repeat);

// Narrow fields of an operand; address alignment is judged with its region.
void LimitOperand(const char* name, const VectorOperand& operand, int64_t blockStrideMax, bool destination);

// Adds what the plan's lanes cover of an operand.
void AddOperand(Instruction& instruction, const char* name, const VectorOperand& operand, const LanePlan& plan,
                uint32_t elementBytes, bool write);

// `bytes` of leading lanes of `repeats` repeats that start at repeat `first`.
Region Cover(const VectorOperand& operand, uint32_t first, uint32_t repeats, uint64_t bytes);

// General address overlap constraints: within a repeat the destination of an element-wise instruction coincides with a
// source or is disjoint, and no repeat feeds a later one, unless a repeat stride of 0 collects all of them.
void RequireOverlap(const char* name, const VectorOperand& dst, const VectorOperand& src, const LanePlan& plan,
                    uint32_t elementBytes, bool mayCollect = false);

// The part of it that holds for instructions whose results have another size: no repeat's destination overlaps the
// source of a later one. dst and src: region of `count` repeats from repeat `first` on.
template <class Dst, class Src>
void RequireNoFeeding(const char* name, uint32_t repeats, const Dst& dst, const Src& src)
{
    if (!Overlap(dst(0, repeats), src(0, repeats))) return;
    for (uint32_t r = 0; r + 1 < repeats; ++r) {
        if (!Overlap(dst(r, 1), src(r + 1, repeats - r - 1))) continue;
        Self().Refuse(Rule::VECTOR_OVERLAP,
                      Format("dst and %s overlap: repeat %u writes what a later repeat reads", name, r));
    }
}

// 32 B blocks that so many leading lanes take.
inline uint32_t BlocksOfLanes(uint32_t lanes, uint32_t elementBytes)
{
    return static_cast<uint32_t>((uint64_t{lanes} * elementBytes + VECTOR_BLOCK_BYTES - 1) / VECTOR_BLOCK_BYTES);
}

double VectorLatency();

}  // namespace ascend_sim
