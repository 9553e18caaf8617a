// One AIC or AIV: local memories, pipes, flags, registers. It checks and orders what the isa layer hands it and runs
// it; it decides nothing about time. A pipe that waits for a flag keeps its later instructions in a queue, as the chip
// does.
#pragma once
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "error.h"
#include "memory.h"
#include "op_host/soc_spec.h"
#include "race.h"
#include "trace.h"
#include "types.h"
#include "unit_flags.h"

namespace ascend_sim {

class Group;
struct BankPatterns;
class HcclRank;

// Does this kind of core have the pipe?
bool Has(CoreKind kind, Pipe pipe);

// What the isa layer says about one instruction before it runs.
struct Instruction {
    const char* name = "";
    Pipe pipe = Pipe::S;
    OperandList operands;
    double cycles = 0;
    double latencyCycles = 0;
    double cubeMacs = 0;
    UnitUse units;                       // of Mmad and Fixpipe
    bool atomic = false;                 // adds to its destination
    double headCycles = 0;               // of a copy from or to GM: before its first request
    bool gmTransfer = false;             // uses the shared memory system
    bool ownResultNeedsBarrier = false;  // later instructions of the same pipe must not use the result without one
};

// State that register setters change and later instructions read.
struct Registers {
    uint64_t vectorMask[2] = {~uint64_t{0}, ~uint64_t{0}};  // low, high
    bool countMode = false;
    uint64_t ndPara = 1;
    uint64_t padValue = 0;
    bool padChosen = false;      // the next padded copy fills with padValue
    uint64_t cmpMaskOffset = 0;  // where set_cmpmask read from
    uint8_t cmpMask[32] = {};
    bool atomicAdd = false;
    uint8_t atomicType = 0;  // FloatType of the atomic mode
    bool maskChosen = true;  // the kernel set the mask itself; false: an API left it
    uint64_t fmatrix = 0;    // height, width and padding of the next 3D load
    uint64_t loadPadding = 0;
    uint64_t ctrl = 0;
};

class Core {
public:
    Core(const fastattn::SocSpec& soc, CoreKind kind, uint32_t coreInGroup, Group& group);

    CoreKind Kind() const { return kind_; }
    uint32_t GroupIndex() const;
    uint32_t InGroup() const { return coreInGroup_; }
    uint32_t SubBlock() const { return kind_ == CoreKind::AIC ? 0 : coreInGroup_ - 1; }
    uint32_t SubBlocks() const;  // AIVs, or AICs, that a block of the launch has
    uint32_t BlockDim() const;
    const fastattn::SocSpec& Soc() const { return soc_; }
    LocalMemory& Memory(Space space)
    {
        LocalMemory* memory = memories_[static_cast<uint32_t>(space)].get();
        if (memory == nullptr) RefuseMemory(space);
        return *memory;
    }
    // The local memories exist, poisoned, only while the program runs.
    void PowerOn();
    void PowerOff();
    Registers& Regs() { return registers_; }
    CoreTrace& Trace() { return trace_; }
    HostWork& Work() { return trace_.work; }
    // What the costs of vector instructions remember between them (isa/cost.cpp).
    std::shared_ptr<BankPatterns>& Patterns() { return patterns_; }
    bool Checks() const { return checks_; }
    bool Lists() const { return lists_; }
    // Adds a value that is no operand (a scalar, a register's new contents) to the next line of the listing.
    void Note(uint64_t value);

    void At(const CallSite& site, Pipe pipe)
    {
        site_ = site;
        sitePipe_ = pipe;
    }
    const CallSite& Site() const { return site_; }
    std::string Name() const;
    [[noreturn]] void Refuse(Rule rule, const std::string& what) const;
    [[noreturn]] void Refuse(const std::string& what) const { Refuse(Rule::NOT_SIMULATED, what); }
    void Warn(Rule rule, const std::string& what) const;
    // Refuses unless low <= value <= high.
    void Limit(const char* argument, int64_t value, int64_t low, int64_t high, Rule rule = Rule::FIELD_RANGE) const;

    // Checks operands, records the instruction and runs it now or, when its pipe waits for a flag, later.
    template <class Execute>
    void Issue(const Instruction& instruction, const Execute& execute)
    {
        const uint32_t record = Admit(instruction);
        const bool blocked = pipes_[static_cast<uint32_t>(instruction.pipe)].blocked;
        if (blocked || !UnitsReady(instruction, site_)) {
            Enqueue(instruction.pipe, [this, instruction, execute, record, site = site_] {
                if (!UnitsReady(instruction, site)) return false;
                Run(instruction, execute, record, site);
                return true;
            });
            return;
        }
        Run(instruction, execute, record, site_);
    }
    // Runs something in its place in the pipe's order, right behind the last instruction issued to it.
    template <class Run>
    void AfterLast(Pipe pipe, const Run& action)
    {
        RunOrEnqueue(pipe, action);
    }
    // Scalar work that stalls the issue of everything else.
    void Scalar(const char* name, double cycles);

    void SetFlag(Pipe from, Pipe to, uint32_t id);
    void WaitFlag(Pipe from, Pipe to, uint32_t id);
    void Barrier(Pipe pipe);
    void CrossSet(Pipe pipe, uint32_t mode, uint32_t id);
    void CrossWait(uint32_t id);
    // SyncAll<isAIVOnly> is made of flags; this notes the call, so that a core that misses it can be named.
    void NoteSyncAll(bool aivOnly);
    // Clears all unit flags, behind the last instruction issued to FIX.
    void ResetUnitFlags();
    uint32_t SyncAlls(bool aivOnly) const { return syncAlls_[aivOnly ? 1 : 0]; }

    // The data cache of the scalar unit: GM lines of 64 B, written back by DataCacheCleanAndInvalid only.
    void ScalarLoad(uint64_t address, uint32_t bytes, void* value);
    // What reading a number costs: less where its line is one of the last that this core has read.
    double ScalarLoadCycles(uint64_t address);
    void ScalarStore(uint64_t address, uint32_t bytes, const void* value);
    void CleanLine(uint64_t address);
    // The line that a store to the address fetches first, if it does; empty if the core writes that line already.
    Region LineToFetch(uint64_t address);
    void CleanAllLines();
    void RequireGmWrite(uint64_t address, uint32_t bytes) const;

    // The TPipe of this core, and the buffers that it has placed: no access runs past the buffer that it starts in.
    void* PipeObject() const { return pipeObject_; }
    void SetPipeObject(void* object) { pipeObject_ = object; }
    void NoteBuffer(Space space, uint64_t start, uint64_t bytes);
    void ForgetBuffers();

    // Around the instructions of Select that use the reserved end of UB.
    void UseReservedUb(bool inside) { insideReserved_ = inside; }
    // Bytes that a padded copy filled with no value of the kernel's choosing.
    void MarkFiller(uint64_t ubOffset, uint64_t bytes);
    // Yields until no core group before this one can still reach its own atomic update, so that sums of floats come
    // out the same for any number of threads.
    void TakeAtomicTurn();

    // What the communication server's client needs of a core (hccl_rank.cpp).
    Group& Owner() { return *group_; }
    int64_t BlockIndex() const { return static_cast<int64_t>(GroupIndex()) * SubBlocks() + SubBlock(); }
    HcclRank& Hccl();
    bool InGm(uint64_t address) const;
    void RequireGm(const char* name, uint64_t address, uint64_t bytes, bool write) const;
    // The server will read `send` and write `recv`, after all that this core knows of; returns the server's time stamp.
    uint32_t PostHccl(uint32_t ordinal, uint64_t send, uint64_t recv, uint64_t bytes);
    void WaitHccl(const HcclRank& rank, uint32_t ordinal);
    // What follows comes after the task; tick 0: the task was posted by another group.
    void JoinHccl(uint32_t ordinal, uint32_t tick);

    // At the end of the program: nothing may be left waiting or set.
    void Finish();
    // What the core waits for, for the deadlock report.
    std::string Waiting() const;

private:
    using Action = std::function<bool()>;  // false: it cannot run yet and has blocked the pipe again
    static constexpr uint32_t UNIT_FLAGS = UINT32_MAX;
    struct PipeQueue {
        std::deque<Action> actions;  // behind an unmet flag
        bool blocked = false;
        uint32_t blockedOn = 0;  // flag index, or UNIT_FLAGS
        std::string blockedText;
    };

    [[noreturn]] void RefuseMemory(Space space) const;
    uint16_t NameId(const char* name);
    uint32_t SiteId(const CallSite& site);
    void CheckGm(const Operand& operand) const;
    void CheckLocal(const Operand& operand) const;
    void CheckWritten(const Operand& operand, InitMap& init, uint64_t base, const CallSite& site, Pipe pipe);
    uint64_t LimitBytes(Space space) const;
    void CheckReservedUb(const Operand& operand);
    void CheckBuffer(uint64_t start, const Operand& operand) const;
    // Blocks the pipe when the bits are not as the instruction needs them.
    bool UnitsReady(const Instruction& instruction, const CallSite& site);
    void BlockOnUnits(const Instruction& instruction, const CallSite& site, uint64_t byte);
    void JoinUnits(const Instruction& instruction, uint32_t record);
    void TurnUnits(const Instruction& instruction, uint32_t record);
    void WakeUnits(Pipe pipe);
    struct CacheLine {
        std::array<uint8_t, 64> bytes;
        uint64_t dirty = 0;    // a bit per byte
        bool cleaned = false;  // invalidated since the last fetch
        bool held = false;
    };
    CacheLine& FetchLine(uint64_t line);
    Region LineOf(uint64_t address) const;
    uint64_t ModelLine(uint64_t address) const;
    void RequireMix(const char* what) const;
    void RequireCrossFlag(uint32_t id, uint32_t mode);
    void FinishFlags() const;
    void FinishRegisters();
    uint32_t Admit(const Instruction& instruction);  // decode-time checks and the record, whose index it returns
    template <class Execute>
    void Run(const Instruction& instruction, const Execute& execute, uint32_t record, const CallSite& site)
    {
        Before(instruction, site, record);
        if (functional_ || instruction.pipe == Pipe::S) execute();
        After(instruction, record);
    }
    void AddTransfer(const Instruction& instruction, const Operand& operand);
    // Checks that need the data in place; the results exist.
    void Before(const Instruction& instruction, const CallSite& site, uint32_t record);
    void After(const Instruction& instruction, uint32_t record);
    void Enqueue(Pipe pipe, Action action);
    template <class Run>
    void RunOrEnqueue(Pipe pipe, const Run& action)
    {
        if (pipes_[static_cast<uint32_t>(pipe)].blocked) {
            Enqueue(pipe, [action] {
                action();
                return true;
            });
        } else {
            action();
        }
    }
    void Drain(Pipe pipe);
    void Block(Pipe from, Pipe to, uint32_t id, const CallSite& site);
    [[noreturn]] void ThrowStuck(const std::string& text) const;
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
    Pipe sitePipe_ = Pipe::S;
    std::string waiting_;
    std::array<uint32_t, 2> syncAlls_{};  // SyncAll<false>, SyncAll<true>
    uint16_t usedReservedIds_ = 0;        // flag ids 11 ... 14 used outside SyncAll
    bool insideSyncAll_ = false;
    bool insideReserved_ = false;
    bool reservedUsed_ = false;      // Select has used the reserved end of UB
    const char* reservedData_ = "";  // API that put data there
    std::unordered_map<uint64_t, CacheLine> lines_;
    std::unordered_map<uint64_t, uint64_t> linesRead_;  // the last that fit into the data cache: when read
    uint64_t scalarLoads_ = 0;
    std::unique_ptr<InitMap> filler_;
    std::shared_ptr<BankPatterns> patterns_;
    UnitFlags unitFlags_;
    uint32_t unitEpoch_ = 0;  // counts resets
    std::string note_;
    double pendingScalarCycles_ = 0;
    bool functional_ = true;
    bool checks_ = true;
    bool lists_ = false;
    // Ids that this core has looked up; literals are compared by address.
    struct KnownName {
        const char* name = nullptr;
        uint16_t id = 0;
    };
    struct KnownSite {
        CallSite site{nullptr, nullptr, 0};
        uint32_t id = 0;
    };
    static constexpr size_t KNOWN_IDS = 512;
    std::array<KnownName, KNOWN_IDS> names_{};
    std::array<KnownSite, KNOWN_IDS> sites_{};

    struct Buffer {
        uint64_t start;
        uint64_t end;
    };
    void* pipeObject_ = nullptr;
    std::array<std::vector<Buffer>, SPACES> buffers_;

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
Core* CurrentCoreIfAny();
void SetCurrentCore(Core* core);

}  // namespace ascend_sim
