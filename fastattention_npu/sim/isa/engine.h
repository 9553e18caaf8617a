// What the instruction files share: the current core, building operands, and reaching the bytes.
#pragma once
#include <cstring>

#include "fastattention_npu/sim/isa/intrinsics.h"
#include "fastattention_npu/sim/machine/core.h"

namespace ascend_sim {

Pipe PipeOf(pipe_t pipe);

inline Core& Self() { return CurrentCore(); }

inline uint8_t* Bytes(Space space, uint64_t address)
{
    return space == Space::GM ? reinterpret_cast<uint8_t*>(address) : Self().Memory(space).At(address);
}

inline Region Run(Space space, uint64_t start, uint64_t bytes)
{
    Region region;
    region.space = space;
    region.start = start;
    region.bytes = bytes;
    return region;
}

// `count` runs of `bytes`, `pitch` bytes from start to start.
inline Region Rows(Space space, uint64_t start, uint64_t bytes, uint32_t count, uint64_t pitch)
{
    Region region = Run(space, start, bytes);
    region.count1 = count;
    region.pitch1 = pitch;
    region.Normalise();
    return region;
}

inline Operand Reads(const char* name, const Region& region, uint32_t alignBytes)
{
    return {region, name, alignBytes, false, false};
}

inline Operand Writes(const char* name, const Region& region, uint32_t alignBytes)
{
    return {region, name, alignBytes, true, false};
}

// Whether a call has nothing to do. The chip takes it silently; here it is reported.
inline bool Nothing(bool nothing, const char* why)
{
    if (nothing) Self().Warn(Rule::NO_OPERATION, why);
    return nothing;
}

// The instruction carries along which bytes nobody wrote (fractals hold rows past the end of a matrix).
inline Operand TracksInit(Operand operand)
{
    operand.tracksInit = true;
    return operand;
}

constexpr uint64_t CTRL_ROW_MAJOR = uint64_t{1} << 51;  // the bit of CTRL that SetMMRowMajor sets

// A store to GM, which atomic mode turns into an update: the destination is read as well, and every element added to.
void AddGmStore(Instruction& instruction, const Region& dst);

// `count` elements of `from` stored or, in atomic mode, added. The mode is the one at issue.
struct GmStore {
    bool add = false;
    FloatType type = FloatType::FP32;
    static GmStore Now();
    void Put(uint8_t* to, const uint8_t* from, uint64_t bytes) const;
};

}  // namespace ascend_sim
