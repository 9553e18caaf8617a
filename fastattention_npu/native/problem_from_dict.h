// Python dict -> Problem. Keys are those of configs/shapes plus has_seq_used_kv and strides, a dict
// {"q" | "k" | "v" | "o": (batch, seq, head)} of element strides for tensors that the layout does not describe.
#pragma once
#include <nanobind/nanobind.h>

#include "../../op_host/problem.h"
#include "../../op_host/refusal.h"

namespace fastattn {

// Appends a reason for every key that is missing, unknown or of the wrong type; values are judged by CheckProblem. If
// there are such reasons, the Problem is good for CheckProblem only: it finds what else is wrong.
Problem ProblemFromDict(nanobind::dict values, Reasons& reasons);

}  // namespace fastattn
