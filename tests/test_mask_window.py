"""The tiling-mask: the M-mask and the window rule, against brute force."""

import numpy as np
import pytest

from fastattention_npu import _core


def m_mask_bits(mask_block: int) -> np.ndarray:
    packed = _core.m_mask(mask_block)
    assert packed.shape == (2 * mask_block, 2 * mask_block // 8)
    assert packed.dtype == np.uint8
    return np.unpackbits(packed, axis=1, bitorder="little").astype(bool)


def test_m_mask_is_the_lower_triangle() -> None:
    assert np.array_equal(m_mask_bits(256), np.tri(512, dtype=bool))
    for bad in (0, 100, -256, 1 << 20):
        with pytest.raises(ValueError, match="mask_block = "):
            _core.m_mask(bad)


def window_mask(mask: np.ndarray, delta: int, rows: int, cols: int, shift: int = 0) -> np.ndarray:
    """The block's mask that the window rule yields; shift moves the window, for the canary."""
    _, row, col = _core.mask_window(delta, rows, cols)
    assert col % 256 == 0
    assert 0 <= row <= len(mask) - rows - shift
    assert 0 <= col <= len(mask) - cols
    return mask[row + shift : row + shift + rows, col : col + cols]


WINDOW_SIZES = [(16, 256), (128, 512), (512, 512), (512, 256), (1, 1), (7, 300), (100, 1), (511, 510), (128, 89)]


@pytest.mark.parametrize(("rows", "cols"), WINDOW_SIZES)
def test_mask_window_against_brute_force(rows: int, cols: int) -> None:
    mask = m_mask_bits(512)
    row, col = np.ogrid[:rows, :cols]
    deltas = {*range(-rows - 2, cols + 3, 13), *range(-rows - 2, -rows + 3), *range(cols - 4, cols + 3)}
    for delta in sorted(deltas | {-257, -256, -255, -1, 0, 1, -(10**12), 10**12}):
        expected = col <= row + delta
        assert np.array_equal(window_mask(mask, delta, rows, cols), expected), delta
        kind = _core.mask_window(delta, rows, cols)[0]
        assert kind == ("visible" if expected.all() else "partial" if expected.any() else "skipped")


def test_canary_a_window_one_row_off_is_wrong() -> None:
    mask = m_mask_bits(512)
    row, col = np.ogrid[:128, :512]
    assert not np.array_equal(window_mask(mask, 5, 128, 512, shift=1), col <= row + 5)
