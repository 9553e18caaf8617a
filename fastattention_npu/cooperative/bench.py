"""`fastattn bench cooperative`: decode time per token from 4K to 256K tokens, the cooperative strategy against the
classical one and against everything resident, the model's prediction and the bytes over the bus beside each; prefill
with offload against resident. All figures are measured on the machine named in the output, except the column that says
predicted. Caches are filled with random K and V unless --prefill asks for a real prompt.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch

from .attention import HostWorker
from .cache import CacheError, CooperativeKVCache
from .device import Accelerator
from .llama import CONFIGS, Decoder, DecoderConfig
from .measure import measure_machine
from .plan import GB, CacheShape, Machine, OffloadPlan, plan_offload, predict_step

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
FIXED_RESERVE_BYTES = 512 << 20  # assumed: library workspaces and the allocator's fragments
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def parse_bytes(text: str) -> int:
    """ "16GiB" -> bytes."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(text)


def parse_tokens(text: str) -> int:
    """ "256K" -> 262144."""
    return int(text[:-1]) * 1024 if text[-1] in "Kk" else int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fastattn bench cooperative`; the CLI adds them to its own parser."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="cuda, npu or cpu (default: %(default)s)")
    parser.add_argument("--model", default="llama-7b", choices=sorted(CONFIGS))
    parser.add_argument("--cards", type=int, default=8, help="tensor-parallel cards whose one share this device runs")
    parser.add_argument("--layers", type=int, help="layers, if not the model's")
    parser.add_argument("--dtype", default="float16", choices=sorted(DTYPES))
    parser.add_argument("--gpu-memory", help="cap of the accelerator's memory, e.g. 16GiB (torch's allocator limit)")
    parser.add_argument(
        "--lengths", default="4K,16K,64K,128K,256K", help="tokens in the cache, the decoded ones included"
    )
    parser.add_argument("--offload", type=float, default=0.0, help="least share of the cache on the host, 0..1")
    parser.add_argument("--granularity", default="auto", choices=("auto", "layer", "head"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--groups", type=int, default=1, help="sequence groups decoded in turn (cooperative only)")
    parser.add_argument("--steps", type=int, default=8, help="timed decode steps")
    parser.add_argument("--threads", type=int, help="host threads (default: torch's)")
    parser.add_argument("--prefill", action="store_true", help="fill the cache by a real prompt; compare the tokens")
    parser.add_argument("--chunk", type=parse_tokens, default=8192, help="prefill chunk, tokens")
    parser.add_argument("--sample-bytes", type=parse_bytes, default=1 << 30, help="sample size of the measurements")
    parser.add_argument("--csv", type=Path)


class Bench:
    """One model on one device; runs a strategy at a length."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.dtype = DTYPES[args.dtype]
        self.accelerator = Accelerator(args.device)
        if args.gpu_memory:
            self.accelerator.limit_memory(parse_bytes(args.gpu_memory))
        config = CONFIGS[args.model].share(args.cards)
        if args.layers:
            config = DecoderConfig(**{**config.__dict__, "layers": args.layers})
        self.config = config
        self.worker = HostWorker(args.threads)
        self.decoder = Decoder(config, self.accelerator, self.dtype)
        self.machine: Machine | None = None

    def shape(self, tokens: int) -> CacheShape:
        return self.config.cache_shape(self.args.batch, tokens, self.dtype.itemsize)

    def reserve_bytes(self, tokens: int) -> int:
        """Activations: prefill holds the prompt's hidden states and a few chunks of the widest layer."""
        item, c = self.dtype.itemsize * self.args.batch, self.config
        hidden = tokens * c.hidden * item if self.args.prefill else 0
        wide = max(2 * c.ffn, c.hidden, (c.heads + 2 * c.kv_heads) * c.head_dim)
        work = 8 * min(self.args.chunk, tokens) * wide * item if self.args.prefill else 0
        return int(hidden + work + FIXED_RESERVE_BYTES)

    def plan(self, tokens: int) -> OffloadPlan:
        assert self.machine is not None
        shape = self.shape(tokens)
        least = round(self.args.offload * shape.layers * shape.kv_heads)
        # Every group has a cache of its own: its share of the memory.
        machine = Machine(**{**self.machine.__dict__,
                             "gpu_free_bytes": self.accelerator.free_bytes() // self.args.groups})  # fmt: skip
        reserve = self.reserve_bytes(tokens) if self.accelerator.present else 0
        return plan_offload(
            shape, machine, reserve_bytes=reserve, granularity=self.args.granularity, groups=self.args.groups,
            least_units=least,
        )  # fmt: skip

    def resident_plan(self, tokens: int) -> OffloadPlan:
        return OffloadPlan(self.shape(tokens), (0,) * self.config.layers)

    def fill(self, cache: CooperativeKVCache, tokens: int) -> tuple[torch.Tensor, float]:
        """A prompt of `tokens`: the first chosen token and the seconds it took; random K and V without --prefill."""
        if not self.args.prefill:
            for pair in (*cache.device, *cache.host):
                for x in pair:
                    # Values repeat every 4096 tokens: time does not depend on them, and drawing them all would.
                    block = torch.randn(*x.shape[:2], min(4096, x.shape[2]), x.shape[3], device=x.device)
                    for at in range(0, x.shape[2], 4096):
                        part = x[:, :, at : at + 4096]
                        part.copy_(block[:, :, : part.shape[2]])
            cache.length = tokens
            return torch.zeros(self.args.batch, dtype=torch.long), 0.0
        prompt = torch.randint(
            0, self.config.vocab, (self.args.batch, tokens), generator=torch.Generator().manual_seed(1)
        )
        start = time.perf_counter()
        first = self.decoder.prefill(prompt, cache, self.args.chunk).argmax(-1)
        self.accelerator.synchronize()
        return first, time.perf_counter() - start

    def run(self, plan: OffloadPlan, strategy: str) -> dict[str, Any]:
        """Fill, then time `steps` decode steps after one unmeasured; classical runs leave its copies warm, too."""
        steps, groups = self.args.steps, self.args.groups if strategy == "cooperative" else 1
        start_length = plan.shape.tokens - steps - 1
        caches = [CooperativeKVCache(plan, self.accelerator, self.dtype) for _ in range(groups)]
        try:
            filled = [self.fill(cache, start_length) for cache in caches]
            tokens = [first for first, _ in filled]
            chosen, times = [list(tokens)], []
            name = "classical" if strategy == "classical" else "cooperative"
            for step in range(steps + 1):
                if step == 1:
                    for cache in caches:
                        cache.bus_bytes = 0
                self.accelerator.synchronize()
                begin = time.perf_counter()
                logits = self.decoder.decode_step(list(zip(tokens, caches, strict=True)), self.worker, name)
                tokens = [x.argmax(-1).cpu() for x in logits]
                times.append(time.perf_counter() - begin)
                chosen.append(list(tokens))
            median = sorted(times[1:])[steps // 2]
            return {
                "step_ms": median * 1e3,
                "token_ms": median * 1e3 / (groups * self.args.batch),
                "bus_mb_per_step": sum(cache.bus_bytes for cache in caches) / steps / 1e6,
                "fastest_step_ms": min(times[1:]) * 1e3,
                "prefill_s": sum(seconds for _, seconds in filled) / groups,
                "tokens": [[int(t) for group in step for t in group] for step in chosen],
            }
        finally:
            for cache in caches:
                cache.close()
            if self.accelerator.present:
                self.accelerator.api.empty_cache()

    def row(self, tokens: int, plan: OffloadPlan, strategy: str) -> dict[str, Any]:
        assert self.machine is not None
        groups = self.args.groups if strategy == "cooperative" else 1
        predicted = predict_step(plan.shape, self.machine, plan.cpu_heads, strategy=strategy, groups=groups) * 1e3
        row: dict[str, Any] = {"tokens_in_cache": tokens, "strategy": strategy, "cpu_units": plan.cpu_units,
                               "host_gb": plan.cpu_bytes / GB, "gpu_gb": plan.gpu_bytes / GB,
                               "granularity": plan.granularity, "predicted_step_ms": predicted}  # fmt: skip
        try:
            return {**row, **self.run(plan, strategy)}
        except (CacheError, torch.OutOfMemoryError) as e:
            return {**row, "note": f"does not fit: {str(e)[:80]}"}


def describe(bench: Bench) -> str:
    a, m = bench.accelerator, bench.machine
    assert m is not None
    name = a.api.get_device_name(a.device) if a.present else "no accelerator"
    cap = f", capped at {a.limit_bytes / 2**30:.1f} GiB" if a.limit_bytes else ""
    return (
        f"{name}{cap}; torch {torch.__version__}; measured: host attention {m.cpu_gbps:.1f} GB/s, "
        f"accelerator attention {m.gpu_gbps:.0f} GB/s, copies {m.h2d_gbps:.1f} up / {m.d2h_gbps:.1f} down GB/s, round trip "
        f"{m.round_trip_s * 1e6:.0f} us, dense layer {m.dense_s * 1e6:.0f} us"
    )


def show(row: dict[str, Any]) -> str:
    head = f"{row['tokens_in_cache']:7d} tokens | {row['strategy']:11s} | {row['host_gb']:6.2f} GB host "
    head += f"({row['granularity']:5s}) | "
    if "note" in row:
        return head + str(row["note"])
    off = 100 * (row["predicted_step_ms"] / row["step_ms"] - 1)
    prefill = f" | prefill {row['prefill_s']:.2f} s" if row["prefill_s"] else ""
    return head + (
        f"{row['step_ms']:9.2f} ms/step {row['token_ms']:9.2f} ms/token | predicted {row['predicted_step_ms']:9.2f} ms "
        f"({off:+.0f} %) | bus {row['bus_mb_per_step']:9.2f} MB/step{prefill}"
    )


def bench_cooperative(args: argparse.Namespace) -> int:
    """Run the benchmark; prints one line per case and strategy, writes --csv. Returns the exit status."""
    bench = Bench(args)
    rows: list[dict[str, Any]] = []
    lengths = [parse_tokens(x) for x in args.lengths.split(",")]
    bench.machine = measure_machine(
        bench.accelerator, bench.shape(max(lengths)), bench.dtype, bench.worker, bench.decoder, args.sample_bytes
    )
    if args.prefill:  # libraries choose and load their kernels on first use
        bench.run(bench.resident_plan(min(lengths[0], 2 * args.chunk)), "resident")
    print(f"{args.model} / {args.cards} cards, {bench.config.layers} layers, batch {args.batch} x {args.groups} groups")
    print(describe(bench), flush=True)
    for tokens in lengths:
        resident = bench.row(tokens, bench.resident_plan(tokens), "resident")
        print(show(resident), flush=True)
        rows.append(resident)
        plan = bench.plan(tokens)
        for strategy in ("cooperative", "classical") if plan.cpu_units else ("cooperative",):
            row = bench.row(tokens, plan, strategy)
            if "tokens" in row and "tokens" in resident and args.prefill and args.groups == 1:
                row["same_tokens_as_resident"] = row["tokens"] == resident["tokens"]
            print(show(row) + (f" | same tokens: {row['same_tokens_as_resident']}"
                               if "same_tokens_as_resident" in row else ""), flush=True)  # fmt: skip
            rows.append(row)
    bench.worker.close()
    if args.csv:
        names = [n for n in dict.fromkeys(n for row in rows for n in row) if n != "tokens"]
        with args.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, fieldnames=names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(bench_cooperative(parser.parse_args()))
