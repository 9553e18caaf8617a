// See memory.h. Marking is relaxed-atomic because neighbouring core groups may share a bitmap word of the workspace.
#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace ascend_sim {

namespace {

constexpr uint64_t UNIT_BYTES = 2;
constexpr uint64_t WORD_UNITS = 64;
constexpr uint64_t HOST_ALIGN_BYTES = 64;
constexpr int POISON_BYTE = 0xFF;  // a NaN in fp16, bf16 and fp32

uint64_t MaskFrom(uint64_t bit) { return ~uint64_t{0} << bit; }
uint64_t MaskTo(uint64_t bit) { return bit == WORD_UNITS - 1 ? ~uint64_t{0} : (uint64_t{1} << (bit + 1)) - 1; }

}  // namespace

InitMap::InitMap(uint64_t bytes, bool shared)
    : words_((bytes / UNIT_BYTES + WORD_UNITS) / WORD_UNITS + 1, 0), shared_(shared)
{
}

void InitMap::SetBits(uint64_t word, uint64_t mask)
{
    if (shared_) {
        __atomic_fetch_or(&words_[word], mask, __ATOMIC_RELAXED);
    } else {
        words_[word] |= mask;
    }
}

void InitMap::Clear() { std::fill(words_.begin(), words_.end(), 0); }

void InitMap::Mark(uint64_t start, uint64_t bytes)
{
    if (bytes == 0) return;
    const uint64_t first = start / UNIT_BYTES;
    const uint64_t last = (start + bytes - 1) / UNIT_BYTES;
    const uint64_t firstWord = first / WORD_UNITS;
    const uint64_t lastWord = last / WORD_UNITS;
    if (firstWord == lastWord) {
        SetBits(firstWord, MaskFrom(first % WORD_UNITS) & MaskTo(last % WORD_UNITS));
        return;
    }
    SetBits(firstWord, MaskFrom(first % WORD_UNITS));
    std::fill(words_.begin() + static_cast<ptrdiff_t>(firstWord) + 1, words_.begin() + static_cast<ptrdiff_t>(lastWord),
              ~uint64_t{0});
    SetBits(lastWord, MaskTo(last % WORD_UNITS));
}

void InitMap::Unmark(uint64_t start, uint64_t bytes)
{
    for (uint64_t unit = start / UNIT_BYTES; unit * UNIT_BYTES < start + bytes; ++unit) {
        words_[unit / WORD_UNITS] &= ~(uint64_t{1} << (unit % WORD_UNITS));
    }
}

void InitMap::Assign64(uint64_t start, uint32_t mask)
{
    const uint64_t shift = start / UNIT_BYTES % WORD_UNITS;
    uint64_t& word = words_[start / UNIT_BYTES / WORD_UNITS];
    word = (word & ~(uint64_t{UINT32_MAX} << shift)) | uint64_t{mask} << shift;
}

void InitMap::Restrict64(uint64_t start, uint32_t mask)
{
    const uint64_t shift = start / UNIT_BYTES % WORD_UNITS;
    words_[start / UNIT_BYTES / WORD_UNITS] &= ~(uint64_t{~mask} << shift);
}

int64_t InitMap::FirstUnwritten(uint64_t start, uint64_t bytes) const
{
    if (bytes == 0) return -1;
    const uint64_t first = start / UNIT_BYTES;
    const uint64_t last = (start + bytes - 1) / UNIT_BYTES;
    const uint64_t lastWord = last / WORD_UNITS;
    uint64_t mask = MaskFrom(first % WORD_UNITS);
    for (uint64_t w = first / WORD_UNITS; w <= lastWord; ++w) {
        if (w == lastWord) mask &= MaskTo(last % WORD_UNITS);
        const uint64_t missing = mask & ~__atomic_load_n(&words_[w], __ATOMIC_RELAXED);
        if (missing != 0) {
            return static_cast<int64_t>((w * WORD_UNITS + static_cast<uint64_t>(__builtin_ctzll(missing))) *
                                        UNIT_BYTES);
        }
        mask = ~uint64_t{0};
    }
    return -1;
}

void LocalMemory::FreeDeleter::operator()(uint8_t* p) const { std::free(p); }

LocalMemory::LocalMemory(Space space, uint64_t bytes)
    : space_(space),
      bytes_(bytes),
      data_(static_cast<uint8_t*>(
          std::aligned_alloc(HOST_ALIGN_BYTES, (bytes + HOST_ALIGN_BYTES - 1) / HOST_ALIGN_BYTES * HOST_ALIGN_BYTES))),
      init_(bytes, false)
{
    if (data_ == nullptr && bytes != 0) throw std::bad_alloc();
}

void LocalMemory::Poison()
{
    std::memset(data_.get(), POISON_BYTE, bytes_);
    init_.Clear();
}

void GlobalMemory::Register(std::string name, uint64_t address, uint64_t bytes, bool writable, bool trackWrites)
{
    GmBuffer buffer;
    buffer.name = std::move(name);
    buffer.address = address;
    buffer.bytes = bytes;
    constexpr uint64_t ALLOCATION_BYTES = 512;
    const uint64_t end = buffers_.empty() ? 0 : buffers_.back().modelAddress + buffers_.back().bytes;
    buffer.modelAddress = (end + ALLOCATION_BYTES - 1) / ALLOCATION_BYTES * ALLOCATION_BYTES;
    buffer.writable = writable;
    if (trackWrites) buffer.init = std::make_unique<InitMap>(bytes, true);
    buffers_.push_back(std::move(buffer));
}

GmBuffer* GlobalMemory::Find(uint64_t address)
{
    for (GmBuffer& buffer : buffers_) {
        if (address >= buffer.address && address < buffer.address + buffer.bytes) return &buffer;
    }
    return nullptr;
}

uint64_t GlobalMemory::TouchedBytes() const
{
    uint64_t total = 0;
    for (const GmBuffer& buffer : buffers_) total += buffer.bytes;
    return total;
}

const GmBuffer* GlobalMemory::Nearest(uint64_t address) const
{
    const GmBuffer* best = nullptr;
    for (const GmBuffer& buffer : buffers_) {
        if (buffer.address <= address && (best == nullptr || buffer.address > best->address)) best = &buffer;
    }
    return best;
}

}  // namespace ascend_sim
