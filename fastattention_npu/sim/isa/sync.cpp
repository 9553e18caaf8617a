// Flags, barriers and cross-core messages. A message packs 1 | mode << 4 | flag << 8 (CrossCoreSetFlag page).
#include "engine.h"

namespace ascend_sim {

Pipe PipeOf(pipe_t pipe)
{
    switch (pipe) {
        case PIPE_S: return Pipe::S;
        case PIPE_V: return Pipe::V;
        case PIPE_M: return Pipe::M;
        case PIPE_MTE1: return Pipe::MTE1;
        case PIPE_MTE2: return Pipe::MTE2;
        case PIPE_MTE3: return Pipe::MTE3;
        case PIPE_FIX: return Pipe::FIX;
        default: return Pipe::ALL;
    }
}

}  // namespace ascend_sim

using namespace ascend_sim;

void set_flag(pipe_t from, pipe_t to, int64_t id)
{
    Limit("event id", id, 0, EVENT_IDS - 1, Rule::EVENT_ID);
    Self().SetFlag(PipeOf(from), PipeOf(to), static_cast<uint32_t>(id));
}

void wait_flag(pipe_t from, pipe_t to, int64_t id)
{
    Limit("event id", id, 0, EVENT_IDS - 1, Rule::EVENT_ID);
    Self().WaitFlag(PipeOf(from), PipeOf(to), static_cast<uint32_t>(id));
}

void pipe_barrier(pipe_t pipe) { Self().Barrier(PipeOf(pipe)); }

void ffts_cross_core_sync(pipe_t pipe, uint64_t message)
{
    Self().CrossSet(PipeOf(pipe), (message >> 4) & 3, (message >> 8) & 15);
}

void wait_flag_dev(int64_t id)
{
    Limit("flag id", id, 0, CROSS_CORE_FLAGS - 1, Rule::CROSS_ID);
    Self().CrossWait(static_cast<uint32_t>(id));
}
