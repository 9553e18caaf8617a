// See l2_cache.h.
#include "l2_cache.h"

namespace ascend_sim {

namespace {

constexpr uint64_t BEAT_BYTES = 32;

}  // namespace

L2Cache::L2Cache(double capacityBytes, uint64_t addressBytes)
    : capacityLines_(static_cast<uint32_t>(capacityBytes / L2_LINE_BYTES)),
      stamps_(addressBytes / L2_LINE_BYTES + 2, 0),
      dirty_(stamps_.size(), false)
{
}

bool L2Cache::Touch(uint32_t line, bool write, bool keep)
{
    const bool missing = !Holds(line);
    if (missing && !keep) return true;
    if (missing) ++fills_;
    stamps_[line] = fills_;
    if (write && (missing || !dirty_[line])) {
        dirty_[line] = true;
        written_.push_back({line, fills_});
    }
    return missing;
}

double L2Cache::WriteBack()
{
    double bytes = 0;
    while (!written_.empty() && fills_ - written_.front().stamp >= capacityLines_) {
        const uint32_t line = written_.front().line;
        written_.pop_front();
        if (Holds(line)) {
            written_.push_back({line, stamps_[line]});
        } else if (dirty_[line]) {
            dirty_[line] = false;
            bytes += L2_LINE_BYTES;
        }
    }
    return bytes;
}

// A run's lines are touched one after the other. Full lines in the middle of an odd run stay, its ends do not.
L2Outcome L2Cache::Access(const Transfer& transfer)
{
    L2Outcome outcome;
    for (uint32_t j = 0; j < transfer.count2; ++j) {
        for (uint32_t i = 0; i < transfer.count1; ++i) {
            const uint64_t start = transfer.address + j * transfer.pitch2 + i * transfer.pitch1;
            const auto first = static_cast<uint32_t>(start / L2_LINE_BYTES);
            const auto last = static_cast<uint32_t>((start + transfer.runBytes - 1) / L2_LINE_BYTES);
            uint32_t missing = 0;
            const bool keepEnds = start % BEAT_BYTES == 0 || transfer.write;
            for (uint32_t line = first; line <= last; ++line) {
                const bool keep = keepEnds || (line != first && line != last);
                missing += Touch(line, transfer.write, keep) ? 1 : 0;
            }
            const double lines = last - first + 1;
            const double bytes = first == last ? transfer.runBytes : lines * L2_LINE_BYTES;
            outcome.requestBytes += bytes;
            // A write fills its line without reading it.
            if (!transfer.write && missing != 0) outcome.missBytes += bytes * missing / lines;
        }
    }
    outcome.writeBackBytes = WriteBack();
    return outcome;
}

}  // namespace ascend_sim
