// The Python module _core: the tiler, the simulator and the CPU kernels.
#include <nanobind/nanobind.h>

namespace fastattn {

void BindAppend(nanobind::module_& m);
void BindCpu(nanobind::module_& m);
void BindFused(nanobind::module_& m);
void BindPlan(nanobind::module_& m);
void BindRules(nanobind::module_& m);
void BindSchedule(nanobind::module_& m);
void BindSim(nanobind::module_& m);

}  // namespace fastattn

NB_MODULE(_core, m)
{
    fastattn::BindAppend(m);
    fastattn::BindCpu(m);
    fastattn::BindFused(m);
    fastattn::BindPlan(m);
    fastattn::BindRules(m);
    fastattn::BindSchedule(m);
    fastattn::BindSim(m);
}
