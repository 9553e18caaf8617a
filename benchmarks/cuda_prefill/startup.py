"""Start-up cost: the first call compiles a kernel, later processes read it from the disk cache.

Stage: measuring. Each line is a fresh process with torch imported and the CUDA context made; what is timed is from the
instance to the loaded kernel. On a newer card than Turing the driver compiles the PTX too and keeps its own cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys, time
import torch
sys.path.insert(0, {root!r})
torch.zeros(1, device="cuda")
from fastattention_npu.cuda import instances, launch
begin = time.perf_counter()
launch.kernel(instances.prefill_instance({arch}, {d}, bias=False), 0)
print(f"{{(time.perf_counter() - begin) * 1e3:.1f}}")
"""


def main() -> None:
    """Two processes a kernel, over an empty cache folder."""
    for arch in (70, 75):
        for d in (64, 128):
            with tempfile.TemporaryDirectory() as folder:
                environment = os.environ | {
                    "FASTATTN_CUDA_CACHE": folder,
                    "CUDA_CACHE_PATH": str(Path(folder) / "driver"),
                }
                child = CHILD.format(root=str(ROOT), arch=arch, d=d)
                for label in ("first call", "later process"):
                    done = subprocess.run(
                        [sys.executable, "-c", child], env=environment, capture_output=True, text=True, check=False
                    )
                    message = (
                        done.stderr.strip().splitlines()[-1:] if done.returncode else [f"{done.stdout.strip()} ms"]
                    )
                    print(f"sm{arch} d={d} {label}: {' '.join(message)}", flush=True)


if __name__ == "__main__":
    main()
