// Function qualifiers and core-type tests of Ascend C for a host compiler: one program text serves both kinds of core,
// so the test is made when the program runs.
#pragma once
#include <limits>
#include <string_view>

#include "fastattention_npu/sim/isa/intrinsics.h"

#define __global__
#define __aicore__
#define __mix__(cube, vector)
#define __schedmode__(mode)
#define GM_ADDR __gm__ uint8_t*
#define ASCEND_IS_AIC (is_aic())
#define ASCEND_IS_AIV (!is_aic())
#define KERNEL_TYPE_MIX_AIC_1_2 0
#define KERNEL_TYPE_AIC_ONLY 1
#define KERNEL_TYPE_AIV_ONLY 2
// The launch says which cores run; the declaration is for CANN's compiler.
#define KERNEL_TASK_TYPE_DEFAULT(type) static_assert((type) >= 0 && (type) <= 2, "MIX_AIC_1_2, AIC_ONLY or AIV_ONLY")

// Trailing parameters of every API: where the kernel called it.
#define ASCENDC_HERE const char *file = __builtin_FILE(), uint32_t line = __builtin_LINE()

namespace AscendC {

inline void Here(const char* api, const char* file, uint32_t line, pipe_t pipe = PIPE_S)
{
    ascend_sim::At({api, file, line}, pipe);
}

// What a value that does not fit its field breaks.
inline ascend_sim::Rule RuleOfField(const char* field)
{
    const std::string_view name(field);
    if (name.find("epeat") != name.npos && name.find("tride") == name.npos) return ascend_sim::Rule::REPEAT_WRAP;
    if (name.find("BlkStride") != name.npos || name.find("RepStride") != name.npos)
        return ascend_sim::Rule::STRIDE_WRAP;
    return ascend_sim::Rule::FIELD_RANGE;
}

// An integer field that is narrower on the chip than what kernels compute with. It keeps the full value, so that a
// value that would wrap can be refused by name.
template <class T>
class Narrow {
public:
    template <class U, class = std::enable_if_t<std::is_integral_v<U> || std::is_enum_v<U>>>
    constexpr Narrow(U value) : value_(static_cast<int64_t>(value))
    {
    }
    constexpr Narrow() = default;
    // The value, refused unless the chip's field holds it.
    int64_t Get(const char* field) const
    {
        constexpr int64_t LOW = std::numeric_limits<T>::min();
        constexpr int64_t HIGH = std::numeric_limits<T>::max();
        if (value_ < LOW || value_ > HIGH) ascend_sim::Limit(field, value_, LOW, HIGH, RuleOfField(field));
        return value_;
    }

private:
    int64_t value_ = 0;
};

}  // namespace AscendC
