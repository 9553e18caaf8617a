// Buffer maps of the FlashAttention forward kernel: what lies where in L1, L0A, L0B, L0C, UB and the workspace.
// One definition for both sides: the kernel takes its addresses from here, op_host refuses a tiling whose map does not
// fit and names the buffer. Must stay plain C++17 without Ascend C, and free of string literals: on the NPU they lie in
// GM, where no plain pointer reaches.
#pragma once
#include "../common/hardware.h"
#include "tiling.h"

namespace fastattn {

constexpr uint32_t PART_SLOTS = 2;  // a group may begin and end inside a split task
constexpr uint32_t STAGES = 2;      // double buffering at level 2
constexpr uint32_t HALF_BYTES = 2;
constexpr uint32_t FLOAT_BYTES = 4;

// Start of a buffer and the bytes of one of its slots.
struct Buffer {
    uint32_t offsetBytes;
    uint32_t slotBytes;
    uint32_t slots;
    FASTATTN_HOST_DEVICE constexpr uint32_t SlotOffset(uint32_t slot) const { return offsetBytes + slot * slotBytes; }
    FASTATTN_HOST_DEVICE constexpr uint32_t EndBytes() const { return offsetBytes + slots * slotBytes; }
};

FASTATTN_HOST_DEVICE constexpr Buffer PlaceAfter(uint32_t startBytes, uint32_t slotBytes, uint32_t slots,
                                                 uint32_t alignBytes = BLOCK_BYTES)
{
    return Buffer{static_cast<uint32_t>(RoundUp(startBytes, alignBytes)),
                  static_cast<uint32_t>(RoundUp(slotBytes, alignBytes)), slots};
}

struct L1Map {
    Buffer q;  // blockQ x headDimQk, one slot for each of two consecutive query blocks
    Buffer k;  // l1TileKv x headDimQk
    Buffer v;  // l1TileKv x headDimV
    Buffer p;  // blockQ x l1TileKv
};

struct L0Map {
    Buffer l0a;  // blockQ x max(headDimQk, l0TileKv)
    Buffer l0b;  // l0TileKv x max(headDimQk, headDimV)
    Buffer l0c;  // blockQ x max(headDimV, l0TileKv) fp32
};

// UB of one vector core, which owns half of a block's rows.
struct UbMap {
    Buffer s;          // stripRows x blockKv fp32 scores
    Buffer p;          // stripRows x blockKv fp16 probabilities
    Buffer o;          // rowsPerVectorCore x headDimV fp32, the running output
    Buffer oPartial;   // stripRows x headDimV fp32, one block's P·V
    Buffer mask;       // stripRows x blockKv elements of the mask tensor or bits of the M-mask, as they come from GM
    Buffer maskBits;   // stripRows x blockKv bits that the vector core makes itself
    Buffer maskHalf;   // stripRows x blockKv fp16: a boolean mask's bytes, widened
    Buffer reduce;     // stripRows x 64 fp32, tree maxima and sums
    Buffer broadcast;  // stripRows x 8 fp32, a row statistic spread over one 32 B block a row
    Buffer rowMax;     // ring x rowsPerVectorCore fp32: blocks of several tasks are in flight
    Buffer rowSum;     // ring x rowsPerVectorCore fp32
    Buffer rowTmp;     // rowsPerVectorCore fp32
    Buffer lse;        // 2 x rowsPerVectorCore fp32: row statistics on their way to GM
    Buffer lseSpread;  // rowsPerVectorCore x 8 fp32: the same, one 32 B block a row, for packed rows only
    Buffer ramp;       // blockKv fp32: 0, 1, 2 ..., for ALiBi and the predicate only
    Buffer rescale;    // ring x rowsPerVectorCore fp32: exp(old max - new max) of each block in flight
};

struct WorkspaceMap {
    uint64_t sOffsetBytes;
    uint64_t pOffsetBytes;
    uint64_t oOffsetBytes;
    uint64_t partOffsetBytes;
    uint64_t partSlotBytes;
    uint64_t bytesPerGroup;
};

// Head dims are padded to whole fractals in every local memory and in the workspace, never in the operands.
FASTATTN_HOST_DEVICE constexpr uint32_t PaddedDim(uint32_t dim)
{
    return static_cast<uint32_t>(RoundUp(dim, C0_B16_ELEMS));
}

FASTATTN_HOST_DEVICE constexpr uint32_t MaxOf(uint32_t x, uint32_t y) { return x > y ? x : y; }

// Rows of a block that one vector core owns: half of them, rounded up to whole groups of 8 (one Brcb).
FASTATTN_HOST_DEVICE constexpr uint32_t RowsPerVectorCore(uint32_t blockRows)
{
    return static_cast<uint32_t>(RoundUp(CeilDiv(blockRows, VECTOR_CORES_PER_CUBE), BLOCK_FP32_ELEMS));
}

// The constants operand: the tiling-mask's M-mask (packed bits) if there is one, then the ramp 0, 1, 2 ... in fp32.
FASTATTN_HOST_DEVICE constexpr uint64_t MMaskBytes(uint32_t maskMode, uint32_t maskBlock)
{
    const uint64_t side = 2 * static_cast<uint64_t>(maskBlock);
    return maskMode == MASK_TILING ? side * side / 8 : 0;
}
FASTATTN_HOST_DEVICE constexpr bool NeedsRamp(const FlashAttentionTiling& t)
{
    return t.hasAlibi != 0 || t.maskMode == MASK_PREDICATE;
}

FASTATTN_HOST_DEVICE constexpr bool IsBooleanMask(uint32_t maskTensor)
{
    return maskTensor == MASK_BOOL || maskTensor == MASK_WINDOWS;
}
// Bytes of an element of the mask tensor, 0 without one.
FASTATTN_HOST_DEVICE constexpr uint32_t MaskElementBytes(uint32_t maskTensor)
{
    if (IsBooleanMask(maskTensor)) {
        return 1;
    }
    return maskTensor == MASK_ADD ? HALF_BYTES : maskTensor == MASK_ADD_FP32 ? FLOAT_BYTES : 0;
}

FASTATTN_HOST_DEVICE constexpr L1Map MakeL1Map(const FlashAttentionTiling& t)
{
    const uint32_t dimQk = PaddedDim(t.headDimQk);
    L1Map map{};
    map.q = PlaceAfter(0, t.blockQ * dimQk * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.k = PlaceAfter(map.q.EndBytes(), t.l1TileKv * dimQk * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.v = PlaceAfter(map.k.EndBytes(), t.l1TileKv * PaddedDim(t.headDimV) * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.p = PlaceAfter(map.v.EndBytes(), t.blockQ * t.l1TileKv * HALF_BYTES, STAGES, FRACTAL_BYTES);
    return map;
}

FASTATTN_HOST_DEVICE constexpr L0Map MakeL0Map(const FlashAttentionTiling& t)
{
    const uint32_t dimQk = PaddedDim(t.headDimQk);
    const uint32_t dimV = PaddedDim(t.headDimV);
    L0Map map{};
    map.l0a = PlaceAfter(0, t.blockQ * MaxOf(dimQk, t.l0TileKv) * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.l0b = PlaceAfter(0, t.l0TileKv * MaxOf(dimQk, dimV) * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.l0c = PlaceAfter(0, t.blockQ * MaxOf(dimV, t.l0TileKv) * FLOAT_BYTES, STAGES, L0C_FRACTAL_BYTES);
    return map;
}

FASTATTN_HOST_DEVICE constexpr UbMap MakeUbMap(const FlashAttentionTiling& t)
{
    const uint32_t dimV = PaddedDim(t.headDimV);
    const uint32_t rowStatBytes = RowsPerVectorCore(t.blockQ) * FLOAT_BYTES;
    UbMap map{};
    map.s = PlaceAfter(0, t.stripRows * t.blockKv * FLOAT_BYTES, STAGES);
    map.p = PlaceAfter(map.s.EndBytes(), t.stripRows * t.blockKv * HALF_BYTES, STAGES);
    map.o = PlaceAfter(map.p.EndBytes(), RowsPerVectorCore(t.blockQ) * dimV * FLOAT_BYTES, 1);
    map.oPartial = PlaceAfter(map.o.EndBytes(), t.stripRows * dimV * FLOAT_BYTES, STAGES);
    const uint32_t scores = t.stripRows * t.blockKv;
    const uint32_t tensorBytes = scores * MaskElementBytes(t.maskTensor);
    const bool boolean = IsBooleanMask(t.maskTensor);
    map.mask =
        PlaceAfter(map.oPartial.EndBytes(), MaxOf(t.maskMode == MASK_TILING ? scores / 8 : 0, tensorBytes), STAGES);
    map.maskBits = PlaceAfter(map.mask.EndBytes(), boolean || t.maskMode == MASK_PREDICATE ? scores / 8 : 0, 1);
    map.maskHalf = PlaceAfter(map.maskBits.EndBytes(), boolean ? scores * HALF_BYTES : 0, 1);
    map.reduce = PlaceAfter(map.maskHalf.EndBytes(), t.stripRows * REPEAT_BYTES, 1);
    map.broadcast = PlaceAfter(map.reduce.EndBytes(), t.stripRows * BLOCK_BYTES, 1);
    map.rowMax = PlaceAfter(map.broadcast.EndBytes(), rowStatBytes, t.ring);
    map.rowSum = PlaceAfter(map.rowMax.EndBytes(), rowStatBytes, t.ring);
    map.rowTmp = PlaceAfter(map.rowSum.EndBytes(), rowStatBytes, 1);
    map.lse = PlaceAfter(map.rowTmp.EndBytes(), rowStatBytes, 2);
    map.rescale = PlaceAfter(map.lse.EndBytes(), rowStatBytes, t.ring);
    map.ramp = PlaceAfter(map.rescale.EndBytes(), NeedsRamp(t) ? t.blockKv * FLOAT_BYTES : 0, 1);
    map.lseSpread = PlaceAfter(map.ramp.EndBytes(), t.packGqa != 0 ? RowsPerVectorCore(t.blockQ) * BLOCK_BYTES : 0, 1);
    return map;
}

FASTATTN_HOST_DEVICE constexpr WorkspaceMap MakeWorkspaceMap(const FlashAttentionTiling& t)
{
    const uint64_t scores = static_cast<uint64_t>(t.ring) * t.blockQ * t.blockKv;
    WorkspaceMap map{};
    map.sOffsetBytes = 0;
    map.pOffsetBytes = RoundUp(scores * FLOAT_BYTES, GM_ALIGN_BYTES);
    map.oOffsetBytes = map.pOffsetBytes + RoundUp(scores * HALF_BYTES, GM_ALIGN_BYTES);
    const uint64_t output = static_cast<uint64_t>(t.blockQ) * PaddedDim(t.headDimV) * FLOAT_BYTES;
    map.partOffsetBytes = map.oOffsetBytes + RoundUp(t.ring * output, GM_ALIGN_BYTES);
    map.partSlotBytes = RoundUp(output + 2 * static_cast<uint64_t>(t.blockQ) * FLOAT_BYTES, GM_ALIGN_BYTES);
    map.bytesPerGroup = map.partOffsetBytes + (t.schedule == RANGES ? PART_SLOTS * map.partSlotBytes : 0);
    return map;
}

}  // namespace fastattn
