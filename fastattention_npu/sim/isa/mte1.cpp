// MTE1: L1 into L0A and L0B, fractal by fractal, optionally turning each 16 x 16 fractal.
#include "engine.h"

using namespace ascend_sim;

namespace {

constexpr uint64_t FRACTAL_BYTES = 512;
constexpr uint64_t L1_ALIGN_BYTES = 32;

// Which elements of the fractal nobody wrote goes with it.
void CarryInit(Core& core, Space space, uint64_t dst, uint64_t src, bool transpose)
{
    constexpr uint64_t SIDE = 16;
    InitMap& from = core.Memory(Space::L1).Init();
    InitMap& to = core.Memory(space).Init();
    if (from.Written(src, FRACTAL_BYTES)) {
        to.Mark(dst, FRACTAL_BYTES);
        return;
    }
    for (uint64_t i = 0; i < SIDE * SIDE; ++i) {
        const uint64_t turned = transpose ? i % SIDE * SIDE + i / SIDE : i;
        if (from.Written(src + turned * 2, 2)) {
            to.Mark(dst + i * 2, 2);
        } else {
            to.Unmark(dst + i * 2, 2);
        }
    }
}

void LoadFractals(Space space, const char* name, uint64_t dst, uint64_t src, int64_t baseIdx, int64_t repeat,
                  int64_t srcStride, int64_t dstGap, bool transpose, addr_cal_mode_t mode, double bytesPerCycle)
{
    Limit("startIndex", baseIdx, 0, 65535);
    Limit("repeatTimes", repeat, 0, 255, Rule::REPEAT_WRAP);
    Limit("srcStride", srcStride, 0, 65535);
    Limit("dstGap", dstGap, 0, 65535);
    if (mode != inc) Refuse("addrMode dec is not simulated");
    if (Nothing(repeat == 0, "repeatTimes is 0")) return;
    const auto count = static_cast<uint32_t>(repeat);
    const uint64_t from = src + static_cast<uint64_t>(baseIdx) * FRACTAL_BYTES;
    const uint64_t srcPitch = static_cast<uint64_t>(srcStride) * FRACTAL_BYTES;
    const uint64_t dstPitch = static_cast<uint64_t>(dstGap + 1) * FRACTAL_BYTES;
    Core& core = Self();
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::MTE1;
    instruction.cycles = core.Soc().mte1HeadCycles + static_cast<double>(count * FRACTAL_BYTES) / bytesPerCycle;
    const Region in = Rows(Space::L1, from, FRACTAL_BYTES, count, srcPitch);
    instruction.operands.Add(
        TracksInit(Writes("dst", Rows(space, dst, FRACTAL_BYTES, count, dstPitch), FRACTAL_BYTES)));
    instruction.operands.Add(TracksInit(Reads("src", in, L1_ALIGN_BYTES)));
    core.Issue(instruction, [=, &core] {
        const uint8_t* l1 = core.Memory(Space::L1).At(from);
        uint8_t* out = core.Memory(space).At(dst);
        for (uint32_t i = 0; i < count; ++i) {
            const uint8_t* fractal = l1 + i * srcPitch;
            if (transpose) {
                HostLanes().transpose16(reinterpret_cast<const uint16_t*>(fractal),
                                        reinterpret_cast<uint16_t*>(out + i * dstPitch));
            } else {
                std::memcpy(out + i * dstPitch, fractal, FRACTAL_BYTES);
            }
            if (core.Checks()) CarryInit(core, space, dst + i * dstPitch, from + i * srcPitch, transpose);
        }
    });
}

}  // namespace

void load_cbuf_to_ca(half* dst, half* src, int64_t baseIdx, int64_t repeat, int64_t srcStride, int64_t dstGap, uint8_t,
                     bool transpose, addr_cal_mode_t mode)
{
    LoadFractals(Space::L0A, "load_cbuf_to_ca", AddressOf(dst), AddressOf(src), baseIdx, repeat, srcStride, dstGap,
                 transpose, mode, Self().Soc().mte1L0aBytesPerCycle);
}

void load_cbuf_to_cb(half* dst, half* src, int64_t baseIdx, int64_t repeat, int64_t srcStride, int64_t dstGap, uint8_t,
                     bool transpose, addr_cal_mode_t mode)
{
    LoadFractals(Space::L0B, "load_cbuf_to_cb", AddressOf(dst), AddressOf(src), baseIdx, repeat, srcStride, dstGap,
                 transpose, mode, Self().Soc().mte1L0bBytesPerCycle);
}
