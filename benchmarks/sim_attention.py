"""The simulator's speed on this machine: attention on the simulated 910B beside PyTorch's own CPU attention over the
same tensors, in one run. The contenders take turns and the best of each counts: the ratios stand even where the machine
is shared. One line per case, and a CSV with commit and device. GFLOP/s are the host's; the simulated chip's time is
another matter and not shown here.

    python benchmarks/sim_attention.py [--threads N] [--seq 2048] [--rounds 5] [--csv FILE]
"""

from __future__ import annotations

import argparse
import csv
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cpu_attention import best_in_turns, commit, device

from fastattention_npu.sim import flash_attention

HEADS, HEAD_DIM = 8, 128
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def inputs(seq: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(1, seq, HEADS, HEAD_DIM).to(dtype) for _ in range(3))


def torch_attention(seq: int, dtype: torch.dtype, threads: int) -> Callable[[], object]:
    q, k, v = (x.transpose(1, 2).contiguous() for x in inputs(seq, dtype))

    def run() -> object:
        torch.set_num_threads(threads)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    return run


def contenders(seq: int, threads: int) -> dict[str, Callable[[], object]]:
    q, k, v = inputs(seq, torch.float16)
    runs: dict[str, Callable[[], object]] = {}
    for checks in (True, False):
        for count in sorted({1, threads}):
            name = f"simulator, checks {'on' if checks else 'off'}, {count} threads"
            runs[name] = partial(flash_attention, q, k, v, checks=checks, threads=count)
    for count in sorted({1, threads}):
        for name, dtype in DTYPES.items():
            runs[f"PyTorch CPU {name}, {count} threads"] = torch_attention(seq, dtype, count)
    return runs


def measure(seq: int, threads: int, rounds: int) -> list[dict[str, Any]]:
    runs = contenders(seq, threads)
    times = best_in_turns(list(runs.values()), rounds)
    flops = 4 * HEADS * seq**2 * HEAD_DIM
    reference = times[list(runs).index(f"PyTorch CPU fp16, {threads} threads")]
    return [
        {"case": name, "s": seconds, "gflops": flops / seconds / 1e9, "times_torch_fp16": reference / seconds}
        for name, seconds in zip(runs, times, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seq", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    print(f"b=1 h={HEADS} s={options.seq} d={HEAD_DIM}, not causal, on {device()}, commit {commit()}")
    rows = measure(options.seq, options.threads, options.rounds)
    for row in rows:
        print(
            f"{row['case']:38} | {row['s']:8.3f} s | {row['gflops']:7.1f} GFLOP/s | "
            f"{row['times_torch_fp16']:5.2f} x PyTorch fp16"
        )
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["device", "commit", *rows[0]])
            writer.writeheader()
            writer.writerows({"device": device(), "commit": commit()} | row for row in rows)


if __name__ == "__main__":
    main()
