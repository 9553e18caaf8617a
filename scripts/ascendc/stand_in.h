// What CANN's compiler brings along and the public Ascend C headers expect: qualifiers that change no meaning for a
// type checker, and enumerations. Only names matter here; values are ours. Included by typecheck.h and over_isa.h,
// before any vendor header.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#define __aicore__
#define __host__
#define __host_aicore__
#define __global__
#define __mix__(cube, vector)
#define __schedmode__(mode)
#define __cube__
#define __vector__
#define __inout_pipe__(...)
#define __in_pipe__(...)
#define __out_pipe__(...)
#define __sync_alias__
#define __sync_noalias__
#define __check_sync_alias__
#define __simd_vf__
#define __simd_callee__
#define __VEC_SCOPE__
#define __BLOCK_LOCAL__
#define __WORKGROUP_LOCAL__

enum class mem_t { L1, L0A, L0B, L0C, UB, BIAS };
enum class atomic_type_t {};
enum class atomic_op_t {};
enum mem_dsb_t {};
enum ub_addr8_t { VA0, VA1, VA2, VA3, VA4, VA5, VA6, VA7 };
enum half_vector_t { L128, H128 };
struct vector_bool {};
struct vector_align {};
struct vector_address {};

namespace bisheng::cce {
inline void metrics_prof_start() {}
inline void metrics_prof_stop() {}
}  // namespace bisheng::cce
