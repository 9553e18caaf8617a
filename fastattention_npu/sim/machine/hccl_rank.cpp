// What the cores of one rank ask of the communication server, checked call by call. See hccl.h; every constraint is
// that of the call's page in the Ascend C documentation.
#include "core.h"
#include "group.h"
#include "hccl.h"
#include "launch.h"

namespace ascend_sim {

uint32_t HcclRank::Ranks() const { return server_.Ranks(); }

HcclRank::Client& HcclRank::ClientOf(Core& core, const char* call)
{
    const auto found = clients_.find({core.GroupIndex(), core.InGroup()});
    if (found == clients_.end() || found->second.finalized) {
        core.Refuse(Rule::HCCL_INIT,
                    Format("%s %s", call, found == clients_.end() ? "before InitV2" : "after Finalize"));
    }
    return found->second;
}

uint32_t HcclRank::HandleOf(Core& core, const Client& client, int8_t handle) const
{
    if (handle < 0 || static_cast<size_t>(handle) >= client.repeats.size()) {
        core.Refuse(Rule::HCCL_HANDLE,
                    Format("handle %d of %zu that this core has prepared", handle, client.repeats.size()));
    }
    return static_cast<uint32_t>(handle);
}

bool HcclRank::Sends(const Core& core, const Client& client) const
{
    const bool kind = client.sender.anyKind || client.sender.aic == (core.Kind() == CoreKind::AIC);
    return kind && core.BlockIndex() == client.sender.block;
}

void HcclRank::Init(Core& core, uint64_t context, uint64_t tiling, const HcclSender& sender)
{
    const std::lock_guard<std::mutex> lock(mutex_);
    if (context != Context())
        core.Refuse(Rule::HCCL_INIT, "InitV2 with a context that is not this launch's communicator");
    if (core.InGm(tiling)) {
        core.Refuse(Rule::HCCL_TILING, "initTiling lies in GM; the server's client takes it from the stack");
    }
    const auto [client, fresh] = clients_.try_emplace({core.GroupIndex(), core.InGroup()});
    if (!fresh) core.Refuse(Rule::HCCL_INIT_TWICE, "a second Hccl object is initialised with the same context");
    client->second.sender = sender;
}

void HcclRank::SetTiling(Core& core, uint64_t)
{
    const std::lock_guard<std::mutex> lock(mutex_);
    ClientOf(core, "SetCcTilingV2").tiled = true;
}

void HcclRank::CheckCommand(Core& core, const HcclCommand& command) const
{
    std::string bad;
    if (command.send == 0) bad += "; sendBuf is null";
    if (command.recv == 0) bad += "; recvBuf is null";
    if (command.count == 0) bad += "; count is 0";
    if (command.repeat == 0) bad += "; repeat is 0";
    if (!bad.empty()) core.Refuse(Rule::HCCL_ARGUMENT, bad.substr(2));
    if (command.type != HcclType::FP16 && command.type != HcclType::FP32 && command.type != HcclType::BF16) {
        core.Refuse(Format("AllReduce of dataType %u: the simulator adds half, float and bfloat16_t",
                           static_cast<uint32_t>(command.type)));
    }
    if (command.op != HcclOp::SUM && command.op != HcclOp::MAX && command.op != HcclOp::MIN) {
        core.Refuse(Rule::HCCL_ARGUMENT, Format("op %u is none of sum, max, min", static_cast<uint32_t>(command.op)));
    }
    core.RequireGm("sendBuf", command.send, command.TaskBytes() * command.repeat, false);
    core.RequireGm("recvBuf", command.recv, command.TaskBytes() * command.repeat, true);
}

int8_t HcclRank::Prepare(Core& core, const HcclCommand& command, bool commit)
{
    int8_t handle = 0;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        Client& client = ClientOf(core, "AllReduce");
        if (!client.tiled) core.Refuse(Rule::HCCL_INIT, "AllReduce before SetCcTilingV2");
        const int kind = static_cast<int>(core.Kind());
        if (client.sender.anyKind && kind_ >= 0 && kind_ != kind) {
            core.Refuse(Rule::HCCL_CORE_KIND, "AllReduce on AIC and AIV of one kernel");
        }
        kind_ = kind;
        CheckCommand(core, command);
        if (client.repeats.size() == HCCL_MAX_PREPARES) {
            core.Refuse(Rule::HCCL_PREPARES, Format("more than %u Prepare calls in one launch", HCCL_MAX_PREPARES));
        }
        handle = static_cast<int8_t>(client.repeats.size());
        client.repeats.push_back(command.repeat);
        client.commits.push_back(0);
        client.waits.push_back(0);
        if (Sends(core, client)) tasks_.push_back({command, core.Site(), {}});
    }
    if (commit) Commit(core, handle);
    return handle;
}

void HcclRank::Commit(Core& core, int8_t handleId)
{
    const std::lock_guard<std::mutex> lock(mutex_);
    Client& client = ClientOf(core, "Commit");
    const uint32_t handle = HandleOf(core, client, handleId);
    if (client.commits[handle] == client.repeats[handle]) {
        core.Refuse(Rule::HCCL_COMMITS, Format("Commit %u of handle %u, which was prepared with repeat %u",
                                               client.commits[handle] + 1, handle, client.repeats[handle]));
    }
    const uint32_t turn = client.commits[handle]++;
    if (!Sends(core, client)) return;
    Task& task = tasks_[handle];
    const uint64_t offset = turn * task.command.TaskBytes();
    sender_ = &core.Owner();
    task.ticks.push_back(core.PostHccl(OrdinalOf(client, handle, turn), task.command.send + offset,
                                       task.command.recv + offset, task.command.TaskBytes()));
}

void HcclRank::Wait(Core& core, int8_t handleId)
{
    uint32_t ordinal = 0;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        Client& client = ClientOf(core, "Wait");
        const uint32_t handle = HandleOf(core, client, handleId);
        if (client.waits[handle] >= client.commits[handle]) {
            core.Refuse(Rule::HCCL_WAIT_EARLY,
                        Format("Wait %u of handle %u after %u Commits by this core: it returns at once and waits for "
                               "nothing",
                               client.waits[handle] + 1, handle, client.commits[handle]));
        }
        if (handle < client.waited) {
            core.Refuse(Rule::HCCL_WAIT_ORDER,
                        Format("Wait for handle %u after a Wait for handle %u", handle, client.waited));
        }
        client.waited = handle;
        ordinal = OrdinalOf(client, handle, client.waits[handle]++);
    }
    core.WaitHccl(*this, ordinal);
    const std::lock_guard<std::mutex> lock(mutex_);
    clients_.at({core.GroupIndex(), core.InGroup()}).syncAlls = core.SyncAlls(true) + core.SyncAlls(false);
    const auto [task, turn] = Locate(ordinal);
    core.JoinHccl(ordinal, sender_ == &core.Owner() ? task->ticks[turn] : 0);
}

void HcclRank::Finalize(Core& core)
{
    const std::lock_guard<std::mutex> lock(mutex_);
    Client& client = ClientOf(core, "Finalize");
    for (uint32_t handle = 0; handle < client.repeats.size(); ++handle) {
        if (client.commits[handle] == client.repeats[handle] && client.waits[handle] == client.repeats[handle])
            continue;
        core.Refuse(Rule::HCCL_COMMITS,
                    Format("Finalize: handle %u was prepared with repeat %u, committed %u times and "
                           "waited for %u times",
                           handle, client.repeats[handle], client.commits[handle], client.waits[handle]));
    }
    client.finalized = true;
    if (core.SyncAlls(true) + core.SyncAlls(false) != client.syncAlls || unsynced_) return;
    unsynced_ = true;
    unsyncedText_ = Format(
        "%s on %s: Finalize with no SyncAll since the last Wait, while other cores wait too; the "
        "server may be gone before they see their tasks done",
        ascend_sim::Describe(core.Site()).c_str(), core.Name().c_str());
}

void HcclRank::RequireFinalized() const
{
    for (const auto& [place, client] : clients_) {
        if (client.finalized) continue;
        throw SimulatorError(Rule::HCCL_FINALIZE,
                             Format("kernel exit: core %u of group %u has called InitV2 and not Finalize; the server "
                                    "never ends",
                                    place.second, place.first));
    }
    if (unsynced_ && clients_.size() > 1) throw SimulatorError(Rule::HCCL_FINALIZE_SYNC, unsyncedText_);
}

uint32_t HcclRank::OrdinalOf(const Client& client, uint32_t handle, uint32_t turn) const
{
    uint32_t before = 0;
    for (uint32_t i = 0; i < handle; ++i) before += client.repeats[i];
    return before + turn + 1;
}

std::pair<const HcclRank::Task*, uint32_t> HcclRank::Locate(uint32_t ordinal) const
{
    uint32_t turn = ordinal - 1;
    for (const Task& task : tasks_) {
        if (turn < task.command.repeat) return {&task, turn};
        turn -= task.command.repeat;
    }
    return {nullptr, 0};
}

uint32_t HcclRank::Tasks() const
{
    uint32_t total = 0;
    for (const Task& task : tasks_) total += task.command.repeat;
    return total;
}

bool HcclRank::Committed(uint32_t ordinal) const
{
    const auto [task, turn] = Locate(ordinal);
    return task != nullptr && turn < task->ticks.size();
}

uint64_t HcclRank::OffsetOf(uint32_t ordinal) const
{
    const auto [task, turn] = Locate(ordinal);
    return turn * task->command.TaskBytes();
}

std::string HcclRank::Describe(uint32_t ordinal) const
{
    const Task& task = *Locate(ordinal).first;
    return Format("rank %u prepared count %llu, dataType %u, op %u, repeat %u by %s", index_,
                  static_cast<unsigned long long>(task.command.count), static_cast<uint32_t>(task.command.type),
                  static_cast<uint32_t>(task.command.op), task.command.repeat, ascend_sim::Describe(task.site).c_str());
}

std::string HcclRank::Progress() const
{
    size_t committed = 0;
    for (const Task& task : tasks_) committed += task.ticks.size();
    return Format("prepared %u and committed %zu", Tasks(), committed);
}

void HcclRank::Complete(uint32_t ordinal)
{
    done_ = ordinal;
    const auto [task, turn] = Locate(ordinal);
    VectorClock clock;
    clock.at[HCCL_THREAD] = task->ticks[turn];
    sender_->Gm().NoteSet(HCCL_SLOT, ordinal, clock);
}

}  // namespace ascend_sim
