// The tiling-mask's window: where, inside the one M-mask, the mask of a level-1 block lies. Row r of a block sees
// column c iff c <= r + delta; bit (r, c) of the M-mask (side 2M, M = maskBlock) is 1 iff c <= r, so the block's mask
// is the M-mask's window whose first row and column differ by delta. Shared by the kernel and the tests; plain C++17.
// Source: FastAttention (arXiv 2410.16663), tiling-mask; the alignment rule is ours, because the mask is packed bits.
#pragma once
#include "../common/hardware.h"

namespace fastattn {

enum class MaskKind : uint32_t {
    VISIBLE,  // every row sees every column: no mask needed
    SKIPPED,  // no row sees any column: no work needed
    PARTIAL,  // read the window
};

struct MaskWindow {
    MaskKind kind;
    uint32_t row;  // first row of the window; if not PARTIAL, of one that is all ones (VISIBLE) or all zeros
    uint32_t col;  // first column, always a multiple of MASK_ROW_ALIGN_ELEMS (32 B of packed bits)
};

// delta = row0 - col0 + (keys in use - queries) for causal attention aligned bottom-right; rows, cols >= 1 are the
// block's sizes, both <= M. Only the row may take the odd part of delta, since a row starts on a 32 B boundary anyway.
//
// A PARTIAL window stays inside the 2M x 2M mask, M a multiple of 256:
//   delta >= 0: col = 0, so col + cols <= M. row = delta <= cols - 2, so row + rows <= M - 2 + M < 2M.
//   delta < 0:  1 <= -delta <= rows - 1 < M, so col = RoundUp(-delta, 256) <= M and col + cols <= 2M.
//               row = col + delta lies in 0 ... 255, so row + rows <= 255 + M < 2M.
// A VISIBLE one starts at row cols - 1 < M and column 0, a SKIPPED one at row 0 and column RoundUp(rows, 256) <= M.
FASTATTN_HOST_DEVICE constexpr MaskWindow MakeMaskWindow(int64_t delta, uint32_t rows, uint32_t cols)
{
    if (delta >= static_cast<int64_t>(cols) - 1) {
        return MaskWindow{MaskKind::VISIBLE, cols - 1, 0};
    }
    if (delta <= -static_cast<int64_t>(rows)) {
        return MaskWindow{MaskKind::SKIPPED, 0, static_cast<uint32_t>(RoundUp(rows, MASK_ROW_ALIGN_ELEMS))};
    }
    const int64_t col =
        delta >= 0 ? 0 : static_cast<int64_t>(RoundUp(static_cast<uint64_t>(-delta), MASK_ROW_ALIGN_ELEMS));
    return MaskWindow{MaskKind::PARTIAL, static_cast<uint32_t>(col + delta), static_cast<uint32_t>(col)};
}

}  // namespace fastattn
