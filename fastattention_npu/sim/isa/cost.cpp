// See cost.h. UB has 16 bank groups of 3 banks (NPU architecture 2201 page): a 32 B block's group is address bits 5 to
// 8, its bank within the group bits 16 and 17. In one cycle a group serves one read and takes one write, a bank one of
// the two. A repeat's results are written while the next repeat is read (UB bank conflict sample, scenarios 4 and 6).
#include "cost.h"

#include <algorithm>
#include <array>
#include <memory>

namespace ascend_sim {

namespace {

constexpr uint32_t BANK_GROUPS = 16;
constexpr uint32_t BANKS = 48;
constexpr uint64_t BANK_BYTES = 65536;  // from one bank of a group to the next

// Rows of UB that one repeat of an operand touches.
struct Blocks {
    uint64_t at[BLOCKS_PER_REPEAT];
    uint32_t count = 0;
};

Blocks BlocksOf(const VectorOperand& operand, uint32_t repeat, uint32_t blocks)
{
    Blocks found;
    const uint64_t first = operand.address / VECTOR_BLOCK_BYTES + repeat * static_cast<uint64_t>(operand.repeatStride);
    // A block that is read for every lane is read once.
    found.count = operand.blockStride == 0 ? 1 : blocks;
    for (uint32_t b = 0; b < found.count; ++b) found.at[b] = first + b * static_cast<uint64_t>(operand.blockStride);
    return found;
}

uint32_t GroupOf(uint64_t block) { return static_cast<uint32_t>(block % BANK_GROUPS); }

uint32_t BankOf(uint64_t block)
{
    return GroupOf(block) + static_cast<uint32_t>(block * VECTOR_BLOCK_BYTES / BANK_BYTES) % 3 * BANK_GROUPS;
}

// Accesses of one repeat by bank group and by bank.
struct Accesses {
    uint8_t groups[BANK_GROUPS] = {};
    uint8_t banks[BANKS] = {};

    // same: what is read besides; one read of a row serves both.
    void Add(const Blocks& blocks, const Blocks& same = {})
    {
        for (uint32_t i = 0; i < blocks.count; ++i) {
            if (i < same.count && same.at[i] == blocks.at[i]) continue;
            ++groups[GroupOf(blocks.at[i])];
            ++banks[BankOf(blocks.at[i])];
        }
    }
    uint8_t DeepestGroup() const { return *std::max_element(groups, groups + BANK_GROUPS); }
    uint8_t BusiestBank() const { return *std::max_element(banks, banks + BANKS); }
};

double RepeatCycles(double cycles, uint32_t repeat, const BankOperands& operands, double writeConflictCycles)
{
    Accesses accesses;
    if (operands.src0 != nullptr) {
        const Blocks src0 = BlocksOf(*operands.src0, repeat, operands.srcBlocks);
        accesses.Add(src0);
        if (operands.src1 != nullptr) accesses.Add(BlocksOf(*operands.src1, repeat, operands.srcBlocks), src0);
        if (operands.readsDst) accesses.Add(BlocksOf(*operands.dst, repeat, operands.dstBlocks), src0);
        cycles = std::max<double>(cycles, accesses.DeepestGroup());
    }
    if (operands.dst == nullptr) return cycles;
    Accesses written;
    written.Add(BlocksOf(*operands.dst, repeat, operands.dstBlocks));
    cycles = std::max<double>(cycles, written.DeepestGroup());
    if (repeat == 0) return cycles;
    // A write finds room when its bank rests in one of the repeat's cycles.
    accesses.Add(BlocksOf(*operands.dst, repeat - 1, operands.dstBlocks));
    const double busiest = accesses.BusiestBank();
    return busiest > cycles ? cycles + (busiest - cycles) * writeConflictCycles : cycles;
}

constexpr uint64_t READS_DST = 8;

// Everything that the cycles of a vector instruction depend on.
struct BankPattern {
    double cyclesPerRepeat;
    double conflictCycles;
    uint64_t repeats;
    uint64_t present;  // a bit per operand; READS_DST
    uint64_t blocks;   // of a repeat: destination, sources
    VectorOperand operands[3];
};

// Behind the last block that the counted repeats of an operand touch.
uint64_t EndOf(const VectorOperand& operand, uint32_t repeats)
{
    const auto blocks =
        static_cast<uint64_t>((repeats - 1) * operand.repeatStride + (BLOCKS_PER_REPEAT - 1) * operand.blockStride + 1);
    return operand.address + blocks * VECTOR_BLOCK_BYTES;
}

// Banks change every 64 KB and groups repeat every 512 B: within 64 KB only the address modulo 512 B counts. So that
// kernels that walk through a buffer repeat themselves, operands are moved to the first place that is like theirs;
// sources that are apart stay so, since a block that both name is read once.
void Canonicalise(BankPattern& p)
{
    constexpr uint64_t GROUP_BYTES = BANK_GROUPS * VECTOR_BLOCK_BYTES;
    constexpr uint64_t LIKE_BYTES = 3 * BANK_BYTES;
    const uint32_t repeats = std::min(static_cast<uint32_t>(p.repeats), BANK_GROUPS + 1);
    auto& [dst, src0, src1] = p.operands;
    for (const VectorOperand& operand : p.operands) {
        if (operand.address / BANK_BYTES != (EndOf(operand, repeats) - 1) / BANK_BYTES) return;
    }
    const bool both = (p.present & 4) != 0;
    if (both && src0.address < EndOf(src1, repeats) && src1.address < EndOf(src0, repeats)) return;
    for (VectorOperand& operand : p.operands) {
        operand.address = operand.address % GROUP_BYTES + operand.address / BANK_BYTES * BANK_BYTES;
    }
    src1.address += LIKE_BYTES;
}

BankPattern PatternOf(const fastattn::SocSpec& soc, double cyclesPerRepeat, uint32_t repeats,
                      const BankOperands& operands)
{
    BankPattern pattern{};
    pattern.cyclesPerRepeat = cyclesPerRepeat;
    pattern.conflictCycles = soc.vectorWriteConflictCycles;
    pattern.repeats = repeats;
    pattern.blocks = uint64_t{operands.dstBlocks} << 32 | operands.srcBlocks;
    const VectorOperand* const all[3] = {operands.dst, operands.src0, operands.src1};
    for (uint32_t i = 0; i < 3; ++i) {
        if (all[i] == nullptr) continue;
        pattern.present |= uint64_t{1} << i;
        pattern.operands[i] = *all[i];
    }
    if (operands.readsDst) pattern.present |= READS_DST;
    if (repeats != 0) Canonicalise(pattern);
    return pattern;
}

double CyclesOf(const BankPattern& p)
{
    const auto operand = [&p](uint32_t i) { return (p.present >> i & 1) != 0 ? &p.operands[i] : nullptr; };
    const BankOperands operands{operand(0),
                                operand(1),
                                operand(2),
                                static_cast<uint32_t>(p.blocks >> 32),
                                static_cast<uint32_t>(p.blocks),
                                (p.present & READS_DST) != 0};
    // Groups repeat after 16 repeats whatever the strides; one period stands for all.
    const auto repeats = static_cast<uint32_t>(p.repeats);
    const uint32_t period = std::min(repeats, BANK_GROUPS + 1);
    double first = 0;
    double others = 0;
    for (uint32_t r = 0; r < period; ++r) {
        (r == 0 ? first : others) += RepeatCycles(p.cyclesPerRepeat, r, operands, p.conflictCycles);
    }
    if (period > 1) others *= static_cast<double>(repeats - 1) / (period - 1);
    Self().Work().bankRepeats += period;
    return first + others;
}

constexpr size_t KNOWN_PATTERNS = 512;

size_t SlotOf(const BankPattern& p)
{
    uint64_t hash = 0;
    const auto mix = [&hash](uint64_t word) { hash = ((hash << 13 | hash >> 51) ^ word) * 0x9E3779B97F4A7C15ULL; };
    mix(p.repeats << 32 | p.present);
    mix(p.blocks);
    mix(static_cast<uint64_t>(p.cyclesPerRepeat * 64));
    for (const VectorOperand& operand : p.operands) {
        mix(operand.address);
        mix(static_cast<uint64_t>(operand.blockStride << 32 | operand.repeatStride));
    }
    return static_cast<size_t>(hash >> 40) % KNOWN_PATTERNS;
}

bool Same(const VectorOperand& a, const VectorOperand& b)
{
    return a.address == b.address && a.blockStride == b.blockStride && a.repeatStride == b.repeatStride;
}

bool Same(const BankPattern& a, const BankPattern& b)
{
    return a.repeats == b.repeats && a.present == b.present && a.blocks == b.blocks &&
           a.cyclesPerRepeat == b.cyclesPerRepeat && a.conflictCycles == b.conflictCycles &&
           Same(a.operands[0], b.operands[0]) && Same(a.operands[1], b.operands[1]) &&
           Same(a.operands[2], b.operands[2]);
}

}  // namespace

// Kernels repeat some hundred patterns: each core keeps those that it met last, two a slot. Empty: no repeats.
struct BankPatterns {
    struct Known {
        BankPattern pattern;
        double cycles;
    };
    struct Slot {
        std::array<Known, 2> known;
        uint32_t older;
    };
    std::array<Slot, KNOWN_PATTERNS / 2> slots;

    double Cycles(const BankPattern& pattern)
    {
        Slot& slot = slots[SlotOf(pattern) / 2];
        uint32_t i = 1 - slot.older;
        if (!Same(slot.known[i].pattern, pattern)) {
            i = slot.older;
            if (!Same(slot.known[i].pattern, pattern)) slot.known[i] = {pattern, CyclesOf(pattern)};
            slot.older = 1 - i;
        }
        return slot.known[i].cycles;
    }
};

void SetCopyCost(Instruction& instruction, double headCycles, const Region& gm, const CopyRate& rate)
{
    const auto bytes = static_cast<double>(gm.TotalBytes());
    const double runs = static_cast<double>(gm.count1) * gm.count2;
    instruction.gmTransfer = true;
    instruction.headCycles = headCycles;
    instruction.cycles = headCycles + std::max(bytes / rate.bytesPerCycle, runs * rate.burstCycles);
}

double VectorOccupation(double cyclesPerRepeat, uint32_t repeats, const BankOperands& operands)
{
    Core& core = Self();
    std::shared_ptr<BankPatterns>& patterns = core.Patterns();
    if (patterns == nullptr) patterns = std::make_shared<BankPatterns>();
    const fastattn::SocSpec& soc = core.Soc();
    return patterns->Cycles(PatternOf(soc, cyclesPerRepeat, repeats, operands)) + soc.scalarIssueCycles;
}

}  // namespace ascend_sim
