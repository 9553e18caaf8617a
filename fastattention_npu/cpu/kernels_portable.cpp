// The kernels without Highway: the compiler's vector extension at the build's base instruction set. The whole choice
// where Highway is absent; elsewhere the target named "portable", which tests compare with the others.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "context.h"

#define FASTATTN_TARGET portable
#define FASTATTN_TARGET_NAME "portable"
#include "simd_portable-inl.h"
// after the vector operations
#include "kernels-inl.h"

namespace fastattn::cpu {

const KernelTable& PortableKernels()
{
    return *portable::Table();
}

}  // namespace fastattn::cpu
