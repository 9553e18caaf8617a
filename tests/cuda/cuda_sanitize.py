"""One small call of every kernel kind, for `compute-sanitizer --tool racecheck python tests/cuda/cuda_sanitize.py`.

Stage: checking. No pytest, no reference: the sanitizer is the judge. Shapes are ragged in every dimension.
With --canary it writes out of bounds instead, through the same loader: the sanitizer must complain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastattention_npu.cuda as fa
from fastattention_npu.cuda import cache, driver, params

CANARY = """
extern "C" __global__ void fa_kernel(float* p) { p[threadIdx.x + (1ll << 40)] = 1.0f; }
"""


def canary() -> None:
    """A store far outside any allocation."""
    target = torch.zeros(32, device="cuda")
    kernel = driver.Kernel(cache.get(CANARY, {}, 75, cubin=False), "canary", 0)
    arguments = params.PrefillParams(q=target.data_ptr())
    kernel.launch((1, 1, 1), (32, 1, 1), arguments, torch.cuda.current_stream().cuda_stream)
    torch.cuda.synchronize()


def main() -> None:
    """All kinds for the architectures named on the command line."""
    if sys.argv[1:] == ["--canary"]:
        canary()
        return
    for backend in sys.argv[1:] or ["sm75", "sm70"]:
        for d in (40, 64, 128, 200):
            q = torch.randn(2, 150, 4, d, device="cuda").half()
            k, v = (torch.randn(2, 170, 2, d, device="cuda").half() for _ in range(2))
            fa.forward(q, k, v, causal=True, backend=backend)
            fa.forward(q, k, v, window_size=(60, 10), softcap=10.0, backend=backend)
        q, k = torch.randn(201, 4, 64, device="cuda").half(), torch.randn(231, 2, 64, device="cuda").half()
        cu_q = torch.tensor([0, 1, 1, 201], dtype=torch.int32, device="cuda")
        cu_k = torch.tensor([0, 130, 140, 231], dtype=torch.int32, device="cuda")
        fa.forward(q, k, k, cu_seqlens_q=cu_q, cu_seqlens_k=cu_k, max_seqlen_q=200, max_seqlen_k=130, causal=True,
                   layout="tnd", backend=backend)  # fmt: skip
        pages = torch.randn(24, 32, 2, 128, device="cuda").half()
        table = torch.randperm(24, device="cuda").int().view(2, 12)
        used = torch.tensor([333, 5], dtype=torch.int32, device="cuda")
        for s_q in (1, 9):
            q = torch.randn(2, s_q, 8, 128, device="cuda").half()
            fa.decode(
                q, pages, pages, block_table=table, cache_seqlens=used, causal=True, num_splits=3, backend=backend
            )
    torch.cuda.synchronize()
    print("ran", sys.argv[1:] or "sm75 sm70")


if __name__ == "__main__":
    main()
