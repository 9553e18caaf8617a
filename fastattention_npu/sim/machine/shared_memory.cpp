// See shared_memory.h.
#include "shared_memory.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace ascend_sim {

namespace {

constexpr double DONE_BYTES = 1e-3;
constexpr double NEVER = std::numeric_limits<double>::infinity();
constexpr uint64_t NOTHING_READ = UINT64_MAX;
constexpr size_t PACK_AT = 16;  // ended streams
constexpr uint32_t GUESSES = 4;
// Far above the rounding of a sum over all streams, far below what a rate can be told apart by.
constexpr double ROUNDING = 1e-9;
constexpr double CLEAR = 1e-8;

// What demands at or below the limit take together, in their order, and how many are above it.
struct Met {
    double met = 0;
    size_t unmet = 0;
};

// Numbers from 0 on are ordered as their bits are: 1 where a > b, without a branch, which no predictor would get right.
uint64_t Above(double a, double b)
{
    uint64_t bits[2];
    std::memcpy(bits, &a, sizeof(a));
    std::memcpy(bits + 1, &b, sizeof(b));
    return (bits[1] - bits[0]) >> 63;
}

Met MeetBelow(double limit, const std::vector<double>& demands, std::vector<double>& met)
{
    const size_t count = demands.size();
    met.resize(count);
    uint64_t unmet = 0;
    for (size_t i = 0; i < count; ++i) {
        const uint64_t above = Above(demands[i], limit);
        uint64_t bits;
        std::memcpy(&bits, &demands[i], sizeof(bits));
        bits &= above - 1;
        std::memcpy(&met[i], &bits, sizeof(bits));
        unmet += above;
    }
    Met found;
    for (size_t i = 0; i < count; ++i) found.met += met[i];
    found.unmet = unmet;
    return found;
}

// The common limit that, applied to every demand, uses up the capacity; infinite when the demands fit.
double FairLimitOf(double capacity, const std::vector<double>& demands, std::vector<double>& met)
{
    double total = 0;
    for (const double demand : demands) total += demand;
    if (total <= capacity) return NEVER;
    // Demands below the limit are met in full; what they leave is divided again. Settles within a few rounds.
    double limit = 0;
    for (;;) {
        const Met found = MeetBelow(limit, demands, met);
        if (found.unmet == 0) return limit;
        const double next = (capacity - found.met) / static_cast<double>(found.unmet);
        if (next <= limit * (1 + 1e-12)) return next;
        limit = next;
    }
}

// Are so many demands above the limit, and none so close to it that rounding could put it on the other side?
bool Divides(double limit, size_t above, const std::vector<double>& demands)
{
    const double low = limit * (1 - CLEAR);
    const double high = limit * (1 + CLEAR);
    uint64_t below = 0;
    uint64_t over = 0;
    for (const double demand : demands) {
        below += Above(low, demand);
        over += Above(demand, high);
    }
    return below + above == demands.size() && over == above;
}

double Smallest(const std::vector<double>& values)
{
    double least[4] = {NEVER, NEVER, NEVER, NEVER};
    size_t i = 0;
    for (; i + 4 <= values.size(); i += 4) {
        for (size_t j = 0; j < 4; ++j) least[j] = std::min(least[j], values[i + j]);
    }
    for (; i < values.size(); ++i) least[0] = std::min(least[0], values[i]);
    return std::min(std::min(least[0], least[1]), std::min(least[2], least[3]));
}

}  // namespace

SharedMemory::SharedMemory(const fastattn::SocSpec& soc, L2Cache l2)
    : soc_(soc), hbm_{soc.hbmGbps * 1e3 / soc.clockMhz}, l2Ports_{soc.l2Gbps * 1e3 / soc.clockMhz}, l2_(std::move(l2))
{
}

// The limit of the demands in work_. It is the only number at which demands cut to it use up the capacity. So where the
// demands below some guess give one that they are clearly below and all others clearly above, rounds from zero on would
// end at the same demands and hence at the same number. The last limit is a good guess, and what it gives a better one.
double SharedMemory::FairLimit(Shared& shared)
{
    double guess = shared.limit;
    for (uint32_t round = 0; round < GUESSES && guess > 0; ++round) {
        const Met found = MeetBelow(guess, work_, met_);
        if (found.unmet == 0) break;
        guess = (shared.capacity - found.met) / static_cast<double>(found.unmet);
        if (guess > 0 && Divides(guess, found.unmet, work_)) return shared.limit = guess;
    }
    const double limit = FairLimitOf(shared.capacity, work_, met_);
    if (limit != NEVER) shared.limit = limit;
    return limit;
}

void SharedMemory::SetOwnRate(size_t i)
{
    const double before = ownRate_[i];
    const uint32_t sharers = sharers_[i];
    double rate = pathRate_[i];
    if (sharers > 1) rate = std::min(rate, soc_.l2SliceBytesPerCycle / sharers);
    ownRate_[i] = rate;
    ownRateSum_ += rate - before;
    ownHbmSum_ += (rate - before) * hbmShare_[i];
}

void SharedMemory::CountSharers(uint64_t address, int change)
{
    for (size_t i = 0; i < readAddress_.size(); ++i) {
        if (readAddress_[i] != address) continue;
        sharers_[i] += change;
        SetOwnRate(i);
    }
}

void SharedMemory::Start(uint32_t owner, const Transfer& transfer, double coreCycles, double missBytesPerCycle)
{
    const L2Outcome outcome = l2_.Access(transfer);
    const double bytes = outcome.requestBytes;
    const double missing = outcome.missBytes / bytes;
    const double coreRate = coreCycles > 0 ? bytes / coreCycles : l2Ports_.capacity;
    const double missRate = std::min(coreRate, missBytesPerCycle);
    uint32_t sharers = 1;
    if (!transfer.write) {
        traffic_.l2HitBytes += bytes - outcome.missBytes;
        CountSharers(transfer.address, 1);
        for (const uint64_t address : readAddress_) sharers += address == transfer.address ? 1 : 0;
    }
    traffic_.hbmReadBytes += outcome.missBytes;
    traffic_.hbmWriteBytes += outcome.writeBackBytes;
    streams_.push_back({owner, missing > 0});
    readAddress_.push_back(transfer.write ? NOTHING_READ : transfer.address);
    sharers_.push_back(sharers);
    remaining_.push_back(bytes);
    pathRate_.push_back(1 / ((1 - missing) / coreRate + missing / missRate));
    hbmShare_.push_back((outcome.missBytes + outcome.writeBackBytes) / bytes);
    ownRate_.push_back(0);
    rate_.push_back(0);
    SetOwnRate(streams_.size() - 1);
    stale_ = true;
}

void SharedMemory::SetRates()
{
    stale_ = false;
    const size_t count = streams_.size();
    rate_ = ownRate_;
    work_.resize(count);
    if (ownHbmSum_ * (1 + ROUNDING) > hbm_.capacity) {
        for (size_t i = 0; i < count; ++i) work_[i] = rate_[i] * hbmShare_[i];
        const double limit = FairLimit(hbm_);
        if (limit != NEVER) {
            for (size_t i = 0; i < count; ++i) {
                if (hbmShare_[i] > 0) rate_[i] = std::min(rate_[i], limit / hbmShare_[i]);
            }
        }
    }
    if (ownRateSum_ * (1 + ROUNDING) > l2Ports_.capacity) {
        work_ = rate_;
        const double limit = FairLimit(l2Ports_);
        if (limit != NEVER) {
            for (double& rate : rate_) rate = std::min(rate, limit);
        }
    }
}

double SharedMemory::NextEnd()
{
    if (stale_) SetRates();
    const size_t count = streams_.size();
    work_.resize(count);
    for (size_t i = 0; i < count; ++i) work_[i] = remaining_[i] / rate_[i];
    return now_ + Smallest(work_);
}

void SharedMemory::AdvanceTo(double time)
{
    const double cycles = time - now_;
    now_ = time;
    if (cycles <= 0) return;
    if (stale_) SetRates();
    for (size_t i = 0; i < remaining_.size(); ++i) remaining_[i] -= rate_[i] * cycles;
    mayEnd_ = Smallest(remaining_) <= DONE_BYTES;
    scan_ = 0;
}

bool SharedMemory::TakeEnded(Ended& ended)
{
    if (!mayEnd_) return false;
    for (; scan_ < streams_.size(); ++scan_) {
        if (remaining_[scan_] > DONE_BYTES) continue;
        ended = {streams_[scan_].owner, streams_[scan_].missed};
        End(scan_);
        return true;
    }
    mayEnd_ = false;
    if (ended_ >= PACK_AT) Pack();
    return false;
}

void SharedMemory::End(size_t i)
{
    const uint64_t address = readAddress_[i];
    readAddress_[i] = NOTHING_READ;
    remaining_[i] = NEVER;
    sharers_[i] = 1;
    pathRate_[i] = 0;
    SetOwnRate(i);
    hbmShare_[i] = 0;
    if (address != NOTHING_READ) CountSharers(address, -1);
    ++ended_;
    stale_ = true;
}

void SharedMemory::Pack()
{
    size_t kept = 0;
    ownRateSum_ = ownHbmSum_ = 0;
    for (size_t i = 0; i < streams_.size(); ++i) {
        if (remaining_[i] == NEVER) continue;
        streams_[kept] = streams_[i];
        readAddress_[kept] = readAddress_[i];
        sharers_[kept] = sharers_[i];
        ownRateSum_ += ownRate_[i];
        ownHbmSum_ += ownRate_[i] * hbmShare_[i];
        for (auto* numbers : {&remaining_, &pathRate_, &hbmShare_, &ownRate_, &rate_}) {
            (*numbers)[kept] = (*numbers)[i];
        }
        ++kept;
    }
    streams_.resize(kept);
    readAddress_.resize(kept);
    sharers_.resize(kept);
    for (auto* numbers : {&remaining_, &pathRate_, &hbmShare_, &ownRate_, &rate_}) numbers->resize(kept);
    ended_ = 0;
}

}  // namespace ascend_sim
