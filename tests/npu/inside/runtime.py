"""The stand-in runtime below torch_npu: devices, memory, copies, streams, events, graphs, and what it refuses."""

import pytest
import torch
import torch.distributed as dist

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


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("Add", lambda x: x + 1),
        ("ReduceSum", lambda x: x.sum()),
        ("MatMul", lambda x: x @ x),
        ("Cast", lambda x: x.half()),
        ("Transpose", lambda x: x.t().contiguous()),
        ("ZerosLike", lambda x: torch.zeros(3, device=x.device)),
    ],
)
def test_an_operator_of_torch_npu_says_that_it_is_not_there(name: str, call) -> None:
    x = torch.ones(4, 4).to(NPU)
    with pytest.raises(RuntimeError, match=f"operator {name} is CANN's and there is no CANN here"):
        call(x)


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
