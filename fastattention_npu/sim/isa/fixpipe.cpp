// FIX: L0C into GM or L1, optionally narrowing: to rows (NZ to ND) or strip by strip (NZ). Source of the limits:
// Fixpipe page.
#include "cost.h"
#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t FRACTAL = 16;
constexpr uint64_t L0C_ALIGN_BYTES = 64;
constexpr uint64_t NZ_ALIGN_BYTES = 32;
constexpr uint64_t FRACTAL_BYTES = FRACTAL * FRACTAL * sizeof(float);

struct Fix {
    uint64_t dst;
    uint64_t src;
    uint64_t rows;
    uint64_t cols;
    uint64_t rowPitchBytes;    // of the destination: between rows (ND), between strips (NZ)
    uint64_t stripPitchBytes;  // of L0C
    uint64_t elementBytes;
    FloatType type;
    Space space;
    bool nd;
    bool relu;

    uint64_t RowOf(uint64_t strip, uint64_t row) const
    {
        return nd ? dst + row * rowPitchBytes + strip * FRACTAL * elementBytes
                  : dst + strip * rowPitchBytes + row * FRACTAL * elementBytes;
    }
};

void Convert(const Fix& p, const float* from, uint64_t count, uint8_t* to)
{
    float positive[FRACTAL];
    if (p.relu) {
        for (uint64_t i = 0; i < count; ++i) positive[i] = from[i] < 0 ? 0.0F : from[i];
        from = positive;
    }
    if (p.type == FloatType::FP32) {
        std::memcpy(to, from, count * sizeof(float));
    } else {
        uint16_t narrow[FRACTAL];
        HostLanes().fromFloat(p.type, from, narrow, count);
        std::memcpy(to, narrow, count * sizeof(uint16_t));
    }
}

void Copy(Core& core, const Fix& p, const GmStore& store)
{
    const uint8_t* l0c = core.Memory(Space::L0C).At(p.src);
    const bool plain = p.type == FloatType::FP32 && !p.relu && !store.add;
    uint64_t done = 0;  // strips
    if (plain && p.nd) {
        done = p.cols / FRACTAL;
        HostLanes().stripsToRows(
            {l0c, Bytes(p.space, p.dst), p.rows, done, p.rowPitchBytes, p.stripPitchBytes, FRACTAL * sizeof(float)});
    }
    for (uint64_t s = done; s * FRACTAL < p.cols; ++s) {
        const uint64_t count = p.cols - s * FRACTAL < FRACTAL ? p.cols - s * FRACTAL : FRACTAL;
        for (uint64_t r = 0; r < p.rows; ++r) {
            const auto* from = reinterpret_cast<const float*>(l0c + s * p.stripPitchBytes) + r * FRACTAL;
            uint8_t* to = Bytes(p.space, p.RowOf(s, r));
            if (plain) {
                std::memcpy(to, from, count * sizeof(float));
                continue;
            }
            uint8_t row[FRACTAL * sizeof(float)];
            Convert(p, from, count, row);
            store.Put(to, row, count * p.elementBytes);
        }
    }
}

// Where whole 16-column strips and the columns of a last, partial one lie in L0C.
void AddSource(Instruction& instruction, const Fix& p)
{
    const uint64_t wholeStrips = p.cols / FRACTAL;
    const uint64_t tailBytes = p.cols % FRACTAL * sizeof(float);
    const uint64_t rowBytes = FRACTAL * sizeof(float);
    if (wholeStrips != 0) {
        instruction.operands.Add(Reads(
            "src", Rows(Space::L0C, p.src, p.rows * rowBytes, static_cast<uint32_t>(wholeStrips), p.stripPitchBytes),
            L0C_ALIGN_BYTES));
    }
    if (tailBytes != 0) {
        const uint64_t start = p.src + wholeStrips * p.stripPitchBytes;
        instruction.operands.Add(
            Reads("src", Rows(Space::L0C, start, tailBytes, static_cast<uint32_t>(p.rows), rowBytes), L0C_ALIGN_BYTES));
    }
}

void RequireForm(Space space, int64_t nSize, int64_t srcStride, int64_t mSize, int64_t dstStride, int64_t unitFlag,
                 QuantMode_t quantPre, bool channelSplit, bool nz2nd)
{
    if (channelSplit) Refuse("Fixpipe with channel split is not simulated");
    if (quantPre != NoQuant && quantPre != F322F16 && quantPre != F322BF16) {
        Refuse("Fixpipe with quantisation to integers is not simulated");
    }
    if (space == Space::L1 && (nz2nd || quantPre == NoQuant)) {
        Refuse(Rule::FIX_L1_TYPE, "L0C to L1 takes F322F16 or F322BF16 and NZ, neither float nor rows");
    }
    Limit("nSize", nSize, 0, nz2nd ? 4095 : 65535);
    Limit("mSize", mSize, 0, nz2nd ? 8192 : 65535);
    Limit("srcStride", srcStride, 0, 65535);
    if (dstStride == 0) Refuse(Rule::FIX_DST_STRIDE, "dstStride = 0 is not valid");
    Limit("dstStride", dstStride, 1, UINT32_MAX);
    if (!nz2nd && nSize % static_cast<int64_t>(FRACTAL) != 0) {
        Self().Refuse(Rule::FIX_NZ_SIZE,
                      Format("nSize = %lld of an NZ result is not a multiple of 16", static_cast<long long>(nSize)));
    }
    if (unitFlag != 0 && unitFlag != 2 && unitFlag != 3) Refuse(Rule::MMAD_OPTION, "unitFlag is 0, 2 or 3");
    if (srcStride < mSize) {
        Self().Refuse(Rule::FIX_SRC_STRIDE,
                      Format("srcStride = %lld is smaller than mSize = %lld: strips would overlap",
                             static_cast<long long>(srcStride), static_cast<long long>(mSize)));
    }
}

void IssueFix(const char* name, const Fix& p, int64_t unitFlag)
{
    Core& core = Self();
    const auto& soc = core.Soc();
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::FIX;
    const Region out =
        p.nd ? Rows(p.space, p.dst, p.cols * p.elementBytes, static_cast<uint32_t>(p.rows), p.rowPitchBytes)
             : Rows(p.space, p.dst, p.rows * FRACTAL * p.elementBytes, static_cast<uint32_t>(p.cols / FRACTAL),
                    p.rowPitchBytes);
    // The rate counts bytes of the destination: 33 elements a cycle when narrowing, half as many in fp32.
    if (p.space == Space::GM) {
        SetCopyCost(instruction, soc.fixpipeHeadCycles, out, {soc.fixpipeGmBytesPerCycle, 0});
        AddGmStore(instruction, out);
    } else {
        instruction.cycles =
            soc.fixpipeHeadCycles + static_cast<double>(p.rows * p.cols * p.elementBytes) / soc.fixpipeGmBytesPerCycle;
        instruction.operands.Add(Writes("dst", out, NZ_ALIGN_BYTES));
    }
    AddSource(instruction, p);
    const uint64_t stripFractals = (p.stripPitchBytes + FRACTAL_BYTES - 1) / FRACTAL_BYTES;
    instruction.units = {static_cast<uint8_t>(unitFlag), p.nd ? FractalOrder::ROWS_FIRST : FractalOrder::COLUMNS_FIRST,
                         static_cast<uint32_t>(stripFractals), soc.fixpipeHeadCycles,
                         instruction.cycles - soc.fixpipeHeadCycles};
    const GmStore store = p.space == Space::GM ? GmStore::Now() : GmStore{};
    core.Issue(instruction, [&core, p, store] { Copy(core, p, store); });
}

void FixTo(Space space, const char* name, uint64_t dst, uint64_t src, int64_t nSize, int64_t mSize, int64_t dstStride,
           int64_t srcStride, int64_t unitFlag, QuantMode_t quantPre, int64_t relu, bool channelSplit, bool nz2nd)
{
    RequireForm(space, nSize, srcStride, mSize, dstStride, unitFlag, quantPre, channelSplit, nz2nd);
    const uint64_t para = Self().Regs().ndPara;
    const uint64_t matrices = nz2nd ? para & 0xFFFF : 1;
    if (Nothing(nSize == 0 || mSize == 0 || matrices == 0, "nSize, mSize or ndNum is 0")) return;
    Self().Note(quantPre);
    Fix p{};
    p.space = space;
    p.nd = nz2nd;
    p.relu = relu != 0;
    p.rows = static_cast<uint64_t>(mSize);
    p.cols = static_cast<uint64_t>(nSize);
    p.type = quantPre == F322F16 ? FloatType::FP16 : quantPre == F322BF16 ? FloatType::BF16 : FloatType::FP32;
    p.elementBytes = p.type == FloatType::FP32 ? 4 : 2;
    // Rows are counted in elements, NZ strips in blocks of 32 B.
    p.rowPitchBytes = static_cast<uint64_t>(dstStride) * (nz2nd ? p.elementBytes : NZ_ALIGN_BYTES);
    p.stripPitchBytes = static_cast<uint64_t>(srcStride) * FRACTAL * sizeof(float);
    if (!nz2nd && dst % NZ_ALIGN_BYTES != 0) Refuse(Rule::ALIGNMENT, "an NZ destination starts at a multiple of 32 B");
    constexpr uint64_t ND_STRIDE_MAX = 512;
    const uint64_t srcNdStride = (para >> 16) & 0xFFFF;
    const uint64_t dstNdStride = (para >> 32) & 0xFFFF;
    if (matrices > 1) Limit("srcNdStride", static_cast<int64_t>(srcNdStride), 1, ND_STRIDE_MAX);
    for (uint64_t i = 0; i < matrices; ++i) {
        p.dst = dst + i * dstNdStride * p.elementBytes;
        p.src = src + i * srcNdStride * FRACTAL * FRACTAL * sizeof(float);
        IssueFix(name, p, unitFlag);
    }
}

}  // namespace

void copy_matrix_cc_to_gm(void* dst, float* src, uint8_t, int64_t nSize, int64_t mSize, int64_t dstStride,
                          int64_t srcStride, int64_t unitFlag, QuantMode_t quantPre, int64_t relu, bool channelSplit,
                          bool nz2nd)
{
    FixTo(Space::GM, "copy_matrix_cc_to_gm", AddressOf(dst), AddressOf(src), nSize, mSize, dstStride, srcStride,
          unitFlag, quantPre, relu, channelSplit, nz2nd);
}

void copy_matrix_cc_to_cbuf(void* dst, float* src, uint8_t, int64_t nSize, int64_t mSize, int64_t dstStride,
                            int64_t srcStride, int64_t unitFlag, QuantMode_t quantPre, int64_t relu, bool channelSplit,
                            bool nz2nd)
{
    FixTo(Space::L1, "copy_matrix_cc_to_cbuf", AddressOf(dst), AddressOf(src), nSize, mSize, dstStride, srcStride,
          unitFlag, quantPre, relu, channelSplit, nz2nd);
}
