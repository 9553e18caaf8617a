// MTE2: GM into L1 (ND to NZ) and into UB.
#include "cost.h"
#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t BLOCK_BYTES = 32;
constexpr int64_t C0 = 16;  // elements of a 32 B block of 2-byte elements

struct Nd2Nz {
    uint64_t dst;
    uint64_t src;
    uint64_t rows;
    uint64_t cols;
    uint64_t srcPitchBytes;
    uint64_t c0StrideBytes;   // between 16-column strips
    uint64_t rowStrideBytes;  // between rows of a strip
};

void CopyNd2Nz(uint8_t* l1, const Nd2Nz& p)
{
    const uint64_t wholeStrips = p.cols / C0;
    const uint64_t tailBytes = p.cols % C0 * 2;
    const auto* src = reinterpret_cast<const uint8_t*>(p.src);
    HostLanes().rowsToStrips(
        {src, l1 + p.dst, p.rows, wholeStrips, p.srcPitchBytes, p.c0StrideBytes, p.rowStrideBytes});
    if (tailBytes == 0) return;
    for (uint64_t r = 0; r < p.rows; ++r) {
        uint8_t* tail = l1 + p.dst + r * p.rowStrideBytes + wholeStrips * p.c0StrideBytes;
        std::memset(tail, 0, BLOCK_BYTES);
        std::memcpy(tail, src + r * p.srcPitchBytes + wholeStrips * BLOCK_BYTES, tailBytes);
    }
}

}  // namespace

void copy_gm_to_cbuf_multi_nd2nz_b16(void* dst, const void* src, uint8_t, int64_t ndNum, int64_t nValue, int64_t dValue,
                                     int64_t srcNdMatrixStride, int64_t srcDValue, int64_t dstNzC0Stride,
                                     int64_t dstNzNStride, int64_t dstNzMatrixStride)
{
    Limit("ndNum", ndNum, 0, 4095, Rule::ND2NZ_FIELD);
    Limit("nValue", nValue, 0, 16384, Rule::ND2NZ_FIELD);
    Limit("dValue", dValue, 0, 65535, Rule::ND2NZ_FIELD);
    Limit("srcNdMatrixStride", srcNdMatrixStride, 0, 65535, Rule::ND2NZ_FIELD);
    Limit("srcDValue", srcDValue, 1, 65535, Rule::ND2NZ_FIELD);
    Limit("dstNzC0Stride", dstNzC0Stride, 1, 16384, Rule::ND2NZ_FIELD);
    Limit("dstNzNStride", dstNzNStride, 1, 16384, Rule::ND2NZ_FIELD);
    Limit("dstNzMatrixStride", dstNzMatrixStride, 0, 65535, Rule::ND2NZ_FIELD);
    if (Nothing(ndNum == 0 || nValue == 0 || dValue == 0, "ndNum, nValue or dValue is 0")) return;
    const auto rows = static_cast<uint32_t>(nValue);
    const auto strips = static_cast<uint32_t>((dValue + C0 - 1) / C0);
    const Nd2Nz p{AddressOf(dst),
                  AddressOf(src),
                  static_cast<uint64_t>(nValue),
                  static_cast<uint64_t>(dValue),
                  static_cast<uint64_t>(srcDValue) * 2,
                  static_cast<uint64_t>(dstNzC0Stride) * BLOCK_BYTES,
                  static_cast<uint64_t>(dstNzNStride) * BLOCK_BYTES};
    Core& core = Self();
    Instruction instruction;
    instruction.name = "copy_gm_to_cbuf_multi_nd2nz_b16";
    instruction.pipe = Pipe::MTE2;
    const auto add = [&](const Nd2Nz& part) {
        Region out = Run(Space::L1, part.dst, BLOCK_BYTES);
        out.count1 = rows;
        out.pitch1 = part.rowStrideBytes;
        out.count2 = strips;
        out.pitch2 = part.c0StrideBytes;
        out.Normalise();
        const Region in = Rows(Space::GM, part.src, part.cols * 2, rows, part.srcPitchBytes);
        SetCopyCost(instruction, core.Soc().mte2HeadCycles, in,
                    {core.Soc().mte2L1BytesPerCycle, core.Soc().mte2L1BurstCycles});
        instruction.operands.Add(Writes("dst", out, BLOCK_BYTES));
        instruction.operands.Add(Reads("src", in, 1));
    };
    // Three levels of strides do not fit a region: each matrix is an instruction of its own.
    for (int64_t i = 0; i < ndNum; ++i) {
        Nd2Nz part = p;
        part.src += static_cast<uint64_t>(i * srcNdMatrixStride) * 2;
        part.dst += static_cast<uint64_t>(i * dstNzMatrixStride) * 2;
        instruction.operands = {};
        add(part);
        core.Issue(instruction, [&core, part] { CopyNd2Nz(core.Memory(Space::L1).At(0), part); });
    }
}

// GM rows of whole blocks into L1, as they lie.
void copy_gm_to_cbuf(void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                     int64_t dstStride, pad_t)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 65535);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstStride", dstStride, 0, 65535);
    if (Nothing(nBurst == 0 || lenBurst == 0, "blockCount or blockLen is 0")) return;
    const auto bursts = static_cast<uint32_t>(nBurst);
    const uint64_t bytes = static_cast<uint64_t>(lenBurst) * BLOCK_BYTES;
    const uint64_t srcPitch = bytes + static_cast<uint64_t>(srcStride) * BLOCK_BYTES;
    const uint64_t dstPitch = bytes + static_cast<uint64_t>(dstStride) * BLOCK_BYTES;
    const uint64_t from = AddressOf(src);
    const uint64_t to = AddressOf(dst);
    Core& core = Self();
    Instruction instruction;
    instruction.name = "copy_gm_to_cbuf";
    instruction.pipe = Pipe::MTE2;
    const Region in = Rows(Space::GM, from, bytes, bursts, srcPitch);
    SetCopyCost(instruction, core.Soc().mte2HeadCycles, in,
                {core.Soc().mte2L1BytesPerCycle, core.Soc().mte2L1BurstCycles});
    instruction.operands.Add(Writes("dst", Rows(Space::L1, to, bytes, bursts, dstPitch), BLOCK_BYTES));
    instruction.operands.Add(Reads("src", in, 1));
    core.Issue(instruction, [=, &core] {
        uint8_t* l1 = core.Memory(Space::L1).At(to);
        for (uint32_t i = 0; i < bursts; ++i) {
            std::memcpy(l1 + i * dstPitch, reinterpret_cast<const void*>(from + i * srcPitch), bytes);
        }
    });
}

void copy_gm_to_ubuf_align(uint32_t elementBytes, void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst,
                           int64_t leftPadding, int64_t rightPadding, int64_t srcGap, int64_t dstGap)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 2097151);
    Limit("srcStride", srcGap, 0, UINT32_MAX);
    Limit("dstStride", dstGap, 0, UINT32_MAX);
    Limit("leftPadding", leftPadding, 0, BLOCK_BYTES / elementBytes, Rule::PAD_AMOUNT);
    Limit("rightPadding", rightPadding, 0, BLOCK_BYTES / elementBytes, Rule::PAD_AMOUNT);
    if (lenBurst % elementBytes != 0) {
        Self().Refuse(Rule::BURST_ELEMENTS, Format("blockLen = %lld B is not a multiple of the %u-byte element",
                                                   static_cast<long long>(lenBurst), elementBytes));
    }
    if (Nothing(nBurst == 0 || lenBurst == 0, "blockCount or blockLen is 0")) return;
    const auto bursts = static_cast<uint32_t>(nBurst);
    const auto bytes = static_cast<uint64_t>(lenBurst);
    const uint64_t left = static_cast<uint64_t>(leftPadding) * elementBytes;
    const uint64_t padded = left + bytes + static_cast<uint64_t>(rightPadding) * elementBytes;
    const uint64_t ubBytes = (padded + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    const uint64_t srcPitch = bytes + static_cast<uint64_t>(srcGap);
    const uint64_t dstPitch = ubBytes + static_cast<uint64_t>(dstGap) * BLOCK_BYTES;
    const uint64_t from = AddressOf(src);
    const uint64_t to = AddressOf(dst);
    Core& core = Self();
    const bool chosen = core.Regs().padChosen;
    const uint64_t value = core.Regs().padValue;
    core.Regs().padChosen = false;
    Instruction instruction;
    instruction.name = "copy_gm_to_ubuf_align";
    instruction.pipe = Pipe::MTE2;
    const Region in = Rows(Space::GM, from, bytes, bursts, srcPitch);
    SetCopyCost(instruction, core.Soc().mte2HeadCycles, in,
                {core.Soc().mte2UbBytesPerCycle, core.Soc().mte2UbBurstCycles});
    instruction.operands.Add(Writes("dst", Rows(Space::UB, to, ubBytes, bursts, dstPitch), BLOCK_BYTES));
    instruction.operands.Add(Reads("src", in, 1));
    core.Issue(instruction, [=, &core] {
        uint8_t* ub = core.Memory(Space::UB).At(to);
        for (uint32_t i = 0; i < bursts; ++i) {
            const auto* row = reinterpret_cast<const uint8_t*>(from + i * srcPitch);
            uint8_t* out = ub + i * dstPitch;
            // Without a value the filler repeats the row's first element, or is random with explicit padding.
            const void* filler = chosen ? static_cast<const void*>(&value) : row;
            for (uint64_t at = 0; at < left; at += elementBytes) std::memcpy(out + at, filler, elementBytes);
            std::memcpy(out + left, row, bytes);
            for (uint64_t at = left + bytes; at < ubBytes; at += elementBytes)
                std::memcpy(out + at, filler, elementBytes);
        }
    });
    if (chosen || ubBytes == bytes || !core.Checks()) return;
    core.AfterLast(Pipe::MTE2, [=, &core] {
        for (uint32_t i = 0; i < bursts; ++i) {
            core.MarkFiller(to + i * dstPitch, left);
            core.MarkFiller(to + i * dstPitch + left + bytes, ubBytes - left - bytes);
        }
    });
}

void copy_gm_to_ubuf(void* dst, const void* src, uint8_t, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                     int64_t dstStride)
{
    Limit("blockCount", nBurst, 0, 4095);
    Limit("blockLen", lenBurst, 0, 65535);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstStride", dstStride, 0, 65535);
    copy_gm_to_ubuf_align(4, dst, src, 0, nBurst, lenBurst * static_cast<int64_t>(BLOCK_BYTES), 0, 0,
                          srcStride * static_cast<int64_t>(BLOCK_BYTES), dstStride);
}
