// The memory system that all cores share, as a fluid: every transfer under way moves at a rate, limited by its own
// path, by its share of HBM for what missed the L2, by its share of the L2 ports, and by the one slice that serves a
// line when several cores read the same addresses together. Rates are max-min fair and change when a transfer starts or
// ends.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "l2_cache.h"
#include "op_host/soc_spec.h"
#include "trace.h"

namespace ascend_sim {

struct SharedTraffic {
    double l2HitBytes = 0;
    double hbmReadBytes = 0;
    double hbmWriteBytes = 0;
};

class SharedMemory {
public:
    // l2: as an earlier launch left it, or empty.
    SharedMemory(const fastattn::SocSpec& soc, L2Cache l2);
    L2Cache TakeL2() { return std::move(l2_); }

    // Starts a transfer at the present time; coreCycles is what the core's own path needs for it, missBytesPerCycle
    // what the core's outstanding requests let through of what misses the L2.
    void Start(uint32_t owner, const Transfer& transfer, double coreCycles, double missBytesPerCycle);
    // The end of the transfer that ends first if nothing else starts; infinite when none is under way.
    double NextEnd();
    // Moves the time on, to at most NextEnd().
    void AdvanceTo(double time);

    struct Ended {
        uint32_t owner;
        bool missed;  // its last byte came from HBM
    };
    // Takes out one transfer that has ended; false when there is none.
    bool TakeEnded(Ended& ended);
    const SharedTraffic& Traffic() const { return traffic_; }

private:
    // One capacity that streams divide: the limit that they met last is the first guess at the next one.
    struct Shared {
        double capacity;
        double limit = 0;
    };
    // Who moves what. Its numbers stand in arrays of their own, one a quantity, so that loops over all are short ones.
    struct Stream {
        uint32_t owner;
        bool missed;
    };

    void CountSharers(uint64_t address, int change);
    // The stream's rate were it not for the capacities that all share.
    void SetOwnRate(size_t i);
    void SetRates();
    double FairLimit(Shared& shared);
    void End(size_t i);
    void Pack();

    const fastattn::SocSpec& soc_;
    Shared hbm_;
    Shared l2Ports_;
    L2Cache l2_;
    double now_ = 0;
    bool stale_ = false;   // rates must be set anew
    bool mayEnd_ = false;  // a stream at or behind scan_ may have moved all its bytes
    size_t scan_ = 0;

    // Transfers in the order of their start. One that has ended keeps its place, with no rate and no end, until all are
    // packed: sums go over the same numbers in the same order, and what it adds to them is 0.
    std::vector<Stream> streams_;
    std::vector<uint64_t> readAddress_;  // NOTHING_READ of a write
    std::vector<uint32_t> sharers_;      // transfers that read the same addresses now, this one included
    std::vector<double> remaining_;      // bytes
    std::vector<double> pathRate_;       // bytes a cycle that the core's path takes
    std::vector<double> hbmShare_;       // HBM bytes per byte
    std::vector<double> ownRate_;
    std::vector<double> rate_;
    std::vector<double> work_;  // of one loop: demands, quotients
    std::vector<double> met_;
    size_t ended_ = 0;
    // Sums over all of them but for rounding, kept up to date: bounds of what they ask for.
    double ownRateSum_ = 0;
    double ownHbmSum_ = 0;
    SharedTraffic traffic_;
};

}  // namespace ascend_sim
