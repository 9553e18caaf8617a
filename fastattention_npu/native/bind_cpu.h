// What the extension module calls to add the CPU kernels to itself.
#pragma once
#include <nanobind/nanobind.h>

namespace fastattn {

void BindCpu(nanobind::module_& m);

}  // namespace fastattn
