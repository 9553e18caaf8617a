// Vector instructions that change type, place or number of elements: convert, broadcast, reduce, copy, select.
#include "cost.h"
#include "vector_operands.h"

using namespace ascend_sim;

namespace {

constexpr uint32_t BLOCK_ELEMS = 8;  // results of one block reduction, inputs of one Brcb repeat

uint8_t* Ub(Core& core, const VectorOperand& operand, uint32_t repeat, uint32_t block)
{
    const auto blocks = static_cast<uint64_t>(repeat * operand.repeatStride + block * operand.blockStride);
    return core.Memory(Space::UB).At(operand.address + blocks * VECTOR_BLOCK_BYTES);
}

Instruction VectorInstruction(const char* name, double cyclesPerRepeat, uint32_t repeats,
                              const BankOperands& banks = {})
{
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::V;
    instruction.cycles = VectorOccupation(cyclesPerRepeat, repeats, banks);
    instruction.latencyCycles = VectorLatency();
    return instruction;
}

struct Conversion {
    FloatType narrow;
    bool narrows;
    uint32_t wideBytes = 4;  // the narrow side has half as many
};

Conversion Of(Convert kind)
{
    switch (kind) {
        case Convert::F32_TO_F16: return {FloatType::FP16, true};
        case Convert::F32_TO_BF16: return {FloatType::BF16, true};
        case Convert::F16_TO_F32: return {FloatType::FP16, false};
        case Convert::U8_TO_F16: return {FloatType::FP16, false, 2};
        default: return {FloatType::BF16, false};
    }
}

void BytesToHalf(const uint8_t* from, uint16_t* to, uint32_t count)
{
    float values[128];
    for (uint32_t i = 0; i < count; ++i) values[i] = from[i];
    HostLanes().fromFloat(FloatType::FP16, values, to, count);
}

template <class T>
void ConvertAs(const char* name, Convert kind, T* dst, const void* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk,
               int64_t dstRep, int64_t srcRep)
{
    VectorConvert(name, kind, {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src), srcBlk, srcRep}, repeat);
}

}  // namespace

namespace ascend_sim {

// A repeat is 8 blocks of the wide side, 4 blocks of the narrow side.
void VectorConvert(const char* name, Convert kind, const VectorOperand& dst, const VectorOperand& src, int64_t repeat)
{
    const Conversion conversion = Of(kind);
    const uint32_t wideBytes = conversion.wideBytes;
    const LanePlan plan = PlanLanes(wideBytes, repeat);
    LimitOperand("dst", dst, 255, true);
    LimitOperand("src", src, 255, false);
    if (plan.repeats == 0) return;
    if (!plan.contiguous || dst.blockStride != 1 || src.blockStride != 1) {
        Refuse("Cast with scattered lanes or blocks is not simulated");
    }
    const uint64_t toBytes = conversion.narrows ? 2 : 4;
    const uint64_t fromBytes = conversion.narrows ? 4 : 2;
    RequireNoFeeding(
        "src", plan.repeats,
        [&](uint32_t first, uint32_t count) { return Cover(dst, first, count, plan.active * toBytes); },
        [&](uint32_t first, uint32_t count) { return Cover(src, first, count, plan.active * fromBytes); });
    Core& core = Self();
    const uint32_t wide = BlocksOfLanes(plan.active, wideBytes);
    const uint32_t narrow = BlocksOfLanes(plan.active, wideBytes / 2);
    BankOperands banks{&dst, &src, nullptr, conversion.narrows ? narrow : wide, conversion.narrows ? wide : narrow};
    Instruction instruction = VectorInstruction(name, core.Soc().vectorSimpleCycles, plan.repeats, banks);
    AddOperand(instruction, "src", src, plan, conversion.narrows ? wideBytes : wideBytes / 2, false);
    AddOperand(instruction, "dst", dst, plan, conversion.narrows ? wideBytes / 2 : wideBytes, true);
    core.Issue(instruction, [=, &core] {
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const uint32_t active = plan.ActiveIn(r);
            uint8_t* from = Ub(core, src, r, 0);
            uint8_t* to = Ub(core, dst, r, 0);
            if (wideBytes == 2) {
                BytesToHalf(from, reinterpret_cast<uint16_t*>(to), active);
            } else if (conversion.narrows) {
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
    if (Nothing(repeat == 0, "repeatTime is 0")) return;
    const auto repeats = static_cast<uint32_t>(repeat);
    Core& core = Self();
    Instruction instruction = VectorInstruction("vbrcb", core.Soc().vectorSimpleCycles, repeats, {&dst});
    LanePlan plan;
    plan.lanes = plan.active = plan.lastActive = static_cast<uint32_t>(VECTOR_BLOCK_BYTES) / elementBytes * 8;
    plan.repeats = repeats;
    RequireNoFeeding(
        "src", repeats, [&](uint32_t first, uint32_t count) { return Cover(dst, first, count, 256); },
        [&](uint32_t first, uint32_t count) {
            const uint64_t bytes = uint64_t{BLOCK_ELEMS} * elementBytes;
            return Run(Space::UB, src + first * bytes, count * bytes);
        });
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

void VectorNot(const VectorOperand& dst, const VectorOperand& src, int64_t repeat)
{
    const LanePlan plan = PlanLanes(2, repeat);
    LimitOperand("dst", dst, 255, true);
    LimitOperand("src", src, 255, false);
    if (plan.repeats == 0) return;
    if (!plan.contiguous || dst.blockStride != 1 || src.blockStride != 1) Refuse("Not of scattered lanes");
    RequireOverlap("src", dst, src, plan, 2);
    Core& core = Self();
    Instruction instruction = VectorInstruction("vnot", core.Soc().vectorSimpleCycles, plan.repeats);
    AddOperand(instruction, "src", src, plan, 2, false);
    AddOperand(instruction, "dst", dst, plan, 2, true);
    core.Issue(instruction, [=, &core] {
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const auto* from = reinterpret_cast<const uint16_t*>(Ub(core, src, r, 0));
            auto* to = reinterpret_cast<uint16_t*>(Ub(core, dst, r, 0));
            for (uint32_t i = 0; i < plan.ActiveIn(r); ++i) to[i] = static_cast<uint16_t>(~from[i]);
        }
    });
}

void VectorCopy(uint32_t elementBytes, const VectorOperand& dst, const VectorOperand& src, int64_t repeat)
{
    const LanePlan plan = PlanLanes(elementBytes, repeat);
    if (dst.blockStride == 0) Refuse(Rule::DST_BLOCK_STRIDE, "dst block stride 0 writes one block eight times");
    if (plan.repeats == 0) return;
    RequireOverlap("src", dst, src, plan, elementBytes);
    Core& core = Self();
    const uint32_t blocks = BlocksOfLanes(plan.active, elementBytes);
    Instruction instruction =
        VectorInstruction("vcopy", core.Soc().vectorSimpleCycles, plan.repeats, {&dst, &src, nullptr, blocks, blocks});
    AddOperand(instruction, "src", src, plan, elementBytes, false);
    AddOperand(instruction, "dst", dst, plan, elementBytes, true);
    core.Issue(instruction, [=, &core] {
        const auto perBlock = static_cast<uint32_t>(VECTOR_BLOCK_BYTES) / elementBytes;
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const uint32_t active = plan.ActiveIn(r);
            for (uint32_t lane = 0; lane < active; ++lane) {
                if (!plan.Lane(lane)) continue;
                const uint32_t at = lane % perBlock * elementBytes;
                const bool whole = plan.contiguous && lane % perBlock == 0 && lane + perBlock <= active;
                std::memmove(Ub(core, dst, r, lane / perBlock) + at, Ub(core, src, r, lane / perBlock) + at,
                             whole ? VECTOR_BLOCK_BYTES : elementBytes);
                if (whole) lane += perBlock - 1;
            }
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

void vconv_u82f16(half* dst, uint8_t* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                  int64_t srcRep)
{
    ConvertAs("vconv_u82f16", Convert::U8_TO_F16, dst, src, repeat, dstBlk, srcBlk, dstRep, srcRep);
}

void vbrcb(uint32_t* dst, uint32_t* src, int64_t dstBlk, int64_t dstRep, int64_t repeat)
{
    VectorBroadcast(4, {AddressOf(dst), dstBlk, dstRep}, AddressOf(src), repeat);
}

void vbrcb(uint16_t* dst, uint16_t* src, int64_t dstBlk, int64_t dstRep, int64_t repeat)
{
    VectorBroadcast(2, {AddressOf(dst), dstBlk, dstRep}, AddressOf(src), repeat);
}

void vnot(uint16_t* dst, uint16_t* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep, int64_t srcRep)
{
    VectorNot({AddressOf(dst), dstBlk, dstRep}, {AddressOf(src), srcBlk, srcRep}, repeat);
}

void set_cmpmask(const void* ub)
{
    constexpr uint64_t CMPMASK_BYTES = 16;
    Core& core = Self();
    const uint64_t from = AddressOf(ub);
    Instruction instruction = VectorInstruction("set_cmpmask", core.Soc().vectorSimpleCycles, 1);
    instruction.operands.Add(Reads("mask", Run(Space::UB, from, CMPMASK_BYTES), CMPMASK_BYTES));
    core.Issue(instruction,
               [&core, from] { std::memcpy(core.Regs().cmpMask, core.Memory(Space::UB).At(from), CMPMASK_BYTES); });
}

namespace ascend_sim {

uint64_t CompareMaskAddress()
{
    uint32_t address = 0;
    std::memcpy(&address, Self().Regs().cmpMask, sizeof(address));
    return address;
}

}  // namespace ascend_sim

void vsel(float* dst, float* src0, uint8_t* mask, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t,
          int64_t dstRep, int64_t src0Rep, int64_t, uint8_t mode)
{
    VectorSelect(FloatType::FP32, {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src0), src0Blk, src0Rep}, nullptr,
                 AddressOf(mask), mode, repeat);
}

void vsel(half* dst, half* src0, uint8_t* mask, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t,
          int64_t dstRep, int64_t src0Rep, int64_t, uint8_t mode)
{
    VectorSelect(FloatType::FP16, {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src0), src0Blk, src0Rep}, nullptr,
                 AddressOf(mask), mode, repeat);
}

// UB to UB in whole blocks, on the vector pipe; masks do not apply.
void copy_ubuf_to_ubuf(void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                       int64_t dstStride)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 65535);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstStride", dstStride, 0, 65535);
    if (Nothing(nBurst == 0 || lenBurst == 0, "blockCount or blockLen is 0")) return;
    const auto bursts = static_cast<uint32_t>(nBurst);
    const uint64_t bytes = static_cast<uint64_t>(lenBurst) * VECTOR_BLOCK_BYTES;
    const uint64_t srcPitch = bytes + static_cast<uint64_t>(srcStride) * VECTOR_BLOCK_BYTES;
    const uint64_t dstPitch = bytes + static_cast<uint64_t>(dstStride) * VECTOR_BLOCK_BYTES;
    const uint64_t from = AddressOf(src);
    const uint64_t to = AddressOf(dst);
    Core& core = Self();
    const auto repeats = static_cast<uint32_t>((bytes * bursts + 255) / 256);
    Instruction instruction = VectorInstruction("copy_ubuf_to_ubuf", core.Soc().vectorSimpleCycles, repeats);
    const Region in = Rows(Space::UB, from, bytes, bursts, srcPitch);
    const Region out = Rows(Space::UB, to, bytes, bursts, dstPitch);
    if (from != to && Overlap(in, out)) Refuse(Rule::VECTOR_OVERLAP, "source and destination of the copy overlap");
    instruction.operands.Add(Writes("dst", out, VECTOR_BLOCK_BYTES));
    instruction.operands.Add(Reads("src", in, VECTOR_BLOCK_BYTES));
    core.Issue(instruction, [=, &core] {
        uint8_t* ub = core.Memory(Space::UB).At(0);
        for (uint32_t i = 0; i < bursts; ++i) std::memmove(ub + to + i * dstPitch, ub + from + i * srcPitch, bytes);
    });
}
