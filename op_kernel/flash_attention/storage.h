// Buffer maps of the FlashAttention forward kernel: what lies where in L1, L0A, L0B, L0C, UB and the workspace.
// One definition for both sides: the kernel takes its addresses from here, op_host refuses a tiling whose map does not
// fit and names the buffer. Must stay plain C++17 without Ascend C, and free of string literals: on the NPU they lie in
// GM, where no plain pointer reaches.
#pragma once
#include "../common/hardware.h"
#include "tiling.h"

namespace fastattn {

constexpr uint32_t STAGES = 2;  // double buffering at level 2
constexpr uint32_t MOST_STRIPS_AT_ONCE = 4;
constexpr uint32_t REDUCTIONS = 2;  // a strip's maxima and the sums of the strip before it are under way together
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
    Buffer q;  // blockQ x headDimQk, one slot for each of two consecutive query blocks, if small
    Buffer k;  // l1TileKv x headDimQk; as many of a block's keys as events allow if several slices share them
    Buffer v;  // l1TileV x headDimV; all of a block's keys if several query tiles share them
    Buffer p;  // l0TileQ x l1TileP
};

// Interleaved products have buffers of their own, aQ and cO; otherwise these have no slots.
struct L0Map {
    Buffer a;   // l0TileQ x l0TileKv of P, if not interleaved x max(headDimQk, l0TileKv) for Q as well
    Buffer aQ;  // l0TileQ x headDimQk
    Buffer b;   // l0TileKv x max(headDimQk, headDimV)
    Buffer c;   // l0TileQ x l0TileKv fp32 scores, if not interleaved x max(headDimV, l0TileKv) for P·V as well
    Buffer cO;  // l0TileQ x headDimV fp32, the sum of P·V
};

// UB of one vector core, which owns half of each slice's rows.
struct UbMap {
    Buffer s;          // stripRows x blockKv scores as they come from GM; also P·V in fp32 on its way into O
    Buffer sWide;      // stripRows x blockKv fp32: scores that came in 16 bits, widened
    Buffer p;          // stripRows x blockKv fp16 probabilities
    Buffer o;          // rowsPerVectorCore x headDimV fp32, the running output
    Buffer mask;       // stripRows x blockKv elements of the mask tensor or bits of the M-mask, as they come from GM
    Buffer maskBits;   // stripRows x blockKv bits that the vector core makes itself
    Buffer maskHalf;   // stripRows x blockKv fp16: a boolean mask's bytes, widened
    Buffer wide;       // stripRows x 64 fp32: ALiBi's distances, an additive mask widened
    Buffer eighths;    // stripRows x blockKv / 8 fp32, on the way to row maxima and, in slot 1, row sums
    Buffer few;        // stripRows, of several strips together if there may be, x 8 fp32, the same further on
    Buffer scale;      // 8 fp32 for each bank group: what scores are multiplied with while their maximum is taken off
    Buffer broadcast;  // rowsPerVectorCore x 8 fp32, a row statistic spread over one 32 B block a row
    Buffer rowShift;   // ring x rowsPerVectorCore fp32, -row_max: blocks of several tasks are in flight
    Buffer rowSum;     // ring x rowsPerVectorCore fp32
    Buffer rowTmp;     // 2 x rowsPerVectorCore fp32: a strip's maxima, its sums
    Buffer lse;        // 2 x rowsPerVectorCore fp32: row statistics on their way to GM, or of a part from there
    Buffer lseSpread;  // rowsPerVectorCore x 8 fp32: the same, one 32 B block a row, for packed rows only
    Buffer ramp;       // blockKv fp32: 0, 1, 2 ..., for ALiBi only
    Buffer rescale;    // ring x a slice's rowsPerVectorCore fp32: exp(old max - new max) of each in flight
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
FASTATTN_HOST_DEVICE constexpr uint32_t MinOf(uint32_t x, uint32_t y) { return x < y ? x : y; }

// Rows of a slice, or of all slices of a block, that one vector core owns: half of them, rounded up to whole groups of
// 8 (one Brcb).
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
FASTATTN_HOST_DEVICE constexpr bool NeedsRamp(const FlashAttentionTiling& t) { return t.hasAlibi != 0; }

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

FASTATTN_HOST_DEVICE constexpr bool IsAdditiveMask(uint32_t maskTensor)
{
    return maskTensor == MASK_ADD || maskTensor == MASK_ADD_FP32;
}
FASTATTN_HOST_DEVICE constexpr bool NeedsWide(const FlashAttentionTiling& t)
{
    return t.hasAlibi != 0 || t.maskTensor == MASK_ADD;
}

// Bytes of a score between the cores.
FASTATTN_HOST_DEVICE constexpr uint32_t ExchangeBytes(const FlashAttentionTiling& t)
{
    return t.sExchange == EXCHANGE_FP32 ? FLOAT_BYTES : HALF_BYTES;
}

// Several query tiles of a block share its keys in L1.
FASTATTN_HOST_DEVICE constexpr bool SharesKeys(const FlashAttentionTiling& t) { return t.blockQ > t.l0TileQ; }

// Strips that a vector core takes together of a slice's rows with so few columns, all of them shown: what a strip waits
// for does not depend on its size. Whole blocks gain nothing, modifiers that keep a strip's values in UB take one.
FASTATTN_HOST_DEVICE constexpr uint32_t StripsAtOnce(const FlashAttentionTiling& t, uint32_t cols)
{
    const uint32_t fit = t.blockKv / static_cast<uint32_t>(RoundUp(cols, REPEAT_FP32_ELEMS));
    const bool one = t.sliceQ == t.blockQ || NeedsWide(t) || t.maskTensor != NO_MASK_TENSOR ||
                     t.stripRows > MAX_REPEATS / MOST_STRIPS_AT_ONCE;
    return one ? 1 : MinOf(fit, MOST_STRIPS_AT_ONCE);
}

FASTATTN_HOST_DEVICE constexpr L1Map MakeL1Map(const FlashAttentionTiling& t)
{
    const uint32_t dimQk = PaddedDim(t.headDimQk);
    const uint32_t slotsQ = SharesKeys(t) ? 1 : STAGES;
    const uint32_t slotsV = SharesKeys(t) ? MaxOf(t.blockKv / t.l1TileV, STAGES) : STAGES;
    // Slices take the same tiles of K one after the other; a slot needs an event, of which Q, V and P have theirs.
    const uint32_t events = EVENTS_PER_PIPE_PAIR - MinOf(slotsQ + slotsV + STAGES, EVENTS_PER_PIPE_PAIR);
    const uint32_t slotsK = t.sliceQ < t.blockQ ? MaxOf(MinOf(t.blockKv / t.l1TileKv, events), STAGES) : STAGES;
    L1Map map{};
    map.q = PlaceAfter(0, t.blockQ * dimQk * HALF_BYTES, slotsQ, FRACTAL_BYTES);
    map.k = PlaceAfter(map.q.EndBytes(), t.l1TileKv * dimQk * HALF_BYTES, slotsK, FRACTAL_BYTES);
    map.v = PlaceAfter(map.k.EndBytes(), t.l1TileV * PaddedDim(t.headDimV) * HALF_BYTES, slotsV, FRACTAL_BYTES);
    map.p = PlaceAfter(map.v.EndBytes(), t.l0TileQ * t.l1TileP * HALF_BYTES, STAGES, FRACTAL_BYTES);
    return map;
}

FASTATTN_HOST_DEVICE constexpr L0Map MakeL0Map(const FlashAttentionTiling& t)
{
    const uint32_t dimQk = PaddedDim(t.headDimQk);
    const uint32_t dimV = PaddedDim(t.headDimV);
    const bool own = t.interleave != 0;
    const uint32_t ownSlots = own ? 1 : 0;
    const uint32_t depthA = own ? t.l0TileKv : MaxOf(dimQk, t.l0TileKv);
    const uint32_t colsC = own ? t.l0TileKv : MaxOf(dimV, t.l0TileKv);
    L0Map map{};
    map.a = PlaceAfter(0, t.l0TileQ * depthA * HALF_BYTES, STAGES, FRACTAL_BYTES);
    map.aQ = PlaceAfter(map.a.EndBytes(), t.l0TileQ * dimQk * HALF_BYTES, ownSlots, FRACTAL_BYTES);
    map.b = PlaceAfter(0, t.l0TileKv * MaxOf(dimQk, dimV) * HALF_BYTES, own ? 2 * STAGES : STAGES, FRACTAL_BYTES);
    map.c = PlaceAfter(0, t.l0TileQ * colsC * FLOAT_BYTES, STAGES, L0C_FRACTAL_BYTES);
    map.cO = PlaceAfter(map.c.EndBytes(), t.l0TileQ * dimV * FLOAT_BYTES, ownSlots, L0C_FRACTAL_BYTES);
    return map;
}

FASTATTN_HOST_DEVICE constexpr UbMap MakeUbMap(const FlashAttentionTiling& t)
{
    const uint32_t dimV = PaddedDim(t.headDimV);
    const uint32_t rowStatBytes = RowsPerVectorCore(t.blockQ) * FLOAT_BYTES;
    UbMap map{};
    const uint32_t scores = t.stripRows * t.blockKv;
    const uint32_t leastRows = BLOCK_FP32_ELEMS * dimV * FLOAT_BYTES;  // of P·V, one Brcb
    map.s = PlaceAfter(0, MaxOf(scores * ExchangeBytes(t), leastRows), STAGES);
    map.sWide = PlaceAfter(map.s.EndBytes(), t.sExchange == EXCHANGE_FP32 ? 0 : scores * FLOAT_BYTES, 1);
    map.p = PlaceAfter(map.sWide.EndBytes(), scores * HALF_BYTES, t.pSlots);
    map.o = PlaceAfter(map.p.EndBytes(), RowsPerVectorCore(t.blockQ) * dimV * FLOAT_BYTES, 1);
    const uint32_t tensorBytes = scores * MaskElementBytes(t.maskTensor);
    const bool boolean = IsBooleanMask(t.maskTensor);
    map.mask = PlaceAfter(map.o.EndBytes(), MaxOf(t.maskMode == MASK_TILING ? scores / 8 : 0, tensorBytes), STAGES);
    map.maskBits = PlaceAfter(map.mask.EndBytes(), boolean ? scores / 8 : 0, 1);
    map.maskHalf = PlaceAfter(map.maskBits.EndBytes(), boolean ? scores * HALF_BYTES : 0, 1);
    map.wide = PlaceAfter(map.maskHalf.EndBytes(), NeedsWide(t) ? t.stripRows * REPEAT_BYTES : 0, 1);
    map.eighths = PlaceAfter(map.wide.EndBytes(), scores / BLOCK_FP32_ELEMS * FLOAT_BYTES, REDUCTIONS);
    const uint32_t fewRows = t.stripRows * StripsAtOnce(t, REPEAT_FP32_ELEMS);
    map.few = PlaceAfter(map.eighths.EndBytes(), fewRows * BLOCK_BYTES, REDUCTIONS);
    // As far before `broadcast` as bank groups repeat, see ScaleAndShiftRows.
    map.scale = PlaceAfter(map.few.EndBytes(), BANK_GROUPS * BLOCK_BYTES, 1, 2 * BLOCK_BYTES);
    map.broadcast = PlaceAfter(map.scale.EndBytes(), RowsPerVectorCore(t.blockQ) * BLOCK_BYTES, 1);
    map.rowShift = PlaceAfter(map.broadcast.EndBytes(), rowStatBytes, t.ring);
    map.rowSum = PlaceAfter(map.rowShift.EndBytes(), rowStatBytes, t.ring);
    map.rowTmp = PlaceAfter(map.rowSum.EndBytes(), rowStatBytes, 2);
    map.lse = PlaceAfter(map.rowTmp.EndBytes(), rowStatBytes, 2);
    map.rescale = PlaceAfter(map.lse.EndBytes(), RowsPerVectorCore(t.sliceQ) * FLOAT_BYTES, t.ring);
    map.ramp = PlaceAfter(map.rescale.EndBytes(), NeedsRamp(t) ? t.blockKv * FLOAT_BYTES : 0, 1);
    map.lseSpread = PlaceAfter(map.ramp.EndBytes(), t.packGqa != 0 ? RowsPerVectorCore(t.blockQ) * BLOCK_BYTES : 0, 1);
    return map;
}

// Where the last buffer of UB ends.
FASTATTN_HOST_DEVICE constexpr uint32_t UbEndBytes(const FlashAttentionTiling& t)
{
    return MakeUbMap(t).lseSpread.EndBytes();
}

FASTATTN_HOST_DEVICE constexpr WorkspaceMap MakeWorkspaceMap(const FlashAttentionTiling& t)
{
    const uint64_t scores = static_cast<uint64_t>(t.ring) * t.sliceQ * t.blockKv;
    WorkspaceMap map{};
    map.sOffsetBytes = 0;
    map.pOffsetBytes = RoundUp(scores * ExchangeBytes(t), GM_ALIGN_BYTES);
    map.oOffsetBytes = map.pOffsetBytes + RoundUp(scores * HALF_BYTES, GM_ALIGN_BYTES);
    const uint64_t rowBytes = static_cast<uint64_t>(PaddedDim(t.headDimV)) * FLOAT_BYTES;
    map.partOffsetBytes = map.oOffsetBytes + RoundUp(t.ring * t.sliceQ * rowBytes, GM_ALIGN_BYTES);
    map.partSlotBytes =
        RoundUp(t.blockQ * rowBytes + 2 * static_cast<uint64_t>(t.blockQ) * FLOAT_BYTES, GM_ALIGN_BYTES);
    map.bytesPerGroup = map.partOffsetBytes + (t.schedule == RANGES ? map.partSlotBytes : 0);
    return map;
}

}  // namespace fastattn
