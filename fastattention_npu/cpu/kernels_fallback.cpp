// Stands in for kernels_highway.cpp where Highway was not found at build time: only the portable kernels remain.
#include "targets.h"

namespace fastattn::cpu {

bool HasHighway()
{
    return false;
}

std::vector<const KernelTable*> HighwayTables()
{
    return {};
}

}  // namespace fastattn::cpu
