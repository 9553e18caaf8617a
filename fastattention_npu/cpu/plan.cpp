// Cuts a call into tasks. Few rows to a KV head take the decode kernel, others the panel kernel; where there are too few
// tasks for the threads the keys are split as well, and the parts combined in a fixed order. The plan depends on the
// call, the thread count and the target only, so that equal calls give equal bits.
#include <algorithm>

#include "context.h"

namespace fastattn::cpu {
namespace {

constexpr int64_t TASK_ROWS = 256;        // rows that share one conversion of K and V
constexpr int64_t SPLIT_KEYS = 512;       // least keys to a part: below it the combination costs more than it gains
constexpr int64_t PANEL_TASKS = 4;        // a thread, so that one slow core does not leave the others idle
constexpr int64_t DECODE_TASKS = 16;      // a thread: memory is shared unevenly, and a split's combination costs little
constexpr int64_t MOST_HEADS = 64;        // of one decode task; bounds its scratch
constexpr int64_t KEY_STEP = 128;         // parts begin at multiples of a key block

int64_t Ceil(int64_t x, int64_t step)
{
    return (x + step - 1) / step;
}

int64_t MostRows(const Context& c)
{
    int64_t rows = 0;
    for (const Sequence& s : c.sequences) {
        rows = std::max(rows, s.queries * c.group);
    }
    return rows;
}

// Tasks without key splits, in units of row blocks.
int64_t RowBlocks(const Context& c, int64_t rowsPerTask)
{
    int64_t blocks = 0;
    for (const Sequence& s : c.sequences) {
        blocks += Ceil(s.queries * c.group, rowsPerTask) * Ceil(c.p.kvHeads, c.headsPerTask);
    }
    return blocks;
}

// Keys that rows [begin, end) can see together.
void KeyRange(const Context& c, const Sequence& s, int64_t begin, int64_t end, int64_t* first, int64_t* last)
{
    *first = std::min(c.FirstKey(s, c.Position(begin)), s.keys);
    *last = std::max(*first, c.LastKey(s, c.Position(end - 1)) + 1);
}

void AddTasks(Context& c, Task t, int64_t splits, int64_t* partials)
{
    const Sequence& s = c.sequences[t.sequence];
    int64_t first = 0, last = 0;
    KeyRange(c, s, t.rowBegin, t.rowEnd, &first, &last);
    const int64_t most = std::max<int64_t>(1, (last - first) / SPLIT_KEYS);
    const int64_t parts = c.p.splits > 0 ? std::min<int64_t>(c.p.splits, std::max<int64_t>(1, last - first))
                                         : std::min(splits, most);
    const int64_t step = parts == 1 ? std::max<int64_t>(1, last - first)
                                    : c.p.splits > 0 ? Ceil(last - first, parts)
                                                     : Ceil(Ceil(last - first, parts), KEY_STEP) * KEY_STEP;
    const int64_t used = std::max<int64_t>(1, Ceil(last - first, step));
    const int64_t rows = t.rowEnd - t.rowBegin;
    for (int32_t head = 0; used > 1 && head < t.kvHeads; ++head) {
        c.combines.push_back({t.sequence, t.kvHead + head, t.rowBegin, t.rowEnd, *partials + head * rows,
                              t.kvHeads * rows, static_cast<int32_t>(used)});
    }
    for (int64_t part = 0; part < used; ++part) {
        t.keyBegin = first + part * step;
        t.keyEnd = std::min(last, t.keyBegin + step);
        t.partial = used > 1 ? *partials : -1;
        *partials += used > 1 ? t.kvHeads * rows : 0;
        c.tasks.push_back(t);
    }
}

}  // namespace

void PlanTasks(Context& c, const KernelTable& kernels)
{
    const int64_t mostRows = MostRows(c);
    const bool unitStride = c.p.kStrides.d == 1 && c.p.vStrides.d == 1;
    c.decode = mostRows <= kernels.decodeRows && unitStride;
    // Heads side by side within a token: one head alone would touch a new page of memory for every key.
    const bool tokenMajor = c.p.kStrides.h < c.p.kStrides.s && c.p.vStrides.h < c.p.vStrides.s;
    c.headsPerTask = c.decode && tokenMajor ? std::min(c.p.kvHeads, MOST_HEADS) : 1;
    const int64_t wanted = c.p.threads <= 1 ? 1 : c.p.threads * (c.decode ? DECODE_TASKS : PANEL_TASKS);
    c.rowsPerTask = c.decode ? kernels.decodeRows : TASK_ROWS;
    while (!c.decode && c.rowsPerTask > kernels.panelRows * 2 && RowBlocks(c, c.rowsPerTask) < wanted) {
        c.rowsPerTask /= 2;
    }
    c.rowsPerTask = std::min(c.rowsPerTask, Ceil(std::max<int64_t>(mostRows, 1), kernels.panelRows) * kernels.panelRows);
    const int64_t splits = Ceil(wanted, std::max<int64_t>(1, RowBlocks(c, c.rowsPerTask)));

    int64_t partials = 0;
    const int64_t blocks = Ceil(std::max<int64_t>(mostRows, 1), c.rowsPerTask);
    // Last rows first: under a causal mask they see the most keys, and the short tasks then fill the end.
    for (int64_t block = blocks - 1; block >= 0; --block) {
        for (size_t i = 0; i < c.sequences.size(); ++i) {
            const int64_t rows = c.sequences[i].queries * c.group;
            for (int64_t head = 0; head < c.p.kvHeads && block * c.rowsPerTask < rows; head += c.headsPerTask) {
                Task t;
                t.sequence = static_cast<int32_t>(i);
                t.kvHead = static_cast<int32_t>(head);
                t.kvHeads = static_cast<int32_t>(std::min(c.headsPerTask, c.p.kvHeads - head));
                t.rowBegin = block * c.rowsPerTask;
                t.rowEnd = std::min(rows, t.rowBegin + c.rowsPerTask);
                AddTasks(c, t, splits, &partials);
            }
        }
    }
}

}  // namespace fastattn::cpu
