// See listing.h.
#include "listing.h"

#include <utility>

#include "core.h"
#include "group.h"
#include "launch.h"

namespace ascend_sim {

namespace {

using Number = unsigned long long;

// GM by buffer and offset: operands lie elsewhere in every run.
std::string Place(GlobalMemory& gm, const Region& region)
{
    if (region.space != Space::GM) return Format("%s+%llu", SpaceName(region.space), static_cast<Number>(region.start));
    const GmBuffer* buffer = gm.Find(region.start);
    if (buffer == nullptr) return "GM?";
    return Format("%s+%llu", buffer->name.c_str(), static_cast<Number>(region.start - buffer->address));
}

std::string Extent(const Region& r)
{
    std::string text = Format("[%llu", static_cast<Number>(r.bytes));
    if (r.count1 > 1) text += Format(" x%u/%llu", r.count1, static_cast<Number>(r.pitch1));
    if (r.count2 > 1) text += Format(" x%u/%llu", r.count2, static_cast<Number>(r.pitch2));
    return text + "]";
}

}  // namespace

std::string ListSync(const Record& r)
{
    switch (r.step) {
        case Step::SET_FLAG: return Format("set_flag %s %s %u", PipeName(r.pipe), PipeName(r.peer), r.id);
        case Step::WAIT_FLAG: return Format("wait_flag %s %s %u", PipeName(r.pipe), PipeName(r.peer), r.id);
        case Step::CROSS_SET: return Format("ffts_cross_core_sync %s mode %u flag %u", PipeName(r.pipe), r.mode, r.id);
        case Step::CROSS_WAIT: return Format("wait_flag_dev %u", r.id);
        case Step::HCCL_COMMIT: return Format("hccl_commit task %u", r.id);
        case Step::HCCL_WAIT: return Format("hccl_wait task %u", r.id);
        default: return Format("pipe_barrier %s", PipeName(r.pipe));
    }
}

void Core::List(const Instruction& instruction)
{
    GlobalMemory& gm = group_->Owner().Gm();
    std::string line = Format("%s %s %.9g cycles", instruction.name, PipeName(instruction.pipe), instruction.cycles);
    for (const Operand& operand : instruction.operands) {
        line += Format(" %s=%s%s", operand.name, Place(gm, operand.region).c_str(), Extent(operand.region).c_str());
    }
    if (instruction.pipe == Pipe::V) {
        line += Format(" mask %016llx %016llx%s", static_cast<Number>(registers_.vectorMask[1]),
                       static_cast<Number>(registers_.vectorMask[0]), registers_.countMode ? " count" : "");
    }
    trace_.listing.push_back(line + std::exchange(note_, {}));
}

void Core::ListScalar(const char* name) { trace_.listing.push_back(name + std::exchange(note_, {})); }

void Core::Note(uint64_t value)
{
    if (Lists()) note_ += Format(" %llx", static_cast<Number>(value));
}

}  // namespace ascend_sim
