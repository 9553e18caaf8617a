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
    double l2ReadBytesPerCyclePerAic = 0;

    // cube pipe
    double cubeHeadCycles = 0;
    double cubeFractalCycles = 0;

    // MTE1
    double mte1HeadCycles = 0;
    double mte1L0aBytesPerCycle = 0;
    double mte1L0bBytesPerCycle = 0;

    // MTE2, MTE3, FIXP
    double mte2HeadCycles = 0;
    double mte2UbBytesPerCycle = 0;
    double mte2L1BytesPerCycle = 0;
    double mte2BurstCycles = 0;  // least time of one burst
    double mte3HeadCycles = 0;
    double mte3BytesPerCycle = 0;
    double fixpipeHeadCycles = 0;
    double fixpipeGmBytesPerCycle = 0;
    double fixpipeL1BytesPerCycle = 0;
    double gmLatencyCycles = 0;

    // vector pipe
    double vectorHeadCycles = 0;
    double vectorTailCycles = 0;  // exposed at a barrier or a flag
    double vectorSimpleCycles = 0;
    double vectorExpCycles = 0;
    double vectorDivCycles = 0;
    double vectorHalfExpCycles = 0;
    double vectorWholeReduceCycles = 0;
    double vectorHalfBlockReduceCycles = 0;

    // scalar, synchronisation, launch
    double scalarIssueCycles = 0;
    double scalarGmReadCycles = 0;
    double scalarUbAccessCycles = 0;
    double flagCycles = 0;
    double crossCoreCycles = 0;
    double syncAllCycles = 0;
    double launchCycles = 0;
};

// Where a value stands in the YAML and which member takes it.
struct SocField {
    const char* key;
    double SocSpec::* member;
};

const std::vector<SocField>& SocFields();

// Core groups times 2 * 16^3 floating-point operations per cycle, in TFLOPS.
double PeakTflops(const SocSpec& soc);

}  // namespace fastattn
