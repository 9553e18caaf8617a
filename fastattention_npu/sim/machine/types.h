// Vocabulary of the simulated dav-2201: kinds of core, pipes, memories, and the regions that an instruction touches.
// Nothing here knows time or instructions.
#pragma once
#include <array>
#include <cstdint>
#include <new>
#include <vector>

namespace ascend_sim {

enum class CoreKind : uint8_t { AIC, AIV };

// The in-order queues of a core. The scalar unit S issues into the others.
enum class Pipe : uint8_t { S, V, M, MTE1, MTE2, MTE3, FIX, ALL };
constexpr uint32_t PIPES = 7;

enum class Space : uint8_t { GM, UB, L1, L0A, L0B, L0C, BT, FB };
constexpr uint32_t SPACES = 8;

constexpr uint32_t CORES_PER_GROUP = 3;  // one AIC and its two AIVs
constexpr uint32_t EVENT_IDS = 8;
constexpr uint32_t CROSS_CORE_FLAGS = 16;
constexpr uint32_t CROSS_CORE_COUNTER_MAX = 15;

const char* PipeName(Pipe pipe);
const char* SpaceName(Space space);

// Bytes that an operand covers: count2 groups, each of count1 runs of `bytes`; pitches are start to start.
struct Region {
    Space space = Space::GM;
    uint64_t start = 0;
    uint64_t bytes = 0;
    uint32_t count1 = 1;
    uint32_t count2 = 1;
    uint64_t pitch1 = 0;
    uint64_t pitch2 = 0;

    uint64_t End() const { return start + (count1 - 1) * pitch1 + (count2 - 1) * pitch2 + bytes; }
    bool Empty() const { return bytes == 0 || count1 == 0 || count2 == 0; }
    uint64_t Runs() const { return uint64_t{count1} * count2; }
    uint64_t TotalBytes() const { return bytes * count1 * count2; }

    // Merges levels that lie back to back, so that the common cases are one run.
    void Normalise();

    template <class Visit>
    void ForEachRun(Visit&& visit) const
    {
        for (uint32_t j = 0; j < count2; ++j) {
            for (uint32_t i = 0; i < count1; ++i) visit(start + j * pitch2 + i * pitch1, bytes);
        }
    }
};

bool Overlap(const Region& a, const Region& b);

// One operand of an instruction, with what the checks need to name it.
struct Operand {
    Region region;
    const char* name = "";
    uint32_t alignBytes = 1;
    bool write = false;
    bool tracksInit = false;  // the instruction itself carries "nobody wrote this" along instead of refusing it
    bool line = false;        // a whole line of the data cache, fetched or brought back around the bytes in question
    uint32_t skipBytes = 0;   // what a vector mask leaves out before the region: alignment is of the bytes before it
};

// Few operands as a rule; a vector mask with many gaps makes a region of each run of lanes. Every instruction makes
// such a list, so that places without an operand stay untouched.
class OperandList {
public:
    OperandList() = default;
    OperandList(const OperandList& other) : many_(other.many_) { CopyFew(other); }
    OperandList& operator=(const OperandList& other)
    {
        many_ = other.many_;
        CopyFew(other);
        return *this;
    }
    void Add(const Operand& operand) { new (Next()) Operand(operand); }
    // Memory for one more operand, which the caller makes there.
    void* Next()
    {
        if (count_ < FEW) return &few_.at[count_++];
        if (many_.empty()) many_.assign(few_.at, few_.at + FEW);
        return &many_.emplace_back();
    }
    const Operand* begin() const { return many_.empty() ? few_.at : many_.data(); }
    const Operand* end() const { return many_.empty() ? few_.at + count_ : many_.data() + many_.size(); }

private:
    static constexpr uint32_t FEW = 8;
    union Places {
        Places() {}
        Operand at[FEW];
    };
    void CopyFew(const OperandList& other)
    {
        count_ = other.count_;
        for (uint32_t i = 0; i < count_; ++i) few_.at[i] = other.few_.at[i];
    }

    Places few_;
    uint32_t count_ = 0;
    std::vector<Operand> many_;
};

}  // namespace ascend_sim
