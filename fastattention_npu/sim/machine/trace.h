// The record of a run: what each core issued, in program order. Function writes it, the clock reads it; neither knows
// the other.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "types.h"

namespace ascend_sim {

// The last two: a task of the communication server is committed, is waited for; its number is the record's id.
enum class Step : uint8_t { OP, SET_FLAG, WAIT_FLAG, BARRIER, CROSS_SET, CROSS_WAIT, HCCL_COMMIT, HCCL_WAIT };

struct Record {
    Step step = Step::OP;
    Pipe pipe = Pipe::S;      // where it runs; for flags the pipe that sets
    Pipe peer = Pipe::S;      // for flags the pipe that waits
    uint8_t mode = 0;         // of a cross-core set; of Mmad and Fixpipe the unitFlag
    uint16_t id = 0;          // event or flag id
    uint16_t name = 0;        // index into the instruction names
    uint32_t site = 0;        // index into the call sites
    uint32_t transfer = 0;    // one-based index into the transfers; 0: does not touch GM
    float cycles = 0;         // occupation of the pipe; of a transfer, what the core alone allows
    float latencyCycles = 0;  // from the end of the occupation until the result is there
    float scalarCycles = 0;   // what issuing it cost the scalar unit
};

// What an instruction moved between GM and the core; kept only for a timeline.
struct GmAccess {
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint32_t record = 0;
    bool write = false;
};

// Unit flags let `record` follow `on`, which runs on the other pipe: Fixpipe starts no earlier than `first` cycles
// after the start of its Mmad and ends no earlier than `last` cycles after it. A Mmad follows a Fixpipe that has ended.
struct UnitWait {
    uint32_t record = 0;
    uint32_t on = 0;
    float first = 0;
    float last = 0;
};

// What a copy from or to GM asks of the shared memory system. Addresses are model addresses: the launch's buffers one
// after the other, each on a 512 B boundary, as the device allocator places them.
struct Transfer {
    uint64_t address = 0;
    uint32_t runBytes = 0;  // contiguous bytes of a run; count2 groups of count1 runs
    uint32_t count1 = 1;
    uint32_t count2 = 1;
    uint64_t pitch1 = 0;
    uint64_t pitch2 = 0;
    float headCycles = 0;  // before the first request leaves
    bool write = false;
};

struct Traffic {
    uint64_t gmBytesRead = 0;
    uint64_t gmBytesWritten = 0;
    uint64_t instructions = 0;
    double cubeMacs = 0;
};

// What simulating took on the host, in countable steps: the same in every run, so that tests can hold it to a bound.
struct HostWork {
    uint64_t bankRepeats = 0;      // repeats whose UB banks were worked out
    uint64_t raceComparisons = 0;  // pairs of accesses that were held against each other
    uint64_t initWords = 0;        // words of "who wrote this" that were read or marked
    HostWork& operator+=(const HostWork& other)
    {
        bankRepeats += other.bankRepeats;
        raceComparisons += other.raceComparisons;
        initWords += other.initWords;
        return *this;
    }
};

// Records as they come, in pieces that stay where they are: a run issues millions, and a vector would copy them each
// time that it grows.
class RecordList {
public:
    const Record& operator[](size_t i) const { return pieces_[i / PIECE][i % PIECE]; }
    Record& back() { return pieces_.back().back(); }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    void push_back(const Record& record)
    {
        if (size_ % PIECE == 0) pieces_.emplace_back().reserve(PIECE);
        pieces_.back().push_back(record);
        ++size_;
    }

private:
    static constexpr size_t PIECE = 1024;
    std::vector<std::vector<Record>> pieces_;
    size_t size_ = 0;
};

struct CoreTrace {
    CoreKind kind = CoreKind::AIC;
    uint32_t group = 0;
    uint32_t coreInGroup = 0;
    RecordList records;
    std::vector<std::string> listing;  // one line an instruction with its operands, if the launch asks for it
    std::vector<GmAccess> gmAccesses;
    std::vector<Transfer> transfers;
    std::vector<UnitWait> unitWaits;  // in the order in which the instructions ran
    Traffic traffic;
    HostWork work;
};

}  // namespace ascend_sim
