// Stage by stage cycle counts. A vector pass that depends on the one before waits for head and tail once; copies pay
// their head and the slower of bytes and runs of GM. What overlaps with what is pipeline_model.cpp's.
#include "block_cost.h"

#include <algorithm>
#include <cmath>

#include "../op_kernel/flash_attention/storage.h"
#include "../op_kernel/flash_attention/visible_columns.h"

namespace fastattn {
namespace {

// The kernel's passes over the scores of a strip (vector_stages.h, score_modifiers.h): maximum, scale less maximum,
// sum, cast, one repeat each, and Exp. Scale less maximum reads a block a row besides the scores: every other repeat
// meets it in a bank.
constexpr double SIMPLE_PASSES = 4;
constexpr double SPREAD_CONFLICTS = 0.5;  // of a repeat
constexpr double STRIP_WAITS = 9;         // dependent steps of a strip
constexpr double BLOCK_REDUCTION_WAITS =
    3;                                   // of those: begin, shorten and end of the maxima and sums, with longer tails
constexpr double LONG_WAITS = 1;         // Exp of the scores; other latencies hide behind a pass
constexpr double SMALL_REPEATS = 4;      // a row: fold, shorten and end of both reductions
constexpr double MASK_PASSES = 1;        // Select
constexpr double EDGE_INSTRUCTIONS = 2;  // a row: the predicate's Duplicates
// A mask tensor: booleans are widened to fp16 and compared, two columns a lane pair, then selected; numbers are
// widened, unless they are fp32, and added.
constexpr double BOOLEAN_PASSES = 2;
constexpr double ADDITIVE_PASSES = 2;

uint32_t Fractals(uint32_t elems) { return static_cast<uint32_t>(CeilDiv(elems, FRACTAL_ROWS)); }

double MmadCycles(const SocSpec& soc, uint32_t m, uint32_t n, uint32_t k)
{
    const double fractals = static_cast<double>(Fractals(m)) * Fractals(n) * Fractals(k);
    return soc.cubeHeadCycles + fractals * soc.cubeFractalCycles;
}

// Rows of GM; those without a gap between them are one run.
struct Rows {
    double rows;
    double rowBytes;
    bool gaps;
    double Bytes() const { return rows * rowBytes; }
    double Runs() const { return gaps ? rows : 1; }
};

double CopyCycles(double headCycles, double bytesPerCycle, double burstCycles, const Rows& r)
{
    return headCycles + std::max(r.Bytes() / bytesPerCycle, r.Runs() * burstCycles);
}

double LoadL1Cycles(const SocSpec& soc, const Rows& r, double bytesPerCycle)
{
    return CopyCycles(soc.mte2HeadCycles, bytesPerCycle, soc.mte2L1BurstCycles, r);
}
double LoadUbCycles(const SocSpec& soc, const Rows& r)
{
    return CopyCycles(soc.mte2HeadCycles, soc.mte2UbBytesPerCycle, soc.mte2UbBurstCycles, r);
}
double StoreUbCycles(const SocSpec& soc, const Rows& r)
{
    return CopyCycles(soc.mte3HeadCycles, soc.mte3BytesPerCycle, soc.mte3BurstCycles, r);
}

double FixpipeCycles(const SocSpec& soc, uint32_t rows, uint32_t cols, uint32_t elementBytes)
{
    return soc.fixpipeHeadCycles + static_cast<double>(rows) * cols * elementBytes / soc.fixpipeGmBytesPerCycle;
}

double LoadL0Cycles(const SocSpec& soc, uint32_t rows, uint32_t cols, double instructions, double bytesPerCycle)
{
    const double fractals = static_cast<double>(Fractals(rows)) * Fractals(cols);
    return instructions * soc.mte1HeadCycles + fractals * FRACTAL_BYTES / bytesPerCycle;
}

// The left operand goes one row or one column of fractals an instruction, whichever makes fewer (cube_tiles.h).
double LoadLeftCycles(const SocSpec& soc, uint32_t rows, uint32_t depth)
{
    return LoadL0Cycles(soc, rows, depth, std::min(Fractals(rows), Fractals(depth)), soc.mte1L0aBytesPerCycle);
}

// What a pass waits for before the next may use its result.
double WaitCycles(const SocSpec& soc) { return soc.vectorHeadCycles + soc.vectorTailCycles + soc.scalarIssueCycles; }

double StridedCycles(const SocSpec& soc) { return soc.vectorSimpleCycles + soc.vectorWriteConflictCycles; }

// Calls stage(keys) for every tile of the block's keys.
template <typename Stage>
void ForEachTile(uint32_t cols, uint32_t tile, Stage stage)
{
    for (uint32_t col = 0; col < cols; col += tile) {
        stage(std::min(tile, cols - col));
    }
}

// A block's rows and the columns that they see, as the kernel has them: the last row of a task's last block sees all.
struct Seen {
    Seen(const FlashAttentionTiling& t, const BlockShape& shape)
        : queries{0, shape.rows, shape.rows, 0, shape.cols, 0}, block{shape.cols, shape.cols}
    {
        if (shape.masked && shape.last && t.packGqa == 0) {
            block.deltaRight = static_cast<int64_t>(shape.cols) - shape.rows;
        }
    }
    QueryBlock queries;
    BlockColumns block;
};

// Calls stage(first row, rows, cols) for every query tile of the block.
template <typename Stage>
void ForEachQueryTile(const FlashAttentionTiling& t, const BlockShape& shape, Stage stage)
{
    const Seen seen(t, shape);
    for (uint32_t row = 0; row < shape.rows; row += t.l0TileQ) {
        stage(row, std::min(t.l0TileQ, shape.rows - row), ColumnsOfTile(t, seen.queries, seen.block, row));
    }
}

// Calls stage(rows, cols) for the rows of a query tile that need S of the l0TileKv columns from each col on.
template <typename Stage>
void ForEachScoreTile(const FlashAttentionTiling& t, const BlockShape& shape, Stage stage)
{
    const Seen seen(t, shape);
    ForEachQueryTile(t, shape, [&](uint32_t row, uint32_t rows, uint32_t cols) {
        for (uint32_t col = 0; col < cols; col += t.l0TileKv) {
            stage(rows - RowsWithout(t, seen.queries, seen.block, row, col), std::min(t.l0TileKv, cols - col));
        }
    });
}

// Calls stage(rows, cols, cols of P) for every strip of the second vector core, which has the rows that see most.
template <typename Stage>
void ForEachStrip(const FlashAttentionTiling& t, const BlockShape& shape, Stage stage)
{
    const Seen seen(t, shape);
    for (uint32_t slice = 0; slice < shape.rows; slice += t.sliceQ) {
        const uint32_t rows = std::min(t.sliceQ, shape.rows - slice);
        const uint32_t share = std::min(RowsPerVectorCore(rows), rows);
        const uint32_t stripRows = t.stripRows * (shape.masked ? 1 : StripsAtOnce(t, shape.cols));
        for (uint32_t done = 0; done < share; done += stripRows) {
            const uint32_t row = slice + rows - share + done;
            stage(std::min(stripRows, share - done), ColumnsOfStrip(t, seen.queries, seen.block, row),
                  ColumnsOfTile(t, seen.queries, seen.block, row));
        }
    }
}

StageCost QkStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape, const MemoryRates& rates)
{
    StageCost stage;
    PipeCycles& c = stage.pipes;
    stage.l1Tiles = static_cast<double>(CeilDiv(shape.cols, t.l1TileKv));
    const double rowBytes = static_cast<double>(t.headDimQk) * HALF_BYTES;
    ForEachTile(shape.cols, t.l0TileKv, [&](uint32_t keys) {
        c.mte2Cube +=
            rates.loadedK * LoadL1Cycles(soc, {1.0 * keys, rowBytes, t.k.seq != t.headDimQk}, rates.keysBytesPerCycle);
    });
    ForEachQueryTile(t, shape, [&](uint32_t, uint32_t rows, uint32_t) {
        // Taken back and forth, every other query tile is in L0A already.
        c.mte1 += LoadLeftCycles(soc, rows, t.headDimQk) * (t.sliceQ > t.l0TileQ ? stage.l1Tiles / 2 : 1);
    });
    ForEachScoreTile(t, shape, [&](uint32_t rows, uint32_t keys) {
        stage.l0Tiles += 1;
        c.mte1 += LoadL0Cycles(soc, keys, t.headDimQk, 1, soc.mte1L0bBytesPerCycle);
        c.cube += MmadCycles(soc, rows, keys, t.headDimQk);
        c.fixpipe += FixpipeCycles(soc, rows, keys, ExchangeBytes(t));
    });
    if (t.interleave == 0) {
        c.mte1 += soc.mte1StartCycles * stage.l0Tiles;  // the pipe runs dry: the Fixpipe sets the pace
    }
    return stage;
}

StageCost PvStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape, const MemoryRates& rates)
{
    StageCost stage;
    PipeCycles& c = stage.pipes;
    const double rowBytes = static_cast<double>(t.headDimV) * HALF_BYTES;
    ForEachTile(shape.cols, t.l0TileKv, [&](uint32_t keys) {
        c.mte2Cube +=
            rates.loadedV * LoadL1Cycles(soc, {1.0 * keys, rowBytes, t.v.seq != t.headDimV}, rates.keysBytesPerCycle);
    });
    ForEachQueryTile(t, shape, [&](uint32_t, uint32_t rows, uint32_t cols) {
        ForEachTile(cols, t.l1TileP, [&](uint32_t keys) {
            stage.l1Tiles += 1;
            const bool gaps = keys != t.l1TileP;
            c.mte2Cube += LoadL1Cycles(soc, {1.0 * rows, 1.0 * keys * HALF_BYTES, gaps}, soc.mte2L1BytesPerCycle);
        });
        ForEachTile(cols, t.l0TileKv, [&](uint32_t keys) {
            stage.l0Tiles += 1;
            c.mte1 += LoadLeftCycles(soc, rows, keys);
            c.mte1 += LoadL0Cycles(soc, keys, t.headDimV, Fractals(keys), soc.mte1L0bBytesPerCycle);
            c.cube += MmadCycles(soc, rows, t.headDimV, keys);
        });
        c.fixpipe += FixpipeCycles(soc, rows, t.headDimV, FLOAT_BYTES);
    });
    return stage;
}

// What the windows and a mask tensor add to a strip of softmax.
void AddMaskCycles(const FlashAttentionTiling& t, const SocSpec& soc, bool masked, uint32_t rows, uint32_t cols,
                   PipeCycles& c)
{
    const double repeats = rows * static_cast<double>(CeilDiv(cols, REPEAT_FP32_ELEMS));
    const auto passes = [&](double count) { c.vector += count * (repeats * StridedCycles(soc) + WaitCycles(soc)); };
    if (masked && t.maskMode == MASK_TILING) {
        c.mte2Vector += LoadUbCycles(soc, {1.0 * rows, cols / 8.0, true});
        passes(MASK_PASSES);
    } else if (masked && t.maskMode == MASK_PREDICATE) {
        c.vector += rows * EDGE_INSTRUCTIONS * (soc.vectorSimpleCycles + soc.scalarIssueCycles) + WaitCycles(soc);
    }
    if (t.maskTensor != NO_MASK_TENSOR) {
        c.mte2Vector += LoadUbCycles(soc, {1.0 * rows, 1.0 * cols * MaskElementBytes(t.maskTensor), true});
        passes(IsBooleanMask(t.maskTensor) ? BOOLEAN_PASSES : ADDITIVE_PASSES);
    }
}

StageCost SoftmaxStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    StageCost stage;
    PipeCycles& c = stage.pipes;
    const bool bits = IsBooleanMask(t.maskTensor) || (shape.masked && t.maskMode == MASK_TILING);
    const uint32_t align = bits ? MASK_ROW_ALIGN_ELEMS : REPEAT_FP32_ELEMS;
    ForEachStrip(t, shape, [&](uint32_t rows, uint32_t cols, uint32_t stored) {
        const bool gaps = RoundUp(cols, REPEAT_FP32_ELEMS) != RoundUp(stored, align);
        const double run = gaps ? StridedCycles(soc) : soc.vectorSimpleCycles;
        const double exp = gaps ? std::max(soc.vectorExpCycles, StridedCycles(soc)) : soc.vectorExpCycles;
        stage.strips += 1;
        const double repeats = rows * static_cast<double>(CeilDiv(cols, REPEAT_FP32_ELEMS));
        c.mte2Vector += LoadUbCycles(soc, {1.0 * rows, 1.0 * cols * ExchangeBytes(t), cols != t.blockKv});
        c.vector += repeats * ((SIMPLE_PASSES - 1 + SPREAD_CONFLICTS) * soc.vectorSimpleCycles + run + exp);
        c.vector += rows * (SMALL_REPEATS * soc.vectorSimpleCycles + soc.scalarIssueCycles);
        c.vector += STRIP_WAITS * WaitCycles(soc) + LONG_WAITS * soc.vectorLongTailCycles;
        c.vector += BLOCK_REDUCTION_WAITS * soc.vectorReduceTailCycles;
        if (t.sExchange != EXCHANGE_FP32) {
            // Widened first, where the sums of the strip before have read.
            c.vector += repeats * run + 2 * WaitCycles(soc) + soc.vectorReduceTailCycles;
        }
        AddMaskCycles(t, soc, shape.masked, rows, cols, c);
        ForEachTile(stored, t.l1TileP, [&](uint32_t keys) {
            c.mte3 += StoreUbCycles(soc, {1.0 * rows, 1.0 * keys * HALF_BYTES, keys != t.l1TileP});
        });
    });
    return stage;
}

// Rows of O or P·V that pass through a slot of a UB buffer at a time (output.h).
uint32_t OutputRows(const FlashAttentionTiling& t, const Buffer& buffer, uint32_t elemBytes)
{
    return buffer.slotBytes / elemBytes / PaddedDim(t.headDimV);
}

StageCost UpdateStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    StageCost stage;
    const double groups = static_cast<double>(CeilDiv(t.headDimV, REPEAT_FP32_ELEMS));
    const bool gaps = PaddedDim(t.headDimV) != t.headDimV;
    const uint32_t stripRows = OutputRows(t, MakeUbMap(t).s, FLOAT_BYTES);
    ForEachTile(shape.rows, t.sliceQ, [&](uint32_t sliceRows) {
        stage.pipes.vector += WaitCycles(soc);  // Brcb of the rescale factors
        // O, P·V and the factors meet in the banks.
        ForEachTile(std::min(RowsPerVectorCore(sliceRows), sliceRows), stripRows, [&](uint32_t rows) {
            stage.strips += 1;
            stage.pipes.mte2Vector += LoadUbCycles(soc, {1.0 * rows, 1.0 * t.headDimV * FLOAT_BYTES, gaps});
            stage.pipes.vector += WaitCycles(soc) + rows * groups * (soc.vectorSimpleCycles + StridedCycles(soc));
        });
    });
    return stage;
}

// What the three cores of a group move through the L2 for a block: K, V; S, P, P·V both ways; the mask.
double BlockL2Bytes(const FlashAttentionTiling& t, const BlockShape& shape, const MemoryRates& rates)
{
    double scores = 0;
    ForEachScoreTile(t, shape, [&](uint32_t rows, uint32_t keys) { scores += 1.0 * rows * keys; });
    double pairs = 0;  // of P
    ForEachQueryTile(t, shape, [&](uint32_t, uint32_t rows, uint32_t cols) { pairs += 1.0 * rows * cols; });
    const double keysAndValues =
        1.0 * shape.cols * (rates.loadedK * t.headDimQk + rates.loadedV * t.headDimV) * HALF_BYTES;
    const double partialOutput = static_cast<double>(shape.rows) * t.headDimV * FLOAT_BYTES;
    const double mask =
        (shape.masked && t.maskMode == MASK_TILING ? scores / 8 : 0) + scores * MaskElementBytes(t.maskTensor);
    return keysAndValues + 2 * (scores * ExchangeBytes(t) + pairs * HALF_BYTES + partialOutput) + mask;
}

}  // namespace

void AddCycles(const PipeCycles& addend, double times, PipeCycles& sum)
{
    for (const PipeField& field : PIPE_FIELDS) {
        sum.*field.member += times * addend.*field.member;
    }
}

double Longest(const PipeCycles& cycles)
{
    double longest = 0;
    for (const PipeField& field : PIPE_FIELDS) {
        longest = std::max(longest, cycles.*field.member);
    }
    return longest;
}

void AddBlock(const BlockCost& addend, double times, BlockCost& sum)
{
    for (StageCost BlockCost::* stage : {&BlockCost::qk, &BlockCost::softmax, &BlockCost::pv, &BlockCost::update}) {
        AddCycles((addend.*stage).pipes, times, (sum.*stage).pipes);
        (sum.*stage).l1Tiles += times * (addend.*stage).l1Tiles;
        (sum.*stage).l0Tiles += times * (addend.*stage).l0Tiles;
        (sum.*stage).strips += times * (addend.*stage).strips;
    }
    sum.l2Bytes += times * addend.l2Bytes;
}

PipeCycles BusyOf(const BlockCost& block)
{
    PipeCycles busy;
    for (const StageCost* stage : {&block.qk, &block.softmax, &block.pv, &block.update}) {
        AddCycles(stage->pipes, 1, busy);
    }
    return busy;
}

double SoftmaxCyclesPerRepeat(const FlashAttentionTiling& t, const SocSpec& soc)
{
    const double widening = t.sExchange == EXCHANGE_FP32 ? 0 : 1;
    return (SIMPLE_PASSES + widening) * soc.vectorSimpleCycles + soc.vectorExpCycles;
}

BlockCost CostOfBlock(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape,
                      const MemoryRates& rates)
{
    return {QkStage(t, soc, shape, rates), SoftmaxStage(t, soc, shape), PvStage(t, soc, shape, rates),
            UpdateStage(t, soc, shape), BlockL2Bytes(t, shape, rates)};
}

PipeCycles RowOverhead(const FlashAttentionTiling& t, const SocSpec& soc, uint32_t rows)
{
    PipeCycles c;
    c.mte2Cube = LoadL1Cycles(soc, {1.0 * rows, 1.0 * t.headDimQk * HALF_BYTES, t.q.seq != t.headDimQk},
                              soc.missBytesPerCycleAic);
    const uint32_t coreRows = std::min(RowsPerVectorCore(rows), rows);
    const double repeats = coreRows * static_cast<double>(CeilDiv(t.headDimV, REPEAT_FP32_ELEMS));
    const double strips = static_cast<double>(CeilDiv(coreRows, OutputRows(t, MakeUbMap(t).p, HALF_BYTES)));
    c.vector = (4 + strips) * WaitCycles(soc) + repeats * (soc.vectorDivCycles + 2 * soc.vectorSimpleCycles);
    c.mte3 = strips * soc.mte3HeadCycles +
             StoreUbCycles(soc, {1.0 * coreRows, 1.0 * t.headDimV * HALF_BYTES, t.o.seq != t.headDimV}) +
             StoreUbCycles(soc, {1, 1.0 * coreRows * FLOAT_BYTES, false});
    return c;
}

double CombineCycles(const FlashAttentionTiling& t, const SocSpec& soc, uint32_t rows)
{
    const uint32_t coreRows = std::min(RowsPerVectorCore(rows), rows);
    const double repeats = coreRows * static_cast<double>(CeilDiv(t.headDimV, REPEAT_FP32_ELEMS));
    const double loads = static_cast<double>(CeilDiv(coreRows, OutputRows(t, MakeUbMap(t).s, FLOAT_BYTES)));
    const PipeCycles result = RowOverhead(t, soc, rows);
    return soc.gmLatencyCycles + (6 + loads * 4) * WaitCycles(soc) + 2 * repeats * StridedCycles(soc) +
           LoadUbCycles(soc, {1.0 * coreRows, 1.0 * t.headDimV * FLOAT_BYTES, false}) + result.vector + result.mte3;
}

}  // namespace fastattn
