// See gm_split.h. An access belongs to the part of its first byte: no instruction of a kernel spans two tensors.
#include "gm_split.h"

namespace ascend_sim {

GmSplit::GmSplit(const GlobalMemory& gm, const std::vector<GmPart>& parts)
{
    for (const GmBuffer& buffer : gm.Buffers()) {
        bool divided = false;
        for (const GmPart& part : parts) {
            if (part.buffer != buffer.name || part.period == 0) continue;
            divided = true;
            ranges_.push_back({buffer.address, buffer.bytes, part});
            traffic_.push_back({part.name, buffer.bytes / part.period * (part.end - part.begin)});
        }
        if (divided) continue;
        ranges_.push_back({buffer.address, buffer.bytes, {buffer.name, buffer.name, 0, buffer.bytes, 0}});
        traffic_.push_back({buffer.name, buffer.bytes});
    }
}

int32_t GmSplit::PartOf(uint64_t address) const
{
    for (size_t i = 0; i < ranges_.size(); ++i) {
        const Range& range = ranges_[i];
        if (address < range.base || address >= range.base + range.bytes) continue;
        const uint64_t offset =
            range.part.period == 0 ? address - range.base : (address - range.base) % range.part.period;
        if (offset >= range.part.begin && offset < range.part.end) return static_cast<int32_t>(i);
    }
    return -1;
}

void GmSplit::Count(const CoreTrace& trace)
{
    for (const GmAccess& access : trace.gmAccesses) {
        const int32_t part = PartOf(access.address);
        if (part < 0) continue;
        GmPartTraffic& traffic = traffic_[static_cast<size_t>(part)];
        (access.write ? traffic.bytesWritten : traffic.bytesRead) += access.bytes;
    }
}

}  // namespace ascend_sim
