// The record of a run: what each core issued, in program order. Function writes it, the clock reads it; neither knows
// the other.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "types.h"

namespace ascend_sim {

enum class Step : uint8_t { OP, SET_FLAG, WAIT_FLAG, BARRIER, CROSS_SET, CROSS_WAIT };

struct Record {
    Step step = Step::OP;
    Pipe pipe = Pipe::S;      // where it runs; for flags the pipe that sets
    Pipe peer = Pipe::S;      // for flags the pipe that waits
    uint8_t mode = 0;         // of a cross-core set
    uint16_t id = 0;          // event or flag id
    uint16_t name = 0;        // index into the instruction names
    uint32_t site = 0;        // index into the call sites
    float cycles = 0;         // occupation of the pipe
    float latencyCycles = 0;  // from the end of the occupation until the result is there
    float scalarCycles = 0;   // what issuing it cost the scalar unit
};

struct Traffic {
    uint64_t gmBytesRead = 0;
    uint64_t gmBytesWritten = 0;
    uint64_t instructions = 0;
    double cubeMacs = 0;
};

struct CoreTrace {
    CoreKind kind = CoreKind::AIC;
    uint32_t group = 0;
    uint32_t coreInGroup = 0;
    std::vector<Record> records;
    std::vector<std::string> listing;  // one line an instruction with its operands, if the launch asks for it
    Traffic traffic;
};

}  // namespace ascend_sim
