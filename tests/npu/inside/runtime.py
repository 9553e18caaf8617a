"""The stand-in runtime below torch_npu: devices, memory, copies, streams, events, graphs, and what it refuses."""

import copy
import io
import threading

import pytest
import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

NPU = torch.device("npu:0")


def test_devices_and_their_properties() -> None:
    assert torch.npu.is_available()
    assert torch.npu.device_count() == 2
    properties = torch.npu.get_device_properties(0)
    assert (properties.name, properties.cube_core_num, properties.vector_core_num) == ("Ascend910B2", 24, 48)
    assert properties.total_memory == 64 * 2**30
    free, total = torch.npu.mem_get_info()
    assert 0 < free <= total == 64 * 2**30


def test_copies_between_host_and_devices() -> None:
    x = torch.arange(6000.0).reshape(60, 100)
    there = x.to(NPU)
    assert there.device == NPU
    assert torch.equal(there.cpu(), x)
    assert torch.equal(there.to("npu:1").to(NPU).cpu(), x)
    assert torch.equal(there[7].cpu(), x[7])
    assert there[3, 4].item() == x[3, 4].item()


def test_new_memory_is_poisoned() -> None:
    torch.npu.empty_cache()  # of what other tests used
    assert torch.empty(1 << 24, device=NPU).cpu().isnan().all()


def test_a_stream_waits_for_an_event_of_another() -> None:
    """Long chains of copies on one stream; the other starts behind its event, so it sees the last."""
    first, second = torch.npu.Stream(), torch.npu.Stream()
    source = [torch.full((1 << 20,), float(i)).to(NPU) for i in range(8)]
    middle, end = torch.empty_like(source[0]), torch.empty_like(source[0])
    torch.npu.synchronize()
    with torch.npu.stream(first):
        for x in source:
            middle.copy_(x)
        done = first.record_event()
    with torch.npu.stream(second):
        second.wait_event(done)
        end.copy_(middle)
    second.synchronize()
    assert (end.cpu() == 7).all()


def test_queries_and_synchronisation() -> None:
    stream = torch.npu.Stream()
    x = torch.ones(1 << 16).to(NPU)
    with torch.npu.stream(stream):
        y = torch.empty_like(x).copy_(x)
        event = stream.record_event()
    event.synchronize()
    stream.synchronize()
    assert event.query()
    assert stream.query()
    assert (y.cpu() == 1).all()


def test_a_graph_replays_copies() -> None:
    source = torch.zeros(64).to(NPU)
    target = torch.empty_like(source)
    torch.npu.synchronize()
    graph = torch.npu.NPUGraph()
    with torch.npu.graph(graph):
        target.copy_(source)
    for value in (1.0, 2.0):
        source.copy_(torch.full((64,), value))
        torch.npu.synchronize()
        graph.replay()
        torch.npu.synchronize()
        assert (target.cpu() == value).all()


NOT_HERE = {
    "Add": lambda x: x + 1,
    "ReduceSum": lambda x: x.sum(),
    "MatMul": lambda x: x @ x,
    "SoftmaxV2": lambda x: x.softmax(-1),
    "ConcatD": lambda x: torch.cat([x, x]),
    "Cast": lambda x: x.half(),
    "Transpose": lambda x: x.t().contiguous(),
    "AsStrided": lambda x: x[:, 1].cpu(),
    "ViewCopy": lambda x: x[:, 0].copy_(torch.ones(4)),
    "ZerosLike": lambda x: torch.zeros_like(x),
    "Fill": lambda x: x.fill_(2),
    "StatelessRandomNormalV2": lambda x: torch.randn(3, device=x.device),
    "TensorEqual": lambda x: torch.equal(x, x),
    "Index": lambda x: x[torch.tensor([0, 2])],
    "NonZero": lambda x: x.nonzero(),
    "IsFinite": lambda x: repr(x),
}


@pytest.mark.parametrize(("name", "call"), NOT_HERE.items(), ids=NOT_HERE)
def test_an_operator_of_torch_npu_says_that_it_is_not_there(name: str, call) -> None:
    x = torch.ones(4, 4).to(NPU)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"operator {name} is CANN's and there is no CANN here"):
            call(x)


LATER_INTERFACE = {
    "aclnnFlashAttentionScore": lambda x: torch.nn.functional.scaled_dot_product_attention(*[x.view(1, 1, 4, 4)] * 3),
    "aclnnForeachAddScalar": lambda x: torch._foreach_add([x], 1),
}


@pytest.mark.parametrize(("name", "call"), LATER_INTERFACE.items(), ids=LATER_INTERFACE)
def test_an_operator_of_the_later_interface_says_that_it_is_not_there(name: str, call) -> None:
    """torch_npu looks for these in CANN's libopapi.so and says so itself."""
    with pytest.raises(RuntimeError, match=f"{name}.*libopapi.so not found"):
        call(torch.ones(4, 4).to(NPU, torch.float16))


def fill_a_view(x: torch.Tensor) -> None:
    x[0, 0] = 5.0


class Called(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_an_operator_that_is_called_with_pythons_lock() -> None:
    """torch_npu lets the lock go and throws: without the stand-in's help this process would end here."""
    x = torch.ones(4, 4).to(NPU)
    failures: list[str] = []

    def fail() -> None:
        for _ in range(2):
            with pytest.raises(RuntimeError) as error:
                fill_a_view(x)
            failures.append(str(error.value))

    fail()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    with Called():
        fail()
    assert len(failures) == 6
    assert all("operator Fill is CANN's" in text for text in failures)
    assert torch.equal(x.cpu(), torch.ones(4, 4))


def saved_and_loaded(x: torch.Tensor) -> torch.Tensor:
    file = io.BytesIO()
    torch.save(x, file)
    return torch.load(io.BytesIO(file.getvalue()))


COPIES = {
    "clone": (lambda x: x.to(NPU).clone(), lambda x: x),
    "rows": (lambda x: x.to(NPU)[1:3].contiguous(), lambda x: x[1:3]),
    "bits": (lambda x: x.to(NPU).view(torch.int32), lambda x: x.view(torch.int32)),
    "cast on the way there": (lambda x: x.to(NPU, torch.bfloat16), lambda x: x.bfloat16()),
    "cast on the way back": (lambda x: x.to(NPU).to("cpu", torch.float16), lambda x: x.half()),
    "pinned": (lambda x: x.pin_memory().to(NPU, non_blocking=True), lambda x: x),
    "saved": (lambda x: saved_and_loaded(x.to(NPU)), lambda x: x),
    "deep copy": (lambda x: copy.deepcopy(x.to(NPU)), lambda x: x),
    "part of a tensor": (lambda x: x.to(NPU)[:2].copy_(x[2:]), lambda x: x[2:]),
    "list": (lambda x: torch.tensor(x.to(NPU).tolist()), lambda x: x),
}


@pytest.mark.parametrize(("there", "here"), COPIES.values(), ids=COPIES)
def test_what_copies_can_do_is_right(there, here) -> None:
    x = torch.arange(16.0).reshape(4, 4)
    assert torch.equal(there(x).cpu(), here(x))


def test_a_collective_says_that_it_is_not_there() -> None:
    dist.init_process_group("hccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(RuntimeError, match="HcclGetRootInfo"):
            dist.all_reduce(torch.ones(4).to(NPU))
    finally:
        dist.destroy_process_group()


def test_no_room() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        torch.empty(1 << 40, dtype=torch.uint8, device=NPU)


def test_no_such_device() -> None:
    with pytest.raises(RuntimeError, match="device"):
        torch.empty(4, device="npu:2")
