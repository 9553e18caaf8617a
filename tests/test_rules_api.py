"""What the calls compute: the parts of the API that the attention kernels do not use, against numpy."""

import numpy as np
import pytest

from tests.rule_kernels import run

SIDE = 64
RNG = np.random.default_rng(7)
MATRICES = RNG.integers(-4, 5, (2, SIDE, SIDE)).astype(np.float16)
A, B = MATRICES.astype(np.float32)


def product(kernel: str, variant: int = 0) -> np.ndarray:
    result = run(kernel, "aic", variant, data=MATRICES)
    assert result.findings == []
    return result.out[: SIDE * SIDE].reshape(SIDE, SIDE)


@pytest.mark.parametrize("kernel", ["product_3d", "product_transpose", "nd2nz_many"])
def test_product(kernel: str) -> None:
    assert np.array_equal(product(kernel), A @ B)


def test_product_of_turned_operand() -> None:
    assert np.array_equal(product("product_3d", 1), A.T @ B)


def test_product_through_l1() -> None:
    assert np.array_equal(product("product_chained"), (A @ B) @ B)


def test_nz_result_with_relu() -> None:
    strips = np.maximum(A @ B, 0).reshape(SIDE, SIDE // 16, 16).transpose(1, 0, 2)
    assert np.array_equal(product("fixpipe_nz").reshape(strips.shape), strips)


def test_plain_copy_to_l1() -> None:
    strips = A.reshape(SIDE // 16, SIDE, 16)  # the rows of the input are strips already
    assert np.array_equal(product("gm_to_l1"), strips.transpose(1, 0, 2).reshape(SIDE, SIDE) @ B)


@pytest.mark.parametrize(("variant", "dtype", "index"), [(0, np.float32, np.uint32), (1, np.float16, np.uint16)])
def test_reductions(variant: int, dtype: type, index: type) -> None:
    lanes = 256 // np.dtype(dtype).itemsize
    x = RNG.integers(-50, 50, (8, lanes)).astype(dtype)
    result = run("reductions", "aiv", variant, data=x)
    assert result.findings == []
    rows = result.out.view(dtype)[: 7 * 512 // np.dtype(dtype).itemsize].reshape(7, -1)
    assert np.array_equal(rows[0, 0:16:2], x.max(1))
    assert np.array_equal(rows[0, 1:16:2].copy().view(index), x.argmax(1))
    assert np.array_equal(rows[1, 0:16:2].copy().view(index), x.argmin(1))
    assert np.array_equal(rows[1, 1:16:2], x.min(1))
    assert np.array_equal(rows[2, :8], x.max(1))
    assert np.array_equal(rows[3, :8].copy().view(index), x.argmax(1))
    assert np.array_equal(rows[4, :8], x[:, : lanes // 2].sum(1))
    blocks = x.reshape(64, -1)
    assert np.array_equal(rows[5, :64], blocks.max(1))
    assert np.array_equal(rows[6, :64], blocks.sum(1))


def test_bytes_widen_to_half() -> None:
    x = RNG.integers(0, 256, 256).astype(np.uint8)
    result = run("bytes_to_half", "aiv", 0, data=x)
    assert result.findings == []
    rows = result.out.view(np.float16)[:512].reshape(2, 256)
    assert np.array_equal(rows[0], x)
    expected = np.where(np.arange(256) % 128 < 64, x.astype(np.float16), -1)
    assert np.array_equal(rows[1], expected)


@pytest.mark.parametrize("mode", range(6))
def test_compare_select_copy(mode: int) -> None:
    a, b = RNG.integers(-1, 3, (2, 256)).astype(np.float32)
    holds = [np.less, np.greater, np.equal, np.less_equal, np.greater_equal, np.not_equal][mode]
    result = run("compare_select", "aiv", mode, data=np.stack([a, b]))
    assert result.findings == []
    rows = result.out[:1280].reshape(5, 256)
    bits = np.unpackbits(result.out.view(np.uint8)[8192:8256], bitorder="little")
    with_tensor, with_scalar = holds(a, b), holds(a, np.float32(0.5))
    assert np.array_equal(bits[:256], with_tensor)
    assert np.array_equal(bits[256:512], with_scalar)
    assert np.array_equal(rows[0], np.where(with_tensor, a, b))
    assert np.array_equal(rows[1], np.where(np.tile(with_tensor[:64], 4), a, b))
    assert np.array_equal(rows[2], np.where(with_scalar, a, -1))
    expected = rows[0].reshape(4, 64).copy()
    expected[:, 56:] = a.reshape(4, 64)[:, :8]
    assert np.array_equal(rows[3].reshape(4, 64), expected)
    assert np.array_equal(rows[4], rows[0])


@pytest.mark.parametrize(("kernel", "tiles"), [("queue_add", 7), ("queue_in_place", 5)])
def test_queues_hand_tiles_round(kernel: str, tiles: int) -> None:
    x = np.arange(tiles * 256, dtype=np.float32)
    result = run(kernel, "aiv", data=x)
    assert result.findings == []
    assert np.array_equal(result.out[: x.size], x + 1)


def test_queues_of_the_cube() -> None:
    result = run("queue_cube", "aic", data=MATRICES)
    assert result.findings == []
    # L1 holds strips of columns, which L0A takes for rows of fractals.
    left = A.reshape(4, 16, 4, 16).transpose(2, 1, 0, 3).reshape(SIDE, SIDE)
    assert np.array_equal(result.out[: SIDE * SIDE].reshape(SIDE, SIDE), left @ A.T)


def test_collecting_repeats_in_one_place() -> None:
    result = run("overlap_repeats", "aiv", 2)
    assert result.findings == []
