"""Prefill speed: our kernels, CUTLASS's memory-efficient kernel for the same target, and PyTorch SDPA, in one process.

Stage: measuring. `python benchmarks/cuda_prefill/run.py build` compiles every PTX into a folder (no GPU needed);
`python benchmarks/cuda_prefill/run.py` times them. Prints a line a case: shape | ms | TFLOP/s | ratio to CUTLASS.
 sm75   our sm_75 kernel and CUTLASS's for sm_75, both run as compute_75 PTX on this card: real runs
 sm70s  the sm_70 kernels of both after substitution.py: a stand-in, only the ratio means something
 sm70i  the same with two more FFMAs a product, for Volta's issue slots
 sm70   a real run of the sm_70 kernels, for Volta and Turing cards
--like-card pads shared memory until as many blocks are resident as on the V100 or T4 itself.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import cutlass_kernel
import substitution

from fastattention_npu.cuda import cache, driver, instances, prefill

HEADS = 32
FORMS = {"sm75": (75, None), "sm70": (70, None), "sm70s": (70, False), "sm70i": (70, True)}
HOPPER_SHARED_BYTES = 227 * 1024  # a multiprocessor's, less 1 KB a block that the system keeps
SYSTEM_SHARED_BYTES = 1024
VARIANT = ("keys", "warps", "pieces", "query_in_regs", "min_blocks", "m_tiles")
CHECKED_LENGTH = 2048  # outputs of real runs are compared up to here


@dataclasses.dataclass
class Timed:
    """One kernel ready to be launched over and over."""

    kernel: driver.Kernel
    grid: driver.Dim3
    block: driver.Dim3
    params: object

    def __call__(self) -> None:
        self.kernel.launch(self.grid, self.block, self.params, torch.cuda.current_stream().cuda_stream)


def variants(
    arch: int, d: int, names: list[str], shipped: instances.PrefillInstance | None = None
) -> list[instances.PrefillInstance]:
    """The instances that the package would take, or those that --variant name: see VARIANT."""
    both = [instances.prefill_instance(arch, d, bias=False, small=small) for small in (False, True)]
    if not names:
        return [shipped] if shipped else both
    shipped = both[0]
    out = []
    for name in names:
        values = dict(zip(VARIANT, (int(x) for x in name.split(",")), strict=False))
        out.append(dataclasses.replace(shipped, **values | {"query_in_regs": bool(values["query_in_regs"])}))
    return out


def padded_shared(instance: instances.PrefillInstance) -> int:
    """Dynamic shared memory that leaves as many blocks resident on Hopper as the real card's shared memory would."""
    blocks = instances.SHARED_LIMIT_BYTES[instance.arch] // instance.shared_bytes
    return max(instance.shared_bytes, HOPPER_SHARED_BYTES // blocks - SYSTEM_SHARED_BYTES - 1024)


def ours_ptx(instance: instances.PrefillInstance) -> bytes:
    """From the kernel cache, or compiled into it."""
    return cache.get(instance.source(), instances.headers(), instance.arch, cubin=False)


def cutlass_ptx(arch: int, d: int) -> bytes:
    """From the cache folder, or compiled into it."""
    path = cache.folder() / f"cutlass-compute_{arch}-d{d}.ptx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cutlass_kernel.build(arch, d))
    return path.read_bytes()


def load(ptx: bytes, shared: int, issue: bool | None, name: str) -> driver.Kernel:
    """A kernel, substituted if asked."""
    if issue is not None:
        ptx, _ = substitution.substitute(ptx, issue=issue)
    return driver.Kernel(ptx, name, shared)


def prepare_ours(instance: instances.PrefillInstance, issue: bool | None, tensors: list[torch.Tensor], causal: bool,
                 options: argparse.Namespace) -> Timed:  # fmt: skip
    """Our kernel on these tensors."""
    q, k, v, out = tensors
    lse = torch.empty(q.shape[0], q.shape[2], q.shape[1], device=q.device)
    arguments = prefill.ForwardArguments(causal=causal)
    params = prefill._params((q, k, v, out, lse), arguments, q.shape[-1] ** -0.5, instance.rows)
    if options.section:
        params.head_section = options.section
    shared = padded_shared(instance) if options.like_card else instance.shared_bytes
    kernel = load(ours_ptx(instance), shared, issue, instance.name)
    return Timed(
        kernel, (params.row_blocks * params.b * params.h_q * instance.v_splits, 1, 1), (instance.threads, 1, 1), params
    )


def prepare_cutlass(arch: int, issue: bool | None, tensors: list[torch.Tensor], causal: bool) -> Timed:
    """CUTLASS's kernel on these tensors."""
    q, k, v, out = tensors
    ptx = cutlass_ptx(arch, q.shape[-1])
    threads, shared = cutlass_kernel.info(ptx)
    params = cutlass_kernel.params(q, k, v, out, causal=causal)
    rows = cutlass_kernel.TILES[q.shape[-1]][0]
    kernel = load(ptx, shared, issue, f"cutlass-{arch}")
    return Timed(kernel, (-(-q.shape[1] // rows), q.shape[2], q.shape[0]), (32, threads // 32, 1), params)


def median_ms(call, repeats: int) -> float:
    """Median time of a call by device events, after two warm-ups."""
    for _ in range(2):
        call()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


def check(tensors: list[torch.Tensor], out: torch.Tensor, causal: bool) -> None:
    """A kernel that is timed must also be right: compare with PyTorch, then poison the output for the next one."""
    if out.shape[1] <= CHECKED_LENGTH:
        views = [x.transpose(1, 2) for x in tensors]
        right = torch.nn.functional.scaled_dot_product_attention(*views, is_causal=causal).transpose(1, 2)
        torch.testing.assert_close(out, right, atol=4e-3, rtol=4e-3)
    out.fill_(float("nan"))


def measure(options: argparse.Namespace, d: int, causal: bool, s: int) -> list[dict[str, object]]:
    """Every form on one shape."""
    tensors = [torch.randn(1, s, HEADS, d, device="cuda").half() for _ in range(3)]
    out = torch.empty_like(tensors[0])
    flops = 4 * HEADS * s * s * d * (0.5 if causal else 1.0)
    rows = []

    def line(form: str, what: str, ms: float, base: float | None) -> None:
        row = {"form": form, "kernel": what, "d": d, "causal": int(causal), "s": s, "ms": round(ms, 4)}
        row["tflops"] = round(flops / ms / 1e9, 1)
        row["ratio"] = round(base / ms, 3) if base else ""
        rows.append(row)
        print(
            f"{form:6} {what:48} d={d:3} causal={int(causal)} s={s:5} | {ms:9.3f} ms | {row['tflops']:6} TFLOP/s | "
            f"{row['ratio']} x CUTLASS",
            flush=True,
        )

    for form in options.forms:
        arch, issue = FORMS[form]
        baseline = prepare_cutlass(arch, issue, [*tensors, out], causal)  # warps lie along y there
        base = median_ms(baseline, options.repeats)
        if issue is None:
            check(tensors, out, causal)
        line(form, f"cutlass-sm{arch}", base, None)
        shipped = prefill.choose_instance(tensors[0], prefill.ForwardArguments(causal=causal), arch, d, bias=False)
        for instance in variants(arch, d, options.variant, shipped):
            if instance.shared_bytes > instances.SHARED_LIMIT_BYTES[arch] or instance.d % (16 * instance.pieces):
                continue
            try:
                timed = prepare_ours(instance, issue, [*tensors, out], causal, options)
            except driver.DriverError as error:
                print(instance.name, error)
                continue
            ms = median_ms(timed, options.repeats)
            if issue is None:
                check(tensors, out, causal)
            name = f"{instance.name}-b{instance.min_blocks}[{timed.kernel.attribute(4)}r {timed.kernel.attribute(3)}B]"
            line(form, name, ms, base)
    if options.sdpa:
        views = [x.transpose(1, 2) for x in tensors]
        ms = median_ms(
            lambda: torch.nn.functional.scaled_dot_product_attention(*views, is_causal=causal), options.repeats
        )
        line("torch", "scaled_dot_product_attention", ms, None)
    return rows


def _commit() -> str:
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=("run", "build"), default="run")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--causal", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--forms", nargs="+", choices=list(FORMS))
    parser.add_argument("--variant", action="append", default=[], help=",".join(VARIANT))
    parser.add_argument("--section", type=int, help="heads that start together")
    parser.add_argument("--like-card", action="store_true", help="as many resident blocks as on a V100 or T4")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--no-sdpa", dest="sdpa", action="store_false")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    if options.command == "build":
        for arch in (70, 75):
            for d in options.dims:
                cutlass_ptx(arch, d)
                for instance in variants(arch, d, options.variant):
                    ours_ptx(instance)
        print(f"built into {cache.folder()}")
        return
    torch.manual_seed(0)
    if options.forms is None:
        number = 10 * torch.cuda.get_device_capability()[0] + torch.cuda.get_device_capability()[1]
        options.forms = ["sm70"] if number < 75 else ["sm70", "sm75"] if number < 80 else ["sm75", "sm70s", "sm70i"]
    stamp = {"device": torch.cuda.get_device_name(), "commit": _commit()}
    rows = [
        row | stamp
        for d in options.dims
        for causal in options.causal
        for s in options.lengths
        for row in measure(options, d, bool(causal), s)
    ]
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
