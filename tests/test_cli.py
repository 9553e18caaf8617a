"""The fastattn command: the fields that scripts depend on, exit statuses, and errors that are one paragraph."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fastattention_npu import backends
from fastattention_npu.cli import main as cli
from fastattention_npu.cli.text import bar, byte_text, table

GOOD = "b: 1\ns_q: 70\ns_kv: 300\nh_q: 2\nh_kv: 1\nd: 32\ncausal: true\n"
RUN_FIELDS = {
    "backend", "soc", "shape", "dtype", "tiling", "max_abs_err", "rel_err", "ref_rel_err", "ok", "wall_s", "tflops",
}  # fmt: skip
SIM_FIELDS = {
    "cycles", "time_us", "cube_utilisation", "limit_cycles", "efficiency", "bottleneck", "pipe_busy", "gm_bytes_read",
    "gm_bytes_written", "l2_hit_bytes", "hazards",
}  # fmt: skip


@pytest.fixture
def shape(tmp_path: Path) -> str:
    file = tmp_path / "shape.yaml"
    file.write_text(GOOD)
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of the command, in this process."""
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(out, parse_constant=refuse)


# --- run -------------------------------------------------------------------------------------------------------------


def test_run_on_the_simulator_reports_every_field(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = run_json(capsys, "run", shape)
    assert set(row) >= RUN_FIELDS | SIM_FIELDS
    assert (row["backend"], row["soc"], row["figures"], row["dtype"]) == ("sim", "ascend910b2", "simulated", "fp16")
    assert row["ok"] is True
    assert row["hazards"] == 0
    assert row["efficiency"] == pytest.approx(row["limit_cycles"] / row["cycles"])
    assert row["time_us"] == pytest.approx(row["cycles"] / 1800, rel=1e-3)
    assert 0 < row["cube_utilisation"] < 1
    assert row["shape"]["s_kv"] == 300
    assert row["tiling"]["block_q"] % 16 == 0
    # Every operand travels at least once: Q, K, V, and O with lse.
    assert row["gm_bytes_read"] >= 2 * 32 * (2 * 70 + 2 * 300)
    assert row["gm_bytes_written"] >= 2 * 70 * (2 * 32 + 4)


def test_run_on_the_host(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = run_json(capsys, "run", shape, "--backend", "cpu")
    assert set(row) >= RUN_FIELDS
    assert not SIM_FIELDS & set(row)
    assert (row["soc"], row["tiling"], row["figures"]) == (None, None, "measured")


def test_run_takes_soc_tiling_seed_threads_and_checks(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = run_json(
        capsys, "run", shape, "--soc", "ascend910b4", "--tiling", "example_small", "--threads", "1", "--checks", "off",
        "--seed", "7",
    )  # fmt: skip
    assert row["soc"] == "ascend910b4"
    assert row["tiling"]["block_q"] == 64
    other = run_json(capsys, "run", shape, "--soc", "ascend910b4", "--tiling", "example_small", "--seed", "8")
    assert other["cycles"] == row["cycles"]
    assert other["max_abs_err"] != row["max_abs_err"]


def test_run_in_words_labels_simulated_figures(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "run", shape)
    assert status == 0
    assert "SIMULATED" in out
    assert "us simulated" in out
    assert "aic.cube" in out
    assert out.rstrip().endswith("ok")
    status, out, _ = run(capsys, "run", shape, "--backend", "cpu")
    assert status == 0
    assert "measured on this machine" in out
    assert "simulated" not in out


@pytest.mark.parametrize("layout", ["BSND", "BNSD", "BSH"])
def test_run_with_padding_in_every_layout(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "padded.yaml"
    file.write_text(GOOD.replace("b: 1", "b: 2") + f"layout: {layout}\nseqused_k: [300, 17]\nsoftmax_scale: 0.3\n")
    assert run_json(capsys, "run", str(file))["ok"]


def test_canary_a_wrong_result_is_not_status_zero(
    shape: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = backends._run_sim

    def wrong(*args: Any) -> Any:
        out, *rest = genuine(*args)
        out[0, 0, 0, 0] = torch.nan
        return (out, *rest)

    monkeypatch.setattr(backends, "_run_sim", wrong)
    status, out, _ = run(capsys, "run", shape)
    assert status == 1
    assert "NaN at other places than float64" in out
    status, out, _ = run(capsys, "run", shape, "--json")
    assert status == 1
    assert json.loads(out)["ok"] is False


def test_canary_a_hazard_is_not_status_zero(
    shape: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = backends._run_sim

    def racy(*args: Any) -> Any:
        out, lse, wall_s, figures, plan = genuine(*args)
        return out, lse, wall_s, figures | {"hazards": 1, "hazard_texts": ["ubS is read before it is written"]}, plan

    monkeypatch.setattr(backends, "_run_sim", racy)
    status, out, _ = run(capsys, "run", shape)
    assert status == 1
    assert "ubS is read before it is written" in out


# --- plan and doctor -------------------------------------------------------------------------------------------------


def test_plan_shows_tiling_buffers_and_cost(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = run_json(capsys, "plan", shape, "--soc", "ascend910b3")
    assert set(row) >= {"soc", "shape", "tiling", "buffers", "model", "workspace_bytes", "block_dim"}
    assert row["soc"] == "ascend910b3"
    status, out, _ = run(capsys, "plan", shape)
    assert status == 0
    for word in ("block_q", "l1K", "ubRowSum", "workspace", "modelled cost", "fixpipe"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 130


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", "/nowhere")
    row = run_json(capsys, "doctor")
    assert set(row) >= {"found", "backends", "advice", "torch"}
    assert set(row["found"]) >= {"torch_npu", "cann", "soc", "cuda", "header_root"}
    assert row["found"]["cann"] is None
    assert row["backends"]["sim"]["works"]
    assert not row["backends"]["npu"]["works"]
    assert "remedy" in row["backends"]["npu"]
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    assert "what to do about the rest" in out


def test_doctor_finds_headers_and_soc(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernel_operator.h").touch()
    monkeypatch.setenv("ASCENDC_HEADERS", str(tmp_path))
    monkeypatch.setenv("SOC_VERSION", "Ascend910B2")
    found = run_json(capsys, "doctor")["found"]
    assert (found["header_root"], found["soc"]) == (str(tmp_path), "Ascend910B2")


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_SHAPES = {
    "unknown key": (GOOD + "casual: true\n", ["casual = True", "did you mean causal?"]),
    "negative size": (GOOD.replace("s_q: 70", "s_q: -70"), ["s_q = -70", "at least 1"]),
    "d of zero": (GOOD.replace("d: 32", "d: 0"), ["d = 0", "at least 1"]),
    "heads": (GOOD.replace("h_q: 2", "h_q: 3").replace("h_kv: 1", "h_kv: 2"), ["h_q = 3", "a multiple of h_kv = 2"]),
    "head dim of the kernel": (GOOD.replace("d: 32", "d: 300"), ["d = 300", "1 to 256"]),
    "dtype of the kernel": (GOOD + "dtype: fp32\n", ["q.dtype = torch.float32", "one of fp16, bf16 on backend sim"]),
    "too large": (GOOD.replace("s_kv: 300", "s_kv: 300000000000"), ["GiB", "this machine"]),
    "not YAML": ("b: [1\n", ["not valid YAML"]),
    "binary": ("\x00\x01", ["not valid YAML"]),
    "empty": ("", ["b = missing"]),
}


@pytest.mark.parametrize("command", [["run"], ["plan"], ["run", "--json"]], ids=" ".join)
@pytest.mark.parametrize("case", BAD_SHAPES)
def test_a_bad_shape_is_one_paragraph_and_status_two(
    case: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = BAD_SHAPES[case]
    if case == "too large" and command == ["plan"]:
        words = ["s_kv = 300000000000"]
    file = tmp_path / "shape.yaml"
    file.write_text(content)
    status, out, err = run(capsys, *command, str(file))
    assert (status, out) == (2, "")
    assert all(word in err for word in (*words, str(file))), err
    assert "Traceback" not in err
    assert "\n\n" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "SHAPE.yaml"),
        (["run", "SHAPE", "--fast"], "--fast"),
        (["run", "SHAPE", "--back", "cpu"], "--back"),
        (["run", "SHAPE", "--backend", "tpu"], "invalid choice: 'tpu'"),
        (["run", "SHAPE", "--backend", "npu"], "torch_npu cannot be imported"),
        (["run", "SHAPE", "--soc", "ascend910c"], "unknown SoC ascend910c"),
        (["run", "SHAPE", "--tiling", "none.yaml"], "none.yaml: no such file"),
        (["run", "SHAPE", "--threads", "0"], "'0' must be a whole number"),
        (["run", "SHAPE", "--seed", "-1"], "--seed"),
        (["run", "SHAPE", "--checks", "maybe"], "invalid choice: 'maybe'"),
        (["run", "no_such_shape"], "no_such_shape: no such file"),
        (["plan", "/"], "cannot read /"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_bad_arguments_are_one_line_and_status_two(
    arguments: list[str], words: str, shape: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *(shape if x == "SHAPE" else x for x in arguments))
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_a_tiling_that_does_not_fit_names_buffer_size_and_limit(
    shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "huge.yaml"
    file.write_text("block_kv: 1792\nstrip_rows: 64\nring: 2\npreload: 2\n")
    status, _, err = run(capsys, "plan", shape, "--tiling", str(file))
    assert status == 2
    assert all(word in err for word in ("shape", "huge.yaml", "in UB", "at most 188160 B", "ring = 2")), err


def test_the_module_and_the_exit_status_reach_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastattention_npu"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("fastattention-npu ")
    file = tmp_path / "bad.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    done = subprocess.run([*command, "run", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"fastattn: cannot read {file}: byte 0 is not UTF-8 text; give a YAML text file\n"


# --- text ------------------------------------------------------------------------------------------------------------


def test_tables_and_bars() -> None:
    assert table(("name", "bytes"), [("l1K", 1024), ("x", None)]) == "name  bytes\nl1K   1,024\nx         -"
    assert bar(0.5) == "#" * 20 + "." * 20 + "  50.0%"
    assert [byte_text(x) for x in (0, 1023, 1536, 3 * 2**30)] == ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]
