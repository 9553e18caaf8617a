// The Python module _core: the tiler and the simulator.
#include <nanobind/nanobind.h>

namespace fastattn {

void BindPlan(nanobind::module_& m);
void BindRules(nanobind::module_& m);
void BindSim(nanobind::module_& m);

}  // namespace fastattn

NB_MODULE(_core, m)
{
    fastattn::BindPlan(m);
    fastattn::BindRules(m);
    fastattn::BindSim(m);
}
