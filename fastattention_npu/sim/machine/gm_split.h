// GM traffic by tensor. The workspace is one allocation; its parts are ranges that repeat once per core group.
#pragma once
#include <string>
#include <vector>

#include "memory.h"
#include "trace.h"

namespace ascend_sim {

// Bytes [begin, end) of every `period` bytes of a GM buffer; a whole buffer has begin 0 and period 0.
struct GmPart {
    std::string buffer;
    std::string name;
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t period = 0;
};

struct GmPartTraffic {
    std::string name;
    uint64_t bytes = 0;  // of the allocation
    uint64_t bytesRead = 0;
    uint64_t bytesWritten = 0;
};

class GmSplit {
public:
    // parts: those of buffers that are more than one tensor; every other buffer is a part of its own.
    GmSplit(const GlobalMemory& gm, const std::vector<GmPart>& parts);

    // Index of the part that holds the address, or -1.
    int32_t PartOf(uint64_t address) const;
    void Count(const CoreTrace& trace);
    const std::vector<GmPartTraffic>& Parts() const { return traffic_; }

private:
    struct Range {
        uint64_t base;
        uint64_t bytes;
        GmPart part;
    };
    std::vector<Range> ranges_;
    std::vector<GmPartTraffic> traffic_;
};

}  // namespace ascend_sim
