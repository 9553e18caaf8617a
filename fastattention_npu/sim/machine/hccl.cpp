// See hccl.h. The client's side stands in hccl_rank.cpp.
#include "hccl.h"

#include <algorithm>
#include <cstring>

#include "../isa/lanes.h"
#include "error.h"

namespace ascend_sim {

namespace {

constexpr size_t CHUNK_ELEMS = 256;

size_t ElementBytes(HcclType type) { return type == HcclType::FP32 ? 4 : 2; }

void Load(HcclType type, const uint8_t* from, float* values, size_t count)
{
    if (type == HcclType::FP32) {
        std::memcpy(values, from, count * sizeof(float));
        return;
    }
    uint16_t narrow[CHUNK_ELEMS];
    std::memcpy(narrow, from, count * sizeof(uint16_t));
    HostLanes().toFloat(type == HcclType::FP16 ? FloatType::FP16 : FloatType::BF16, narrow, values, count);
}

// Stores the values and gives back what is left of them.
void Store(HcclType type, float* values, uint8_t* to, size_t count)
{
    if (type == HcclType::FP32) {
        std::memcpy(to, values, count * sizeof(float));
        return;
    }
    uint16_t narrow[CHUNK_ELEMS];
    const FloatType to16 = type == HcclType::FP16 ? FloatType::FP16 : FloatType::BF16;
    HostLanes().fromFloat(to16, values, narrow, count);
    HostLanes().toFloat(to16, narrow, values, count);
    std::memcpy(to, narrow, count * sizeof(uint16_t));
}

float Combine(HcclOp op, float a, float b)
{
    if (op == HcclOp::SUM) return a + b;
    return op == HcclOp::MAX ? std::max(a, b) : std::min(a, b);
}

// Every rank's elements first ... first + count of the task, combined and left in all of its receive buffers.
void Reduce(const std::vector<uint64_t>& sends, const std::vector<uint64_t>& recvs, const HcclCommand& command,
            size_t first, size_t count)
{
    float sum[CHUNK_ELEMS];
    float next[CHUNK_ELEMS];
    uint8_t result[CHUNK_ELEMS * sizeof(float)];
    const size_t offset = first * ElementBytes(command.type);
    const auto at = [offset](uint64_t base) { return reinterpret_cast<uint8_t*>(base + offset); };
    Load(command.type, at(sends[0]), sum, count);
    for (size_t rank = 1; rank < sends.size(); ++rank) {
        Load(command.type, at(sends[rank]), next, count);
        for (size_t i = 0; i < count; ++i) sum[i] = Combine(command.op, sum[i], next[i]);
        Store(command.type, sum, result, count);
    }
    Store(command.type, sum, result, count);
    for (const uint64_t recv : recvs) std::memcpy(at(recv), result, count * ElementBytes(command.type));
}

}  // namespace

uint64_t HcclCommand::TaskBytes() const
{
    switch (type) {
        case HcclType::INT8: return count;
        case HcclType::INT32:
        case HcclType::FP32: return count * 4;
        default: return count * 2;
    }
}

HcclServer::HcclServer(uint32_t ranks)
{
    for (uint32_t i = 0; i < ranks; ++i) ranks_.push_back(std::make_unique<HcclRank>(*this, i));
}

bool HcclServer::Advance(bool functional)
{
    bool progress = false;
    for (;;) {
        const uint32_t next = done_ + 1;
        const bool ready =
            std::all_of(ranks_.begin(), ranks_.end(), [next](const auto& r) { return r->Committed(next); });
        if (!ready) return progress;
        Run(next, functional);
        done_ = next;
        progress = true;
    }
}

void HcclServer::Run(uint32_t ordinal, bool functional)
{
    const HcclCommand& first = ranks_[0]->CommandOf(ordinal);
    std::vector<uint64_t> sends;
    std::vector<uint64_t> recvs;
    for (const auto& rank : ranks_) {
        const HcclCommand& command = rank->CommandOf(ordinal);
        if (!command.SameWork(first)) {
            throw SimulatorError(Rule::HCCL_MISMATCH,
                                 Format("task %u of the communicator: %s; %s", ordinal, rank->Describe(ordinal).c_str(),
                                        ranks_[0]->Describe(ordinal).c_str()));
        }
        sends.push_back(command.send + rank->OffsetOf(ordinal));
        recvs.push_back(command.recv + rank->OffsetOf(ordinal));
    }
    for (size_t at = 0; functional && at < first.count; at += CHUNK_ELEMS) {
        Reduce(sends, recvs, first, at, std::min<size_t>(CHUNK_ELEMS, first.count - at));
    }
    for (const auto& rank : ranks_) rank->Complete(ordinal);
}

std::string HcclServer::Holdup() const
{
    std::string text;
    for (const auto& rank : ranks_) {
        if (rank->Committed(done_ + 1)) continue;
        text += Format("\n  rank %u has not committed task %u, which the others wait for: it has %s", rank->Index(),
                       done_ + 1, rank->Progress().c_str());
    }
    return text;
}

}  // namespace ascend_sim
