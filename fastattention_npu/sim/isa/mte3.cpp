// MTE3: UB into GM.
#include <algorithm>

#include "cost.h"
#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t BLOCK_BYTES = 32;

}  // namespace

namespace ascend_sim {

void AddGmStore(Instruction& instruction, const Region& dst)
{
    Operand operand = Writes("dst", dst, 1);
    if (Self().Regs().atomicAdd) {
        Self().TakeAtomicTurn();
        instruction.atomic = true;
        instruction.operands.Add(Reads("dst (atomic update)", dst, 1));
    }
    instruction.operands.Add(operand);
}

GmStore GmStore::Now()
{
    const Registers& registers = Self().Regs();
    return {registers.atomicAdd, static_cast<FloatType>(registers.atomicType)};
}

void GmStore::Put(uint8_t* to, const uint8_t* from, uint64_t bytes) const
{
    if (!add) {
        std::memcpy(to, from, bytes);
        return;
    }
    constexpr size_t CHUNK = 128;
    const size_t elementBytes = type == FloatType::FP32 ? 4 : 2;
    float old[CHUNK];
    float update[CHUNK];
    const auto load = [this](const uint8_t* raw, float* values, size_t count) {
        if (type == FloatType::FP32) {
            std::memcpy(values, raw, count * sizeof(float));
        } else {
            uint16_t narrow[CHUNK];
            std::memcpy(narrow, raw, count * 2);
            HostLanes().toFloat(type, narrow, values, count);
        }
    };
    for (size_t done = 0; done * elementBytes < bytes; done += CHUNK) {
        const size_t count = std::min<size_t>(CHUNK, bytes / elementBytes - done);
        load(to + done * elementBytes, old, count);
        load(from + done * elementBytes, update, count);
        for (size_t i = 0; i < count; ++i) old[i] += update[i];
        if (type == FloatType::FP32) {
            std::memcpy(to + done * elementBytes, old, count * sizeof(float));
        } else {
            uint16_t narrow[CHUNK];
            HostLanes().fromFloat(type, old, narrow, count);
            std::memcpy(to + done * elementBytes, narrow, count * 2);
        }
    }
}

}  // namespace ascend_sim

void copy_ubuf_to_gm_align(uint32_t elementBytes, void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst,
                           int64_t, int64_t, int64_t srcGap, int64_t dstGap)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 2097151);
    Limit("srcStride", srcGap, 0, UINT32_MAX);
    Limit("dstStride", dstGap, 0, UINT32_MAX);
    if (lenBurst % elementBytes != 0) {
        Self().Refuse(Rule::BURST_ELEMENTS, Format("blockLen = %lld B is not a multiple of the %u-byte element",
                                                   static_cast<long long>(lenBurst), elementBytes));
    }
    if (Nothing(nBurst == 0 || lenBurst == 0, "blockCount or blockLen is 0")) return;
    const auto bursts = static_cast<uint32_t>(nBurst);
    const auto bytes = static_cast<uint64_t>(lenBurst);
    const uint64_t ubBytes = (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    const uint64_t srcPitch = ubBytes + static_cast<uint64_t>(srcGap) * BLOCK_BYTES;
    const uint64_t dstPitch = bytes + static_cast<uint64_t>(dstGap);
    const uint64_t from = AddressOf(src);
    const uint64_t to = AddressOf(dst);
    Core& core = Self();
    const auto& soc = core.Soc();
    Instruction instruction;
    instruction.name = "copy_ubuf_to_gm_align";
    instruction.pipe = Pipe::MTE3;
    const Region out = Rows(Space::GM, to, bytes, bursts, dstPitch);
    SetCopyCost(instruction, soc.mte3HeadCycles, out, {soc.mte3BytesPerCycle, soc.mte3BurstCycles});
    AddGmStore(instruction, out);
    instruction.operands.Add(Reads("src", Rows(Space::UB, from, bytes, bursts, srcPitch), BLOCK_BYTES));
    core.Issue(instruction, [=, &core, store = GmStore::Now()] {
        const uint8_t* ub = core.Memory(Space::UB).At(from);
        for (uint32_t i = 0; i < bursts; ++i) {
            store.Put(reinterpret_cast<uint8_t*>(to + i * dstPitch), ub + i * srcPitch, bytes);
        }
    });
}

void copy_ubuf_to_gm(void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                     int64_t dstStride)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 65535);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstStride", dstStride, 0, 65535);
    copy_ubuf_to_gm_align(4, dst, src, 0, nBurst, lenBurst * static_cast<int64_t>(BLOCK_BYTES), 0, 0, srcStride,
                          dstStride * static_cast<int64_t>(BLOCK_BYTES));
}
