// The cube: C (L0C, fp32) = or += A (L0A) times B (L0B). Rows, columns and depth beyond m, n and k are ignored, but the
// operands occupy whole fractals.
#include <vector>

#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t FRACTAL = 16;
constexpr uint64_t L0_ALIGN_BYTES = 512;
constexpr uint64_t L0C_ALIGN_BYTES = 1024;
constexpr uint64_t DEPENDENT_TILES_WITHOUT_BARRIER = 10;  // Mmad page: below it, dependent Mmads need PIPE_M barriers

// SetMMRowMajor: along the rows of the result instead of down its strips (SetMMColumnMajor page).
FractalOrder WalkOf(uint64_t ctrl)
{
    return (ctrl & CTRL_ROW_MAJOR) != 0 ? FractalOrder::ROWS_FIRST : FractalOrder::COLUMNS_FIRST;
}

uint64_t Fractals(int64_t x) { return (static_cast<uint64_t>(x) + FRACTAL - 1) / FRACTAL; }

struct MadInit {
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint32_t m;
    uint32_t k;
    uint32_t n;
    bool init;
};

// Is line `line` (a row of A or a column of B) written over its whole depth? `blockPitch` and `linePitch` are bytes
// between the fractals of its depth and of its neighbours.
bool LineWritten(const InitMap& map, uint64_t base, uint64_t line, uint64_t depth, uint64_t depthPitch,
                 uint64_t fractalPitch)
{
    const uint64_t start = base + line / FRACTAL * fractalPitch + line % FRACTAL * FRACTAL * 2;
    for (uint64_t k = 0; k < depth; k += FRACTAL) {
        const uint64_t count = depth - k < FRACTAL ? depth - k : FRACTAL;
        if (!map.Written(start + k / FRACTAL * depthPitch, count * 2)) return false;
    }
    return true;
}

// A result is defined where its row of A, its column of B and, when accumulating, its old value are.
void CarryInit(Core& core, const MadInit& p)
{
    const uint64_t kf = Fractals(p.k);
    const uint64_t nf = Fractals(p.n);
    const uint64_t m16 = Fractals(p.m) * FRACTAL;
    constexpr uint64_t FRACTAL_BYTES = FRACTAL * FRACTAL * 2;
    const InitMap& left = core.Memory(Space::L0A).Init();
    const InitMap& right = core.Memory(Space::L0B).Init();
    InitMap& out = core.Memory(Space::L0C).Init();
    const uint64_t stripBytes = m16 * FRACTAL * sizeof(float);
    const bool wholeA = left.Written(p.a, m16 * kf * FRACTAL * 2);
    const bool wholeB = right.Written(p.b, nf * kf * FRACTAL_BYTES);
    if (wholeA && wholeB && p.m == m16 && p.n == nf * FRACTAL) {
        if (p.init) out.Mark(p.c, nf * stripBytes);
        return;
    }
    std::vector<bool> rows(m16);
    for (uint64_t m = 0; m < m16; ++m) {
        rows[m] = m < p.m && LineWritten(left, p.a, m, p.k, FRACTAL_BYTES, kf * FRACTAL_BYTES);
    }
    for (uint64_t strip = 0; strip < nf; ++strip) {
        uint32_t columns = 0;  // two units of 2 bytes a column
        for (uint64_t n = strip * FRACTAL; n < (strip + 1) * FRACTAL; ++n) {
            const bool column = n < p.n && LineWritten(right, p.b, n, p.k, nf * FRACTAL_BYTES, FRACTAL_BYTES);
            columns |= column ? 3U << (n % FRACTAL * 2) : 0U;
        }
        for (uint64_t m = 0; m < m16; ++m) {
            const uint64_t at = p.c + strip * stripBytes + m * FRACTAL * sizeof(float);
            const uint32_t written = rows[m] ? columns : 0;
            if (p.init) {
                out.Assign64(at, written);
            } else {
                out.Restrict64(at, written);
            }
        }
    }
}

void Mad(FloatType type, uint64_t c, uint64_t a, uint64_t b, int64_t m, int64_t k, int64_t n, int64_t unitFlag,
         bool kDirectionAlign, bool cmatrixSource, bool init)
{
    Limit("m", m, 0, 4095, Rule::MMAD_SIZE);
    Limit("k", k, 0, 4095, Rule::MMAD_SIZE);
    Limit("n", n, 0, 4095, Rule::MMAD_SIZE);
    if (unitFlag != 0 && unitFlag != 2 && unitFlag != 3) Refuse(Rule::MMAD_OPTION, "unitFlag is 0, 2 or 3");
    if (kDirectionAlign) Refuse(Rule::MMAD_OPTION, "kDirectionAlign applies to fp32 operands");
    if (cmatrixSource) Refuse("cmatrixSource (bias table) is not simulated");
    if (Nothing(m == 0 || k == 0 || n == 0, "m, n or k is 0")) return;
    if (m == 1)
        Refuse(Rule::MMAD_GEMV, "m = 1 switches to GEMV mode, which reads A as one contiguous row; round m up to 16");
    const uint64_t mf = Fractals(m);
    const uint64_t kf = Fractals(k);
    const uint64_t nf = Fractals(n);
    Core& core = Self();
    const auto& soc = core.Soc();
    Instruction instruction;
    instruction.name = "mad";
    instruction.pipe = Pipe::M;
    instruction.cycles = soc.cubeHeadCycles + static_cast<double>(mf * nf * kf) * soc.cubeFractalCycles;
    instruction.cubeMacs = static_cast<double>(mf * nf * kf) * FRACTAL * FRACTAL * FRACTAL;
    instruction.units = {static_cast<uint8_t>(unitFlag), WalkOf(core.Regs().ctrl), static_cast<uint32_t>(mf),
                         soc.cubeHeadCycles, instruction.cycles - soc.cubeHeadCycles};
    instruction.ownResultNeedsBarrier = mf * nf < DEPENDENT_TILES_WITHOUT_BARRIER;
    const Region tile = Run(Space::L0C, c, mf * nf * FRACTAL * FRACTAL * sizeof(float));
    if (!init) instruction.operands.Add(TracksInit(Reads("c", tile, L0C_ALIGN_BYTES)));
    instruction.operands.Add(TracksInit(Writes("c", tile, L0C_ALIGN_BYTES)));
    const Region left = Run(Space::L0A, a, mf * kf * FRACTAL * FRACTAL * 2);
    const Region right = Run(Space::L0B, b, nf * kf * FRACTAL * FRACTAL * 2);
    instruction.operands.Add(TracksInit(Reads("a", left, L0_ALIGN_BYTES)));
    instruction.operands.Add(TracksInit(Reads("b", right, L0_ALIGN_BYTES)));
    core.Issue(instruction, [=, &core] {
        MatmulOperands operands;
        operands.a = reinterpret_cast<const uint16_t*>(core.Memory(Space::L0A).At(a));
        operands.b = reinterpret_cast<const uint16_t*>(core.Memory(Space::L0B).At(b));
        operands.c = reinterpret_cast<float*>(core.Memory(Space::L0C).At(c));
        operands.m = static_cast<uint32_t>(m);
        operands.n = static_cast<uint32_t>(n);
        operands.k = static_cast<uint32_t>(k);
        operands.init = init;
        operands.type = type;
        HostLanes().matmul(operands);
        if (core.Checks()) CarryInit(core, {a, b, c, operands.m, operands.k, operands.n, init});
    });
}

}  // namespace

void mad(float* c, half* a, half* b, int64_t m, int64_t k, int64_t n, int64_t unitFlag, bool kDirectionAlign,
         bool cmatrixSource, bool cmatrixInitVal)
{
    Mad(FloatType::FP16, AddressOf(c), AddressOf(a), AddressOf(b), m, k, n, unitFlag, kDirectionAlign, cmatrixSource,
        cmatrixInitVal);
}

void mad(float* c, bfloat16_t* a, bfloat16_t* b, int64_t m, int64_t k, int64_t n, int64_t unitFlag,
         bool kDirectionAlign, bool cmatrixSource, bool cmatrixInitVal)
{
    Mad(FloatType::BF16, AddressOf(c), AddressOf(a), AddressOf(b), m, k, n, unitFlag, kDirectionAlign, cmatrixSource,
        cmatrixInitVal);
}
