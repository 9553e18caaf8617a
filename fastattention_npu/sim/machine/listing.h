// Instructions as lines of text, for comparing two runs: names, operands, masks and order, without addresses that
// differ from run to run.
#pragma once
#include <string>

#include "trace.h"

namespace ascend_sim {

// A flag, a barrier or a cross-core message.
std::string ListSync(const Record& record);

}  // namespace ascend_sim
