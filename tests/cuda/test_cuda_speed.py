"""On a V100 or T4 only: our kernels against PyTorch's attention on that card, which there is CUTLASS's kernel.

The figures on other cards are stand-ins and belong to benchmarks/cuda_prefill, not to a test.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
import torch

import fastattention_npu.cuda as fa

LEAST_RATIO = 1.1  # the floor that the stand-in keeps at every measured length


def _median_ms(call: Callable[[], object]) -> float:
    for _ in range(3):
        call()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(15)]
    for begin, end in events:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("d", [64, 128])
@pytest.mark.parametrize("s", [1024, 4096])
def test_faster_than_torch(s: int, d: int, causal: bool, device: torch.device) -> None:
    capability = torch.cuda.get_device_capability(device)
    if capability not in ((7, 0), (7, 5)):
        pytest.skip(f"timings count on a V100 or T4 only, this GPU is sm_{capability[0]}{capability[1]}")
    q, k, v = (torch.randn(1, s, 32, d, device=device).half() for _ in range(3))
    views = [x.transpose(1, 2) for x in (q, k, v)]
    theirs = _median_ms(lambda: torch.nn.functional.scaled_dot_product_attention(*views, is_causal=causal))
    ours = _median_ms(lambda: fa.forward(q, k, v, causal=causal))
    print(f"s={s} d={d} causal={causal}: ours {ours:.3f} ms, torch {theirs:.3f} ms, {theirs / ours:.2f}x")
    assert theirs / ours >= LEAST_RATIO
