// What the client of the communication server does to a core: its own part of the record, and the order between the
// core's accesses and the server's. See hccl.h.
#include "core.h"
#include "group.h"
#include "hccl.h"
#include "launch.h"

namespace ascend_sim {

namespace {

Operand GmOperand(const char* name, uint64_t address, uint64_t bytes, bool write)
{
    Region region;
    region.start = address;
    region.bytes = bytes;
    return {region, name, 1, write, false};
}

}  // namespace

HcclRank& Core::Hccl()
{
    HcclRank* rank = group_->Owner().Hccl();
    if (rank == nullptr) Refuse(Rule::HCCL_INIT, "the launch has no communicator");
    return *rank;
}

bool Core::InGm(uint64_t address) const { return group_->Owner().Gm().Find(address) != nullptr; }

void Core::RequireGm(const char* name, uint64_t address, uint64_t bytes, bool write) const
{
    CheckGm(GmOperand(name, address, bytes, write));
}

uint32_t Core::PostHccl(uint32_t ordinal, uint64_t send, uint64_t recv, uint64_t bytes)
{
    RecordSync(Step::HCCL_COMMIT, Pipe::S, Pipe::S, ordinal, 0);
    RaceDetector& races = group_->Races();
    races.Clock(HCCL_THREAD).Join(races.Clock(Thread(Pipe::S)));
    Access access;
    access.time = races.Tick(HCCL_THREAD);
    access.site = site_;
    if (!Checks()) return access.time;
    for (const Operand& operand : {GmOperand("sendBuf", send, bytes, false), GmOperand("recvBuf", recv, bytes, true)}) {
        GmBuffer* buffer = group_->Owner().Gm().Find(operand.region.start);
        if (!buffer->writable) continue;
        if (!operand.write && buffer->init != nullptr) {
            CheckWritten(operand, *buffer->init, buffer->address, site_, Pipe::S);
        }
        if (operand.write && buffer->init != nullptr) {
            buffer->init->Mark(operand.region.start - buffer->address, operand.region.bytes);
        }
        access.write = operand.write;
        access.region = operand.region;
        access.operand = operand.name;
        group_->Gm().Note(HCCL_THREAD, access, races.Clock(HCCL_THREAD));
        races.Check(HCCL_THREAD, 0, access, group_->Hazards());
    }
    return access.time;
}

void Core::WaitHccl(const HcclRank& rank, uint32_t ordinal)
{
    RecordSync(Step::HCCL_WAIT, Pipe::S, Pipe::S, ordinal, 0);
    waiting_ =
        Format("%s waits for task %u of the communicator at %s", Name().c_str(), ordinal, Describe(site_).c_str());
    group_->WaitHccl(*this, rank, ordinal);
    waiting_.clear();
}

void Core::JoinHccl(uint32_t ordinal, uint32_t tick)
{
    VectorClock done;
    done.at[HCCL_THREAD] = tick;
    done.at[GROUP_THREADS + HCCL_SLOT] = ordinal;
    group_->Races().Clock(Thread(Pipe::S)).Join(done);
}

}  // namespace ascend_sim
