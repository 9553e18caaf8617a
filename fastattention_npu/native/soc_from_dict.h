// Python dict -> SocSpec, for every binding that takes a SoC: {"name": "ascend910b2", "cores.aic": 24.0, ...}, the keys
// of SocFields(). The YAML's own structure (value, kind, source, inheritance) is resolved on the Python side.
#pragma once
#include <nanobind/nanobind.h>

#include "../../op_host/soc_spec.h"

namespace fastattn {

// Throws Refusal (a ValueError in Python) with every missing, unknown or impossible key.
SocSpec SocFromDict(nanobind::dict values);

}  // namespace fastattn
