// The scalar unit's view of GM: a write-back data cache of 64 B lines, which no other unit sees. Reading a line that
// somebody else has written, without cleaning it first, may give old bytes; what is written stays in the cache until
// the line is cleaned (DataCacheCleanAndInvalid page).
#include <algorithm>
#include <cstring>

#include "core.h"
#include "group.h"
#include "launch.h"

namespace ascend_sim {

namespace {

constexpr uint64_t LINE_BYTES = 64;

Region GmRun(uint64_t start, uint64_t bytes)
{
    Region region;
    region.start = start;
    region.bytes = bytes;
    return region;
}

}  // namespace

Core::CacheLine& Core::FetchLine(uint64_t line)
{
    CacheLine& cached = lines_[line];
    const GmBuffer* buffer = group_->Owner().Gm().Find(line);
    if (buffer == nullptr) buffer = group_->Owner().Gm().Find(line + LINE_BYTES - 1);
    if (cached.held || buffer == nullptr) return cached;
    // Bytes of the line outside the buffer are never asked for.
    const uint64_t first = line < buffer->address ? buffer->address : line;
    const uint64_t end = std::min(line + LINE_BYTES, buffer->address + buffer->bytes);
    std::memcpy(cached.bytes.data() + (first - line), reinterpret_cast<const void*>(first), end - first);
    cached.held = true;
    return cached;
}

uint64_t Core::ModelLine(uint64_t address) const
{
    const GmBuffer* buffer = group_->Owner().Gm().Find(address);
    return (buffer == nullptr ? address : buffer->modelAddress + (address - buffer->address)) / LINE_BYTES;
}

double Core::ScalarLoadCycles(uint64_t address)
{
    const auto [at, missing] = linesRead_.try_emplace(ModelLine(address));
    at->second = ++scalarLoads_;
    if (!missing) return soc_.scalarGmCachedReadCycles;
    if (linesRead_.size() * LINE_BYTES > static_cast<uint64_t>(soc_.dcacheBytes)) {
        const auto earlier = [](const auto& a, const auto& b) { return a.second < b.second; };
        linesRead_.erase(std::min_element(linesRead_.begin(), linesRead_.end(), earlier));
    }
    return soc_.scalarGmReadCycles;
}

void Core::ScalarLoad(uint64_t address, uint32_t bytes, void* value)
{
    GmBuffer* buffer = group_->Owner().Gm().Find(address);
    if (!buffer->writable) {
        std::memcpy(value, reinterpret_cast<const void*>(address), bytes);
        return;
    }
    const uint64_t line = address / LINE_BYTES * LINE_BYTES;
    const uint64_t at = address - line;
    const bool fresh = lines_.count(line) != 0 && lines_[line].cleaned && !lines_[line].held;
    const bool known = lines_.count(line) != 0 && lines_[line].held;
    CacheLine& cached = FetchLine(line);
    const uint64_t mine = bytes == 64 ? ~uint64_t{0} : ((uint64_t{1} << bytes) - 1) << at;
    const bool own = (cached.dirty & mine) == mine;
    const bool changed = std::memcmp(cached.bytes.data() + at, reinterpret_cast<const void*>(address), bytes) != 0;
    const bool written = buffer->init != nullptr && buffer->init->Written(address - buffer->address, bytes);
    if (!own && ((known && changed) || (!known && !fresh && written))) {
        Warn(Rule::DCACHE_STALE,
             Format("GM bytes 0x%llx ... of '%s' were written in this launch and the line was not cleaned since; the "
                    "data cache may hold old ones",
                    static_cast<unsigned long long>(address), buffer->name.c_str()));
    }
    std::memcpy(value, own ? cached.bytes.data() + at : reinterpret_cast<const uint8_t*>(address), bytes);
}

// The part of the address's line that lies in its buffer.
Region Core::LineOf(uint64_t address) const
{
    const uint64_t line = address / LINE_BYTES * LINE_BYTES;
    const GmBuffer* buffer = group_->Owner().Gm().Find(address);
    const uint64_t first = std::max(line, buffer->address);
    return GmRun(first, std::min(line + LINE_BYTES, buffer->address + buffer->bytes) - first);
}

Region Core::LineToFetch(uint64_t address)
{
    const auto known = lines_.find(address / LINE_BYTES * LINE_BYTES);
    return known != lines_.end() && known->second.dirty != 0 ? GmRun(address, 0) : LineOf(address);
}

void Core::ScalarStore(uint64_t address, uint32_t bytes, const void* value)
{
    const uint64_t line = address / LINE_BYTES * LINE_BYTES;
    const uint64_t at = address - line;
    CacheLine& cached = FetchLine(line);
    std::memcpy(cached.bytes.data() + at, value, bytes);
    cached.dirty |= ((uint64_t{1} << bytes) - 1) << at;
}

void Core::RequireGmWrite(uint64_t address, uint32_t bytes) const
{
    CheckGm({GmRun(address, bytes), "dst", 1, true, false});
}

void Core::CleanAllLines()
{
    std::vector<uint64_t> held;
    for (const auto& [line, cached] : lines_) held.push_back(line);
    std::sort(held.begin(), held.end());
    for (const uint64_t line : held) CleanLine(line);
    linesRead_.clear();
}

void Core::CleanLine(uint64_t address)
{
    const uint64_t line = address / LINE_BYTES * LINE_BYTES;
    CacheLine& cached = lines_[line];
    Instruction instruction;
    instruction.name = "dcci";
    instruction.pipe = Pipe::S;
    instruction.cycles = soc_.scalarGmReadCycles;
    // Each run of dirty bytes is one write of GM.
    for (uint64_t at = 0; at < LINE_BYTES; ++at) {
        uint64_t end = at;
        while (end < LINE_BYTES && ((cached.dirty >> end) & 1U) != 0) ++end;
        if (end == at) continue;
        instruction.operands = {};
        instruction.operands.Add({GmRun(line + at, end - at), "line", 1, true, false});
        Operand whole{LineOf(line + at), "whole cache line", 1, true, false};
        whole.line = true;
        instruction.operands.Add(whole);
        Issue(instruction,
              [&] { std::memcpy(reinterpret_cast<void*>(line + at), cached.bytes.data() + at, end - at); });
        at = end;
    }
    if (cached.dirty == 0) Scalar("dcci", soc_.scalarGmReadCycles);
    linesRead_.erase(ModelLine(address));
    cached.dirty = 0;
    cached.held = false;
    cached.cleaned = true;
}

}  // namespace ascend_sim
