// FIX: L0C into GM, from column strips to rows (NZ to ND), optionally narrowing.
#include "cost.h"
#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t FRACTAL = 16;
constexpr uint64_t L0C_ALIGN_BYTES = 64;

struct Fix {
    uint64_t dst;
    uint64_t src;
    uint64_t rows;
    uint64_t cols;
    uint64_t rowPitchBytes;
    uint64_t stripPitchBytes;
    uint64_t elementBytes;
    FloatType type;
};

void Copy(Core& core, const Fix& p)
{
    const uint8_t* l0c = core.Memory(Space::L0C).At(p.src);
    for (uint64_t s = 0; s * FRACTAL < p.cols; ++s) {
        const uint64_t count = p.cols - s * FRACTAL < FRACTAL ? p.cols - s * FRACTAL : FRACTAL;
        for (uint64_t r = 0; r < p.rows; ++r) {
            const auto* from = reinterpret_cast<const float*>(l0c + s * p.stripPitchBytes) + r * FRACTAL;
            auto* to = reinterpret_cast<uint8_t*>(p.dst + r * p.rowPitchBytes + s * FRACTAL * p.elementBytes);
            if (p.type == FloatType::FP32) {
                std::memcpy(to, from, count * sizeof(float));
            } else {
                uint16_t narrow[FRACTAL];
                HostLanes().fromFloat(p.type, from, narrow, count);
                std::memcpy(to, narrow, count * sizeof(uint16_t));
            }
        }
    }
}

}  // namespace

void copy_matrix_cc_to_gm(void* dst, float* src, uint8_t, int64_t nSize, int64_t mSize, int64_t dstStride,
                          int64_t srcStride, int64_t unitFlag, QuantMode_t quantPre, int64_t relu, bool channelSplit,
                          bool nz2nd)
{
    if (!nz2nd) Refuse("Fixpipe with NZ output is not simulated yet");
    if (unitFlag != 0) Refuse("unitFlag is not simulated yet");
    if (relu != 0 || channelSplit) Refuse("Fixpipe with relu or channel split is not simulated");
    if ((Self().Regs().ndPara & 0xFFFF) != 1) Refuse("Fixpipe with ndNum other than 1 is not simulated yet");
    Limit("nSize", nSize, 0, 4095);
    Limit("mSize", mSize, 0, 8192);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstStride", dstStride, 1, UINT32_MAX);
    if (nSize == 0 || mSize == 0) return;
    Self().Note(quantPre);
    Fix p{};
    p.dst = AddressOf(dst);
    p.src = AddressOf(src);
    p.rows = static_cast<uint64_t>(mSize);
    p.cols = static_cast<uint64_t>(nSize);
    p.type = quantPre == F322F16 ? FloatType::FP16 : quantPre == F322BF16 ? FloatType::BF16 : FloatType::FP32;
    p.elementBytes = p.type == FloatType::FP32 ? 4 : 2;
    p.rowPitchBytes = static_cast<uint64_t>(dstStride) * p.elementBytes;
    p.stripPitchBytes = static_cast<uint64_t>(srcStride) * FRACTAL * sizeof(float);
    if (srcStride < mSize) Refuse("srcStride is smaller than mSize: column strips would overlap");
    Core& core = Self();
    const auto& soc = core.Soc();
    Instruction instruction;
    instruction.name = "copy_matrix_cc_to_gm";
    instruction.pipe = Pipe::FIX;
    const Region out = Rows(Space::GM, p.dst, p.cols * p.elementBytes, static_cast<uint32_t>(p.rows), p.rowPitchBytes);
    // The rate counts bytes of GM: 33 elements a cycle when narrowing, half as many in fp32.
    SetCopyCost(instruction, soc.fixpipeHeadCycles, out, {soc.fixpipeGmBytesPerCycle, 0});
    instruction.operands.Add(Writes("dst", out, 1));
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
    core.Issue(instruction, [=, &core] { Copy(core, p); });
}
