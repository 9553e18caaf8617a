// Reading Python scalars strictly: a bool is not a number, a float is not an integer, and what does not fit comes back
// empty for the caller to report with everything else that is wrong.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>

namespace fastattn {

std::optional<int64_t> AsInteger(nanobind::handle value);  // int, or anything with __index__
std::optional<double> AsNumber(nanobind::handle value);    // int or float
std::optional<bool> AsBool(nanobind::handle value);

std::string TextOf(nanobind::handle value);  // str(value)
std::string ReprOf(nanobind::handle value);  // repr(value)

}  // namespace fastattn
