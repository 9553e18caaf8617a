// Python dicts -> Problem and tiling overrides. Keys are those of configs/shapes plus has_seq_used_kv and strides, a
// dict
// {"q" | "k" | "v" | "o": (batch, seq, head)} of element strides for tensors that the layout does not describe;
// a mask tensor is mask_dtype ("bool", "fp16", "bf16", "fp32") and mask_strides (batch, head, query, key).
#pragma once
#include <nanobind/nanobind.h>

#include "../../op_host/problem.h"
#include "../../op_host/refusal.h"
#include "../../op_host/tiling_fields.h"

namespace fastattn {

// Appends a reason for every key that is missing, unknown or of the wrong type; values are judged by CheckProblem. If
// there are such reasons, the Problem is good for CheckProblem only: it finds what else is wrong.
Problem ProblemFromDict(nanobind::dict values, Reasons& reasons);

// Tiling fields by name: a number, or the name of one for fields whose values go by name. Appends a reason for every
// value of another type; unknown names and limits are judged by TakeBadOverrides.
Overrides OverridesFromDict(nanobind::dict values, Reasons& reasons);

}  // namespace fastattn
