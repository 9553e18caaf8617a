// The driver: checks a call, resolves its sequences, plans it, runs the tasks on the pool and combines split rows.
// It never touches q, k or v beyond what the kernels read, and allocates only scratch that does not grow with K and V.
#include "attention.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <stdexcept>

#include "context.h"
#include "thread_pool.h"

namespace fastattn::cpu {
namespace {

struct AlignedDelete {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
};
using AlignedFloats = std::unique_ptr<float[], AlignedDelete>;

AlignedFloats Allocate(int64_t floats)
{
    return AlignedFloats(new (std::align_val_t(64)) float[static_cast<size_t>(std::max<int64_t>(floats, 16))]);
}

class Problems {
public:
    void Check(bool good, const std::string& text)
    {
        if (!good) {
            all += (all.empty() ? "" : "; ") + text;
        }
    }
    void ThrowIfAny() const
    {
        if (!all.empty()) {
            throw std::invalid_argument("fastattn cpu: " + all);
        }
    }

private:
    std::string all;
};

std::string Got(int64_t x) { return " (got " + std::to_string(x) + ")"; }

// What must hold for the kernels to stay inside the tensors; the Python side words the user's errors.
void CheckSizes(const AttentionParams& p)
{
    Problems problems;
    problems.Check(p.dtype >= 0 && p.dtype <= 2, "dtype must be float32, float16 or bfloat16" + Got(p.dtype));
    problems.Check(p.batch >= 0 && p.queries >= 0 && p.keys >= 0, "sizes must not be negative");
    problems.Check(p.dQk >= 1 && p.dQk <= 256, "d_qk must be 1..256" + Got(p.dQk));
    problems.Check(p.dV >= 1 && p.dV <= 256, "d_v must be 1..256" + Got(p.dV));
    problems.Check(p.kvHeads >= 1 && p.qHeads >= 1 && p.qHeads % std::max<int64_t>(1, p.kvHeads) == 0,
                   "h_q must be a multiple of h_kv" + Got(p.qHeads));
    problems.Check(std::isfinite(p.scale) && std::isfinite(p.softcap) && p.softcap >= 0,
                   "softmax_scale and softcap must be finite, softcap not negative");
    problems.Check(p.blockTable == 0 || p.pageSize >= 1, "page size must be at least 1" + Got(p.pageSize));
    problems.Check(p.threads >= 1, "threads must be at least 1" + Got(p.threads));
    problems.ThrowIfAny();
}

void ResolveSequences(Context& c)
{
    const AttentionParams& p = c.p;
    const auto* cuQ = reinterpret_cast<const int32_t*>(p.cuQ);
    const auto* cuK = reinterpret_cast<const int32_t*>(p.cuK);
    const auto* used = reinterpret_cast<const int32_t*>(p.seqUsedK);
    Problems problems;
    for (int64_t i = 0; i < p.batch; ++i) {
        Sequence s;
        s.queries = cuQ != nullptr ? cuQ[i + 1] - cuQ[i] : p.queries;
        s.qStart = cuQ != nullptr ? cuQ[i] : 0;
        s.keys = cuK != nullptr ? cuK[i + 1] - cuK[i] : p.keys;
        s.kStart = cuK != nullptr ? cuK[i] : 0;
        const std::string which = " of sequence " + std::to_string(i);
        problems.Check(s.queries >= 0 && s.queries <= p.queries, "query length" + which + Got(s.queries));
        problems.Check(s.keys >= 0 && s.keys <= p.keys, "key length" + which + Got(s.keys));
        if (used != nullptr) {
            problems.Check(used[i] >= 0 && used[i] <= s.keys,
                           "seqused_k" + which + " must be 0.." + std::to_string(s.keys) + Got(used[i]));
            s.keys = used[i];
        }
        const auto* table = reinterpret_cast<const int32_t*>(p.blockTable) + i * p.blockTableStride;
        for (int64_t page = 0; p.blockTable != 0 && page * p.pageSize < s.keys && page < p.blockTableStride; ++page) {
            problems.Check(table[page] >= 0 && table[page] < p.pageCount,
                           "block_table entry " + std::to_string(page) + which + " must be 0.." +
                               std::to_string(p.pageCount - 1) + Got(table[page]));
        }
        c.sequences.push_back(s);
    }
    problems.ThrowIfAny();
}

Context Resolve(const AttentionParams& params)
{
    CheckSizes(params);
    Context c;
    c.p = params;
    c.group = params.qHeads / params.kvHeads;
    c.plainScores = params.softcap == 0 && params.alibi == 0 && params.mask == 0;
    // Scores come out of the product in the units of exp2, or ready for tanh.
    c.qFactor = static_cast<float>(params.softcap > 0 ? params.scale / params.softcap : params.scale * LOG2_E);
    ResolveSequences(c);
    return c;
}

}  // namespace

void Attend(const AttentionParams& params)
{
    Context c = Resolve(params);
    const KernelTable& kernels = ActiveKernels();
    PlanTasks(c, kernels);
    if (c.tasks.empty()) {
        return;
    }
    int64_t partialRows = 0;
    for (const Combine& job : c.combines) {
        partialRows = std::max(partialRows, job.partial + (job.splits - 1) * job.step + job.rowEnd - job.rowBegin);
    }
    const AlignedFloats partials = Allocate(partialRows * (c.p.dV + 2));
    c.partialO = partials.get();
    c.partialMax = c.partialO + partialRows * c.p.dV;
    c.partialSum = c.partialMax + partialRows;

    const int threads = static_cast<int>(std::min<int64_t>(c.p.threads, static_cast<int64_t>(c.tasks.size())));
    // A task's scratch starts on its own cache line, so that two threads never write one.
    const int64_t scratchFloats = (kernels.scratchFloats(c) + 31) / 16 * 16;
    const AlignedFloats scratch = Allocate(scratchFloats * threads);
    const auto run = c.decode ? kernels.decodeTask : kernels.panelTask;
    ParallelFor(static_cast<int64_t>(c.tasks.size()), threads, [&](int64_t task, int worker) {
        run(c, c.tasks[static_cast<size_t>(task)], scratch.get() + worker * scratchFloats);
    });
    ParallelFor(static_cast<int64_t>(c.combines.size()), threads, [&](int64_t job, int worker) {
        kernels.combineRows(c, c.combines[static_cast<size_t>(job)], scratch.get() + worker * scratchFloats);
    });
}

}  // namespace fastattn::cpu
