// Unit flags of a core: Mmad and Fixpipe wait for each other's bits, as unit_flags.h keeps them. See core.h.
#include "core.h"
#include "group.h"

namespace ascend_sim {

bool Core::UnitsReady(const Instruction& instruction, const CallSite& site)
{
    if (instruction.units.flag == 0) return true;
    const int64_t wrong = unitFlags_.FirstWrong(instruction.operands, instruction.pipe == Pipe::M);
    if (wrong < 0) return true;
    BlockOnUnits(instruction, site, static_cast<uint64_t>(wrong));
    return false;
}

void Core::BlockOnUnits(const Instruction& instruction, const CallSite& site, uint64_t byte)
{
    const bool mmad = instruction.pipe == Pipe::M;
    PipeQueue& queue = pipes_[static_cast<uint32_t>(instruction.pipe)];
    queue.blocked = true;
    queue.blockedOn = UNIT_FLAGS;
    queue.blockedText =
        Format("%s waits at %s until the unit flag of L0C byte %llu is %s: %s", PipeName(instruction.pipe),
               Describe(site).c_str(), static_cast<unsigned long long>(byte), mmad ? "clear" : "set",
               mmad ? "no Fixpipe with unitFlag 3 has taken the last result"
                    : "no Mmad with unitFlag 3 has finished it; a Fixpipe covers what its Mmad covered");
}

void Core::JoinUnits(const Instruction& instruction, uint32_t record)
{
    const bool mmad = instruction.pipe == Pipe::M;
    unitFlags_.AppendWaits(instruction.operands, mmad, instruction.units, record, trace_.unitWaits);
    if (checks_) unitFlags_.Join(instruction.operands, mmad, group_->Races().Clock(Thread(instruction.pipe)));
}

// The bits turn when the instruction has run, and the other pipe may be waiting for them.
void Core::TurnUnits(const Instruction& instruction, uint32_t record)
{
    const uint32_t thread = Thread(instruction.pipe);
    RaceDetector& races = group_->Races();
    unitFlags_.Turn(instruction.operands, instruction.pipe == Pipe::M, instruction.units, record, races.Clock(thread),
                    thread, races.Issued(thread));
    WakeUnits(instruction.pipe == Pipe::M ? Pipe::FIX : Pipe::M);
}

void Core::WakeUnits(Pipe pipe)
{
    PipeQueue& queue = pipes_[static_cast<uint32_t>(pipe)];
    if (!queue.blocked || queue.blockedOn != UNIT_FLAGS) return;
    queue.blocked = false;
    Drain(pipe);
}

void Core::ResetUnitFlags()
{
    AfterLast(Pipe::FIX, [this, site = site_] {
        InheritScalar(Pipe::FIX);
        const int64_t early = unitFlags_.Reset(group_->Races().Clock(Thread(Pipe::FIX)));
        if (early >= 0 && checks_) {
            throw SimulatorError(Rule::UNIT_FLAG,
                                 Format("%s on %s: the unit flags are reset while the Mmad that sets that of L0C byte "
                                        "%lld may still run; FIX has to wait for M first",
                                        Describe(site).c_str(), Name().c_str(), static_cast<long long>(early)));
        }
        ++unitEpoch_;
        WakeUnits(Pipe::M);
    });
}

}  // namespace ascend_sim
