// The kernels that the simulator's Python face can run: entry point, operands in order, tiling struct. A new kernel is
// a row of the table in sim_kernels.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fastattn {

// The operand that the launcher allocates itself.
inline const std::string WORKSPACE = "workspace";
// The operand that is the communicator's and no buffer.
inline const std::string HCCL_CONTEXT = "hccl_context";

struct SimOperand {
    std::string name;
    bool written;
};

struct SimKernel {
    const char* name;
    void* entry;
    size_t tilingBytes;
    // Calls an entry point of this kernel's type.
    void (*call)(void* entry, uint8_t* const* operands, const void* tiling);
    std::vector<SimOperand> operands;
};

const std::vector<SimKernel>& SimKernels();
// Throws std::invalid_argument for a name that is not in the table.
const SimKernel& FindSimKernel(const std::string& name);

}  // namespace fastattn
