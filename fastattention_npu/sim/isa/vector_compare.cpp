// Vector instructions with one bit a lane: comparisons, which make the bits, and selections, which use them.
#include "cost.h"
#include "vector_operands.h"

using namespace ascend_sim;

namespace {

constexpr uint32_t MAX_LANES = 128;

const uint8_t* BlockOf(Core& core, const VectorOperand& operand, uint32_t repeat, uint32_t block)
{
    const auto blocks = static_cast<uint64_t>(repeat * operand.repeatStride + block * operand.blockStride);
    return core.Memory(Space::UB).At(operand.address + blocks * VECTOR_BLOCK_BYTES);
}

uint32_t BytesOf(FloatType type)
{
    if (type == FloatType::BF16) Refuse(Rule::BF16_ARITHMETIC, "dav-2201 has no bf16 comparison or selection");
    return type == FloatType::FP32 ? 4 : 2;
}

// The lanes of one repeat as fp32.
void Gather(Core& core, FloatType type, const VectorOperand& operand, uint32_t repeat, uint32_t active, float* lanes)
{
    const uint32_t perBlock = type == FloatType::FP32 ? 8 : 16;
    for (uint32_t lane = 0; lane < active; lane += perBlock) {
        const uint8_t* block = BlockOf(core, operand, repeat, lane / perBlock);
        if (type == FloatType::FP32) {
            std::memcpy(lanes + lane, block, VECTOR_BLOCK_BYTES);
        } else {
            HostLanes().toFloat(type, reinterpret_cast<const uint16_t*>(block), lanes + lane, perBlock);
        }
    }
}

bool Holds(CompareOp op, float a, float b)
{
    switch (op) {
        case CompareOp::LT: return a < b;
        case CompareOp::GT: return a > b;
        case CompareOp::EQ: return a == b;
        case CompareOp::LE: return a <= b;
        case CompareOp::GE: return a >= b;
        default: return a != b;
    }
}

Instruction Start(const char* name, uint32_t repeats, const BankOperands& banks = {})
{
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::V;
    instruction.cycles = VectorOccupation(Self().Soc().vectorSimpleCycles, repeats, banks);
    instruction.latencyCycles = VectorLatency();
    return instruction;
}

void PutLane(Core& core, FloatType type, const VectorOperand& dst, uint32_t repeat, uint32_t lane, float value)
{
    const uint32_t perBlock = type == FloatType::FP32 ? 8 : 16;
    auto* block = const_cast<uint8_t*>(BlockOf(core, dst, repeat, lane / perBlock));
    if (type == FloatType::FP32) {
        std::memcpy(block + lane % perBlock * 4, &value, 4);
    } else {
        HostLanes().fromFloat(type, &value, reinterpret_cast<uint16_t*>(block) + lane % perBlock, 1);
    }
}

}  // namespace

namespace ascend_sim {

// A repeat makes lanes / 8 bytes, one after the other; lanes that the mask leaves out give 0.
void VectorCompare(const char* name, CompareOp op, FloatType type, uint64_t dst, const VectorOperand& src0,
                   const VectorOperand* src1, float scalar, int64_t repeat)
{
    const uint32_t bytes = BytesOf(type);
    const LanePlan plan = PlanLanes(bytes, repeat);
    LimitOperand("src0", src0, 255, false);
    if (src1 != nullptr) LimitOperand("src1", *src1, 255, false);
    if (plan.repeats == 0) return;
    Instruction instruction = Start(name, plan.repeats);
    AddOperand(instruction, "src0", src0, plan, bytes, false);
    if (src1 != nullptr) AddOperand(instruction, "src1", *src1, plan, bytes, false);
    const uint64_t bitBytes = plan.lanes / 8;
    instruction.operands.Add(Writes("dst", Run(Space::UB, dst, bitBytes * plan.repeats), VECTOR_BLOCK_BYTES));
    Core& core = Self();
    const VectorOperand second = src1 != nullptr ? *src1 : VectorOperand{};
    const bool tensor = src1 != nullptr;
    core.Issue(instruction, [=, &core] {
        float a[MAX_LANES];
        float b[MAX_LANES];
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const uint32_t active = plan.ActiveIn(r);
            Gather(core, type, src0, r, active, a);
            if (tensor) Gather(core, type, second, r, active, b);
            uint8_t* bits = core.Memory(Space::UB).At(dst + r * bitBytes);
            std::memset(bits, 0, bitBytes);
            for (uint32_t lane = 0; lane < active; ++lane) {
                if (!plan.Lane(lane) || !Holds(op, a[lane], tensor ? b[lane] : scalar)) continue;
                bits[lane / 8] = static_cast<uint8_t>(bits[lane / 8] | (1U << (lane % 8)));
            }
        }
    });
}

// dst = bit ? src0 : src1. Mode 0 takes the same bits for every repeat, from the compare mask register; mode 1 takes a
// scalar for src1 and mode 2 a tensor, both with consecutive bits from UB.
void VectorSelect(FloatType type, const VectorOperand& dst, const VectorOperand& src0, const VectorOperand* src1,
                  uint64_t bits, uint32_t mode, int64_t repeat)
{
    const uint32_t bytes = BytesOf(type);
    const LanePlan plan = PlanLanes(bytes, repeat);
    LimitOperand("dst", dst, 255, true);
    LimitOperand("src0", src0, 255, false);
    if (src1 != nullptr) LimitOperand("src1", *src1, 255, false);
    if (plan.repeats == 0) return;
    RequireOverlap("src0", dst, src0, plan, bytes);
    if (src1 != nullptr) RequireOverlap("src1", dst, *src1, plan, bytes);
    Instruction instruction = Start("vsel", plan.repeats, {&dst, &src0});
    const uint64_t bitBytes = ((plan.repeats - 1) * uint64_t{plan.lanes} + plan.lastActive + 7) / 8;
    if (mode != 0) instruction.operands.Add(Reads("selMask", Run(Space::UB, bits, bitBytes), VECTOR_BLOCK_BYTES));
    AddOperand(instruction, "src0", src0, plan, bytes, false);
    if (src1 != nullptr) AddOperand(instruction, "src1", *src1, plan, bytes, false);
    AddOperand(instruction, "dst", dst, plan, bytes, true);
    Core& core = Self();
    const VectorOperand second = src1 != nullptr ? *src1 : VectorOperand{};
    const bool tensor = src1 != nullptr;
    core.Issue(instruction, [=, &core] {
        float a[MAX_LANES];
        float b[MAX_LANES];
        float scalar = 0;
        if (!tensor && type == FloatType::FP32) std::memcpy(&scalar, core.Regs().cmpMask, 4);
        if (!tensor && type != FloatType::FP32) {
            HostLanes().toFloat(type, reinterpret_cast<const uint16_t*>(core.Regs().cmpMask), &scalar, 1);
        }
        const bool direct =
            !tensor && type == FloatType::FP32 && plan.contiguous && dst.blockStride == 1 && src0.blockStride == 1;
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const uint32_t active = plan.ActiveIn(r);
            if (direct) {
                HostLanes().selectScalar(core.Memory(Space::UB).At(bits + r * plan.lanes / 8),
                                         reinterpret_cast<const float*>(BlockOf(core, src0, r, 0)), scalar,
                                         reinterpret_cast<float*>(const_cast<uint8_t*>(BlockOf(core, dst, r, 0))),
                                         active);
                continue;
            }
            Gather(core, type, src0, r, active, a);
            if (tensor) Gather(core, type, second, r, active, b);
            const uint8_t* chosen =
                mode == 0 ? core.Regs().cmpMask : core.Memory(Space::UB).At(bits + r * plan.lanes / 8);
            for (uint32_t lane = 0; lane < active; ++lane) {
                if (!plan.Lane(lane)) continue;
                const bool first = ((chosen[lane / 8] >> (lane % 8)) & 1) != 0;
                PutLane(core, type, dst, r, lane, first ? a[lane] : tensor ? b[lane] : scalar);
            }
        }
    });
}

}  // namespace ascend_sim
