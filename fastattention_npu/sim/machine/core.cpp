// See core.h. Order of the checks: what decoding can tell (position, alignment, extent) when the instruction is issued;
// what needs earlier results (bytes that nobody wrote, missing order) when it runs.
#include "core.h"

#include <algorithm>

#include "group.h"
#include "launch.h"
#include "listing.h"

namespace ascend_sim {

namespace {

thread_local Core* currentCore = nullptr;

constexpr uint64_t L1_KEPT_BYTES = 256;  // mix kernels lose the last 256 B of L1 (CANN platform file)

bool Has(CoreKind kind, Pipe pipe)
{
    if (pipe == Pipe::S || pipe == Pipe::MTE2 || pipe == Pipe::MTE3) return true;
    return (kind == CoreKind::AIV) == (pipe == Pipe::V);
}

bool Has(CoreKind kind, Space space)
{
    if (space == Space::GM) return true;
    return (kind == CoreKind::AIV) == (space == Space::UB);
}

// Flag pairs that the cube core has (SetFlag/WaitFlag page); the vector core has every pair of its pipes.
bool CubePair(Pipe from, Pipe to)
{
    if (from == Pipe::S || to == Pipe::S) return true;
    switch (from) {
        case Pipe::M: return to == Pipe::MTE1 || to == Pipe::MTE2 || to == Pipe::FIX;
        case Pipe::MTE1: return to == Pipe::M || to == Pipe::MTE2 || to == Pipe::MTE3 || to == Pipe::FIX;
        case Pipe::MTE2: return to == Pipe::MTE1 || to == Pipe::M || to == Pipe::MTE3;
        case Pipe::MTE3: return to == Pipe::MTE1 || to == Pipe::MTE2;
        case Pipe::FIX: return to == Pipe::M || to == Pipe::MTE1;
        default: return false;
    }
}

uint32_t FlagIndex(Pipe from, Pipe to, uint32_t id)
{
    return (static_cast<uint32_t>(from) * PIPES + static_cast<uint32_t>(to)) * EVENT_IDS + id;
}

}  // namespace

Core& CurrentCore() { return *currentCore; }
bool HasCurrentCore() { return currentCore != nullptr; }
void SetCurrentCore(Core* core) { currentCore = core; }

Core::Core(const fastattn::SocSpec& soc, CoreKind kind, uint32_t coreInGroup, Group& group)
    : soc_(soc), kind_(kind), coreInGroup_(coreInGroup), group_(&group)
{
    const auto add = [this](Space space, double bytes) {
        auto& memory = memories_[static_cast<uint32_t>(space)];
        memory = std::make_unique<LocalMemory>(space, static_cast<uint64_t>(bytes));
        memory->Poison();
    };
    functional_ = group.Owner().Options().functional;
    trace_.kind = kind_;
    trace_.group = group.Index();
    trace_.coreInGroup = coreInGroup_;
    if (kind == CoreKind::AIV) {
        add(Space::UB, soc.ubBytes);
    } else {
        add(Space::L1, soc.l1Bytes);
        add(Space::L0A, soc.l0aBytes);
        add(Space::L0B, soc.l0bBytes);
        add(Space::L0C, soc.l0cBytes);
        add(Space::BT, soc.biasTableBytes);
        add(Space::FB, soc.fixpipeBufferBytes);
    }
}

uint32_t Core::GroupIndex() const { return group_->Index(); }

uint32_t Core::BlockDim() const { return group_->Owner().Options().blockDim; }

LocalMemory& Core::Memory(Space space)
{
    auto& memory = memories_[static_cast<uint32_t>(space)];
    if (memory == nullptr) Refuse(Format("%s has no %s", Name().c_str(), SpaceName(space)));
    return *memory;
}

bool Core::Checks() const { return group_->Owner().Options().checks; }

bool Core::Lists() const { return group_->Owner().Options().listing; }

std::string Core::Name() const
{
    return kind_ == CoreKind::AIC ? Format("AIC %u", GroupIndex()) : Format("AIV %u.%u", GroupIndex(), SubBlock());
}

void Core::Refuse(const std::string& what) const
{
    throw SimulatorError(Format("%s on %s: %s", Describe(site_).c_str(), Name().c_str(), what.c_str()));
}

void Core::Limit(const char* argument, int64_t value, int64_t low, int64_t high) const
{
    if (value >= low && value <= high) return;
    Refuse(Format("%s = %lld is outside %lld ... %lld", argument, static_cast<long long>(value),
                  static_cast<long long>(low), static_cast<long long>(high)));
}

uint64_t Core::LimitBytes(Space space) const
{
    if (space == Space::UB) return static_cast<uint64_t>(soc_.ubUsableBytes);
    const uint64_t bytes = memories_[static_cast<uint32_t>(space)]->Bytes();
    return space == Space::L1 ? bytes - L1_KEPT_BYTES : bytes;
}

void Core::CheckLocal(const Operand& operand) const
{
    const Region& region = operand.region;
    if (!Has(kind_, region.space)) {
        Refuse(Format("operand '%s' lies in %s, which %s does not have", operand.name, SpaceName(region.space),
                      Name().c_str()));
    }
    if (region.start % operand.alignBytes != 0) {
        Refuse(Format("operand '%s' starts at %s offset %llu, which is not a multiple of %u B", operand.name,
                      SpaceName(region.space), static_cast<unsigned long long>(region.start), operand.alignBytes));
    }
    const uint64_t limit = LimitBytes(region.space);
    if (region.End() > limit) {
        Refuse(Format("operand '%s' covers %s bytes [%llu, %llu), %llu past the %llu that can be used", operand.name,
                      SpaceName(region.space), static_cast<unsigned long long>(region.start),
                      static_cast<unsigned long long>(region.End()),
                      static_cast<unsigned long long>(region.End() - limit), static_cast<unsigned long long>(limit)));
    }
}

void Core::CheckGm(const Operand& operand) const
{
    const Region& region = operand.region;
    GlobalMemory& gm = group_->Owner().Gm();
    const GmBuffer* buffer = gm.Find(region.start);
    if (buffer == nullptr) {
        const GmBuffer* near = gm.Nearest(region.start);
        Refuse(Format("operand '%s' starts outside every GM buffer of the launch (%s)", operand.name,
                      near == nullptr
                          ? "below all of them"
                          : Format("%llu B past the end of '%s'",
                                   static_cast<unsigned long long>(region.start - near->address - near->bytes),
                                   near->name.c_str())
                                .c_str()));
    }
    const uint64_t end = buffer->address + buffer->bytes;
    if (region.End() > end) {
        Refuse(Format("operand '%s' runs %llu B past the end of GM buffer '%s' (%llu B)", operand.name,
                      static_cast<unsigned long long>(region.End() - end), buffer->name.c_str(),
                      static_cast<unsigned long long>(buffer->bytes)));
    }
    if (operand.write && !buffer->writable) {
        Refuse(Format("operand '%s' writes GM buffer '%s', which is an input", operand.name, buffer->name.c_str()));
    }
}

void Core::CheckWritten(const Operand& operand, InitMap& init, uint64_t base, const CallSite& site) const
{
    operand.region.ForEachRun([&](uint64_t start, uint64_t bytes) {
        const int64_t unwritten = init.FirstUnwritten(start - base, bytes);
        if (unwritten < 0) return;
        throw SimulatorError(Format("%s on %s: operand '%s' reads %s byte %lld, which nobody has written",
                                    Describe(site).c_str(), Name().c_str(), operand.name,
                                    SpaceName(operand.region.space), static_cast<long long>(unwritten)));
    });
}

void Core::Admit(const Instruction& instruction)
{
    if (!Has(kind_, instruction.pipe)) {
        Refuse(Format("%s runs on %s, which %s does not have", instruction.name, PipeName(instruction.pipe),
                      Name().c_str()));
    }
    Record record;
    record.pipe = instruction.pipe;
    record.cycles = static_cast<float>(instruction.cycles);
    record.latencyCycles = static_cast<float>(instruction.latencyCycles);
    record.name = group_->Owner().InternName(instruction.name);
    record.site = group_->Owner().InternSite(site_);
    record.scalarCycles = static_cast<float>(pendingScalarCycles_);
    pendingScalarCycles_ = 0;
    trace_.records.push_back(record);
    ++trace_.traffic.instructions;
    trace_.traffic.cubeMacs += instruction.cubeMacs;
    if (Lists()) List(instruction);
    for (const Operand& operand : instruction.operands) {
        if (operand.region.Empty()) continue;
        if (operand.region.space == Space::GM) {
            CheckGm(operand);
            uint64_t& total = operand.write ? trace_.traffic.gmBytesWritten : trace_.traffic.gmBytesRead;
            total += operand.region.TotalBytes();
            if (group_->Owner().Options().keepGmAccesses) {
                const auto at = static_cast<uint32_t>(trace_.records.size() - 1);
                trace_.gmAccesses.push_back({operand.region.start, operand.region.TotalBytes(), at, operand.write});
            }
            if (instruction.gmTransfer) AddTransfer(instruction, operand);
        } else {
            CheckLocal(operand);
        }
    }
}

void Core::AddTransfer(const Instruction& instruction, const Operand& operand)
{
    const Region& region = operand.region;
    const GmBuffer* buffer = group_->Owner().Gm().Find(region.start);
    Transfer transfer;
    transfer.address = buffer->modelAddress + (region.start - buffer->address);
    transfer.runBytes = static_cast<uint32_t>(region.bytes);
    transfer.count1 = region.count1;
    transfer.count2 = region.count2;
    transfer.pitch1 = region.pitch1;
    transfer.pitch2 = region.pitch2;
    transfer.headCycles = static_cast<float>(instruction.headCycles);
    transfer.write = operand.write;
    trace_.transfers.push_back(transfer);
    trace_.records.back().transfer = static_cast<uint32_t>(trace_.transfers.size());
}

void Core::Before(const Instruction& instruction, const CallSite& site)
{
    InheritScalar(instruction.pipe);
    if (!Checks()) return;
    const uint32_t thread = Thread(instruction.pipe);
    Access access;
    access.time = group_->Races().Tick(thread);
    access.site = site;
    access.unordered = instruction.ownResultNeedsBarrier;
    for (const Operand& operand : instruction.operands) {
        if (operand.region.Empty()) continue;
        uint32_t owner = coreInGroup_;
        if (operand.region.space == Space::GM) {
            GmBuffer* buffer = group_->Owner().Gm().Find(operand.region.start);
            if (!buffer->writable) continue;
            owner = 0;
            if (!operand.write && buffer->init != nullptr) CheckWritten(operand, *buffer->init, buffer->address, site);
        } else if (!operand.write && !operand.tracksInit) {
            CheckWritten(operand, Memory(operand.region.space).Init(), 0, site);
        }
        access.write = operand.write;
        access.region = operand.region;
        access.operand = operand.name;
        group_->Races().Check(thread, owner, access, group_->Hazards());
    }
}

void Core::After(const Instruction& instruction)
{
    if (!Checks()) return;
    for (const Operand& operand : instruction.operands) {
        if (!operand.write || operand.tracksInit || operand.region.Empty()) continue;
        InitMap* init = nullptr;
        uint64_t base = 0;
        if (operand.region.space == Space::GM) {
            GmBuffer* buffer = group_->Owner().Gm().Find(operand.region.start);
            init = buffer->init.get();
            base = buffer->address;
        } else {
            init = &Memory(operand.region.space).Init();
        }
        if (init == nullptr) continue;
        operand.region.ForEachRun([&](uint64_t start, uint64_t bytes) { init->Mark(start - base, bytes); });
    }
}

void Core::Scalar(const char* name, double cycles)
{
    if (Lists()) ListScalar(name);
    pendingScalarCycles_ += cycles;
}

void Core::InheritScalar(Pipe pipe)
{
    if (pipe == Pipe::S) return;
    RaceDetector& races = group_->Races();
    races.Clock(Thread(pipe)).Join(races.Clock(Thread(Pipe::S)));
}

void Core::Enqueue(Pipe pipe, Action action)
{
    pipes_[static_cast<uint32_t>(pipe)].actions.push_back(std::move(action));
}

void Core::RunOrEnqueue(Pipe pipe, Action action)
{
    if (pipes_[static_cast<uint32_t>(pipe)].blocked) {
        Enqueue(pipe, std::move(action));
    } else {
        action();
    }
}

void Core::Drain(Pipe pipe)
{
    PipeQueue& queue = pipes_[static_cast<uint32_t>(pipe)];
    while (!queue.blocked && !queue.actions.empty()) {
        Action action = std::move(queue.actions.front());
        queue.actions.pop_front();
        action();
    }
}

void Core::Block(Pipe from, Pipe to, uint32_t id, const CallSite& site)
{
    const std::string text = Format("%s waits for flag %s_%s id %u at %s, which was not set", PipeName(to),
                                    PipeName(from) + 5, PipeName(to) + 5, id, Describe(site).c_str());
    // Everything that could still set the flag has run or waits itself: the scalar unit would never go on.
    if (to == Pipe::S) throw SimulatorError(Format("deadlock on %s: %s", Name().c_str(), text.c_str()));
    PipeQueue& queue = pipes_[static_cast<uint32_t>(to)];
    queue.blocked = true;
    queue.blockedOn = FlagIndex(from, to, id);
    queue.blockedText = text;
}

void Core::RequireFlagPair(Pipe from, Pipe to, uint32_t id) const
{
    Limit("event id", id, 0, EVENT_IDS - 1);
    const bool known = Has(kind_, from) && Has(kind_, to) && from != to;
    if (!known || (kind_ == CoreKind::AIC && !CubePair(from, to))) {
        Refuse(Format("%s has no flag from %s to %s", Name().c_str(), PipeName(from), PipeName(to)));
    }
}

void Core::RecordSync(Step step, Pipe pipe, Pipe peer, uint32_t id, uint32_t mode)
{
    Record record;
    record.step = step;
    record.pipe = pipe;
    record.peer = peer;
    record.id = static_cast<uint16_t>(id);
    record.mode = static_cast<uint8_t>(mode);
    record.site = group_->Owner().InternSite(site_);
    record.scalarCycles = static_cast<float>(pendingScalarCycles_);
    pendingScalarCycles_ = 0;
    trace_.records.push_back(record);
    if (Lists()) trace_.listing.push_back(ListSync(record));
}

void Core::SetFlag(Pipe from, Pipe to, uint32_t id)
{
    RequireFlagPair(from, to, id);
    RecordSync(Step::SET_FLAG, from, to, id, 0);
    RunOrEnqueue(from, [this, from, to, id, site = site_] {
        Flag& flag = flags_[FlagIndex(from, to, id)];
        if (flag.set) {
            throw SimulatorError(Format("%s on %s: flag %s_%s id %u is set twice without a wait between (first at %s)",
                                        Describe(site).c_str(), Name().c_str(), PipeName(from) + 5, PipeName(to) + 5,
                                        id, Describe(flag.site).c_str()));
        }
        InheritScalar(from);
        RaceDetector& races = group_->Races();
        flag.clock = races.Completed(Thread(from));
        flag.site = site;
        PipeQueue& queue = pipes_[static_cast<uint32_t>(to)];
        if (queue.blocked && queue.blockedOn == FlagIndex(from, to, id)) {
            queue.blocked = false;
            races.Clock(Thread(to)).Join(flag.clock);
            Drain(to);
        } else {
            flag.set = true;
        }
    });
}

void Core::WaitFlag(Pipe from, Pipe to, uint32_t id)
{
    RequireFlagPair(from, to, id);
    RecordSync(Step::WAIT_FLAG, from, to, id, 0);
    RunOrEnqueue(to, [this, from, to, id, site = site_] {
        Flag& flag = flags_[FlagIndex(from, to, id)];
        if (!flag.set) {
            Block(from, to, id, site);
            return;
        }
        flag.set = false;
        group_->Races().Clock(Thread(to)).Join(flag.clock);
    });
}

void Core::Barrier(Pipe pipe)
{
    if (pipe == Pipe::S) Refuse("PipeBarrier<PIPE_S> is illegal");
    if (pipe != Pipe::ALL && !Has(kind_, pipe)) Refuse(Format("%s has no %s", Name().c_str(), PipeName(pipe)));
    RecordSync(Step::BARRIER, pipe, pipe, 0, 0);
    RaceDetector& races = group_->Races();
    if (pipe != Pipe::ALL) {
        RunOrEnqueue(pipe, [this, pipe, &races] { races.Complete(Thread(pipe)); });
        return;
    }
    for (uint32_t p = 1; p < PIPES; ++p) {
        if (pipes_[p].blocked) Refuse(Format("deadlock: PIPE_ALL waits while %s", pipes_[p].blockedText.c_str()));
        const uint32_t thread = ThreadOf(coreInGroup_, static_cast<Pipe>(p));
        races.Complete(thread);
        races.Clock(Thread(Pipe::S)).Join(races.Clock(thread));
    }
    races.Complete(Thread(Pipe::S));
}

void Core::CrossSet(Pipe pipe, uint32_t mode, uint32_t id)
{
    Limit("mode", mode, 0, 2);
    Limit("flag id", id, 0, CROSS_CORE_FLAGS - 1);
    if (pipe == Pipe::S || pipe == Pipe::ALL || !Has(kind_, pipe)) {
        Refuse(Format("a cross-core set cannot be queued on %s of %s", PipeName(pipe), Name().c_str()));
    }
    RecordSync(Step::CROSS_SET, pipe, pipe, id, mode);
    RunOrEnqueue(pipe, [this, pipe, mode, id] {
        InheritScalar(pipe);
        group_->CrossSet(*this, mode, id, group_->Races().Completed(Thread(pipe)));
    });
}

void Core::CrossWait(uint32_t id)
{
    Limit("flag id", id, 0, CROSS_CORE_FLAGS - 1);
    RecordSync(Step::CROSS_WAIT, Pipe::S, Pipe::S, id, 0);
    waiting_ = Format("%s waits for cross-core flag %u at %s", Name().c_str(), id, Describe(site_).c_str());
    group_->CrossWait(*this, id);
    waiting_.clear();
}

void Core::Finish()
{
    for (const PipeQueue& queue : pipes_) {
        if (queue.blocked) {
            throw SimulatorError(
                Format("deadlock at kernel exit on %s: %s", Name().c_str(), queue.blockedText.c_str()));
        }
    }
    for (uint32_t from = 0; from < PIPES; ++from) {
        for (uint32_t to = 0; to < PIPES; ++to) {
            for (uint32_t id = 0; id < EVENT_IDS; ++id) {
                const Flag& flag = flags_[FlagIndex(static_cast<Pipe>(from), static_cast<Pipe>(to), id)];
                if (!flag.set) continue;
                throw SimulatorError(Format("%s: flag %s_%s id %u, set at %s, is still set at kernel exit",
                                            Name().c_str(), PipeName(static_cast<Pipe>(from)) + 5,
                                            PipeName(static_cast<Pipe>(to)) + 5, id, Describe(flag.site).c_str()));
            }
        }
    }
    const bool full = registers_.vectorMask[0] == ~uint64_t{0} && registers_.vectorMask[1] == ~uint64_t{0};
    if (kind_ == CoreKind::AIV && (!full || registers_.countMode)) {
        group_->Hazards().push_back({Name() + ": the vector mask is left partial at kernel exit"});
    }
    if (registers_.atomicAdd) group_->Hazards().push_back({Name() + ": atomic mode is left on at kernel exit"});
}

}  // namespace ascend_sim
