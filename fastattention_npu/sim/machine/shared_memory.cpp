// See shared_memory.h.
#include "shared_memory.h"

#include <algorithm>
#include <limits>

namespace ascend_sim {

namespace {

constexpr double DONE_BYTES = 1e-3;
constexpr double NEVER = std::numeric_limits<double>::infinity();

// The common limit that, applied to every demand, uses up the capacity; infinite when the demands fit.
template <class Demands>
double FairLimit(double capacity, size_t count, const Demands& demand)
{
    double total = 0;
    for (size_t i = 0; i < count; ++i) total += demand(i);
    if (total <= capacity) return NEVER;
    // Demands below the limit are met in full; what they leave is divided again. Settles within a few rounds.
    double limit = 0;
    for (;;) {
        double met = 0;
        size_t unmet = 0;
        for (size_t i = 0; i < count; ++i) {
            if (demand(i) <= limit) {
                met += demand(i);
            } else {
                ++unmet;
            }
        }
        if (unmet == 0) return limit;
        const double next = (capacity - met) / static_cast<double>(unmet);
        if (next <= limit * (1 + 1e-12)) return next;
        limit = next;
    }
}

}  // namespace

SharedMemory::SharedMemory(const fastattn::SocSpec& soc, L2Cache l2)
    : soc_(soc),
      hbmBytesPerCycle_(soc.hbmGbps * 1e3 / soc.clockMhz),
      l2BytesPerCycle_(soc.l2Gbps * 1e3 / soc.clockMhz),
      l2_(std::move(l2))
{
}

void SharedMemory::CountSharers(const Stream& stream, int change)
{
    for (Stream& other : streams_) {
        if (other.address == stream.address && !other.write) other.sharers += change;
    }
}

void SharedMemory::Start(uint32_t owner, const Transfer& transfer, double coreCycles, double missBytesPerCycle)
{
    const L2Outcome outcome = l2_.Access(transfer);
    const double bytes = outcome.requestBytes;
    const double missing = outcome.missBytes / bytes;
    const double coreRate = coreCycles > 0 ? bytes / coreCycles : l2BytesPerCycle_;
    const double missRate = std::min(coreRate, missBytesPerCycle);
    Stream stream{};
    stream.owner = owner;
    stream.address = transfer.address;
    stream.write = transfer.write;
    stream.missed = missing > 0;
    stream.remaining = bytes;
    stream.pathRate = 1 / ((1 - missing) / coreRate + missing / missRate);
    stream.hbmShare = (outcome.missBytes + outcome.writeBackBytes) / bytes;
    stream.sharers = 1;
    if (!transfer.write) {
        traffic_.l2HitBytes += bytes - outcome.missBytes;
        CountSharers(stream, 1);
        for (const Stream& other : streams_) stream.sharers += other.address == stream.address && !other.write ? 1 : 0;
    }
    traffic_.hbmReadBytes += outcome.missBytes;
    traffic_.hbmWriteBytes += outcome.writeBackBytes;
    streams_.push_back(stream);
    stale_ = true;
}

void SharedMemory::SetRates()
{
    stale_ = false;
    for (Stream& s : streams_) {
        s.rate = s.pathRate;
        if (s.sharers > 1) s.rate = std::min(s.rate, soc_.l2SliceBytesPerCycle / s.sharers);
    }
    const double hbm = FairLimit(hbmBytesPerCycle_, streams_.size(),
                                 [this](size_t i) { return streams_[i].rate * streams_[i].hbmShare; });
    if (hbm != NEVER) {
        for (Stream& s : streams_) {
            if (s.hbmShare > 0) s.rate = std::min(s.rate, hbm / s.hbmShare);
        }
    }
    const double l2 = FairLimit(l2BytesPerCycle_, streams_.size(), [this](size_t i) { return streams_[i].rate; });
    if (l2 != NEVER) {
        for (Stream& s : streams_) s.rate = std::min(s.rate, l2);
    }
}

double SharedMemory::NextEnd()
{
    if (stale_) SetRates();
    double cycles = NEVER;
    for (const Stream& s : streams_) cycles = std::min(cycles, s.remaining / s.rate);
    return now_ + cycles;
}

void SharedMemory::AdvanceTo(double time)
{
    const double cycles = time - now_;
    now_ = time;
    if (cycles <= 0) return;
    if (stale_) SetRates();
    for (Stream& s : streams_) s.remaining -= s.rate * cycles;
}

bool SharedMemory::TakeEnded(Ended& ended)
{
    for (size_t i = 0; i < streams_.size(); ++i) {
        if (streams_[i].remaining > DONE_BYTES) continue;
        const Stream stream = streams_[i];
        ended = {stream.owner, stream.missed};
        streams_.erase(streams_.begin() + static_cast<ptrdiff_t>(i));
        if (!stream.write) CountSharers(stream, -1);
        stale_ = true;
        return true;
    }
    return false;
}

}  // namespace ascend_sim
