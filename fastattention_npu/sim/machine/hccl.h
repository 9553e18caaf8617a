// The communication server of HCCL and the ranks that talk to it (Ascend C documentation, "HCCL", AI CPU server). A
// kernel prepares tasks, commits them one by one and waits for them; the server of a rank takes them in the order of
// their Prepare calls, and a task starts when every rank has committed it. Sums run over the ranks in order, rounded to
// the element type after every addition, as the copy engine's inline reduction does. Nothing here knows time.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "race.h"
#include "rules.h"

namespace ascend_sim {

class Core;
class Group;
class HcclServer;
class Launch;

// As in hccl_common.h of the Ascend C headers.
enum class HcclType : uint32_t { INT8 = 0, INT16 = 1, INT32 = 2, FP16 = 3, FP32 = 4, BF16 = 11 };
enum class HcclOp : uint32_t { SUM = 0, MAX = 2, MIN = 3 };

constexpr uint32_t HCCL_MAX_PREPARES = 63;

struct HcclCommand {
    uint64_t send = 0;
    uint64_t recv = 0;
    uint64_t count = 0;  // elements of one task
    HcclType type = HcclType::FP16;
    HcclOp op = HcclOp::SUM;
    uint32_t repeat = 1;

    uint64_t TaskBytes() const;
    bool SameWork(const HcclCommand& other) const
    {
        return count == other.count && type == other.type && op == other.op && repeat == other.repeat;
    }
};

// Which cores the kernel's Hccl object lets talk to the server (HcclServerConfig).
struct HcclSender {
    bool anyKind = true;
    bool aic = false;  // unless anyKind
    int64_t block = 0;
};

// One rank's side: what its cores have asked for, checked call by call, and what the server has done.
class HcclRank {
public:
    HcclRank(HcclServer& server, uint32_t index) : server_(server), index_(index) {}

    uint32_t Index() const { return index_; }
    uint32_t Ranks() const;
    uint64_t Context() const { return reinterpret_cast<uint64_t>(this); }

    // The calls of the kernel, by the core that makes them.
    void Init(Core& core, uint64_t context, uint64_t tiling, const HcclSender& sender);
    void SetTiling(Core& core, uint64_t offset);
    int8_t Prepare(Core& core, const HcclCommand& command, bool commit);
    void Commit(Core& core, int8_t handle);
    void Wait(Core& core, int8_t handle);
    void Finalize(Core& core);

    // At the end of the launch: whoever has begun must have finalized.
    void RequireFinalized() const;

    // The tasks in the order of the server's queue, counted from 1.
    uint32_t Tasks() const;
    bool Committed(uint32_t ordinal) const;
    bool Done(uint32_t ordinal) const { return ordinal <= done_; }
    uint64_t BytesOf(uint32_t ordinal) const { return Locate(ordinal).first->command.TaskBytes(); }
    const HcclCommand& CommandOf(uint32_t ordinal) const { return Locate(ordinal).first->command; }
    // What was prepared and where, for messages.
    std::string Describe(uint32_t ordinal) const;
    uint64_t OffsetOf(uint32_t ordinal) const;
    std::string Progress() const;
    void Complete(uint32_t ordinal);

private:
    struct Task {
        HcclCommand command;
        CallSite site;
        std::vector<uint32_t> ticks;  // of the server's accesses, by commit
    };
    struct Client {
        bool tiled = false;
        bool finalized = false;
        HcclSender sender;
        std::vector<uint32_t> repeats;  // by handle
        std::vector<uint32_t> commits;
        std::vector<uint32_t> waits;
        uint32_t waited = 0;    // handle of the last Wait
        uint32_t syncAlls = 0;  // calls of SyncAll up to the last Wait
    };

    Client& ClientOf(Core& core, const char* call);
    uint32_t HandleOf(Core& core, const Client& client, int8_t handle) const;
    void CheckCommand(Core& core, const HcclCommand& command) const;
    bool Sends(const Core& core, const Client& client) const;
    std::pair<const Task*, uint32_t> Locate(uint32_t ordinal) const;
    uint32_t OrdinalOf(const Client& client, uint32_t handle, uint32_t turn) const;

    HcclServer& server_;
    uint32_t index_;
    mutable std::mutex mutex_;
    std::map<std::pair<uint32_t, uint32_t>, Client> clients_;  // by group and core in group
    int kind_ = -1;                                            // CoreKind of the calls so far
    std::vector<Task> tasks_;
    Group* sender_ = nullptr;
    uint32_t done_ = 0;
    bool unsynced_ = false;
    std::string unsyncedText_;
};

class HcclServer {
public:
    explicit HcclServer(uint32_t ranks);
    HcclRank& Rank(uint32_t index) { return *ranks_[index]; }
    uint32_t Ranks() const { return static_cast<uint32_t>(ranks_.size()); }

    // Runs every task that all ranks have committed; false if there was none. functional: move the data as well.
    bool Advance(bool functional);
    // What each rank has prepared and committed, for the report of a deadlock; first the ranks that hold the queue up.
    std::string Holdup() const;

private:
    void Run(uint32_t ordinal, bool functional);

    std::vector<std::unique_ptr<HcclRank>> ranks_;
    uint32_t done_ = 0;
};

// A core's place in the race report and the timeline where the server stands.
constexpr uint32_t HCCL_THREAD = GROUP_THREADS - 1;
constexpr uint32_t HCCL_SLOT = RELEASE_SLOTS - 1;

}  // namespace ascend_sim
