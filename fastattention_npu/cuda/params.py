"""The argument blocks that the kernels take by value, mirrored from kernels/params.cuh and kernels/decode_params.cuh.

Stage: launching. Field order and widths must match the C++ structs; tests/cuda/test_cuda_params.py compares their
sizes and offsets through the compiler.
"""

from __future__ import annotations

import ctypes


class Strides(ctypes.Structure):
    """Element strides of a (b, s, h, d) tensor whose last dimension is contiguous."""

    _fields_ = [("batch", ctypes.c_longlong), ("row", ctypes.c_longlong), ("head", ctypes.c_longlong)]


class PrefillParams(ctypes.Structure):
    """Arguments of the prefill kernel: kernels/params.cuh says what each one means."""

    _fields_ = [
        ("q", ctypes.c_void_p),
        ("k", ctypes.c_void_p),
        ("v", ctypes.c_void_p),
        ("o", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        ("cu_seqlens_q", ctypes.c_void_p),
        ("cu_seqlens_k", ctypes.c_void_p),
        ("seqused_k", ctypes.c_void_p),
        ("alibi_slopes", ctypes.c_void_p),
        ("q_strides", Strides),
        ("k_strides", Strides),
        ("v_strides", Strides),
        ("o_strides", Strides),
        ("lse_batch_stride", ctypes.c_longlong),
        ("lse_head_stride", ctypes.c_longlong),
        ("alibi_batch_stride", ctypes.c_int),
        ("b", ctypes.c_int),
        ("s_q", ctypes.c_int),
        ("s_kv", ctypes.c_int),
        ("h_q", ctypes.c_int),
        ("h_kv", ctypes.c_int),
        ("d", ctypes.c_int),
        ("window_left", ctypes.c_int),
        ("window_right", ctypes.c_int),
        ("head_section", ctypes.c_int),
        ("row_blocks", ctypes.c_int),
        ("scale_log2", ctypes.c_float),
        ("softmax_scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
    ]


class DecodeParams(ctypes.Structure):
    """Arguments of the decode and combine kernels: kernels/decode_params.cuh says what each one means."""

    _fields_ = [
        ("q", ctypes.c_void_p),
        ("k", ctypes.c_void_p),
        ("v", ctypes.c_void_p),
        ("o", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        ("o_partial", ctypes.c_void_p),
        ("lse_partial", ctypes.c_void_p),
        ("seqused_k", ctypes.c_void_p),
        ("block_table", ctypes.c_void_p),
        ("cache_batch_idx", ctypes.c_void_p),
        ("alibi_slopes", ctypes.c_void_p),
        ("q_strides", Strides),
        ("k_strides", Strides),
        ("v_strides", Strides),
        ("o_strides", Strides),
        ("block_table_stride", ctypes.c_longlong),
        ("alibi_batch_stride", ctypes.c_int),
        ("b", ctypes.c_int),
        ("s_q", ctypes.c_int),
        ("s_kv", ctypes.c_int),
        ("h_q", ctypes.c_int),
        ("h_kv", ctypes.c_int),
        ("d", ctypes.c_int),
        ("page_size", ctypes.c_int),
        ("window_left", ctypes.c_int),
        ("window_right", ctypes.c_int),
        ("num_splits", ctypes.c_int),
        ("row_tiles", ctypes.c_int),
        ("scale_log2", ctypes.c_float),
        ("softmax_scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
    ]
