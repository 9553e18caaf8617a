// MTE1 loads that change the layout of more than one fractal: LoadDataWithTranspose turns squares, LoadData3DV2 (image
// to columns) moves a matrix from L1 strips into L0A rows of fractals, or turned into L0B. Of the image form only the
// matrix mover is simulated: filter, stride and dilation of 1, no padding.
#include <algorithm>

#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t FRACTAL_BYTES = 512;
constexpr uint64_t BLOCK_BYTES = 32;
constexpr uint64_t SIDE = 16;
constexpr uint64_t L1_ALIGN_BYTES = 32;

// Moves one element and what is known of it.
void Move(Core& core, Space space, uint64_t dst, uint64_t src, uint32_t bytes)
{
    std::memcpy(core.Memory(space).At(dst), core.Memory(Space::L1).At(src), bytes);
    if (!core.Checks() || (bytes == 1 && dst % 2 != 0)) return;
    if (core.Memory(Space::L1).Init().Written(src, bytes)) {
        core.Memory(space).Init().Mark(dst, bytes);
    } else {
        core.Memory(space).Init().Unmark(dst, bytes);
    }
}

struct Squares {
    uint64_t dst;
    uint64_t src;
    uint32_t count;
    uint64_t srcPitch;
    uint64_t dstPitch;
    uint64_t fractalPitch;
    uint32_t elementBytes;
};

// A square has as many rows as it has columns: 16 x 16 of 2 bytes, 32 x 32 of 1 byte and 16 x 16 of 4 bytes in two
// fractals each. In L1 the two fractals of a square follow each other.
void TurnSquare(Core& core, Space space, const Squares& s, uint32_t index)
{
    const uint64_t c0 = BLOCK_BYTES / s.elementBytes;
    const uint64_t side = std::max(c0, SIDE);
    const uint64_t from = s.src + index * s.srcPitch;
    const uint64_t to = s.dst + index * s.dstPitch;
    for (uint64_t row = 0; row < side; ++row) {
        for (uint64_t col = 0; col < side; ++col) {
            // One fractal is 16 rows of c0: 1-byte squares are split by rows, 4-byte ones by columns.
            const auto at = [&](uint64_t r, uint64_t c, uint64_t pitch) {
                return (r / SIDE + c / c0) * pitch + (r % SIDE * c0 + c % c0) * s.elementBytes;
            };
            Move(core, space, to + at(col, row, s.fractalPitch), from + at(row, col, FRACTAL_BYTES), s.elementBytes);
        }
    }
}

void LoadSquares(Space space, const char* name, uint32_t elementBytes, uint64_t dst, uint64_t src, int64_t startIndex,
                 int64_t repeat, int64_t srcStride, int64_t dstGap, int64_t dstFracGap)
{
    Limit("startIndex", startIndex, 0, 65535);
    Limit("repeatTimes", repeat, 0, 255, Rule::REPEAT_WRAP);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstGap", dstGap, 0, 65535);
    Limit("dstFracGap", dstFracGap, 0, 65535);
    if (elementBytes == 1 && space == Space::L0A) {
        Refuse(Rule::LOAD_TRANSPOSE, "LoadDataWithTranspose of 1-byte elements goes to L0B only");
    }
    if (Nothing(repeat == 0, "repeatTimes is 0")) return;
    const uint64_t fractals = elementBytes == 2 ? 1 : 2;
    Squares s{};
    s.count = static_cast<uint32_t>(repeat);
    s.elementBytes = elementBytes;
    s.srcPitch = static_cast<uint64_t>(srcStride) * fractals * FRACTAL_BYTES;
    s.fractalPitch = static_cast<uint64_t>(dstFracGap + 1) * FRACTAL_BYTES;
    s.dstPitch = static_cast<uint64_t>(dstGap + 1) * FRACTAL_BYTES;
    s.src = src + static_cast<uint64_t>(startIndex) * fractals * FRACTAL_BYTES;
    s.dst = dst;
    Core& core = Self();
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::MTE1;
    const double rate = space == Space::L0A ? core.Soc().mte1L0aBytesPerCycle : core.Soc().mte1L0bBytesPerCycle;
    instruction.cycles = core.Soc().mte1HeadCycles + static_cast<double>(s.count * fractals * FRACTAL_BYTES) / rate;
    Region out = Rows(space, dst, FRACTAL_BYTES, static_cast<uint32_t>(fractals), s.fractalPitch);
    out.count2 = s.count;
    out.pitch2 = s.dstPitch;
    instruction.operands.Add(TracksInit(Writes("dst", out, FRACTAL_BYTES)));
    instruction.operands.Add(TracksInit(
        Reads("src", Rows(Space::L1, s.src, fractals * FRACTAL_BYTES, s.count, s.srcPitch), L1_ALIGN_BYTES)));
    core.Issue(instruction, [=, &core] {
        for (uint32_t i = 0; i < s.count; ++i) TurnSquare(core, space, s, i);
    });
}

struct Matrix {
    uint64_t dst;
    uint64_t src;
    uint64_t rowsInL1;  // rows of a column strip
    uint64_t m0;
    uint64_t k0;
    uint64_t m;
    uint64_t k;
    uint32_t elementBytes;
};

// Plain to L0A: fractals of m x k, m outermost. Turned: the L1 rows become the depth.
void MoveMatrix(Core& core, Space space, const Matrix& p, bool transpose)
{
    const uint64_t c0 = BLOCK_BYTES / p.elementBytes;
    const uint64_t kStrips = (p.k + c0 - 1) / c0;
    for (uint64_t m = 0; m < p.m; ++m) {
        for (uint64_t k = 0; k < kStrips * c0; ++k) {
            const uint64_t row = p.m0 + m;
            const uint64_t col = p.k0 + k;
            const uint64_t from = p.src + ((col / c0 * p.rowsInL1 + row) * c0 + col % c0) * p.elementBytes;
            uint64_t at = 0;
            if (!transpose) {
                at = ((m / SIDE * kStrips + k / c0) * SIDE + m % SIDE) * c0 + k % c0;
            } else if (space == Space::L0B) {
                // nZ of (depth m) x (columns k): strips of c0 depth, each column contiguous.
                at = (m / c0 * kStrips * c0 + k) * c0 + m % c0;
            } else {
                // zZ of (rows k) x (depth m).
                at = ((k / SIDE * ((p.m + c0 - 1) / c0) + m / c0) * SIDE + k % SIDE) * c0 + m % c0;
            }
            Move(core, space, p.dst + at * p.elementBytes, from, p.elementBytes);
        }
    }
}

void RequireMover(const Load3d& p, Space space, uint32_t elementBytes)
{
    const auto c0 = static_cast<int64_t>(BLOCK_BYTES / elementBytes);
    Limit("l1H", p.l1H, 0, 32767);
    Limit("l1W", p.l1W, 0, 32767);
    Limit("strideW", p.strideW, 1, 63, Rule::LOAD_3D);
    Limit("strideH", p.strideH, 1, 63, Rule::LOAD_3D);
    Limit("kExtension", p.kExtension, 0, 65535);
    Limit("mExtension", p.mExtension, 0, 65535);
    if (p.kStartPt % c0 != 0) Refuse(Rule::LOAD_3D, "kStartPt is not a multiple of 32 B");
    if (p.mStartPt % 16 != 0) Refuse(Rule::LOAD_3D, "mStartPt is not a multiple of 16");
    // 4 and 8 channels of a last block exist for 2-byte elements, 4 for 4-byte ones, 4, 8 and 16 for 1-byte ones.
    const int64_t rest = p.channelSize % c0;
    if (rest % 4 != 0 || (rest != 0 && rest != 4 && rest * 2 != c0 && rest != 8)) {
        Self().Refuse(Rule::LOAD_3D, Format("channelSize = %lld: %lld channels in the last block of %lld",
                                            static_cast<long long>(p.channelSize), static_cast<long long>(rest),
                                            static_cast<long long>(c0)));
    }
    if (space == Space::L0B && elementBytes == 1) {
        Refuse(Rule::LOAD_3D, "LoadData3DV2 to L0B does not take 1-byte elements");
    }
    if (space == Space::L0A && p.transpose && elementBytes == 1) {
        Refuse(Rule::LOAD_3D, "enTranspose takes elements of 2 or 4 bytes");
    }
    const bool unit = p.strideW == 1 && p.strideH == 1 && p.filterW == 1 && p.filterH == 1 && p.dilationW == 1 &&
                      p.dilationH == 1 && p.l1H <= 1;
    if (!unit) Refuse("LoadData3DV2 other than as a matrix mover (l1H, filter, stride and dilation of 1)");
}

}  // namespace

namespace ascend_sim {

void LoadTransposed(bool left, uint32_t elementBytes, uint64_t dst, uint64_t src, int64_t startIndex, int64_t repeat,
                    int64_t srcStride, int64_t dstGap, int64_t dstFracGap)
{
    LoadSquares(left ? Space::L0A : Space::L0B, left ? "load_cbuf_to_ca_transpose" : "load_cbuf_to_cb_transpose",
                elementBytes, dst, src, startIndex, repeat, srcStride, dstGap, dstFracGap);
}

void LoadImage(bool left, uint32_t elementBytes, uint64_t dst, uint64_t src, const Load3d& p)
{
    const Space space = left ? Space::L0A : Space::L0B;
    RequireMover(p, space, elementBytes);
    if (Nothing(p.kExtension == 0 || p.mExtension == 0 || p.channelSize == 0 || p.l1W == 0 || p.l1H == 0,
                "l1H, l1W, channelSize, kExtension or mExtension is 0")) {
        return;
    }
    Matrix matrix{};
    matrix.dst = dst;
    matrix.src = src;
    matrix.rowsInL1 = static_cast<uint64_t>(p.l1W);
    matrix.m0 = static_cast<uint64_t>(p.mStartPt);
    matrix.k0 = static_cast<uint64_t>(p.kStartPt);
    matrix.m = (static_cast<uint64_t>(p.mExtension) + SIDE - 1) / SIDE * SIDE;
    matrix.k = static_cast<uint64_t>(p.kExtension);
    matrix.elementBytes = elementBytes;
    const uint64_t c0 = BLOCK_BYTES / elementBytes;
    const uint64_t strips = (matrix.k + c0 - 1) / c0;
    Core& core = Self();
    Instruction instruction;
    instruction.name = left ? "img2colv2_cbuf_to_ca" : "img2colv2_cbuf_to_cb";
    instruction.pipe = Pipe::MTE1;
    const uint64_t bytes = matrix.m * strips * BLOCK_BYTES;
    const double rate = left ? core.Soc().mte1L0aBytesPerCycle : core.Soc().mte1L0bBytesPerCycle;
    instruction.cycles = core.Soc().mte1HeadCycles + static_cast<double>(bytes) / rate;
    instruction.operands.Add(TracksInit(Writes("dst", Run(space, dst, bytes), FRACTAL_BYTES)));
    const uint64_t first = src + (matrix.k0 / c0 * matrix.rowsInL1 + matrix.m0) * BLOCK_BYTES;
    const Region in =
        Rows(Space::L1, first, matrix.m * BLOCK_BYTES, static_cast<uint32_t>(strips), matrix.rowsInL1 * BLOCK_BYTES);
    instruction.operands.Add(TracksInit(Reads("src", in, L1_ALIGN_BYTES)));
    const bool transpose = !left || p.transpose;
    core.Issue(instruction, [=, &core] { MoveMatrix(core, space, matrix, transpose); });
}

}  // namespace ascend_sim
