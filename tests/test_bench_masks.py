"""`fastattn bench mask` and `fastattn bench packing`: arithmetic on small sizes, and both forms of output."""

import json

import pytest

from fastattention_npu.bench import masks, packing
from fastattention_npu.cli.main import main
from fastattention_npu.sim.timing import operand_bytes, time_plan
from tests.planning import SOC, plan


def test_every_mode_has_its_memory_and_cycles_where_asked() -> None:
    answer = masks.measure([512, 2048], upto=512, window=100, head_dim=64, soc_name="ascend910b2")
    assert [(row["pattern"], row["s"]) for row in answer["rows"]] == [
        ("causal", 512), ("causal", 2048), ("window", 512), ("window", 2048),
    ]  # fmt: skip
    for row in answer["rows"]:
        modes = row["modes"]
        assert list(modes) == list(masks.MODES)
        assert modes["full"]["memory_bytes"] == modes["alone"]["memory_bytes"] == row["s"] ** 2
        assert modes["predicate"]["memory_bytes"] < modes["tiling"]["memory_bytes"] < 1 << 20
        for name, mode in modes.items():
            linear = row["pattern"] == "window" and name != "alone"
            assert (mode["cycles"] is not None) == (row["s"] == 512 or linear)


def test_a_window_leaves_less_to_do_and_a_tensor_says_nothing_of_it() -> None:
    modes = masks.measure([4096], upto=4096, window=256, head_dim=64, soc_name="ascend910b2")["rows"]
    causal, window = (row["modes"] for row in modes)
    for mode in ("tiling", "predicate", "full"):
        assert window[mode]["cycles"] < causal[mode]["cycles"]
    assert window["alone"]["cycles"] == causal["alone"]["cycles"] > causal["full"]["cycles"]


def test_packing_reads_less_and_is_no_slower() -> None:
    sizes = {"b": 1, "h_kv": 2, "s_kv": 2048, "d": 64, "dtype": "fp16", "causal": True}
    (row,) = packing.measure(sizes, [1], [8], "ascend910b2")["rows"]
    assert row["packed"]["read_bytes"] * 4 < row["apart"]["read_bytes"]
    assert row["gain"] == row["apart"]["cycles"] / row["packed"]["cycles"] >= 1


@pytest.mark.parametrize(
    "command",
    [["mask", "--sizes", "256", "--head-dim", "16"], ["packing", "--keys", "256", "--queries", "1", "--groups", "2"]],
    ids=lambda command: command[0],
)
def test_text_and_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *command]) == 0
    assert "cycles simulated" in capsys.readouterr().out
    assert main(["bench", *command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["cycles_are"] == "simulated"
    assert answer["rows"]


def test_operands_are_as_large_as_the_kernel_reads() -> None:
    problem = {"b": 2, "s_q": 64, "s_kv": 300, "h_q": 4, "h_kv": 2, "d": 32, "dtype": "fp16", "d_v": 16}
    problem |= {"mask_dtype": "fp32", "mask_strides": (0, 0, 512, 1)}
    problem |= {"has_sinks": True, "has_alibi": True}
    answer = plan(problem)
    assert time_plan(problem, answer, SOC)["cycles"] > 0
    sizes = operand_bytes(problem, answer["tiling"])
    assert sizes["q"] == 2 * 64 * 4 * 32 * 2
    assert sizes["v"] == 2 * 300 * 2 * 16 * 2
    assert sizes["lse"] == 2 * 4 * 64 * 4
    assert sizes["attn_mask"] == (63 * 512 + 300) * 4
