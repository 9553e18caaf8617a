// Which lines of GM the L2 holds, in the order in which transfers start. A line leaves when as many other lines have
// come in since its last use as the cache has room for: LRU, except that hits in between do not count, so that one
// number a line is enough. Dirty lines that leave cost a write to HBM. The lines at the ends of a run that does not
// start on a 32 B beat are fetched for that run alone and not kept.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "trace.h"

namespace ascend_sim {

constexpr uint64_t L2_LINE_BYTES = 512;

// What one transfer found.
struct L2Outcome {
    double requestBytes = 0;  // what the requests move: a run that crosses lines moves whole lines
    double missBytes = 0;
    double writeBackBytes = 0;
};

class L2Cache {
public:
    // addressBytes: end of the model addresses.
    L2Cache(double capacityBytes, uint64_t addressBytes);
    L2Outcome Access(const Transfer& transfer);

private:
    struct Written {
        uint32_t line;
        uint32_t stamp;
    };
    bool Holds(uint32_t line) const { return stamps_[line] != 0 && fills_ - stamps_[line] < capacityLines_; }
    // True when the line was missing.
    bool Touch(uint32_t line, bool write, bool keep);
    double WriteBack();

    uint32_t capacityLines_;
    uint32_t fills_ = 1;            // lines brought in so far, from one: a stamp of zero means never
    std::vector<uint32_t> stamps_;  // fills_ at the last use
    std::vector<bool> dirty_;
    std::deque<Written> written_;  // dirty lines, oldest first; a stale stamp means used again since
};

}  // namespace ascend_sim
