"""CUTLASS's memory-efficient attention (its example 41, which PyTorch SDPA and xformers run on Volta and Turing).

Stage: the baseline. Compiled with the same NVRTC and launched the same way as our kernels. The source comes from the
PyPI package nvidia-cutlass (a benchmark dependency only), the headers from nvidia-cuda-runtime-cu12,
nvidia-cuda-cccl-cu12 and nvidia-cuda-nvcc-cu12. Tile sizes are those that PyTorch ships for these architectures;
dropout and bias are compiled out, which favours the baseline.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import torch

from fastattention_npu.cuda import nvrtc

# largest head dimension -> queries and keys a block, as PyTorch instantiates them below sm_80
TILES = {64: (64, 64, 64), 128: (32, 128, 128)}
INFO_MARK = "cutlass_info"

SOURCE = """
namespace std {{
using size_t = decltype(sizeof(0));
template <bool B> struct bool_constant {{
    static constexpr bool value = B;
    constexpr operator bool() const {{ return B; }}
}};
using true_type = bool_constant<true>;
using false_type = bool_constant<false>;
}}
#define __host__
#include "kernel_forward.h"
using K = AttentionKernel<cutlass::half_t, cutlass::arch::Sm{arch}, true, {rows}, {keys}, {max_k}, false, false>;
extern "C" __global__ void __launch_bounds__(K::kNumThreads, K::kMinBlocksPerSm) fa_kernel(K::Params p)
{{
    if (p.advance_to_block()) K::attention_kernel(p);
}}
extern "C" __device__ const int cutlass_info[] = {{K::kNumThreads, (int)sizeof(typename K::SharedStorage),
                                                  (int)sizeof(K::Params)}};
"""


class Params(ctypes.Structure):
    """AttentionKernel::Params of the example, field by field."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("query", "key", "value", "bias", "seqstart_q", "seqstart_k", "seqlen_k")
        ),
        ("causal_diagonal_offset", ctypes.c_uint32),
        *((name, ctypes.c_void_p) for name in ("output", "output_accum", "lse")),
        ("scale", ctypes.c_float),
        *(
            (name, ctypes.c_int32)
            for name in ("head_dim", "head_dim_value", "num_queries", "num_keys", "num_keys_absolute")
        ),
        ("custom_mask_type", ctypes.c_uint8),
        *((name, ctypes.c_int32) for name in ("q_stride_m", "k_stride_m", "v_stride_m", "bias_stride_m", "o_stride_m")),
        *((name, ctypes.c_int32) for name in ("q_stride_h", "k_stride_h", "v_stride_h")),
        ("bias_stride_h", ctypes.c_int64),
        *((name, ctypes.c_int64) for name in ("q_stride_b", "k_stride_b", "v_stride_b", "bias_stride_b")),
        *((name, ctypes.c_int32) for name in ("num_batches", "num_heads")),
        ("use_dropout", ctypes.c_bool),
        ("dropout_offset", ctypes.c_uint64),
        ("dropout_prob", ctypes.c_float),
    ]


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "the baseline needs: pip install nvidia-cutlass==4.2.0.0 nvidia-cuda-runtime-cu12==12.9.79 "
            "nvidia-cuda-cccl-cu12==12.9.27 nvidia-cuda-nvcc-cu12==12.9.86"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def build(arch: int, d: int) -> bytes:
    """PTX of the baseline for compute_<arch> and head dimension d."""
    root = _package("cutlass_library") / "source"
    folders = [
        Path(__file__).parent / "shims",
        root / "examples" / "41_fused_multi_head_attention",
        root / "include",
        *(_package(f"nvidia.{name}") / "include" for name in ("cuda_runtime", "cuda_cccl", "cuda_nvcc")),
    ]
    rows, keys, max_k = TILES[d]
    options = [f"--gpu-architecture=compute_{arch}", "-std=c++17", "-default-device", "--use_fast_math", "-w"]
    options += ["-DNDEBUG", *(f"-I{folder}" for folder in folders)]
    source = SOURCE.format(arch=arch, rows=rows, keys=keys, max_k=max_k)
    return nvrtc.find(arch).compile(source, {}, options, cubin=False)


def info(ptx: bytes) -> tuple[int, int]:
    """(threads, shared bytes) a block, from the table that the translation unit carries."""
    text = ptx.decode(errors="replace")
    line = text[text.index(f"{INFO_MARK}[") :]
    values = [int(x) for x in line[line.index("{") + 1 : line.index("}")].split(",")]
    values += [0] * (12 - len(values))
    words = [int.from_bytes(bytes(values[i : i + 4]), "little") for i in range(0, 12, 4)]
    if words[2] != ctypes.sizeof(Params):
        raise RuntimeError(f"AttentionKernel::Params has {words[2]} bytes, {ctypes.sizeof(Params)} were expected")
    return words[0], words[1]


def params(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, *, causal: bool) -> Params:
    """Arguments for contiguous (b, s, h, d) tensors."""
    b, s_q, h, d = q.shape
    p = Params(query=q.data_ptr(), key=k.data_ptr(), value=v.data_ptr(), output=out.data_ptr())
    p.scale, p.head_dim, p.head_dim_value = d**-0.5, d, d
    p.num_queries = s_q
    p.num_keys = k.shape[1]
    p.custom_mask_type = 2 if causal else 0
    p.q_stride_m = p.k_stride_m = p.v_stride_m = p.o_stride_m = h * d
    p.q_stride_h = p.k_stride_h = p.v_stride_h = d
    p.q_stride_b, p.k_stride_b, p.v_stride_b = q.stride(0), k.stride(0), v.stride(0)
    p.num_batches, p.num_heads = b, h
    return p
