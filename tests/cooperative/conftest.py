"""A stand-in accelerator whose memory is the host's and whose streams run at once: it takes the code path of CUDA or
an NPU (staging, copies, events), so that the path is tested where there is no card. On a CUDA machine the real one is
tested, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from fastattention_npu.cooperative import Accelerator, HostWorker


class FakeStream:
    def wait_stream(self, other: object) -> None: ...

    def wait_event(self, event: object) -> None: ...


class FakeEvent:
    def record(self, stream: object) -> None: ...

    def synchronize(self) -> None: ...


class FakeApi:
    """The functions of torch.cuda that the cooperative code uses."""

    Event = FakeEvent
    free = 1 << 30

    def current_stream(self, device: object) -> FakeStream:
        return FakeStream()

    def stream(self, stream: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def synchronize(self, device: object) -> None: ...

    def empty_cache(self) -> None: ...

    def mem_get_info(self, device: object) -> tuple[int, int]:
        return self.free, self.free

    def memory_reserved(self, device: object) -> int:
        return 0

    def memory_allocated(self, device: object) -> int:
        return 0

    def get_device_name(self, device: object) -> str:
        return "stand-in"


class StandIn(Accelerator):
    def __init__(self) -> None:
        super().__init__("cpu")
        self.present, self.api, self.copies = True, FakeApi(), FakeStream()

    def host_tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)


@pytest.fixture(params=["cpu", "stand-in", "cuda"])
def accelerator(request: pytest.FixtureRequest) -> Accelerator:
    if request.param == "stand-in":
        return StandIn()
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return Accelerator(request.param)


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def worker() -> Iterator[HostWorker]:
    it = HostWorker(threads=2)
    yield it
    it.close()


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The references are small; torch's own threads would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)
