// The Ascend C API subset that the kernels use, for the embedded simulator: same names, parameters and argument order
// as in CANN's kernel_operator.h, each call lowered to the instructions of ../isa. Thin on purpose: what a call means
// is decided there, what it expands to here. Source of every signature: Ascend C API documentation for dav-2201.
#pragma once
#include "cube.h"
#include "data_copy.h"
#include "macros.h"
#include "params.h"
#include "queue.h"
#include "sync.h"
#include "tensor.h"
#include "vector.h"
#include "vector_select.h"
