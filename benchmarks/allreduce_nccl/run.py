"""Attention, projection and all_reduce of one tensor-parallel layer: sequential against pipelined, measured.

    torchrun --nproc-per-node 2 benchmarks/allreduce_nccl/run.py [--csv FILE]

On GPUs over NCCL, one process each; without GPUs over gloo, at small sizes and for correctness only. Each row: the form
that computes everything and then sends it, the form that the planner chose, computing alone, computing alone in the
launches and blocks of that form, one all_reduce alone; in every repeat each once, in random order (what a GPU did
before decides on its clock), of the slowest rank. Times are medians, speed-up is the median of sequential / pipelined
of each repeat with its quartiles.
hidden = (computing + all_reduce - pipelined) / all_reduce: what the pipeline gains of the AllReduce's time; more than
all of it where launches side by side compute faster than one after the other, too.
hidden_links: the same with computing in the form's own launches and blocks, so that only transfers count.
Where the planner keeps the sequential form ("not cut") both are the same code, and their ratio is the timing's noise.
"""

import argparse
import csv
import os
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

import fastattention_npu  # noqa: F401  (registers the operator)
from fastattention_npu.distributed import rates
from fastattention_npu.distributed.call import Call, attend, make_call
from fastattention_npu.distributed.exchange import Rows, run_exchange
from fastattention_npu.distributed.peer_links import PeerLinks, peer_links
from fastattention_npu.distributed.pipeline import run_blocks, run_schedule
from fastattention_npu.distributed.schedule import Schedule, project, uncut

HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 64, 8, 128, 8192  # Llama-2-70B
GPU_TOKENS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
CPU_TOKENS = (64, 256)
TIMES = ("sequential_ms", "pipelined_ms", "compute_ms", "blocks_ms", "allreduce_ms")
COLUMNS = ("tokens", "blocks", *TIMES, "hidden", "hidden_links", "speedup", "speedup_q1", "speedup_q3")


class SilentLinks(PeerLinks):
    """Nothing travels and nobody waits: what is left of an exchange is its computing. Results are void."""

    def send(self, rows: Rows) -> None:
        pass

    def receive(self, rows: Rows) -> None:
        pass

    def publish(self, rows: Rows) -> None:
        pass

    def collect(self, rows: Rows, owner: int) -> None:
        pass


def silent(call: Call, schedule: Schedule) -> Callable[[], object]:
    """Computing alone, in the schedule's launches and blocks."""
    if peer_links(dist.group.WORLD, call.q.device) is None or not schedule.exchange:
        return lambda: run_blocks(call, None, schedule)
    links = SilentLinks(dist.group.WORLD, call.q.device)
    return lambda: run_exchange(call, links, schedule)


def make(tokens: int, ranks: int, device: torch.device) -> Call:
    """One sequence with this rank's heads; weights scaled so that sums stay of size one."""
    torch.manual_seed(dist.get_rank())
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    hidden = HIDDEN if device.type == "cuda" else 256
    heads, kv_heads = HEADS // ranks, max(1, KV_HEADS // ranks)
    q, k, v = (torch.randn(1, tokens, h, HEAD_DIM, device=device, dtype=dtype) for h in (heads, kv_heads, kv_heads))
    w_o = torch.randn(hidden, heads * HEAD_DIM, device=device, dtype=dtype) / (HEADS * HEAD_DIM) ** 0.5
    return make_call(q, k, v, w_o, None, None, True, (-1, -1), None, None)


def measure(works: Sequence[Callable[[], object]], device: torch.device, repeats: int) -> list[list[float]]:
    """Times in ms of [repeat][work], of the slowest rank, each begun together."""
    times = []
    order = random.Random(0)  # the same on all ranks
    for _ in range(repeats + 2):
        row = [0.0] * len(works)
        for i in order.sample(range(len(works)), len(works)):
            row[i] = rates.timed_once(works[i], device, dist.group.WORLD) / 1e3
        worst = torch.tensor(row, device=device)
        dist.all_reduce(worst, op=dist.ReduceOp.MAX)
        times.append(worst.tolist())
    return times[2:]


def check(call: Call, schedule: Schedule) -> None:
    """Pipelined and sequential sums differ by roundings; two runs by nothing."""
    group = dist.group.WORLD
    pipelined = run_schedule(call, group, schedule)
    one = run_schedule(call, group, uncut(call.tokens))
    error = (pipelined.float() - one.float()).abs().max()
    assert error <= 4e-3 * one.float().abs().max(), f"pipelined and sequential differ by {error}"
    assert torch.equal(pipelined, run_schedule(call, group, schedule)), "two runs differ"


def row(tokens: int, device: torch.device, repeats: int) -> dict[str, object]:
    group = dist.group.WORLD
    call = make(tokens, dist.get_world_size(), device)
    schedule = rates.choose_schedule(call, group)
    check(call, schedule)
    out = call.q.new_zeros((call.tokens, call.hidden))

    def compute() -> None:
        project(attend(call, 0, call.tokens), call.w_o, None, out)

    works = [
        lambda: run_schedule(call, group, uncut(call.tokens)),
        lambda: run_schedule(call, group, schedule),
        compute,
        silent(call, schedule),
        lambda: dist.all_reduce(out),
    ]
    times = measure(works, device, repeats)
    ms = dict(zip(TIMES, (statistics.median(column) for column in zip(*times, strict=True)), strict=True))
    low, middle, high = statistics.quantiles([row[0] / row[1] for row in times], n=4)
    link = ms["allreduce_ms"]
    hidden, hidden_links = ((ms[name] + link - ms["pipelined_ms"]) / link for name in ("compute_ms", "blocks_ms"))
    figures = ms | {"hidden": hidden, "hidden_links": hidden_links}
    figures |= {"speedup": middle, "speedup_q1": low, "speedup_q3": high}
    return {"tokens": tokens, "blocks": str(schedule)} | {name: round(x, 3) for name, x in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="write the table here")
    parser.add_argument("--repeats", type=int, default=31)
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
