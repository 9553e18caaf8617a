// Vector instructions that change type, place or number of elements: convert, broadcast, reduce, copy, select.
#include "vector_operands.h"

using namespace ascend_sim;

namespace {

constexpr uint32_t BLOCK_ELEMS = 8;  // results of one block reduction, inputs of one Brcb repeat

uint8_t* Ub(Core& core, const VectorOperand& operand, uint32_t repeat, uint32_t block)
{
    const auto blocks = static_cast<uint64_t>(repeat * operand.repeatStride + block * operand.blockStride);
    return core.Memory(Space::UB).At(operand.address + blocks * VECTOR_BLOCK_BYTES);
}

Instruction VectorInstruction(const char* name, double cyclesPerRepeat, uint32_t repeats)
{
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::V;
    instruction.cycles = VectorOccupation(cyclesPerRepeat, repeats);
    instruction.latencyCycles = VectorLatency();
    return instruction;
}

struct Conversion {
    FloatType narrow;
    bool narrows;
};

Conversion Of(Convert kind)
{
    switch (kind) {
        case Convert::F32_TO_F16: return {FloatType::FP16, true};
        case Convert::F32_TO_BF16: return {FloatType::BF16, true};
        case Convert::F16_TO_F32: return {FloatType::FP16, false};
        default: return {FloatType::BF16, false};
    }
}

template <class T>
void ConvertAs(const char* name, Convert kind, T* dst, const void* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
               int64_t dstRep, int64_t srcRep)
{
    VectorConvert(name, kind, {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src), srcBlk, srcRep}, repeat);
}

}  // namespace

namespace ascend_sim {

// A repeat is 64 elements: 8 blocks of the 4-byte side, 4 blocks of the 2-byte side.
void VectorConvert(const char* name, Convert kind, const VectorOperand& dst, const VectorOperand& src, int64_t repeat)
{
    const Conversion conversion = Of(kind);
    const LanePlan plan = PlanLanes(4, repeat);
    LimitOperand("dst", dst, 255, true);
    LimitOperand("src", src, 255, false);
    if (plan.repeats == 0) return;
    if (!plan.contiguous || dst.blockStride != 1 || src.blockStride != 1) {
        Refuse("Cast with scattered lanes or blocks is not simulated");
    }
    Core& core = Self();
    Instruction instruction = VectorInstruction(name, core.Soc().vectorSimpleCycles, plan.repeats);
    AddOperand(instruction, "src", src, plan, conversion.narrows ? 4 : 2, false);
    AddOperand(instruction, "dst", dst, plan, conversion.narrows ? 2 : 4, true);
    core.Issue(instruction, [=, &core] {
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const uint32_t active = plan.ActiveIn(r);
            uint8_t* from = Ub(core, src, r, 0);
            uint8_t* to = Ub(core, dst, r, 0);
            if (conversion.narrows) {
                HostLanes().fromFloat(conversion.narrow, reinterpret_cast<const float*>(from),
                                      reinterpret_cast<uint16_t*>(to), active);
            } else {
                HostLanes().toFloat(conversion.narrow, reinterpret_cast<const uint16_t*>(from),
                                    reinterpret_cast<float*>(to), active);
            }
        }
    });
}

// Brcb: each repeat takes 8 consecutive elements and fills one block with each.
void VectorBroadcast(uint32_t elementBytes, const VectorOperand& dst, uint64_t src, int64_t repeat)
{
    Limit("repeatTime", repeat, 0, 255);
    LimitOperand("dst", dst, 65535, true);
    if (repeat == 0) return;
    const auto repeats = static_cast<uint32_t>(repeat);
    Core& core = Self();
    Instruction instruction = VectorInstruction("vbrcb", core.Soc().vectorSimpleCycles, repeats);
    LanePlan plan;
    plan.lanes = plan.active = plan.lastActive = static_cast<uint32_t>(VECTOR_BLOCK_BYTES) / elementBytes * 8;
    plan.repeats = repeats;
    instruction.operands.Add(
        Reads("src", Run(Space::UB, src, uint64_t{repeats} * BLOCK_ELEMS * elementBytes), VECTOR_BLOCK_BYTES));
    AddOperand(instruction, "dst", dst, plan, elementBytes, true);
    core.Issue(instruction, [=, &core] {
        const uint8_t* from = core.Memory(Space::UB).At(src);
        for (uint32_t i = 0; i < repeats * BLOCK_ELEMS; ++i) {
            uint8_t* to = Ub(core, dst, i / BLOCK_ELEMS, i % BLOCK_ELEMS);
            for (uint64_t at = 0; at < VECTOR_BLOCK_BYTES; at += elementBytes) {
                std::memcpy(to + at, from + uint64_t{i} * elementBytes, elementBytes);
            }
        }
    });
}

void VectorReduce(const char* name, ReduceKind kind, FloatType type, uint64_t dst, uint64_t src, int64_t repeat,
                  int64_t dstRepeatStride, int64_t srcBlockStride, int64_t srcRepeatStride)
{
    if (type != FloatType::FP32) Refuse("reductions of fp16 are not simulated yet");
    const LanePlan plan = PlanLanes(4, repeat);
    const VectorOperand source{src, srcBlockStride, srcRepeatStride};
    LimitOperand("src", source, 255, false);
    Limit("dstRepStride", dstRepeatStride, 0, 65535);
    if (plan.repeats == 0) return;
    if (!plan.contiguous || srcBlockStride != 1) Refuse("reductions of scattered lanes are not simulated");
    const bool whole = kind == ReduceKind::WHOLE_MAX || kind == ReduceKind::WHOLE_MIN || kind == ReduceKind::WHOLE_SUM;
    const uint32_t results = whole ? 1 : (plan.active + BLOCK_ELEMS - 1) / BLOCK_ELEMS;
    const uint64_t dstPitch = static_cast<uint64_t>(dstRepeatStride) * sizeof(float) * (whole ? 1 : BLOCK_ELEMS);
    Core& core = Self();
    const auto& soc = core.Soc();
    Instruction instruction =
        VectorInstruction(name, whole ? soc.vectorWholeReduceCycles : soc.vectorSimpleCycles, plan.repeats);
    AddOperand(instruction, "src", source, plan, 4, false);
    instruction.operands.Add(Writes("dst", Rows(Space::UB, dst, results * sizeof(float), plan.repeats, dstPitch),
                                    whole ? sizeof(float) : VECTOR_BLOCK_BYTES));
    const bool sum = kind == ReduceKind::BLOCK_SUM || kind == ReduceKind::WHOLE_SUM;
    const bool max = kind == ReduceKind::BLOCK_MAX || kind == ReduceKind::WHOLE_MAX;
    const auto reduce = sum ? HostLanes().blockSum : max ? HostLanes().blockMax : HostLanes().blockMin;
    const float neutral = sum ? 0.0F : max ? -__builtin_inff() : __builtin_inff();
    core.Issue(instruction, [=, &core] {
        alignas(64) float lanes[64];
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const uint32_t active = plan.ActiveIn(r);
            const auto* from = reinterpret_cast<const float*>(Ub(core, source, r, 0));
            auto* to = reinterpret_cast<float*>(core.Memory(Space::UB).At(dst + r * dstPitch));
            if (active % BLOCK_ELEMS != 0 || whole) {
                for (uint32_t lane = 0; lane < 64; ++lane) lanes[lane] = lane < active ? from[lane] : neutral;
                from = lanes;
            }
            if (!whole) {
                reduce(from, to, results);
                continue;
            }
            float blocks[BLOCK_ELEMS];
            reduce(from, blocks, BLOCK_ELEMS);
            reduce(blocks, to, 1);
        }
    });
}

void VectorCopy(uint32_t elementBytes, const VectorOperand& dst, const VectorOperand& src, int64_t repeat)
{
    const LanePlan plan = PlanLanes(elementBytes, repeat);
    if (plan.repeats == 0) return;
    if (!plan.contiguous || plan.active % (VECTOR_BLOCK_BYTES / elementBytes) != 0) {
        Refuse("Copy of partial blocks is not simulated");
    }
    Core& core = Self();
    Instruction instruction = VectorInstruction("vcopy", core.Soc().vectorSimpleCycles, plan.repeats);
    AddOperand(instruction, "src", src, plan, elementBytes, false);
    AddOperand(instruction, "dst", dst, plan, elementBytes, true);
    core.Issue(instruction, [=, &core] {
        const uint32_t blocks = plan.active * elementBytes / static_cast<uint32_t>(VECTOR_BLOCK_BYTES);
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            for (uint32_t b = 0; b < blocks; ++b) {
                std::memmove(Ub(core, dst, r, b), Ub(core, src, r, b), VECTOR_BLOCK_BYTES);
            }
        }
    });
}

// Bits are consumed one after the other, 64 a repeat; a set bit takes the source, a clear one the scalar.
void VectorSelectScalar(FloatType type, const VectorOperand& dst, const VectorOperand& src, uint64_t mask,
                        int64_t repeat)
{
    if (type != FloatType::FP32) Refuse("Select of fp16 is not simulated yet");
    const LanePlan plan = PlanLanes(4, repeat);
    LimitOperand("dst", dst, 255, true);
    LimitOperand("src0", src, 255, false);
    if (plan.repeats == 0) return;
    if (!plan.contiguous || dst.blockStride != 1 || src.blockStride != 1) Refuse("Select of scattered lanes");
    Core& core = Self();
    Instruction instruction = VectorInstruction("vsel", core.Soc().vectorSimpleCycles, plan.repeats);
    const uint64_t maskBytes = ((plan.repeats - 1) * uint64_t{64} + plan.lastActive + 7) / 8;
    instruction.operands.Add(Reads("selMask", Run(Space::UB, mask, maskBytes), VECTOR_BLOCK_BYTES));
    AddOperand(instruction, "src0", src, plan, 4, false);
    AddOperand(instruction, "dst", dst, plan, 4, true);
    core.Issue(instruction, [=, &core] {
        const uint8_t* bits = core.Memory(Space::UB).At(mask);
        float scalar;
        std::memcpy(&scalar, core.Regs().cmpMask, sizeof(scalar));
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            HostLanes().selectScalar(bits + r * 8, reinterpret_cast<const float*>(Ub(core, src, r, 0)), scalar,
                                     reinterpret_cast<float*>(Ub(core, dst, r, 0)), plan.ActiveIn(r));
        }
    });
}

}  // namespace ascend_sim

void vconv_f322f16r(half* dst, float* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                    int64_t srcRep)
{
    ConvertAs("vconv_f322f16r", Convert::F32_TO_F16, dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}

void vconv_f322bf16r(bfloat16_t* dst, float* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                     int64_t srcRep)
{
    ConvertAs("vconv_f322bf16r", Convert::F32_TO_BF16, dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}

void vconv_f162f32(float* dst, half* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                   int64_t srcRep)
{
    ConvertAs("vconv_f162f32", Convert::F16_TO_F32, dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}

void vconv_bf162f32(float* dst, bfloat16_t* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                    int64_t srcRep)
{
    ConvertAs("vconv_bf162f32", Convert::BF16_TO_F32, dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}

void vbrcb(uint32_t* dst, uint32_t* src, int64_t dstBlk, int64_t dstRep, int64_t repeat)
{
    VectorBroadcast(4, {AddressOf(dst), dstBlk, dstRep}, AddressOf(src), repeat);
}

void vbrcb(uint16_t* dst, uint16_t* src, int64_t dstBlk, int64_t dstRep, int64_t repeat)
{
    VectorBroadcast(2, {AddressOf(dst), dstBlk, dstRep}, AddressOf(src), repeat);
}

void set_cmpmask(void* ub)
{
    constexpr uint64_t CMPMASK_BYTES = 16;
    Core& core = Self();
    const uint64_t from = AddressOf(ub);
    Instruction instruction = VectorInstruction("set_cmpmask", core.Soc().vectorSimpleCycles, 1);
    instruction.operands.Add(Reads("mask", Run(Space::UB, from, CMPMASK_BYTES), CMPMASK_BYTES));
    core.Issue(instruction,
               [&core, from] { std::memcpy(core.Regs().cmpMask, core.Memory(Space::UB).At(from), CMPMASK_BYTES); });
}

void vsel(float* dst, float* src0, uint8_t* mask, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t,
          int64_t dstRep, int64_t src0Rep, int64_t, uint8_t mode)
{
    if (mode != 1) Refuse("only the tensor-scalar mode of Select is simulated");
    VectorSelectScalar(FloatType::FP32, {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src0), src0Blk, src0Rep},
                       AddressOf(mask), repeat);
}
