// Python face of op_host/append_plan.h.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include "../../op_host/append_plan.h"
#include "soc_from_dict.h"

namespace fastattn {
namespace {

namespace nb = nanobind;

AppendTensor TensorFromDict(const nb::dict& values)
{
    return {nb::cast<int64_t>(values["head_dim"]), nb::cast<std::array<int64_t, 3>>(values["new_strides"]),
            nb::cast<std::array<int64_t, 3>>(values["cache_strides"])};
}

nb::dict PlanAppend(const nb::dict& values, const nb::dict& socValues)
{
    const SocSpec soc = SocFromDict(socValues);
    AppendProblem p;
    p.batch = nb::cast<int64_t>(values["b"]);
    p.tokens = nb::cast<int64_t>(values["tokens"]);
    p.heads = nb::cast<int64_t>(values["heads"]);
    p.cacheRows = nb::cast<int64_t>(values["cache_rows"]);
    p.rowTokens = nb::cast<int64_t>(values["row_tokens"]);
    p.sequencePages = nb::cast<int64_t>(values["sequence_pages"]);
    p.tableStride = nb::cast<int64_t>(values["table_stride"]);
    p.hasCacheBatchIdx = nb::cast<bool>(values["has_cache_batch_idx"]);
    p.elementBytes = nb::cast<int64_t>(values["element_bytes"]);
    p.k = TensorFromDict(nb::cast<nb::dict>(values["k"]));
    p.v = TensorFromDict(nb::cast<nb::dict>(values["v"]));
    const AppendKvCacheTiling tiling = MakeAppendPlan(p, soc);
    nb::dict answer;
    answer["tiling_bytes"] = nb::bytes(&tiling, sizeof(tiling));
    answer["workspace_bytes"] = 0;
    answer["block_dim"] = tiling.blockDim;
    answer["chunk_tokens"] = tiling.chunkTokens;
    return answer;
}

}  // namespace

void BindAppend(nb::module_& m)
{
    m.def("plan_append", &PlanAppend, nb::arg("problem"), nb::arg("soc"),
          "The launch of append_kv_cache for a problem: b, tokens, heads, cache_rows, row_tokens, sequence_pages, "
          "table_stride, has_cache_batch_idx, element_bytes; k and v: head_dim, new_strides, cache_strides (elements). "
          "ValueError with every reason if there is none.");
}

}  // namespace fastattn
