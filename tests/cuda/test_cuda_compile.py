"""Without a GPU: every instance compiles for sm_70 and sm_75 within the registers, stack and shared memory that its
place in the table assumes, and its loop consists of the matrix instructions it was written for.

--fast takes a sample of the instances.
"""

from __future__ import annotations

from typing import Any

import cuda_binary
import pytest

from fastattention_npu.cuda import cache, instances, nvrtc

SAMPLED = {64, 128}
MATRIX = {70: ("HMMA.884", 4), 75: ("HMMA.1688", 1)}  # the instruction, and how many make 1024 products and sums
# Bytes of stack, for spilled registers: none in prefill at any head dimension; the 32-row decode tiles of the widest
# heads trade a few for reading the cache once instead of twice (measured: 84 % instead of 69 % of copy bandwidth).
DECODE_STACK_LIMIT_BYTES = {96: 32, 128: 96}

ALL = [(arch, instance) for arch in (70, 75) for instance in instances.all_instances(arch)]


def _sampled(instance: instances.Instance) -> bool:
    return getattr(instance, "d", 64) in SAMPLED and not getattr(instance, "bias", False)


def _compile(arch: int, instance: instances.Instance) -> cuda_binary.Binary:
    try:
        compiler = nvrtc.find(arch)
    except nvrtc.NvrtcError as error:
        pytest.skip(str(error))
    options = [f"--gpu-architecture=sm_{arch}", *cache.OPTIONS]
    return cuda_binary.read(compiler.compile(instance.source(), instances.headers(), options, cubin=True))


def _parameter(arch: int, instance: instances.Instance) -> Any:
    return pytest.param(arch, instance, id=instance.name, marks=() if _sampled(instance) else pytest.mark.slow)


@pytest.mark.parametrize(("arch", "instance"), [_parameter(*pair) for pair in ALL])
def test_instance_is_what_the_table_assumes(arch: int, instance: instances.Instance) -> None:
    binary = _compile(arch, instance)
    assert binary.registers * instance.threads <= instances.REGISTERS_PER_SM
    assert instance.shared_bytes <= instances.SHARED_LIMIT_BYTES[arch]
    if isinstance(instance, instances.CombineInstance):
        assert binary.stack_bytes == 0
        return
    decode_32_rows = isinstance(instance, instances.DecodeInstance) and instance.m_tiles == 2
    assert binary.stack_bytes <= (DECODE_STACK_LIMIT_BYTES.get(instance.d, 0) if decode_32_rows else 0), binary
    name, per_1024 = MATRIX[arch]
    if isinstance(instance, instances.PrefillInstance):
        volume = 16 * instance.m_tiles * instance.keys * (instance.d + instance.d_v)
    else:
        volume = instance.rows * instance.keys * 2 * instance.d
    assert binary.counts[name] == volume // 1024 * per_1024, binary
    assert (binary.counts["LDSM"] > 0) == (arch == 75), binary


@pytest.mark.parametrize("arch", [70, 75])
def test_stack_reader_notices_spills(arch: int) -> None:
    """Canary: the same kernel squeezed into 64 registers must show a stack."""
    instance = instances.prefill_instance(arch, 64, bias=False)
    source = instance.source().replace(f"(Config::kThreads, {instance.min_blocks})", "(Config::kThreads, 8)")
    try:
        compiler = nvrtc.find(arch)
    except nvrtc.NvrtcError as error:
        pytest.skip(str(error))
    options = [f"--gpu-architecture=sm_{arch}", *cache.OPTIONS]
    binary = cuda_binary.read(compiler.compile(source, instances.headers(), options, cubin=True))
    assert binary.stack_bytes > 0
    assert binary.counts["STL"] > 0
    assert binary.counts["LDL"] > 0
