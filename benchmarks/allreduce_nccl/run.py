"""Attention, projection and all_reduce of one tensor-parallel layer: sequential against pipelined, measured.

    torchrun --nproc-per-node 2 benchmarks/allreduce_nccl/run.py [--csv FILE]

On GPUs over NCCL, one process each; without GPUs over gloo, at small sizes and for correctness only. Each row: the form
that computes everything and then sends it, the pipelined form with the planner's blocks, computing alone, one
all_reduce alone; hidden = (computing + all_reduce - pipelined) / all_reduce. Medians, of the slowest rank.
"""

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

import fastattention_npu  # noqa: F401  (registers the operator)
from fastattention_npu.distributed import rates
from fastattention_npu.distributed.call import Call, attend, make_call
from fastattention_npu.distributed.pipeline import Schedule, project, run_blocks

HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 64, 8, 128, 8192  # Llama-2-70B
GPU_TOKENS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
CPU_TOKENS = (64, 256)
COLUMNS = ("tokens", "blocks", "sequential_ms", "pipelined_ms", "compute_ms", "allreduce_ms", "hidden", "speedup")


def make(tokens: int, ranks: int, device: torch.device) -> Call:
    """One sequence with this rank's heads; weights scaled so that sums stay of size one."""
    torch.manual_seed(dist.get_rank())
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    hidden = HIDDEN if device.type == "cuda" else 256
    heads, kv_heads = HEADS // ranks, max(1, KV_HEADS // ranks)
    q, k, v = (torch.randn(1, tokens, h, HEAD_DIM, device=device, dtype=dtype) for h in (heads, kv_heads, kv_heads))
    w_o = torch.randn(hidden, heads * HEAD_DIM, device=device, dtype=dtype) / (HEADS * HEAD_DIM) ** 0.5
    return make_call(q, k, v, w_o, None, None, True, (-1, -1), None, None)


def measure(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time in ms over all ranks' slowest, each run begun together."""
    times = []
    for _ in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        dist.barrier()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took = torch.tensor([(time.perf_counter() - start) * 1e3], device=device)
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        times.append(float(took))
    return statistics.median(times[2:])


def check(call: Call, schedule: Schedule) -> None:
    """Pipelined and sequential sums of the same blocks have the same bits, or differ by roundings of the all_reduce."""
    group = dist.group.WORLD
    pipelined = run_blocks(call, group, schedule)
    one = run_blocks(call, group, Schedule((call.tokens,)))
    error = (pipelined.float() - one.float()).abs().max()
    assert error <= 4e-3 * one.float().abs().max(), f"pipelined and sequential differ by {error}"
    assert torch.equal(pipelined, run_blocks(call, group, schedule)), "two runs differ"


def row(tokens: int, device: torch.device, repeats: int) -> dict[str, object]:
    group = dist.group.WORLD
    call = make(tokens, dist.get_world_size(), device)
    schedule = rates.choose_schedule(call, group)
    check(call, schedule)
    out = call.q.new_zeros((call.tokens, call.hidden))

    def compute() -> None:
        project(attend(call, 0, call.tokens), call.w_o, None, out)

    ms = {
        "sequential_ms": measure(lambda: run_blocks(call, group, Schedule((call.tokens,))), device, repeats),
        "pipelined_ms": measure(lambda: run_blocks(call, group, schedule), device, repeats),
        "compute_ms": measure(compute, device, repeats),
        "allreduce_ms": measure(lambda: dist.all_reduce(out), device, repeats),
    }
    hidden = (ms["compute_ms"] + ms["allreduce_ms"] - ms["pipelined_ms"]) / ms["allreduce_ms"]
    text = "+".join(map(str, schedule.blocks)) + (" (projection)" if schedule.whole_attention else "")
    return {"tokens": tokens, "blocks": text, **{k: round(x, 3) for k, x in ms.items()},
            "hidden": round(hidden, 3), "speedup": round(ms["sequential_ms"] / ms["pipelined_ms"], 3)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="write the table here")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tokens", type=int, nargs="*", help="sequence lengths; default: 512 to 32768 on GPUs")
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo", device_id=device if gpu else None)
    rows = [row(s, device, options.repeats) for s in options.tokens or (GPU_TOKENS if gpu else CPU_TOKENS)]
    if dist.get_rank() == 0:
        name = torch.cuda.get_device_name() if gpu else "CPU"
        print(f"measured on {dist.get_world_size()} x {name}, torch {torch.__version__}")
        for line in rows:
            print(" | ".join(f"{column} {line[column]}" for column in COLUMNS))
        if options.csv:
            with options.csv.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
