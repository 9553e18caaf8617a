"""CPU attention against its limits, in one run: decode against the read bandwidth that a loop of loads reaches over the
same bytes, and both against PyTorch's CPU scaled_dot_product_attention. The contenders take turns, the best of each
counts: the ratios stand even where the machine is shared. One line per case, and a CSV with commit and device.

    python benchmarks/cpu_attention.py [--threads N] [--keys 32768] [--rounds 8] [--csv FILE]
"""

from __future__ import annotations

import argparse
import csv
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fastattention_npu import cpu

Row = dict[str, Any]
SETTLE_S = 0.05  # until the threads of the contender before have stopped spinning
HEADS, HEAD_DIM, PREFILL_HEADS, PREFILL_TOKENS = 32, 128, 8, 2048


def best_in_turns(contenders: list[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each contender's fastest run, after one run unmeasured."""
    for run in contenders:
        run()
    best = [float("inf")] * len(contenders)
    for _ in range(rounds):
        for i, run in enumerate(contenders):
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def decode_case(keys: int, threads: int, rounds: int, dtype: torch.dtype, layout: str) -> Row:
    bnsd = layout == "BNSD"
    q = torch.randn(1, HEADS, 1, HEAD_DIM).to(dtype)
    # Drawn once and repeated: values do not change the time, drawing billions of them would.
    part = torch.randn(1, HEADS, 1024, HEAD_DIM).to(dtype)
    k, v = (part.repeat(1, 1, -(-keys // 1024), 1)[:, :, :keys] for _ in range(2))
    k, v = (x.contiguous() if bnsd else x.transpose(1, 2).contiguous() for x in (k, v))
    used = torch.tensor([keys], dtype=torch.int32)
    torch_k, torch_v = (x if bnsd else x.transpose(1, 2) for x in (k, v))
    times = best_in_turns(
        [
            partial(cpu.decode, q if bnsd else q.transpose(1, 2), k, v, used, layout=layout, threads=threads),
            partial(cpu.read_bandwidth_gbps, k, v, threads=threads, repeats=1),
            partial(torch.nn.functional.scaled_dot_product_attention, q, torch_k, torch_v),
        ],
        rounds,
    )
    return {
        "case": f"decode {layout} h={HEADS} d={HEAD_DIM} keys={keys} {str(dtype)[6:]}",
        "ms": times[0] * 1e3,
        "gflops": 4 * HEADS * HEAD_DIM * keys / times[0] / 1e9,
        "gbps": 2 * k.numel() * k.element_size() / times[0] / 1e9,
        "percent_of_read_limit": 100 * times[1] / times[0],
        "times_torch": times[2] / times[0],
    }


def prefill_case(threads: int, rounds: int, dtype: torch.dtype, causal: bool) -> Row:
    q, k, v = (torch.randn(1, PREFILL_HEADS, PREFILL_TOKENS, HEAD_DIM).to(dtype) for _ in range(3))
    times = best_in_turns(
        [
            partial(cpu.forward, q, k, v, causal=causal, layout="BNSD", threads=threads),
            partial(torch.nn.functional.scaled_dot_product_attention, q, k, v, is_causal=causal),
        ],
        rounds,
    )
    flops = 4 * PREFILL_HEADS * PREFILL_TOKENS**2 * HEAD_DIM / (2 if causal else 1)
    name = "causal" if causal else "full"
    return {
        "case": f"prefill s={PREFILL_TOKENS} h={PREFILL_HEADS} d={HEAD_DIM} {name} {str(dtype)[6:]}",
        "ms": times[0] * 1e3,
        "gflops": flops / times[0] / 1e9,
        "gbps": None,
        "percent_of_read_limit": None,
        "times_torch": times[1] / times[0],
    }


def cases(keys: int, threads: int, rounds: int, dtypes: list[torch.dtype]) -> Iterator[Row]:
    for dtype in dtypes:
        for layout in ("BNSD", "BSND"):
            yield decode_case(keys, threads, rounds, dtype, layout)
    for dtype in dtypes:
        for causal in (False, True):
            yield prefill_case(threads, rounds, dtype, causal)


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"


def device() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--keys", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--dtypes", default="float16,bfloat16,float32")
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{device()}, {args.threads} threads, target {cpu.active_target()}, torch {torch.__version__}; measured")
    rows: list[Row] = []
    for row in cases(args.keys, args.threads, args.rounds, [getattr(torch, d) for d in args.dtypes.split(",")]):
        rows.append({**row, "commit": commit(), "device": device(), "threads": args.threads})
        limit = (
            f"{row['gbps']:6.1f} GB/s | {row['percent_of_read_limit']:5.1f} % of read limit | " if row["gbps"] else ""
        )
        print(
            f"{row['case']:52s} | {row['ms']:8.2f} ms | {row['gflops']:6.1f} GFLOPS | {limit}"
            f"{row['times_torch']:.2f}x torch",
            flush=True,
        )
    if args.csv:
        with args.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
