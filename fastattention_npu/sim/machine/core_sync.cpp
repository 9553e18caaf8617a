// Flags, barriers, cross-core flags and unit flags of a core, and what must be true when its program ends. See core.h.
#include "core.h"
#include "group.h"
#include "launch.h"
#include "listing.h"

namespace ascend_sim {

namespace {

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

void Core::Enqueue(Pipe pipe, Action action)
{
    pipes_[static_cast<uint32_t>(pipe)].actions.push_back(std::move(action));
}

void Core::Drain(Pipe pipe)
{
    PipeQueue& queue = pipes_[static_cast<uint32_t>(pipe)];
    while (!queue.blocked && !queue.actions.empty()) {
        Action action = std::move(queue.actions.front());
        queue.actions.pop_front();
        if (!action()) queue.actions.push_front(std::move(action));
    }
}

// The scalar unit waits for what cannot come any more; what the pipes wait for says why.
void Core::ThrowStuck(const std::string& text) const
{
    std::string all = Format("deadlock on %s: %s", Name().c_str(), text.c_str());
    Rule rule = Rule::FLAG_NEVER_SET;
    for (const PipeQueue& queue : pipes_) {
        if (!queue.blocked) continue;
        all += "; " + queue.blockedText;
        if (queue.blockedOn == UNIT_FLAGS) rule = Rule::UNIT_FLAG;
    }
    throw SimulatorError(rule, all);
}

void Core::Block(Pipe from, Pipe to, uint32_t id, const CallSite& site)
{
    const std::string text = Format("%s waits for flag %s_%s id %u at %s, which was not set", PipeName(to),
                                    PipeName(from) + 5, PipeName(to) + 5, id, Describe(site).c_str());
    // Everything that could still set the flag has run or waits itself: the scalar unit would never go on.
    if (to == Pipe::S) ThrowStuck(text);
    PipeQueue& queue = pipes_[static_cast<uint32_t>(to)];
    queue.blocked = true;
    queue.blockedOn = FlagIndex(from, to, id);
    queue.blockedText = text;
}

void Core::RequireFlagPair(Pipe from, Pipe to, uint32_t id) const
{
    Limit("event id", id, 0, EVENT_IDS - 1, Rule::EVENT_ID);
    const bool known = Has(kind_, from) && Has(kind_, to) && from != to;
    if (!known || (kind_ == CoreKind::AIC && !CubePair(from, to))) {
        Refuse(Rule::FLAG_PAIR, Format("%s has no flag from %s to %s", Name().c_str(), PipeName(from), PipeName(to)));
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
    record.site = SiteId(site_);
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
            throw SimulatorError(Rule::FLAG_TWICE,
                                 Format("%s on %s: flag %s_%s id %u is set twice without a wait between (first at %s)",
                                        Describe(site).c_str(), Name().c_str(), PipeName(from) + 5, PipeName(to) + 5,
                                        id, Describe(flag.site).c_str()));
        }
        InheritScalar(from);
        RaceDetector& races = group_->Races();
        if (checks_) flag.clock = races.Completed(Thread(from));
        flag.site = site;
        PipeQueue& queue = pipes_[static_cast<uint32_t>(to)];
        if (queue.blocked && queue.blockedOn == FlagIndex(from, to, id)) {
            queue.blocked = false;
            if (checks_) races.Clock(Thread(to)).Join(flag.clock);
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
        if (checks_) group_->Races().Clock(Thread(to)).Join(flag.clock);
    });
}

void Core::Barrier(Pipe pipe)
{
    if (pipe == Pipe::S) Refuse(Rule::BARRIER_SCALAR, "PipeBarrier<PIPE_S> is illegal");
    if (pipe != Pipe::ALL && !Has(kind_, pipe))
        Refuse(Rule::PIPE, Format("%s has no %s", Name().c_str(), PipeName(pipe)));
    RecordSync(Step::BARRIER, pipe, pipe, 0, 0);
    RaceDetector& races = group_->Races();
    if (pipe != Pipe::ALL) {
        RunOrEnqueue(pipe, [this, pipe, &races] { races.Complete(Thread(pipe)); });
        return;
    }
    for (const Flag& flag : flags_) {
        if (!flag.set) continue;
        Warn(Rule::BARRIER_PENDING,
             Format("PIPE_ALL finds the flag set at %s still pending", Describe(flag.site).c_str()));
        break;
    }
    for (uint32_t p = 1; p < PIPES; ++p) {
        if (pipes_[p].blocked) {
            ThrowStuck(Format("PIPE_ALL at %s waits for all pipes", Describe(site_).c_str()));
        }
        const uint32_t thread = ThreadOf(coreInGroup_, static_cast<Pipe>(p));
        races.Complete(thread);
        races.Clock(Thread(Pipe::S)).Join(races.Clock(thread));
    }
    races.Complete(Thread(Pipe::S));
}

void Core::RequireMix(const char* what) const
{
    const KernelType type = group_->Owner().Options().type;
    if (type == KernelType::MIX) return;
    Refuse(Rule::KERNEL_TYPE,
           Format("%s in a kernel launched as %s, which does not switch on the cross-core scheduler", what,
                  type == KernelType::AIC_ONLY ? "KERNEL_TYPE_AIC_ONLY" : "KERNEL_TYPE_AIV_ONLY"));
}

void Core::RequireCrossFlag(uint32_t id, uint32_t mode)
{
    constexpr uint32_t FIRST_RESERVED = 11;
    constexpr uint32_t LAST_RESERVED = 14;
    Limit("flag id", id, 0, CROSS_CORE_FLAGS - 1, Rule::CROSS_ID);
    if (!insideSyncAll_ && id >= FIRST_RESERVED && id <= LAST_RESERVED) usedReservedIds_ |= 1U << id;
    if (usedReservedIds_ != 0 && syncAlls_[0] + syncAlls_[1] != 0) {
        Refuse(Rule::CROSS_RESERVED,
               Format("flag id %u: ids %u ... %u belong to SyncAll, which this kernel calls too",
                      static_cast<uint32_t>(__builtin_ctz(usedReservedIds_)), FIRST_RESERVED, LAST_RESERVED));
    }
    const double cores =
        kind_ == CoreKind::AIC || group_->Owner().Options().type == KernelType::MIX ? soc_.aicCores : soc_.aicCores * 2;
    if (mode == 0 && BlockDim() > cores) {
        Refuse(Rule::SYNC_BLOCK_DIM,
               Format("blockDim = %u with %g cores: the blocks that wait for a core never set", BlockDim(), cores));
    }
}

void Core::CrossSet(Pipe pipe, uint32_t mode, uint32_t id)
{
    RequireMix("a cross-core flag is set");
    Limit("mode", mode, 0, 2, Rule::CROSS_MODE);
    RequireCrossFlag(id, mode);
    if (pipe == Pipe::S || pipe == Pipe::ALL || !Has(kind_, pipe)) {
        Refuse(Rule::CROSS_PIPE,
               Format("a cross-core set cannot be queued on %s of %s", PipeName(pipe), Name().c_str()));
    }
    RecordSync(Step::CROSS_SET, pipe, pipe, id, mode);
    RunOrEnqueue(pipe, [this, pipe, mode, id] {
        InheritScalar(pipe);
        group_->CrossSet(*this, pipe, mode, id, group_->Races().Completed(Thread(pipe)));
    });
}

void Core::CrossWait(uint32_t id)
{
    RequireMix("a cross-core flag is waited for");
    RequireCrossFlag(id, 2);
    RecordSync(Step::CROSS_WAIT, Pipe::S, Pipe::S, id, 0);
    waiting_ = Format("%s waits for cross-core flag %u at %s", Name().c_str(), id, Describe(site_).c_str());
    group_->CrossWait(*this, id);
    waiting_.clear();
}

std::string Core::Waiting() const
{
    std::string text = waiting_;
    for (const PipeQueue& queue : pipes_) {
        if (queue.blocked) text += "; its " + queue.blockedText;
    }
    return text;
}

void Core::NoteSyncAll(bool aivOnly)
{
    insideSyncAll_ = !insideSyncAll_;
    if (!insideSyncAll_) return;
    ++syncAlls_[aivOnly ? 1 : 0];
    if (!aivOnly) RequireMix("SyncAll<false> is called");
}

void Core::FinishFlags() const
{
    for (const PipeQueue& queue : pipes_) {
        if (!queue.blocked) continue;
        const bool units = queue.blockedOn == UNIT_FLAGS;
        throw SimulatorError(units ? Rule::UNIT_FLAG : Rule::FLAG_NEVER_SET,
                             Format("deadlock at kernel exit on %s: %s", Name().c_str(), queue.blockedText.c_str()));
    }
    for (uint32_t from = 0; from < PIPES; ++from) {
        for (uint32_t to = 0; to < PIPES; ++to) {
            for (uint32_t id = 0; id < EVENT_IDS; ++id) {
                const Flag& flag = flags_[FlagIndex(static_cast<Pipe>(from), static_cast<Pipe>(to), id)];
                if (!flag.set) continue;
                throw SimulatorError(Rule::FLAG_LEFT,
                                     Format("%s: flag %s_%s id %u, set at %s, is still set at kernel exit",
                                            Name().c_str(), PipeName(static_cast<Pipe>(from)) + 5,
                                            PipeName(static_cast<Pipe>(to)) + 5, id, Describe(flag.site).c_str()));
            }
        }
    }
    const int64_t left = unitFlags_.FirstSet();
    if (left < 0) return;
    throw SimulatorError(Rule::UNIT_FLAG, Format("%s: the unit flag of L0C byte %lld is still set at kernel exit: no "
                                                 "Fixpipe with unitFlag 3 covered it",
                                                 Name().c_str(), static_cast<long long>(left)));
}

void Core::FinishRegisters()
{
    site_ = {"kernel exit", "", 0};
    sitePipe_ = Pipe::S;
    const bool full = registers_.vectorMask[0] == ~uint64_t{0} && registers_.vectorMask[1] == ~uint64_t{0};
    if (kind_ == CoreKind::AIV && registers_.countMode) {
        Warn(Rule::MASK_LEFT, "counter mode is left on");
    } else if (kind_ == CoreKind::AIV && !full) {
        Warn(Rule::MASK_LEFT, Format("the vector mask is left partial: high 0x%llx, low 0x%llx",
                                     static_cast<unsigned long long>(registers_.vectorMask[1]),
                                     static_cast<unsigned long long>(registers_.vectorMask[0])));
    }
    if (registers_.atomicAdd) Warn(Rule::ATOMIC_LEFT, "atomic mode is left on");
    for (const auto& [line, cached] : lines_) {
        if (cached.dirty == 0) continue;
        Warn(Rule::DCACHE_STALE,
             Format("the data cache holds unwritten bytes of GM line 0x%llx", static_cast<unsigned long long>(line)));
        break;
    }
}

void Core::Finish()
{
    FinishFlags();
    FinishRegisters();
}

}  // namespace ascend_sim
