// All kernels of one target: vector operations, then the two kernels over them, then the table that the driver calls
// through. Included by kernels_highway.cpp for every Highway target and by kernels_portable.cpp once. No include guard:
// foreach_target.h includes it again for each target.

namespace fastattn::cpu {
namespace FASTATTN_TARGET {

#include "math-inl.h"

#include "tiles-inl.h"

#include "panel-inl.h"

#include "panel_task-inl.h"

#include "decode-inl.h"

#include "decode_task-inl.h"

int64_t ScratchFloats(const Context& c)
{
    return c.decode ? DecodeFloats(c) : LayOutPanels(c, nullptr).floats;
}

void PanelTask(const Context& c, const Task& t, float* scratch)
{
    switch (static_cast<DType>(c.p.dtype)) {
    case DType::kFloat16:
        return PanelTaskOf<Half>(c, t, scratch);
    case DType::kBFloat16:
        return PanelTaskOf<BFloat>(c, t, scratch);
    default:
        return PanelTaskOf<float>(c, t, scratch);
    }
}

void DecodeTask(const Context& c, const Task& t, float* scratch)
{
    switch (static_cast<DType>(c.p.dtype)) {
    case DType::kFloat16:
        return DecodeTaskOf<Half>(c, t, scratch);
    case DType::kBFloat16:
        return DecodeTaskOf<BFloat>(c, t, scratch);
    default:
        return DecodeTaskOf<float>(c, t, scratch);
    }
}

void CombineRows(const Context& c, const Combine& job, float* sum)
{
    switch (static_cast<DType>(c.p.dtype)) {
    case DType::kFloat16:
        return CombineRowsOf<Half>(c, job, sum);
    case DType::kBFloat16:
        return CombineRowsOf<BFloat>(c, job, sum);
    default:
        return CombineRowsOf<float>(c, job, sum);
    }
}

const KernelTable* Table()
{
    static const KernelTable table = {FASTATTN_TARGET_NAME, PANEL, DECODE_ROWS, &ScratchFloats,
                                      &PanelTask, &DecodeTask, &CombineRows};
    return &table;
}

}  // namespace FASTATTN_TARGET
}  // namespace fastattn::cpu
