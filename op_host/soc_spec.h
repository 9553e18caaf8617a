// One SoC as the tiler and the simulator see it: the frozen form of configs/soc/*.yaml. The YAML holds value, source
// and kind of every constant; only values arrive here. A new constant is a member here and a row of the table below.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace fastattn {

struct SocSpec {
    std::string name;

    // cores
    double aicCores = 0;
    double clockMhz = 0;

    // memory, bytes
    double ubBytes = 0;
    double ubUsableBytes = 0;    // without the 256 B that the chip keeps
    double ubReservedBytes = 0;  // at the top of UB, used by Select modes 1 and 2
    double l1Bytes = 0;
    double l0aBytes = 0;
    double l0bBytes = 0;
    double l0cBytes = 0;
    double biasTableBytes = 0;
    double fixpipeBufferBytes = 0;
    double l2Bytes = 0;
    double hbmBytes = 0;

    // shared memory system
    double hbmGbps = 0;
    double l2Gbps = 0;                // all ports together
    double l2SliceBytesPerCycle = 0;  // one slice: what all cores that read the same addresses share
    double missBytesPerCycleAic = 0;  // what one core takes from HBM: its outstanding requests over the latency
    double missBytesPerCycleAiv = 0;
    double l2ReadBytesPerCyclePerAic = 0;

    // cube pipe
    double cubeHeadCycles = 0;
    double cubeFractalCycles = 0;

    // MTE1
    double mte1StartCycles = 0;  // when the pipe had run dry
    double mte1HeadCycles = 0;   // of every instruction
    double mte1L0aBytesPerCycle = 0;
    double mte1L0bBytesPerCycle = 0;

    // MTE2, MTE3, FIXP
    double mte2HeadCycles = 0;
    double mte2UbBytesPerCycle = 0;
    double mte2L1BytesPerCycle = 0;
    double mte2UbBurstCycles = 0;  // least time of one burst
    double mte2L1BurstCycles = 0;
    double mte3HeadCycles = 0;
    double mte3BytesPerCycle = 0;
    double mte3BurstCycles = 0;
    double fixpipeHeadCycles = 0;
    double fixpipeGmBytesPerCycle = 0;
    double fixpipeL1BytesPerCycle = 0;
    double gmLatencyCycles = 0;  // HBM to the core, after the last byte has been asked for
    double l2LatencyCycles = 0;
    double gmWriteLatencyCycles = 0;

    // vector pipe
    double vectorHeadCycles = 0;
    double vectorTailCycles = 0;           // exposed at a barrier or a flag
    double vectorLongTailCycles = 0;       // more of it: exp, ln, div, sqrt
    double vectorReduceTailCycles = 0;     // more of it: reductions
    double vectorPartialBlockCycles = 0;   // and those whose repeats end in less than a block of results
    double vectorWriteConflictCycles = 0;  // a repeat whose reads meet the previous repeat's write in one bank
    double vectorSimpleCycles = 0;
    double vectorExpCycles = 0;
    double vectorDivCycles = 0;
    double vectorHalfExpCycles = 0;
    double vectorWholeReduceCycles = 0;
    double vectorHalfBlockReduceCycles = 0;

    // scalar, synchronisation, launch
    double queueDepth = 0;  // instructions that a pipe holds before the scalar unit stalls
    double scalarIssueCycles = 0;
    double scalarGmReadCycles = 0;
    double scalarGmCachedReadCycles = 0;
    double dcacheBytes = 0;
    double scalarUbAccessCycles = 0;
    double flagCycles = 0;
    double crossCoreCycles = 0;
    double syncAllCycles = 0;
    double launchCycles = 0;

    // links between NPUs: the time of an AllReduce of x MB over linkMeasuredRanks ranks
    double linkMeasuredRanks = 0;
    double linkSwitchMb = 0;  // below: (small - bend * x) * x + constant, from there on: large * x + constant
    double linkSmallUsPerMb = 0;
    double linkSmallBendUsPerMb2 = 0;
    double linkSmallUs = 0;
    double linkLargeUsPerMb = 0;
    double linkLargeUs = 0;
    double linkSlowdown = 0;  // of computing while the links are busy, and of the links while cores compute
};

// Where a value stands in the YAML and which member takes it.
struct SocField {
    const char* key;
    double SocSpec::* member;
};

const std::vector<SocField>& SocFields();

// Core groups times 2 * 16^3 floating-point operations per cycle, in TFLOPS.
double PeakTflops(const SocSpec& soc);

// Shared rates of all cores together.
double L2BytesPerCycle(const SocSpec& soc);
double HbmBytesPerCycle(const SocSpec& soc);

// UB below its reserved top, in which Select with a scalar works.
double UbLimitBytes(const SocSpec& soc);

}  // namespace fastattn
