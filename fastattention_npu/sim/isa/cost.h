// What instructions cost on their own pipe, from their operands: copies by bytes and bursts, vector instructions by
// repeats and the UB banks that these meet. Rates come from the SoC; what cores share is the clock's to decide.
#pragma once
#include "engine.h"
#include "vector_operands.h"

namespace ascend_sim {

struct CopyRate {
    double bytesPerCycle;
    double burstCycles;  // least time of a run of GM; rows that follow each other without a gap are one run
};
void SetCopyCost(Instruction& instruction, double headCycles, const Region& gm, const CopyRate& rate);

// Operands of one vector instruction as far as banks are concerned.
struct BankOperands {
    const VectorOperand* dst = nullptr;
    const VectorOperand* src0 = nullptr;
    const VectorOperand* src1 = nullptr;
    uint32_t dstBlocks = BLOCKS_PER_REPEAT;  // of a repeat
    uint32_t srcBlocks = BLOCKS_PER_REPEAT;
    bool readsDst = false;  // a multiply-add reads three operands
};

// Cycles of all repeats, cyclesPerRepeat each where no two accesses meet in a bank.
double VectorOccupation(double cyclesPerRepeat, uint32_t repeats, const BankOperands& operands);

}  // namespace ascend_sim
