// The time of one core: its scalar unit and its pipes. It goes on as far as it can by itself and stops at a copy, whose
// end the shared memory system will tell, and at a cross-core wait whose set has no time yet.
#pragma once
#include <array>
#include <deque>
#include <vector>

#include "clock.h"

namespace ascend_sim {

// A copy that wants to start; the one set of a cross-core flag.
struct CopyRequest {
    double time;
    uint32_t owner;  // core * PIPES + pipe
    uint32_t record;
    double leastCycles;  // unit flags: not done before so many
};

struct CrossPost {
    uint32_t core;
    uint32_t record;
    double time;
};

// A task of the communication server that a core has committed.
struct HcclPost {
    uint32_t ordinal;
    double time;
};

class CoreClock {
public:
    // keepSpans: note when each record ran.
    CoreClock(const fastattn::SocSpec& soc, const CoreTrace& trace, uint32_t index, bool keepSpans);

    // Runs until everything left waits for something outside. Appends to both lists.
    void Advance(std::vector<CopyRequest>& copies, std::vector<CrossPost>& posts, std::vector<HcclPost>& commits);
    void EndCopy(Pipe pipe, double time, double latencyCycles);
    // The communication server has finished its tasks up to this one.
    void CompleteTask(uint32_t ordinal, double time);
    // A set of the flag has reached this core.
    void Post(uint32_t id, double time) { posts_[id].push_back(time); }

    double End() const;
    double Busy(uint32_t pipe) const { return pipe == 0 ? scalarBusy_ : pipes_[pipe].busy; }
    std::vector<Span>& Spans() { return spans_; }
    bool Finished() const { return next_ == trace_.records.size(); }

private:
    static constexpr uint32_t MAX_QUEUE = 64;
    struct Queued {
        uint32_t record = 0;
        double time = 0;  // when it was issued; once it has left, when that was
    };
    struct PipeState {
        uint32_t head = 0;
        uint32_t count = 0;
        double free = 0;  // when the next instruction may start
        double done = 0;  // when everything started so far has finished
        double busy = 0;
        double counted = 0;  // up to when busy has been counted
        double copyStart = 0;
        uint32_t copyRecord = 0;
        std::array<Queued, MAX_QUEUE> queue;
    };
    struct Flag {
        std::array<double, 4> times;
        uint32_t first = 0;
        uint32_t count = 0;
    };

    PipeState& At(Pipe pipe) { return pipes_[static_cast<uint32_t>(pipe)]; }
    Flag& FlagOf(const Record& r)
    {
        return flags_[(static_cast<uint32_t>(r.pipe) * PIPES + static_cast<uint32_t>(r.peer)) * EVENT_IDS + r.id];
    }
    bool IssueNext(std::vector<HcclPost>& commits);
    bool IssueScalar(const Record& record, std::vector<HcclPost>& commits);
    bool RunHead(uint32_t index, std::vector<CopyRequest>& copies, std::vector<CrossPost>& posts);
    void Run(PipeState& pipe, const Record& record, const Queued& item, double notBefore, double notDoneBefore);
    // What unit flags say about the start and the end of a record; false while what it follows has no time yet.
    bool FollowUnits(uint32_t record, double& start, double& end);
    void NoteSpan(size_t record, double start, double end)
    {
        if (!spans_.empty()) spans_[record] = {static_cast<float>(start), static_cast<float>(end)};
    }
    bool Take(Flag& flag, double& time);
    void Set(const Record& record, double time);
    static uint32_t BitOf(uint32_t pipe) { return 1U << pipe; }
    uint32_t Wrapped(uint32_t slot) const { return slot < queueDepth_ ? slot : slot - queueDepth_; }
    void Busy(PipeState& pipe, double start, double end);

    const fastattn::SocSpec& soc_;
    const CoreTrace& trace_;
    uint32_t index_;
    uint32_t queueDepth_;
    size_t next_ = 0;
    double scalar_ = 0;
    double scalarBusy_ = 0;
    std::array<PipeState, PIPES> pipes_;
    // A bit per pipe: its queue holds something; a copy is under way; its next instruction waits for a flag that is not
    // set. Most of what wakes a core concerns one pipe, and the others need not be looked at.
    uint32_t queued_ = 0;
    uint32_t copying_ = 0;
    uint32_t flagless_ = 0;
    std::array<Flag, PIPES * PIPES * EVENT_IDS> flags_{};
    std::array<std::deque<double>, CROSS_CORE_FLAGS> posts_;
    std::vector<double> taskEnds_;  // of the communication server, by number from 1
    // Of M and FIX, which run the records that have unit flags in order: what these wait for, up to which that has been
    // looked at, and when those that have run did.
    struct UnitTimes {
        uint32_t record;
        double start;
        double end;
    };
    struct UnitState {
        std::vector<UnitWait> waits;
        size_t next = 0;
        std::vector<UnitTimes> times;
    };
    UnitState& UnitsOf(Pipe pipe) { return units_[pipe == Pipe::M ? 0 : 1]; }
    static const UnitTimes* TimesOf(const UnitState& state, uint32_t record);
    std::array<UnitState, 2> units_;
    std::vector<Span> spans_;
};

}  // namespace ascend_sim
