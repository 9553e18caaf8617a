// Binds the CPU attention to Python: the parameter struct field by field, the call without the GIL, and what tests and
// `fastattn doctor` ask about targets. No tensor type crosses; the Python side passes addresses and strides.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../cpu/attention.h"
#include "../cpu/thread_pool.h"

namespace nb = nanobind;

namespace fastattn {

using cpu::AttentionParams;
using cpu::Strides;

namespace {

Strides MakeStrides(int64_t b, int64_t s, int64_t h, int64_t d)
{
    return Strides{b, s, h, d};
}

void BindParams(nb::module_& m)
{
    nb::class_<Strides>(m, "CpuStrides").def(nb::new_(&MakeStrides));
    nb::class_<AttentionParams>(m, "CpuAttentionParams")
        .def(nb::init<>())
        .def_rw("dtype", &AttentionParams::dtype)
        .def_rw("q", &AttentionParams::q)
        .def_rw("k", &AttentionParams::k)
        .def_rw("v", &AttentionParams::v)
        .def_rw("o", &AttentionParams::o)
        .def_rw("lse", &AttentionParams::lse)
        .def_rw("q_strides", &AttentionParams::qStrides)
        .def_rw("k_strides", &AttentionParams::kStrides)
        .def_rw("v_strides", &AttentionParams::vStrides)
        .def_rw("o_strides", &AttentionParams::oStrides)
        .def_rw("lse_strides", &AttentionParams::lseStrides)
        .def_rw("batch", &AttentionParams::batch)
        .def_rw("queries", &AttentionParams::queries)
        .def_rw("keys", &AttentionParams::keys)
        .def_rw("h_q", &AttentionParams::qHeads)
        .def_rw("h_kv", &AttentionParams::kvHeads)
        .def_rw("d_qk", &AttentionParams::dQk)
        .def_rw("d_v", &AttentionParams::dV)
        .def_rw("scale", &AttentionParams::scale)
        .def_rw("softcap", &AttentionParams::softcap)
        .def_rw("window_left", &AttentionParams::windowLeft)
        .def_rw("window_right", &AttentionParams::windowRight)
        .def_rw("alibi", &AttentionParams::alibi)
        .def_rw("alibi_b", &AttentionParams::alibiB)
        .def_rw("sinks", &AttentionParams::sinks)
        .def_rw("mask", &AttentionParams::mask)
        .def_rw("mask_dtype", &AttentionParams::maskDtype)
        .def_rw("mask_strides", &AttentionParams::maskStrides)
        .def_rw("cu_q", &AttentionParams::cuQ)
        .def_rw("cu_k", &AttentionParams::cuK)
        .def_rw("seqused_k", &AttentionParams::seqUsedK)
        .def_rw("block_table", &AttentionParams::blockTable)
        .def_rw("block_table_stride", &AttentionParams::blockTableStride)
        .def_rw("page_size", &AttentionParams::pageSize)
        .def_rw("page_count", &AttentionParams::pageCount)
        .def_rw("threads", &AttentionParams::threads)
        .def_rw("splits", &AttentionParams::splits);
}

}  // namespace

void BindCpu(nb::module_& m)
{
    BindParams(m);
    m.def("cpu_attend", &cpu::Attend, nb::call_guard<nb::gil_scoped_release>());
    m.def("cpu_targets", &cpu::Targets, "Instruction-set targets usable here, best first; 'portable' is always last.");
    m.def("cpu_active_target", &cpu::ActiveTarget);
    m.def("cpu_force_target", &cpu::ForceTarget);
    m.def("cpu_has_highway", &cpu::HasHighway);
    m.def("cpu_pooled_threads", &cpu::PooledThreads);
    m.def("cpu_read_bandwidth_probe", &cpu::ReadBandwidthProbe, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace fastattn
