"""The argument blocks of host and kernel have the same fields at the same places, and the same shared-memory count."""

from __future__ import annotations

import ctypes

import pytest

from fastattention_npu.cuda import cache, instances, nvrtc, params

STRUCTS = {params.PrefillParams: "params.cuh", params.DecodeParams: "decode_params.cuh"}


def _compile(source: str) -> None:
    try:
        compiler = nvrtc.find(75)
    except nvrtc.NvrtcError as error:
        pytest.skip(str(error))
    compiler.compile(source, instances.headers(), ["--gpu-architecture=compute_75", *cache.OPTIONS], cubin=False)


def _layout_source(struct: type[ctypes.Structure], header: str, shift: int = 0) -> str:
    name = struct.__name__
    # __INTADDR__ is the compiler front end's own offsetof, which NVRTC has no header for
    lines = [f'#include "{header}"', f'static_assert(sizeof({name}) == {ctypes.sizeof(struct)}, "size");']
    for field, *_ in struct._fields_:
        offset = getattr(struct, field).offset + shift
        lines.append(f'static_assert(__INTADDR__(&static_cast<{name}*>(nullptr)->{field}) == {offset}, "{field}");')
    return "\n".join(lines)


@pytest.mark.parametrize(("struct", "header"), STRUCTS.items(), ids=lambda x: getattr(x, "__name__", x))
def test_same_layout(struct: type[ctypes.Structure], header: str) -> None:
    _compile(_layout_source(struct, header))


def test_layout_check_notices_a_shift() -> None:
    """Canary: offsets that are wrong by four must not compile."""
    with pytest.raises(nvrtc.NvrtcError, match="static assertion"):
        _compile(_layout_source(params.PrefillParams, "params.cuh", shift=4))


@pytest.mark.parametrize("arch", [70, 75])
def test_same_shared_bytes(arch: int) -> None:
    for instance in instances.all_instances(arch):
        if isinstance(instance, instances.CombineInstance):
            continue
        declared = instance.source().split('extern "C"')[0]
        _compile(f'{declared}\nstatic_assert(Config::kSharedBytes == {instance.shared_bytes}, "shared");')
