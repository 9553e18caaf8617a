"""`fastattn selftest` on every backend, and the archive for bug reports."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fastattention_npu import backends, dispatch
from fastattention_npu.cli import bundle, doctor, selftest, selftest_append
from fastattention_npu.cli.main import main
from fastattention_npu.dispatch import make_backend

from .conftest import npu_sim
from .fake_cann import FakeCann
from .test_npu_build import CARD

ALL = selftest.load_cases


def small() -> selftest.Cases:
    cases = ALL()
    return replace(cases, correctness=cases.correctness[-3:], append=cases.append[-1:], timing=cases.timing[:1])


@pytest.mark.parametrize("name", ["sim", "cpu"])
def test_on_this_machine(name: str) -> None:
    report = selftest.selftest(make_backend(name), small())
    assert report["ok"]
    assert report["figures"] == {"sim": "simulated", "cpu": "measured"}[name]
    assert {"sim": "simulated_us", "cpu": "measured_us"}[name] in report["timings"][0]
    assert "selftest ok" in selftest.describe(report)


def test_on_the_stand_in(simulated_npu: Path) -> None:
    done = npu_sim("-W", "ignore", "-m", "fastattention_npu", "selftest", "--backend", "npu", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["backend"], report["device"], report["figures"]) == ("npu", "Ascend910B2", "simulated")
    assert len(report["correctness"]) == len(selftest.load_cases().correctness)
    assert [row["ok"] for row in report["append"]] == [True] * len(selftest.load_cases().append)
    assert all("measured_us" not in row and row["simulated_us"] > 0 for row in report["timings"])


def test_a_wrong_result_fails_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_cpu = backends._run_cpu

    def wrong(*arguments):
        out, *rest = run_cpu(*arguments)
        return (out * 1.01, *rest)

    monkeypatch.setattr(backends, "_run_cpu", wrong)
    monkeypatch.setattr(selftest, "load_cases", small)
    assert main(["selftest", "--backend", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "WRONG" in said
    assert "selftest FAILED" in said


def test_a_wrong_append_fails_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    append = selftest_append._append

    def wrong(inputs):
        k_cache, v_cache, lengths = append(inputs)
        v_cache[-1, -1, -1, -1] += dispatch.current_backend().name == "sim"
        return [k_cache, v_cache, lengths]

    monkeypatch.setattr(selftest_append, "_append", wrong)
    monkeypatch.setattr(selftest, "load_cases", small)
    assert main(["selftest", "--backend", "sim"]) == 1
    assert "prompt: v_cache: 1 of" in capsys.readouterr().out


def test_a_measured_time_stands_beside_the_simulated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a card would report: a runner of CANN's, in place of one."""
    run_sim = backends._run_sim

    def card(arguments, backend):
        out, lse, wall_s, _, plan = run_sim(arguments, make_backend("sim"))
        return out, lse, wall_s, {"time_us": 20.0, "launches": 20, "device": "Ascend910B2", "runner": "npu"}, plan

    monkeypatch.setattr(backends, "_run_npu", card)
    cases = replace(small(), append=(), timing_on_a_card=())
    report = selftest.selftest(make_backend("npu", soc="ascend910b2"), cases)
    assert report["figures"] == "measured"
    row = report["timings"][0]
    assert row["measured_us"] == 20.0
    assert 0 < row["simulated_us"] < 1e3
    assert f"{20 / row['simulated_us']:.2f}" in selftest.describe(report)


def test_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cann = FakeCann(tmp_path)
    (cann.home / "x86_64-linux").mkdir()
    (cann.home / "x86_64-linux/ascend_toolkit_install.info").write_text(
        "package_name=cann\nversion=9.0.0\narch=x86_64\n"
    )
    secret = "| 0       0                 | 4711          | user_secret_program      | 100                     |"
    cann.program("npu-smi", f"print({CARD.format(name='910B2') + secret!r})")
    for name, value in cann.environment(SOC_VERSION="Ascend910B2", MY_TOKEN="secret_token").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(selftest, "load_cases", small)
    path = tmp_path / "report.zip"
    assert main(["doctor", "--bundle", str(path)]) == 0
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {"versions.json", "backends.json", "selftest.json"}
    versions = json.loads(files["versions.json"])
    assert versions["cann"] == "9.0.0"
    assert versions["cards"] == [{"name": "910B2", "health": "OK"}]
    assert json.loads(files["selftest.json"])["sim"]["ok"]
    assert path.stat().st_size < 20_000
    everything = "\n".join(files.values())
    for private in ("secret", str(tmp_path), os.path.expanduser("~") + "/", os.uname().nodename, "site-packages"):
        assert private not in everything, private


def test_a_bundle_says_what_stopped_the_self_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(backend, cases=None):
        raise KeyError("no kernel in /home/someone/x.so")  # of torch_npu's own, say

    monkeypatch.setattr(selftest, "selftest", stopped)
    path = tmp_path / "report.zip"
    assert main(["doctor", "--bundle", str(path)]) == 0
    with zipfile.ZipFile(path) as archive:
        results = json.loads(archive.read("selftest.json"))
    assert results["sim"] == "KeyError: 'no kernel in <path>'"
    npu = doctor.examine()["backends"]["npu"]
    stopped_too = f"does not work here: {bundle.without_paths(npu['detail'])}"
    assert results["npu"] == (results["sim"] if npu["works"] else stopped_too)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cannot load /home/someone/lib/x.so: no", "cannot load <path>: no"),
        ("/someone is not a folder; see ~someone/x", "<path> is not a folder; see <path>"),
        ("fp16/bf16, 0 / 65536, npu:0", "fp16/bf16, 0 / 65536, npu:0"),
    ],
)
def test_paths_are_taken_out_of_errors(text: str, kept: str) -> None:
    assert bundle.without_paths(text) == kept


def test_bundle_into_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--bundle", str(tmp_path / "none" / "x.zip")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_doctor_says_what_the_npu_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    row = doctor.examine()["backends"]["npu"]
    assert not row["works"]
    assert "there is no CANN" in row["detail"]
    assert "fastattn npu-sim" in row["remedy"]
