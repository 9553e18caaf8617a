// Storage check and the rules between fields. Only the first buffer that crosses a memory's end is reported: those
// behind it are consequences.
#include "tiling_check.h"

#include <algorithm>
#include <cstring>

#include "../op_kernel/flash_attention/packing.h"
#include "../op_kernel/flash_attention/storage.h"
#include "limits.h"
#include "mask.h"

namespace fastattn {
namespace {

std::string Text(uint64_t value) { return std::to_string(value); }

struct Named {
    const char* name;
    Buffer buffer;
};

PlacedBuffer Place(const char* memory, const char* name, const Buffer& buffer, double limitBytes, const char* remedy)
{
    return {memory,
            name,
            buffer.offsetBytes,
            buffer.slotBytes,
            buffer.slots,
            static_cast<uint64_t>(std::max(limitBytes, 0.0)),
            remedy};
}

void PlaceCubeBuffers(const FlashAttentionTiling& t, const SocSpec& soc, std::vector<PlacedBuffer>& placed)
{
    const L1Map l1 = MakeL1Map(t);
    for (const auto& [name, buffer] : {Named{"l1Q", l1.q}, {"l1K", l1.k}, {"l1V", l1.v}, {"l1P", l1.p}}) {
        placed.push_back(Place("L1", name, buffer, soc.l1Bytes - L1_MIX_RESERVED_BYTES, "lower l1_tile_kv or block_q"));
    }
    const L0Map l0 = MakeL0Map(t);
    placed.push_back(Place("L0A", "l0a", l0.a, soc.l0aBytes, "lower l0_tile_q or l0_tile_kv"));
    placed.push_back(Place("L0A", "l0aQ", l0.aQ, soc.l0aBytes, "lower l0_tile_q or l0_tile_kv"));
    placed.push_back(Place("L0B", "l0b", l0.b, soc.l0bBytes, "lower l0_tile_kv"));
    placed.push_back(Place("L0C", "l0c", l0.c, soc.l0cBytes, "lower l0_tile_q or l0_tile_kv"));
    placed.push_back(Place("L0C", "l0cO", l0.cO, soc.l0cBytes, "lower l0_tile_q or l0_tile_kv"));
}

void PlaceVectorBuffers(const FlashAttentionTiling& t, const SocSpec& soc, std::vector<PlacedBuffer>& placed)
{
    const UbMap ub = MakeUbMap(t);
    const double limitBytes = UbLimitBytes(soc);
    for (const auto& [name, buffer] : {Named{"ubS", ub.s},
                                       {"ubSWide", ub.sWide},
                                       {"ubP", ub.p},
                                       {"ubO", ub.o},
                                       {"ubMask", ub.mask},
                                       {"ubMaskBits", ub.maskBits},
                                       {"ubMaskHalf", ub.maskHalf},
                                       {"ubWide", ub.wide},
                                       {"ubEighths", ub.eighths},
                                       {"ubFew", ub.few},
                                       {"ubScale", ub.scale},
                                       {"ubBroadcast", ub.broadcast},
                                       {"ubRowShift", ub.rowShift},
                                       {"ubRowSum", ub.rowSum},
                                       {"ubRowTmp", ub.rowTmp},
                                       {"ubLse", ub.lse},
                                       {"ubRescale", ub.rescale},
                                       {"ubRamp", ub.ramp},
                                       {"ubLseSpread", ub.lseSpread}}) {
        placed.push_back(Place("UB", name, buffer, limitBytes, "lower strip_rows, block_kv or block_q"));
    }
}

void PlaceWorkspace(const FlashAttentionTiling& t, const SocSpec& soc, std::vector<PlacedBuffer>& placed)
{
    const WorkspaceMap map = MakeWorkspaceMap(t);
    const uint64_t scores = static_cast<uint64_t>(t.sliceQ) * t.blockKv;
    const uint64_t output = static_cast<uint64_t>(t.sliceQ) * PaddedDim(t.headDimV);
    const uint64_t limitBytes = static_cast<uint64_t>(soc.hbmBytes) / std::max<uint32_t>(t.blockDim, 1);
    const char* remedy = "lower ring, block_kv or block_dim";
    placed.push_back({"workspace", "gmS", map.sOffsetBytes, scores * ExchangeBytes(t), t.ring, limitBytes, remedy});
    placed.push_back({"workspace", "gmP", map.pOffsetBytes, scores * HALF_BYTES, t.ring, limitBytes, remedy});
    const uint32_t parts = t.schedule == RANGES ? 1 : 0;
    placed.push_back({"workspace", "gmO", map.oOffsetBytes, output * FLOAT_BYTES, t.ring, limitBytes, remedy});
    placed.push_back({"workspace", "gmPart", map.partOffsetBytes, map.partSlotBytes, parts, limitBytes, remedy});
}

void CheckStorage(const FlashAttentionTiling& t, const SocSpec& soc, Reasons& reasons)
{
    const std::vector<PlacedBuffer> placed = PlaceBuffers(t, soc);
    const char* refusedMemory = "";
    for (const PlacedBuffer& buffer : placed) {
        if (buffer.EndBytes() <= buffer.limitBytes || std::strcmp(buffer.memory, refusedMemory) == 0) {
            continue;
        }
        refusedMemory = buffer.memory;
        const std::string memory = buffer.memory;
        reasons.push_back({std::string(buffer.name) + " in " + memory,
                           Text(buffer.slots) + " x " + Text(buffer.slotBytes) + " B at offset " +
                               Text(buffer.offsetBytes) + ", ending at " + Text(buffer.EndBytes()) + " B",
                           "at most " + Text(buffer.limitBytes) + " B, the " + memory + " of " + soc.name,
                           buffer.remedy});
    }
}

void CheckTiles(const FlashAttentionTiling& t, Reasons& reasons)
{
    if (t.blockKv % t.l1TileKv != 0) {
        reasons.push_back({"l1_tile_kv", Text(t.l1TileKv), "a divisor of block_kv = " + Text(t.blockKv),
                           "change l1_tile_kv or block_kv"});
    }
    for (const auto& [name, tile] : {std::pair{"l1_tile_v", t.l1TileV}, {"l1_tile_p", t.l1TileP}}) {
        if (t.blockKv % tile != 0 || tile % t.l0TileKv != 0) {
            reasons.push_back(
                {name, Text(tile),
                 "a divisor of block_kv = " + Text(t.blockKv) + " and a multiple of l0_tile_kv = " + Text(t.l0TileKv),
                 std::string("change ") + name + ", l0_tile_kv or block_kv"});
        }
    }
    if (t.blockQ % t.sliceQ != 0) {
        reasons.push_back(
            {"slice_q", Text(t.sliceQ), "a divisor of block_q = " + Text(t.blockQ), "change slice_q or block_q"});
    }
    if (t.sliceQ % t.l0TileQ != 0) {
        reasons.push_back(
            {"l0_tile_q", Text(t.l0TileQ), "a divisor of slice_q = " + Text(t.sliceQ), "change l0_tile_q or slice_q"});
    }
    const L1Map l1 = MakeL1Map(t);
    const uint32_t slots = l1.q.slots + l1.k.slots + l1.v.slots + l1.p.slots;
    if (slots > EVENTS_PER_PIPE_PAIR) {
        reasons.push_back({"buffers in L1", Text(slots),
                           "at most " + Text(EVENTS_PER_PIPE_PAIR) + " (one event id of MTE2 and MTE1 each)",
                           "raise l1_tile_v"});
    }
    if (t.l1TileKv % t.l0TileKv != 0) {
        reasons.push_back({"l0_tile_kv", Text(t.l0TileKv), "a divisor of l1_tile_kv = " + Text(t.l1TileKv),
                           "change l0_tile_kv or l1_tile_kv"});
    }
    // The largest single LoadData brings a whole tile of Q, K, V or P to L0A or L0B.
    const uint64_t fractals = std::max(CeilDiv(t.l0TileKv, FRACTAL_ROWS), CeilDiv(t.l0TileQ, FRACTAL_ROWS)) *
                              CeilDiv(std::max(t.headDimQk, t.headDimV), C0_B16_ELEMS);
    if (fractals > LOAD_DATA_MAX_FRACTALS) {
        reasons.push_back({"LoadData repeats of an L0 tile", Text(fractals),
                           "at most " + Text(LOAD_DATA_MAX_FRACTALS) + " fractals (repeatTimes is a uint8)",
                           "lower l0_tile_kv or l0_tile_q"});
    }
}

void CheckSchedule(const FlashAttentionTiling& t, const SocSpec& soc, Reasons& reasons)
{
    if (t.ring < t.preload + 1) {
        reasons.push_back({"ring", Text(t.ring),
                           "at least preload + 1 = " + Text(t.preload + 1) +
                               " slots (the cube core fills one while preload others wait)",
                           "raise ring or lower preload"});
    }
    if (t.sExchange == EXCHANGE_BF16 && t.elementType != BF16) {
        reasons.push_back({"s_exchange", "bf16", "fp32 or fp16 with operands in fp16 (bf16 rounds S more coarsely)",
                           "use fp16 or fp32"});
    }
    const uint32_t side = std::max(t.blockQ, t.blockKv);
    if (t.maskBlock < side) {
        reasons.push_back({"mask_block", Text(t.maskBlock),
                           "at least max(block_q, block_kv) = " + Text(side) + " (the window must stay in the M-mask)",
                           "raise mask_block to " + Text(RoundUp(side, MASK_ROW_ALIGN_ELEMS))});
    }
    if (t.blockDim > soc.aicCores) {
        reasons.push_back({"block_dim", Text(t.blockDim),
                           "at most the " + Text(static_cast<uint64_t>(soc.aicCores)) + " cube cores of " + soc.name +
                               " (groups exchange flags, so all must run at once)",
                           "lower block_dim"});
    }
    if (BlockTokens(t) == 0) {
        reasons.push_back({"pack_gqa", "1",
                           "0 where the " + Text(PackedHeads(t)) +
                               " query heads of a key head do not fit block_q = " + Text(t.blockQ) + " rows",
                           "raise block_q or set pack_gqa to 0"});
        return;
    }
    if (t.packGqa != 0) {
        CheckLimit(LimitOf("gm_pitch"), "o head stride with pack_gqa", static_cast<int64_t>(t.o.head), reasons);
    }
    const double tasks = static_cast<double>(t.batch) * TaskHeads(t) * t.numBlocksQ;
    if (tasks > UINT32_MAX) {
        reasons.push_back({"b * h_q * query blocks", NumberText(tasks),
                           "at most 4294967295 (the task index is a uint32)", "raise block_q or split the batch"});
    }
}

}  // namespace

std::vector<PlacedBuffer> PlaceBuffers(const FlashAttentionTiling& tiling, const SocSpec& soc)
{
    std::vector<PlacedBuffer> placed;
    placed.reserve(32);
    PlaceCubeBuffers(tiling, soc, placed);
    PlaceVectorBuffers(tiling, soc, placed);
    PlaceWorkspace(tiling, soc, placed);
    return placed;
}

Reasons CheckTiling(const FlashAttentionTiling& tiling, const SocSpec& soc)
{
    Reasons reasons;
    CheckTiles(tiling, reasons);
    CheckSchedule(tiling, soc, reasons);
    CheckMaskMode(tiling, soc, reasons);
    CheckStorage(tiling, soc, reasons);
    return reasons;
}

}  // namespace fastattn
