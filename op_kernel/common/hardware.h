// Architectural constants of dav-2201 (Ascend 910B) that the kernels and op_host share: fractal shapes and the
// alignments that are part of the instruction set. Sizes that differ between SoCs stand in configs/soc, not here.
// Plain C++17: included by the kernels, by op_host and by the simulator.
// Source: Ascend C documentation, "NPU architecture version 2201".
#pragma once
#include <cstdint>

#ifndef FASTATTN_HOST_DEVICE
#if defined(__CCE_AICORE__) || defined(__NPU_ARCH__)
#include "kernel_operator.h"  // defines __aicore__
#define FASTATTN_HOST_DEVICE __aicore__ inline
#else
#define FASTATTN_HOST_DEVICE inline
#endif
#endif

namespace fastattn {

constexpr uint32_t BLOCK_BYTES = 32;            // unit of UB addressing and of one data block of a repeat
constexpr uint32_t REPEAT_BYTES = 256;          // bytes that one vector repeat covers
constexpr uint32_t BANK_GROUPS = 16;            // of UB, one 32 B block after the other
constexpr uint32_t FRACTAL_ROWS = 16;           // rows of a cube fractal
constexpr uint32_t FRACTAL_BYTES = 512;         // one L1/L0A/L0B fractal
constexpr uint32_t L0C_FRACTAL_BYTES = 1024;    // one 16 x 16 fp32 fractal
constexpr uint32_t C0_B16_ELEMS = 16;           // 32 B of a 16-bit type
constexpr uint32_t REPEAT_FP32_ELEMS = 64;      // fp32 lanes of one vector repeat
constexpr uint32_t BLOCK_FP32_ELEMS = 8;        // fp32 elements of one 32 B block
constexpr uint32_t GM_ALIGN_BYTES = 512;        // GM addresses off this granule lose up to half of the bandwidth
constexpr uint32_t MASK_ROW_ALIGN_ELEMS = 256;  // mask bits of a row fill whole 32 B blocks
constexpr uint32_t VECTOR_CORES_PER_CUBE = 2;
constexpr uint32_t MAX_REPEATS = 255;         // vector repeatTimes is a uint8
constexpr uint32_t EVENTS_PER_PIPE_PAIR = 8;  // ids 0 ... 7 of a HardEvent

FASTATTN_HOST_DEVICE constexpr uint64_t CeilDiv(uint64_t x, uint64_t y) { return (x + y - 1) / y; }
FASTATTN_HOST_DEVICE constexpr uint64_t RoundUp(uint64_t x, uint64_t to) { return CeilDiv(x, to) * to; }

}  // namespace fastattn
