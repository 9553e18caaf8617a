// The tiling-mask's M-mask, built on the host once per device and mask_block; blocks read windows of it
// (op_kernel/flash_attention/mask_window.h).
#pragma once
#include <cstdint>
#include <vector>

namespace fastattn {

// Side 2 * maskBlock, one bit an element: bit (c % 8) of byte (c / 8) of row r is 1 iff c <= r. Row-major, no padding.
std::vector<uint8_t> BuildMMask(uint32_t maskBlock);

// What the kernel's mask operand points to: the M-mask and behind it the ramp 0 ... maskBlock - 1 in fp32 (ALiBi).
std::vector<uint8_t> BuildDeviceConstants(uint32_t maskBlock);

}  // namespace fastattn
