// Stage by stage cycle counts. A dependent vector pass pays head and tail once; further instructions of a pass pay one
// issue. Transfers pay their head per instruction and the slower of bytes and bursts.
#include "block_cost.h"

#include <algorithm>

#include "../op_kernel/flash_attention/storage.h"

namespace fastattn {
namespace {

// Passes over the scores of a strip: scale, tree max, subtract, tree sum, cast at one repeat each, and Exp.
constexpr double SIMPLE_SOFTMAX_PASSES = 5;
constexpr double MASK_PASSES = 1;       // Select
constexpr double PREDICATE_PASSES = 1;  // Compares
// A mask tensor: booleans are widened to fp16 and compared, two columns a lane pair, then selected; numbers are
// widened, unless they are fp32, and added.
constexpr double BOOLEAN_PASSES = 2;
constexpr double ADDITIVE_PASSES = 2;
// Single-repeat instructions on the row statistics of a strip: max with the old one, old - new, Exp, Brcb, rescale and
// add of the sum, copies. Each waits for the one before.
constexpr double ROW_STATISTIC_OPS = 8;
constexpr double ROW_REDUCTIONS = 2;        // WholeReduceMax and WholeReduceSum, one repeat a row
constexpr double OUTPUT_UPDATE_PASSES = 2;  // O * rescale + P·V
constexpr uint32_t VECTOR_MAX_REPEATS = 255;

uint32_t Fractals(uint32_t elems) { return static_cast<uint32_t>(CeilDiv(elems, FRACTAL_ROWS)); }

double MmadCycles(const SocSpec& soc, uint32_t m, uint32_t n, uint32_t k)
{
    const double fractals = static_cast<double>(Fractals(m)) * Fractals(n) * Fractals(k);
    return soc.cubeHeadCycles + fractals * soc.cubeFractalCycles;
}

double TransferCycles(double headCycles, double bytes, double bytesPerCycle, double bursts, double burstCycles)
{
    return headCycles + std::max(bytes / bytesPerCycle, bursts * burstCycles);
}

double LoadL1Cycles(const SocSpec& soc, uint32_t rows, uint32_t cols)
{
    const double bytes = static_cast<double>(rows) * cols * HALF_BYTES;
    return TransferCycles(soc.mte2HeadCycles, bytes, soc.mte2L1BytesPerCycle, rows, soc.mte2L1BurstCycles);
}

double LoadL0Cycles(const SocSpec& soc, uint32_t rows, uint32_t cols, double bytesPerCycle)
{
    const double fractals = static_cast<double>(Fractals(rows)) * Fractals(cols);
    return soc.mte1HeadCycles + fractals * FRACTAL_BYTES / bytesPerCycle;
}

double FixpipeCycles(const SocSpec& soc, uint32_t rows, uint32_t cols)
{
    return soc.fixpipeHeadCycles + static_cast<double>(rows) * cols * FLOAT_BYTES / soc.fixpipeGmBytesPerCycle;
}

double LoadUbCycles(const SocSpec& soc, uint32_t rows, double rowBytes)
{
    return TransferCycles(soc.mte2HeadCycles, rows * rowBytes, soc.mte2UbBytesPerCycle, rows, soc.mte2UbBurstCycles);
}

double StoreUbCycles(const SocSpec& soc, uint32_t rows, double rowBytes)
{
    return soc.mte3HeadCycles + rows * rowBytes / soc.mte3BytesPerCycle;
}

// One dependent pass of so many repeats, cut into instructions of at most 255.
double PassCycles(const SocSpec& soc, double repeats, double cyclesPerRepeat, double instructions)
{
    const double issues = std::max(instructions, repeats / VECTOR_MAX_REPEATS) - 1;
    return soc.vectorHeadCycles + soc.vectorTailCycles + repeats * cyclesPerRepeat +
           std::max(issues, 0.0) * soc.scalarIssueCycles;
}

// Calls stage(keys) for every tile of the block's keys.
template <typename Stage>
void ForEachTile(uint32_t cols, uint32_t tile, Stage stage)
{
    for (uint32_t col = 0; col < cols; col += tile) {
        stage(std::min(tile, cols - col));
    }
}

// Calls stage(rows) for every strip of a vector core's share of the rows.
template <typename Stage>
void ForEachStrip(const FlashAttentionTiling& t, uint32_t rows, Stage stage)
{
    ForEachTile(std::min(RowsPerVectorCore(rows), rows), t.stripRows, stage);
}

// What the windows and a mask tensor add to a strip of softmax.
void AddMaskCycles(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape, uint32_t rows,
                   PipeCycles& c)
{
    const double chunks = static_cast<double>(CeilDiv(shape.cols, REPEAT_FP32_ELEMS));
    const auto passes = [&](double count) {
        c.vector += count * PassCycles(soc, rows * chunks, soc.vectorSimpleCycles, chunks);
    };
    if (shape.masked && t.maskMode == MASK_TILING) {
        c.mte2Vector += LoadUbCycles(soc, rows, shape.cols / 8.0);
        passes(MASK_PASSES);
    } else if (shape.masked && t.maskMode == MASK_PREDICATE) {
        passes(PREDICATE_PASSES + MASK_PASSES);
    }
    if (t.maskTensor != NO_MASK_TENSOR) {
        c.mte2Vector += LoadUbCycles(soc, rows, static_cast<double>(shape.cols) * MaskElementBytes(t.maskTensor));
        passes(IsBooleanMask(t.maskTensor) ? BOOLEAN_PASSES : ADDITIVE_PASSES);
    }
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

double SoftmaxCyclesPerRepeat(const SocSpec& soc)
{
    return SIMPLE_SOFTMAX_PASSES * soc.vectorSimpleCycles + soc.vectorExpCycles;
}

PipeCycles QkStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    PipeCycles c;
    ForEachTile(shape.cols, t.l1TileKv, [&](uint32_t keys) { c.mte2Cube += LoadL1Cycles(soc, keys, t.headDimQk); });
    ForEachTile(shape.cols, t.l0TileKv, [&](uint32_t keys) {
        c.mte1 += LoadL0Cycles(soc, shape.rows, t.headDimQk, soc.mte1L0aBytesPerCycle);
        c.mte1 += LoadL0Cycles(soc, keys, t.headDimQk, soc.mte1L0bBytesPerCycle);
        c.cube += MmadCycles(soc, shape.rows, keys, t.headDimQk);
        c.fixpipe += FixpipeCycles(soc, shape.rows, keys);
    });
    return c;
}

PipeCycles PvStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    PipeCycles c;
    ForEachTile(shape.cols, t.l1TileKv, [&](uint32_t keys) {
        c.mte2Cube += LoadL1Cycles(soc, keys, t.headDimV) + LoadL1Cycles(soc, shape.rows, keys);
    });
    ForEachTile(shape.cols, t.l0TileKv, [&](uint32_t keys) {
        c.mte1 += LoadL0Cycles(soc, shape.rows, keys, soc.mte1L0aBytesPerCycle);
        c.mte1 += LoadL0Cycles(soc, keys, t.headDimV, soc.mte1L0bBytesPerCycle);
        c.cube += MmadCycles(soc, shape.rows, t.headDimV, keys);
    });
    c.fixpipe = FixpipeCycles(soc, shape.rows, t.headDimV);
    return c;
}

PipeCycles SoftmaxStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    PipeCycles c;
    const double chunks = static_cast<double>(CeilDiv(shape.cols, REPEAT_FP32_ELEMS));
    ForEachStrip(t, shape.rows, [&](uint32_t rows) {
        const double repeats = rows * chunks;
        const double simple = soc.vectorSimpleCycles;
        c.mte2Vector += LoadUbCycles(soc, rows, static_cast<double>(shape.cols) * FLOAT_BYTES);
        AddMaskCycles(t, soc, shape, rows, c);
        c.vector += SIMPLE_SOFTMAX_PASSES * PassCycles(soc, repeats, simple, chunks);
        c.vector += PassCycles(soc, repeats, soc.vectorExpCycles, 1);
        c.vector += ROW_REDUCTIONS * PassCycles(soc, rows, soc.vectorWholeReduceCycles, 1);
        c.vector += ROW_STATISTIC_OPS * PassCycles(soc, 1, simple, 1);
        c.mte3 += StoreUbCycles(soc, rows, static_cast<double>(shape.cols) * HALF_BYTES);
    });
    return c;
}

PipeCycles UpdateStage(const FlashAttentionTiling& t, const SocSpec& soc, const BlockShape& shape)
{
    PipeCycles c;
    const double chunks = static_cast<double>(CeilDiv(t.headDimV, REPEAT_FP32_ELEMS));
    ForEachStrip(t, shape.rows, [&](uint32_t rows) {
        c.mte2Vector += LoadUbCycles(soc, rows, static_cast<double>(t.headDimV) * FLOAT_BYTES);
        c.vector += PassCycles(soc, 1, soc.vectorSimpleCycles, 1);  // Brcb of the strip's rescale factors
        c.vector += OUTPUT_UPDATE_PASSES * PassCycles(soc, rows * chunks, soc.vectorSimpleCycles, chunks);
    });
    return c;
}

PipeCycles RowOverhead(const FlashAttentionTiling& t, const SocSpec& soc, uint32_t rows)
{
    PipeCycles c;
    c.mte2Cube = LoadL1Cycles(soc, rows, t.headDimQk);
    const uint32_t coreRows = std::min(RowsPerVectorCore(rows), rows);
    const double repeats = coreRows * static_cast<double>(CeilDiv(t.headDimV, REPEAT_FP32_ELEMS));
    c.vector = 4 * PassCycles(soc, 1, soc.vectorSimpleCycles, 1) +   // reset of max, sum and O; log of the sum
               PassCycles(soc, repeats, soc.vectorDivCycles, 1) +    // O / sum
               PassCycles(soc, repeats, soc.vectorSimpleCycles, 1);  // cast to fp16
    c.mte3 = StoreUbCycles(soc, coreRows, static_cast<double>(t.headDimV) * HALF_BYTES) +
             StoreUbCycles(soc, coreRows, FLOAT_BYTES);
    return c;
}

double BlockReadBytes(const FlashAttentionTiling& t, const BlockShape& shape)
{
    const double pairs = static_cast<double>(shape.rows) * shape.cols;
    const double keysAndValues = 1.0 * shape.cols * (t.headDimQk + t.headDimV) * HALF_BYTES;
    const double partialOutput = static_cast<double>(shape.rows) * t.headDimV * FLOAT_BYTES;
    const double mask =
        (shape.masked && t.maskMode == MASK_TILING ? pairs / 8 : 0) + pairs * MaskElementBytes(t.maskTensor);
    return keysAndValues + pairs * (FLOAT_BYTES + HALF_BYTES) + partialOutput + mask;
}

double RowReadBytes(const FlashAttentionTiling& t, uint32_t rows)
{
    return static_cast<double>(rows) * t.headDimQk * HALF_BYTES;
}

}  // namespace fastattn
