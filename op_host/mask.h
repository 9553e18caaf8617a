// Masks on the host's side: the M-mask, made once per device and mask_block, of which blocks read windows
// (op_kernel/flash_attention/mask_window.h); the S x S tensor of the windows for the mask mode `full`; and what is
// asked of a mask tensor.
#pragma once
#include <cstdint>
#include <vector>

#include "../op_kernel/flash_attention/tiling.h"
#include "problem.h"
#include "refusal.h"

namespace fastattn {

// Side 2 * maskBlock, one bit an element: bit (c % 8) of byte (c / 8) of row r is 1 iff c <= r. Row-major, no padding.
std::vector<uint8_t> BuildMMask(uint32_t maskBlock);

// What the kernel's mask operand points to: the M-mask, in mode MASK_TILING only, and behind it the ramp
// 0 ... maskBlock - 1 in fp32 (ALiBi).
std::vector<uint8_t> BuildDeviceConstants(uint32_t maskBlock, uint32_t maskMode);

// MASK_WINDOWS: byte c of row r is 1 iff query r sees key c, for windows aligned to the last query and key; negative
// sides are open. [seqQ, seqKv], row-major.
std::vector<uint8_t> BuildWindowsMask(uint32_t seqQ, uint32_t seqKv, int64_t windowLeft, int64_t windowRight);

// What the problem says about its mask tensor.
void CheckMaskTensor(const Problem& problem, Reasons& reasons);
uint32_t MaskTensorOf(const Problem& problem);

// MASK_FULL: gives the tiling the tensor of its windows, where there are windows and no other tensor.
void DeriveMaskTensor(FlashAttentionTiling& tiling);
// Why the mask mode cannot serve the tiling.
void CheckMaskMode(const FlashAttentionTiling& tiling, const SocSpec& soc, Reasons& reasons);

// From the mask tensor's first element to the end of its last, 0 without one.
double MaskTensorBytes(const Problem& problem);

}  // namespace fastattn
