// The one table of limits of the FlashAttention forward kernel: code, error messages, tests and documentation read it.
// A row bounds one argument of the problem or one field of the tiling by itself; rules that join several of them stand
// in tiling_check.cpp. What differs between SoCs (memory sizes, core counts) comes from SocSpec instead.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "refusal.h"

namespace fastattn {

constexpr uint32_t L1_MIX_RESERVED_BYTES = 256;   // the runtime keeps these of L1 in kernels with both core types
constexpr uint32_t CROSS_CORE_COUNTER_MAX = 15;   // a cross-core flag counts 0 ... 15
constexpr uint32_t LOAD_DATA_MAX_FRACTALS = 255;  // LoadData2DParams.repeatTimes is a uint8

enum class LimitGroup { PROBLEM, TILING };

struct Limit {
    const char* key;
    LimitGroup group;
    int64_t min;
    int64_t max;
    int64_t multiple;
    const char* why;     // which field or memory of the chip sets it
    const char* remedy;  // for a value that is too large; otherwise the message names the nearest legal one
};

const std::vector<Limit>& Limits();
const Limit& LimitOf(const std::string& key);

bool IsWithin(const Limit& limit, int64_t value);
std::string DescribeLimit(const Limit& limit);

// Appends a reason if the value breaks the limit; name is what the reader calls the value, often the limit's own key.
void CheckLimit(const Limit& limit, const std::string& name, int64_t value, Reasons& reasons);

}  // namespace fastattn
