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
    struct Stream {
        uint32_t owner;
        uint64_t address;
        bool write;
        bool missed;
        double remaining;  // bytes
        double pathRate;   // bytes a cycle that the core's path takes
        double hbmShare;   // HBM bytes per byte
        double rate;
        uint32_t sharers;  // transfers that read the same addresses now, this one included
    };

    void CountSharers(const Stream& stream, int change);
    void SetRates();

    const fastattn::SocSpec& soc_;
    double hbmBytesPerCycle_;
    double l2BytesPerCycle_;
    L2Cache l2_;
    double now_ = 0;
    bool stale_ = false;  // rates must be set anew
    std::vector<Stream> streams_;
    SharedTraffic traffic_;
};

}  // namespace ascend_sim
