// See cost.h. UB has 16 bank groups of 3 banks (NPU architecture 2201 page): a 32 B block's group is address bits 5 to
// 8, its bank within the group bits 16 and 17. In one cycle a group serves one read and takes one write, a bank one of
// the two. A repeat's results are written while the next repeat is read (UB bank conflict sample, scenarios 4 and 6).
#include "cost.h"

#include <algorithm>

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

}  // namespace

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
    // Groups repeat after 16 repeats whatever the strides; one period stands for all.
    const uint32_t period = std::min(repeats, BANK_GROUPS + 1);
    const double conflict = Self().Soc().vectorWriteConflictCycles;
    double first = 0;
    double others = 0;
    for (uint32_t r = 0; r < period; ++r) {
        (r == 0 ? first : others) += RepeatCycles(cyclesPerRepeat, r, operands, conflict);
    }
    if (period > 1) others *= static_cast<double>(repeats - 1) / (period - 1);
    return first + others + Self().Soc().scalarIssueCycles;
}

}  // namespace ascend_sim
