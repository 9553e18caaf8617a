// MTE3: UB into GM.
#include "cost.h"
#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t BLOCK_BYTES = 32;

}  // namespace

void copy_ubuf_to_gm_align(uint32_t elementBytes, void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst,
                           int64_t, int64_t, int64_t srcGap, int64_t dstGap)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 2097151);
    Limit("srcStride", srcGap, 0, UINT32_MAX);
    Limit("dstStride", dstGap, 0, UINT32_MAX);
    if (lenBurst % elementBytes != 0) {
        Self().Refuse(Format("blockLen = %lld B is not a multiple of the %u-byte element",
                             static_cast<long long>(lenBurst), elementBytes));
    }
    if (nBurst == 0 || lenBurst == 0) return;
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
    instruction.operands.Add(Writes("dst", out, 1));
    instruction.operands.Add(Reads("src", Rows(Space::UB, from, bytes, bursts, srcPitch), BLOCK_BYTES));
    core.Issue(instruction, [=, &core] {
        const uint8_t* ub = core.Memory(Space::UB).At(from);
        for (uint32_t i = 0; i < bursts; ++i) {
            std::memcpy(reinterpret_cast<uint8_t*>(to + i * dstPitch), ub + i * srcPitch, bytes);
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
