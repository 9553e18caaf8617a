// Prelude for kernels that run in the simulator through vendor headers: intrinsics are the simulator's instructions,
// and a pointer's value is an offset into its memory, so qualifiers vanish.
#pragma once
#include "stand_in.h"

#define __fbuf__
#define __biasbuf__
#define __ssbuf__

#include "fastattention_npu/sim/isa/intrinsics.h"

inline uint8_t* __get_kfc_workspace_addr() { return nullptr; }
