// Chooses the copy of lanes.cpp that this host runs fastest. FASTATTN_SIM_TARGET (baseline, v3, v4) forces one, for
// tests; asking for one that the host lacks is an error rather than an illegal instruction.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "lanes.h"

namespace ascend_sim {

namespace baseline {
const Lanes& Table();
}
#if defined(FASTATTN_HAS_V3)
namespace v3 {
const Lanes& Table();
}
#endif
#if defined(FASTATTN_HAS_V4)
namespace v4 {
const Lanes& Table();
}
#endif

namespace {

const Lanes& Choose()
{
    const char* forced = std::getenv("FASTATTN_SIM_TARGET");
    const std::string want = forced == nullptr ? "" : forced;
#if defined(FASTATTN_HAS_V4)
    const bool hasV4 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                       __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
                       __builtin_cpu_supports("avx512cd") != 0;
    if (hasV4 && (want.empty() || want == "v4")) return v4::Table();
#endif
#if defined(FASTATTN_HAS_V3)
    const bool hasV3 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    if (hasV3 && (want.empty() || want == "v3")) return v3::Table();
#endif
    if (want.empty() || want == "baseline") return baseline::Table();
    throw std::runtime_error("FASTATTN_SIM_TARGET=" + want + ": this host has no such target (baseline, v3 or v4)");
}

}  // namespace

const Lanes& HostLanes()
{
    static const Lanes& lanes = Choose();
    return lanes;
}

}  // namespace ascend_sim
