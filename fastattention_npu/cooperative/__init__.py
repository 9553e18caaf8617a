"""Attention beyond the accelerator's memory: part of the KV cache on the host, attended there by the CPU kernel."""

from .attention import HostWorker, Pending, PrefillLayer, attend_bnsd, cooperative_attention
from .bench import bench_cooperative
from .cache import CacheError, CooperativeKVCache
from .device import Accelerator, DeviceError
from .llama import CONFIGS, Decoder, DecoderConfig
from .measure import measure_machine
from .plan import CacheShape, Machine, OffloadPlan, plan_offload, predict_step

__all__ = [
    "CONFIGS",
    "Accelerator",
    "CacheError",
    "CacheShape",
    "CooperativeKVCache",
    "Decoder",
    "DecoderConfig",
    "DeviceError",
    "HostWorker",
    "Machine",
    "OffloadPlan",
    "Pending",
    "PrefillLayer",
    "attend_bnsd",
    "bench_cooperative",
    "cooperative_attention",
    "measure_machine",
    "plan_offload",
    "predict_step",
]
