// The kernel tables that this build holds and this processor can run. HighwayTables has two definitions:
// kernels_highway.cpp, or kernels_fallback.cpp where Highway was not found.
#pragma once
#include <vector>

#include "context.h"

namespace fastattn::cpu {

// Best first; empty without Highway.
std::vector<const KernelTable*> HighwayTables();

}  // namespace fastattn::cpu
