// Storage: the local memories of a core, and the registry of GM allocations that a launch may touch. Both know which of
// their bytes somebody has written, so that a read of anything else is refused.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "types.h"

namespace ascend_sim {

// One bit per 2 bytes: the smallest element that the kernels use.
class InitMap {
public:
    static constexpr uint64_t WORD_BYTES = 128;  // that a word of the map speaks of
    // shared: several core groups may mark at the same time.
    InitMap(uint64_t bytes, bool shared);
    void Mark(uint64_t start, uint64_t bytes);
    void Clear();
    void Unmark(uint64_t start, uint64_t bytes);
    // Of 64 B from a multiple of 64 B on: exactly the units of the mask, or those of it that were written before.
    void Assign64(uint64_t start, uint32_t mask);
    void Restrict64(uint64_t start, uint32_t mask);
    bool Written(uint64_t start, uint64_t bytes) const { return FirstUnwritten(start, bytes) < 0; }
    // Offset of the first byte in the range that nobody wrote, or -1.
    int64_t FirstUnwritten(uint64_t start, uint64_t bytes) const;

private:
    void SetBits(uint64_t word, uint64_t mask);

    std::vector<uint64_t> words_;
    bool shared_;
};

class LocalMemory {
public:
    LocalMemory(Space space, uint64_t bytes);
    uint8_t* At(uint64_t offset) { return data_.get() + offset; }
    uint64_t Bytes() const { return bytes_; }
    Space Where() const { return space_; }
    InitMap& Init() { return init_; }
    // Fills the memory with NaN patterns and forgets every write.
    void Poison();

private:
    struct FreeDeleter {
        void operator()(uint8_t* p) const;
    };
    Space space_;
    uint64_t bytes_;
    std::unique_ptr<uint8_t, FreeDeleter> data_;
    InitMap init_;
};

struct GmBuffer {
    std::string name;
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint64_t modelAddress = 0;  // where the device allocator would have put it, on a 512 B boundary
    bool writable = false;
    std::unique_ptr<InitMap> init;  // kept for the workspace only: the launcher wrote everything else
};

// GM is the host's memory: kernels get real addresses, and an access must lie inside one registered buffer.
class GlobalMemory {
public:
    void Register(std::string name, uint64_t address, uint64_t bytes, bool writable, bool trackWrites);
    // The buffer that holds the address, or nullptr.
    GmBuffer* Find(uint64_t address);
    const std::vector<GmBuffer>& Buffers() const { return buffers_; }
    // Bytes of all buffers: what the launch can touch at most.
    uint64_t TouchedBytes() const;
    // The buffer whose end lies closest below the address: the likely victim of an overrun.
    const GmBuffer* Nearest(uint64_t address) const;

private:
    std::vector<GmBuffer> buffers_;
};

}  // namespace ascend_sim
