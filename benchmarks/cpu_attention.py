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
from pathlib import Path

import torch

from fastattention_npu import cpu

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
HEADS, HEAD_DIM, PREFILL_HEADS, PREFILL_TOKENS = 32, 128, 8, 2048


def best_in_turns(contenders: list[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each contender's fastest run, after one run unmeasured."""
    for run in contenders:
        run()
    best = [float("inf")] * len(contenders)
    for _ in range(rounds):
        for i, run in enumerate(contenders):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def decode_cases(keys: int, threads: int, rounds: int) -> Iterator[dict[str, object]]:
    for dtype in DTYPES:
        for layout in ("BNSD", "BSND"):
            bnsd = layout == "BNSD"
            shape = (1, HEADS, keys, HEAD_DIM) if bnsd else (1, keys, HEADS, HEAD_DIM)
            q = torch.randn(1, HEADS, 1, HEAD_DIM).to(dtype)
            k, v = (torch.randn(shape).to(dtype) for _ in range(2))
            used = torch.tensor([keys], dtype=torch.int32)
            kt, vt = (x if bnsd else x.transpose(1, 2) for x in (k, v))
            ours_q = q if bnsd else q.transpose(1, 2)
            times = best_in_turns(
                [
                    lambda: cpu.decode(ours_q, k, v, used, layout=layout, threads=threads),
                    lambda: cpu.read_bandwidth_gbps(k, v, threads=threads, repeats=1),
                    lambda: torch.nn.functional.scaled_dot_product_attention(q, kt, vt),
                ],
                rounds,
            )
            size = 2 * k.numel() * k.element_size()
            yield {
                "case": f"decode {layout} h={HEADS} d={HEAD_DIM} keys={keys} {str(dtype)[6:]}",
                "ms": times[0] * 1e3,
                "gflops": 4 * HEADS * HEAD_DIM * keys / times[0] / 1e9,
                "gbps": size / times[0] / 1e9,
                "percent_of_read_limit": 100 * times[1] / times[0],
                "times_torch": times[2] / times[0],
            }
            del k, v, kt, vt


def prefill_cases(threads: int, rounds: int) -> Iterator[dict[str, object]]:
    for dtype in DTYPES:
        q, k, v = (torch.randn(1, PREFILL_HEADS, PREFILL_TOKENS, HEAD_DIM).to(dtype) for _ in range(3))
        for causal in (False, True):
            times = best_in_turns(
                [
                    lambda c=causal: cpu.forward(q, k, v, causal=c, layout="BNSD", threads=threads),  # type: ignore[misc]
                    lambda c=causal: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=c),  # type: ignore[misc]
                ],
                rounds,
            )
            flops = 4 * PREFILL_HEADS * PREFILL_TOKENS**2 * HEAD_DIM / (2 if causal else 1)
            name = "causal" if causal else "full"
            yield {
                "case": f"prefill s={PREFILL_TOKENS} h={PREFILL_HEADS} d={HEAD_DIM} {name} {str(dtype)[6:]}",
                "ms": times[0] * 1e3,
                "gflops": flops / times[0] / 1e9,
                "gbps": "",
                "percent_of_read_limit": "",
                "times_torch": times[1] / times[0],
            }


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
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
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{device()}, {args.threads} threads, target {cpu.active_target()}, torch {torch.__version__}; measured")
    rows: list[dict[str, object]] = []
    for cases in (decode_cases(args.keys, args.threads, args.rounds), prefill_cases(args.threads, args.rounds)):
        for row in cases:
            rows.append({**row, "commit": commit(), "device": device(), "threads": args.threads})
            share = row["percent_of_read_limit"]
            limit = f"{row['gbps']:6.1f} GB/s | {share:5.1f} % of read limit | " if share != "" else ""
            print(f"{row['case']:52s} | {row['ms']:8.2f} ms | {row['gflops']:6.1f} GFLOPS | {limit}"
                  f"{row['times_torch']:.2f}x torch", flush=True)  # fmt: skip
    if args.csv:
        with args.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
