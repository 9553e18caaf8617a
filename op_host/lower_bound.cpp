// Only what no tiling of this kernel can avoid. S, P and P·V cross between cube and vector cores through GM, because
// the chip has no other way: P·V once for each block of keys. K and V are read once for each query block, but for what
// L1 can hold from one query block to the next. More keys a block leave UB room for fewer query rows: the limit is that
// of the best pair of keys and the most rows that UB holds beside them.
#include "lower_bound.h"

#include <algorithm>

#include "../op_kernel/flash_attention/partition.h"
#include "../op_kernel/flash_attention/storage.h"
#include "limits.h"
#include "problem.h"

namespace fastattn {
namespace {

struct Work {
    double pairs;        // (query, key) pairs that the windows leave, of all heads
    double outputs;      // elements of O
    double partials;     // elements of P·V, of all blocks
    double keyElems;     // elements of K and V that reach the cubes' L1
    double keyUses;      // ... that go from there to L0B, once for each query block
    double macsPerPair;  // of both products, head dims in whole fractals
};

// Keys of K and V that the query blocks of a head find in L1 at best: no more than the one before has used, than they
// use themselves, or than there is room for beside Q. The first follows another head, which may have the same keys.
double KeysFound(FlashAttentionTiling t, const SocSpec& soc, uint32_t rows)
{
    t.blockQ = rows;
    t.packGqa = 0;
    const double dims = static_cast<double>(PaddedDim(t.headDimQk)) + PaddedDim(t.headDimV);
    const double room = std::max(0.0, (soc.l1Bytes / HALF_BYTES - 1.0 * rows * PaddedDim(t.headDimQk)) / dims);
    double found = 0;
    double before = t.headsQ > t.headsKv ? t.seqKv : 0;
    for (uint32_t i = 0; i < CeilDiv(t.seqQ, rows); ++i) {
        const QueryBlock queries = MakeQueryBlock(t, {0, 0, t.seqQ, t.seqKv}, i);
        const double keys = queries.Empty() ? 0 : queries.keysEnd - queries.keysBegin;
        found += std::min({keys, before, room});
        before = keys;
    }
    return found;
}

// The most query rows whose running output lies in UB beside strips of so many keys; 0 if none does.
uint32_t MostRows(FlashAttentionTiling t, const SocSpec& soc, uint32_t keys)
{
    t.blockKv = keys;
    t.stripRows = BLOCK_FP32_ELEMS;
    t.pSlots = 1;
    t.ring = static_cast<uint32_t>(LimitOf("ring").min);
    t.maskMode = MASK_PREDICATE;
    t.packGqa = 0;
    t.sliceQ = FRACTAL_ROWS;
    for (t.blockQ = static_cast<uint32_t>(LimitOf("block_q").max); t.blockQ != 0; t.blockQ -= FRACTAL_ROWS) {
        if (UbEndBytes(t) <= UbLimitBytes(soc)) {
            return t.blockQ;
        }
    }
    return 0;
}

// In blocks of so many query rows and keys.
Work WorkOf(const FlashAttentionTiling& t, const SocSpec& soc, uint32_t rows, uint32_t keys)
{
    const double dims = static_cast<double>(PaddedDim(t.headDimQk)) + PaddedDim(t.headDimV);
    const double pairs = UsefulPairs(t);
    const double heads = static_cast<double>(t.batch) * t.headsQ;
    const double once = static_cast<double>(t.batch) * t.headsKv * VisibleKeys(t) * dims;
    const double outputs = heads * t.seqQ * t.headDimV;
    Work work{pairs, outputs, std::max(outputs, pairs / keys * t.headDimV), 0, 0, dims};
    if (t.seqQ < rows) {
        // One block of each head, or of several heads that have their keys in common.
        work.keyUses = pairs / std::min(t.seqQ * (t.headsQ / t.headsKv), rows) * dims;
        work.keyElems = std::min(once, work.keyUses);
        return work;
    }
    work.keyUses = pairs / rows * dims;
    work.keyElems = std::max(std::min(once, work.keyUses), work.keyUses - heads * KeysFound(t, soc, rows) * dims);
    return work;
}

PipeCycles PipeBounds(const FlashAttentionTiling& t, const Work& work, const SocSpec& soc)
{
    const double cubeCores = soc.aicCores;
    const double vectorCores = VECTOR_CORES_PER_CUBE * soc.aicCores;
    const double fractalMacs = static_cast<double>(FRACTAL_ROWS) * FRACTAL_ROWS * C0_B16_ELEMS;
    const double scoreBytes = ExchangeBytes(t);
    PipeCycles c;
    c.cube = work.pairs * work.macsPerPair / fractalMacs * soc.cubeFractalCycles / cubeCores;
    c.mte1 =
        (work.pairs * HALF_BYTES / soc.mte1L0aBytesPerCycle + work.keyUses * HALF_BYTES / soc.mte1L0bBytesPerCycle) /
        cubeCores;
    c.mte2Cube = (work.pairs + work.keyElems) * HALF_BYTES / soc.mte2L1BytesPerCycle / cubeCores;
    c.fixpipe = (work.pairs * scoreBytes + work.partials * FLOAT_BYTES) / soc.fixpipeGmBytesPerCycle / cubeCores;
    c.vector = work.pairs / REPEAT_FP32_ELEMS * SoftmaxCyclesPerRepeat(t, soc) / vectorCores;
    c.mte2Vector = (work.pairs * scoreBytes + work.partials * FLOAT_BYTES) / soc.mte2UbBytesPerCycle / vectorCores;
    c.mte3 = (work.pairs + work.outputs) * HALF_BYTES / soc.mte3BytesPerCycle / vectorCores;
    return c;
}

LowerBound BoundOf(const FlashAttentionTiling& t, const Work& work, const SocSpec& soc)
{
    LowerBound bound;
    bound.pipes = PipeBounds(t, work, soc);
    // S, P and P·V written and read, O written; K and V read.
    const double l2Bytes = 2 * work.pairs * (ExchangeBytes(t) + HALF_BYTES) + 2 * work.partials * FLOAT_BYTES +
                           (work.outputs + work.keyElems) * HALF_BYTES;
    bound.l2Cycles = l2Bytes / L2BytesPerCycle(soc);
    bound.hbmCycles = OperandBytes(t) / HbmBytesPerCycle(soc);
    bound.cycles = bound.hbmCycles;
    bound.bottleneck = "hbm";
    if (bound.l2Cycles > bound.cycles) {
        bound.cycles = bound.l2Cycles;
        bound.bottleneck = "l2";
    }
    for (const PipeField& field : PIPE_FIELDS) {
        if (bound.pipes.*field.member > bound.cycles) {
            bound.cycles = bound.pipes.*field.member;
            bound.bottleneck = field.name;
        }
    }
    return bound;
}

}  // namespace

LowerBound ModelLimit(const FlashAttentionTiling& t, const SocSpec& soc)
{
    const Limit& keys = LimitOf("block_kv");
    LowerBound least;
    for (int64_t blockKv = keys.min; blockKv <= keys.max; blockKv += keys.multiple) {
        const auto most = static_cast<uint32_t>(blockKv);
        const uint32_t rows = MostRows(t, soc, most);
        if (rows == 0) {
            continue;
        }
        const LowerBound bound = BoundOf(t, WorkOf(t, soc, rows, most), soc);
        if (least.cycles == 0 || bound.cycles < least.cycles) {
            least = bound;
        }
    }
    return least;
}

}  // namespace fastattn
