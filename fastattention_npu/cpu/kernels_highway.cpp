// The kernels for every Highway target worth having (AVX2, AVX-512, NEON), and the choice between them and the portable
// ones at run time. Compiled only where Highway is found; kernels_fallback.cpp stands in for it elsewhere. Needs the
// repository's root on the include path, for foreach_target.h.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "context.h"
#include "targets.h"

// Scalable vectors cannot be kept in arrays, below AVX2 the portable kernels do as well, and later AVX-512 flavours add
// nothing that these kernels use, while each target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#if defined(__x86_64__)
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_EMU128 | HWY_SCALAR))
#elif defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fastattention_npu/cpu/kernels_highway.cpp"
#include <hwy/foreach_target.h>
// after foreach_target.h
#include <hwy/highway.h>

#undef FASTATTN_TARGET
#undef FASTATTN_TARGET_NAME
#define FASTATTN_TARGET HWY_NAMESPACE
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#define FASTATTN_TARGET_NAME "baseline"
#include "simd_portable-inl.h"
#else
#if HWY_TARGET == HWY_AVX3
#define FASTATTN_TARGET_NAME "avx512"
#elif HWY_TARGET == HWY_AVX2
#define FASTATTN_TARGET_NAME "avx2"
#else
#define FASTATTN_TARGET_NAME "neon"
#endif
#include "simd_highway-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
#include "kernels-inl.h"
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastattn::cpu {

HWY_EXPORT(Table);

bool HasHighway()
{
    return true;
}

std::vector<const KernelTable*> HighwayTables()
{
#ifdef HWY_COMPILE_ONLY_STATIC
    // One target fixed at compile time: cross-compiled checks, where no Highway library need be linked.
    return {HWY_STATIC_DISPATCH(Table)()};
#else
    std::vector<const KernelTable*> tables;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
        hwy::SetSupportedTargetsForTest(target);
        hwy::GetChosenTarget().Update(hwy::SupportedTargets());
        const KernelTable* table = HWY_DYNAMIC_DISPATCH(Table)();
        if (std::string(table->name) != "baseline") {
            tables.push_back(table);
        }
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return tables;
#endif
}

}  // namespace fastattn::cpu
#endif
