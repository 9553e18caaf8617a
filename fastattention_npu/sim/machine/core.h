// One AIC or AIV: local memories, pipes, flags, registers. It checks and orders what the isa layer hands it and runs
// it; it decides nothing about time. A pipe that waits for a flag keeps its later instructions in a queue, as the chip
// does.
#pragma once
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "memory.h"
#include "op_host/soc_spec.h"
#include "race.h"
#include "trace.h"
#include "types.h"

namespace ascend_sim {

class Group;

// What the isa layer says about one instruction before it runs.
struct Instruction {
    const char* name = "";
    Pipe pipe = Pipe::S;
    OperandList operands;
    double cycles = 0;
    double latencyCycles = 0;
    double cubeMacs = 0;
    double headCycles = 0;    // of a copy from or to GM: before its first request
    bool gmTransfer = false;  // uses the shared memory system
    bool ownResultNeedsBarrier = false;  // later instructions of the same pipe must not use the result without one
};

// State that register setters change and later instructions read.
struct Registers {
    uint64_t vectorMask[2] = {~uint64_t{0}, ~uint64_t{0}};  // low, high
    bool countMode = false;
    uint64_t ndPara = 1;
    uint64_t padValue = 0;
    uint64_t cmpMaskOffset = 0;  // where set_cmpmask read from
    uint8_t cmpMask[32] = {};
    bool atomicAdd = false;
};

class Core {
public:
    Core(const fastattn::SocSpec& soc, CoreKind kind, uint32_t coreInGroup, Group& group);

    CoreKind Kind() const { return kind_; }
    uint32_t GroupIndex() const;
    uint32_t InGroup() const { return coreInGroup_; }
    uint32_t SubBlock() const { return kind_ == CoreKind::AIC ? 0 : coreInGroup_ - 1; }
    uint32_t BlockDim() const;
    const fastattn::SocSpec& Soc() const { return soc_; }
    LocalMemory& Memory(Space space);
    Registers& Regs() { return registers_; }
    CoreTrace& Trace() { return trace_; }
    bool Checks() const;
    bool Lists() const;
    // Adds a value that is no operand (a scalar, a register's new contents) to the next line of the listing.
    void Note(uint64_t value);

    void At(const CallSite& site) { site_ = site; }
    const CallSite& Site() const { return site_; }
    std::string Name() const;
    [[noreturn]] void Refuse(const std::string& what) const;
    // Refuses unless low <= value <= high.
    void Limit(const char* argument, int64_t value, int64_t low, int64_t high) const;

    // Checks operands, records the instruction and runs it now or, when its pipe waits for a flag, later.
    template <class Execute>
    void Issue(const Instruction& instruction, const Execute& execute)
    {
        Admit(instruction);
        if (pipes_[static_cast<uint32_t>(instruction.pipe)].blocked) {
            Enqueue(instruction.pipe, [this, instruction, execute, site = site_] {
                Before(instruction, site);
                if (functional_ || instruction.pipe == Pipe::S) execute();
                After(instruction);
            });
            return;
        }
        Before(instruction, site_);
        if (functional_ || instruction.pipe == Pipe::S) execute();
        After(instruction);
    }
    // Scalar work that stalls the issue of everything else.
    void Scalar(const char* name, double cycles);

    void SetFlag(Pipe from, Pipe to, uint32_t id);
    void WaitFlag(Pipe from, Pipe to, uint32_t id);
    void Barrier(Pipe pipe);
    void CrossSet(Pipe pipe, uint32_t mode, uint32_t id);
    void CrossWait(uint32_t id);

    // At the end of the program: nothing may be left waiting or set.
    void Finish();
    // What the core waits for, for the deadlock report.
    const std::string& Waiting() const { return waiting_; }

private:
    using Action = std::function<void()>;
    struct PipeQueue {
        std::deque<Action> actions;  // behind an unmet flag
        bool blocked = false;
        uint32_t blockedOn = 0;  // flag index
        std::string blockedText;
    };

    void CheckGm(const Operand& operand) const;
    void CheckLocal(const Operand& operand) const;
    void CheckWritten(const Operand& operand, InitMap& init, uint64_t base, const CallSite& site) const;
    uint64_t LimitBytes(Space space) const;
    void Admit(const Instruction& instruction);                         // decode-time checks and the record
    void AddTransfer(const Instruction& instruction, const Operand& operand);
    void Before(const Instruction& instruction, const CallSite& site);  // checks that need the data in place
    void After(const Instruction& instruction);                         // the results exist
    void Enqueue(Pipe pipe, Action action);
    void RunOrEnqueue(Pipe pipe, Action action);
    void Drain(Pipe pipe);
    void Block(Pipe from, Pipe to, uint32_t id, const CallSite& site);
    void InheritScalar(Pipe pipe);
    void List(const Instruction& instruction);
    void ListScalar(const char* name);
    void RecordSync(Step step, Pipe pipe, Pipe peer, uint32_t id, uint32_t mode);
    void RequireFlagPair(Pipe from, Pipe to, uint32_t id) const;
    uint32_t Thread(Pipe pipe) const { return ThreadOf(coreInGroup_, pipe); }

    const fastattn::SocSpec& soc_;
    CoreKind kind_;
    uint32_t coreInGroup_;
    Group* group_;
    std::array<std::unique_ptr<LocalMemory>, SPACES> memories_;
    Registers registers_;
    CoreTrace trace_;
    CallSite site_;
    std::string waiting_;
    std::string note_;
    double pendingScalarCycles_ = 0;
    bool functional_ = true;

    std::array<PipeQueue, PIPES> pipes_;
    struct Flag {
        bool set = false;
        VectorClock clock;
        CallSite site;
    };
    std::array<Flag, PIPES * PIPES * EVENT_IDS> flags_;
};

// The core whose program runs on this thread.
Core& CurrentCore();
bool HasCurrentCore();
void SetCurrentCore(Core* core);

}  // namespace ascend_sim
