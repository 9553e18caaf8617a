"""Configuration files: those of the package load, and whatever can be wrong with one is one clear error."""

import math
from pathlib import Path

import pytest

from fastattention_npu import limits
from fastattention_npu.config import load_shape, load_soc, load_tiling
from fastattention_npu.errors import ConfigError
from fastattention_npu.soc_config import KINDS
from fastattention_npu.yaml_file import config_names, config_root, find_config

GOOD = {"b": 1, "s_q": 8, "s_kv": 8, "h_q": 4, "h_kv": 2, "d": 16}
SOC = "name: mine\narchitecture: dav-2201\n"
CONSTANTS = (config_root() / "soc" / "ascend910b2.yaml").read_text().split("architecture: dav-2201\n")[1]


def shape_text(**changes: object) -> str:
    """A good shape file with some keys changed; None drops a key."""
    return "".join(f"{key}: {value}\n" for key, value in (GOOD | changes).items() if value is not None)


def refusal(load: object, file: Path, content: str | bytes) -> str:
    """The message with which `load` refuses a file of that content: one paragraph that names the file."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        load(file)  # type: ignore[operator]
    message = str(caught.value)
    assert str(file) in message
    assert "\n\n" not in message
    return message


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", config_names("shapes"))
def test_every_shape_of_the_package_loads(name: str) -> None:
    shape = load_shape(name)
    assert shape == load_shape(config_root() / "shapes" / f"{name}.yaml")
    assert shape.h_q % shape.h_kv == 0
    assert shape.layout in limits.LAYOUTS.values()


def test_defaults_and_spellings(tmp_path: Path) -> None:
    file = tmp_path / "shape.yaml"
    file.write_text(shape_text(dtype="float16", layout="BNSD", window="[-1, -1]", softcap=0))
    shape = load_shape(file)
    assert (shape.dtype, shape.layout, shape.causal, shape.seqused_k) == ("fp16", "bnsd", False, None)
    assert (shape.window, shape.softcap, shape.head_dim_v, shape.sequences()) == ((-1, -1), 0.0, 16, [(8, 8)])
    assert shape.scale() == pytest.approx(1 / math.sqrt(16))
    assert shape.name == "shape"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (shape_text(casual="true"), ["casual = True", "did you mean causal?"]),
        (shape_text(zzz=1), ["zzz = 1", "one of the known keys (b, s_q"]),
        (shape_text(s_q=-8), ["s_q = -8", "at least 1"]),
        (shape_text(d=0), ["d = 0", "at least 1"]),
        (shape_text(h_q=3), ["h_q = 3", "a multiple of h_kv = 2"]),
        (shape_text(b=None), ["b = missing", "add b: <number>"]),
        (shape_text(b="two"), ["b = 'two'", "an integer"]),
        (shape_text(b="true"), ["b = True", "an integer"]),
        (shape_text(b=1.5), ["b = 1.5", "an integer"]),
        (shape_text(b="[1]"), ["b = [1]", "an integer"]),
        (shape_text(dtype="fp61"), ["dtype = 'fp61'", "did you mean fp16?"]),
        (shape_text(dtype=16), ["dtype = 16", "one of fp16"]),
        (shape_text(layout="SBH"), ["layout = 'SBH'", "one of bshd"]),
        (shape_text(causal=1), ["causal = 1", "true or false"]),
        (shape_text(softmax_scale=".nan"), ["softmax_scale = nan", "a finite number"]),
        (shape_text(softmax_scale="small"), ["softmax_scale = 'small'", "a finite number"]),
        (shape_text(seqused_k="[1, 2]"), ["seqused_k = [1, 2]", "a list of b = 1"]),
        (shape_text(seqused_k="[9]"), ["seqused_k = [9]", "0 to s_kv = 8"]),
        (shape_text(seqused_k=8), ["seqused_k = 8", "a list of b integers"]),
        (shape_text(window="[4, -2]"), ["window = [4, -2]", "[left, right], each -1 to 2147483647"]),
        (shape_text(window=7), ["window = 7", "two whole numbers"]),
        (shape_text(softcap=-30.0), ["softcap = -30.0", "not negative"]),
        (shape_text(alibi="heads"), ["alibi = 'heads'", "did you mean head?"]),
        (shape_text(mask="true"), ["mask = True", "one of bool, additive, fp32"]),
        (shape_text(mask="bool", mask_dims="kq"), ["mask_dims = 'kq'", "some of bhqk, in that order"]),
        (shape_text(page_size=24), ["page_size = 24", "at least 16 in multiples of 16", "use 32"]),
        (shape_text(layout="tnd"), ["seqlens_q = None", "seqlens_k = None", "given for layout tnd"]),
        (shape_text(seqlens_q="[8]"), ["seqlens_q = [8]", "left out unless layout is tnd"]),
        (shape_text(layout="tnd", seqlens_q="[9]", seqlens_k="[8]"), ["seqlens_q = [9]", "0 to s_q = 8"]),
        (shape_text(layout="tnd", seqlens_q="[1]", seqlens_k="[8]", page_size=16), ["left out with page_size"]),
        (shape_text(layout="tnd", seqlens_q="[1]", seqlens_k="[8]", mask="bool"), ["mask = 'bool'", "left out"]),
        (shape_text() + "d: 32\n", ["key d is given twice", "line 7"]),
        ("", ["b = missing", "d = missing", "6 reasons"]),
        ("b: [1\n", ["not valid YAML", "line 2"]),
        ("b: 1\n\td: 2\n", ["not valid YAML", "line 2"]),
        ("- 1\n- 2\n", ["holds a list", "mapping of keys"]),
        ("just words\n", ["holds a str"]),
        ("b: !!python/object:os.system {}\n", ["not valid YAML"]),
        ("when: 2001-99-99\n", ["not valid YAML"]),
        (b"\x7fELF\x02\x01\x00\xff\xfe", ["byte 7 is not UTF-8"]),
        (b"b: \x00\n", ["not valid YAML"]),
    ],
)
def test_a_bad_shape_file_is_one_paragraph(tmp_path: Path, content: str | bytes, words: list[str]) -> None:
    message = refusal(load_shape, tmp_path / "bad.yaml", content)
    assert all(word in message for word in words), message


def test_all_reasons_at_once(tmp_path: Path) -> None:
    message = refusal(load_shape, tmp_path / "bad.yaml", shape_text(b=0, s_q=-1, dtype="int8", colour="red"))
    assert "(4 reasons)" in message
    assert all(f"- {key} = " in message for key in ("b", "s_q", "dtype", "colour"))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file; give a path, or one of .*llama2_7b_prefill_1k"):
        load_shape(tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.yaml: .*directory"):
        load_shape(tmp_path / "folder.yaml")


# --- tilings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", config_names("tiling"))
def test_every_tiling_of_the_package_loads(name: str) -> None:
    tiling = load_tiling(name)
    assert tiling.fields
    assert tiling.source.endswith(f"{name}.yaml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("blok_q: 64\n", ["blok_q = 64", "did you mean block_q?"]),
        ("block_q: 60\n", ["block_q = 60", "16 to 512 in multiples of 16", "use 64"]),
        ("block_q: 1000\n", ["block_q = 1000", "use 512"]),
        ("ring: three\n", ["ring = 'three'", "an integer"]),
        ("head_dim: 64\n", ["head_dim = 64", "one of the known keys"]),
    ],
)
def test_a_bad_tiling_file_is_one_paragraph(tmp_path: Path, content: str, words: list[str]) -> None:
    message = refusal(load_tiling, tmp_path / "bad.yaml", content)
    assert all(word in message for word in words), message


# --- SoCs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ascend910b1", "ascend910b2", "ascend910b3", "ascend910b4"])
def test_every_soc_loads_with_a_source_for_each_constant(name: str) -> None:
    soc = load_soc(name)
    assert soc.name == name
    assert soc["memory.l1_bytes"] == 512 * 1024
    assert sum(soc.kinds().values()) == len(soc.constants)
    assert all(constant.source for constant in soc.constants.values())
    assert soc.values()["name"] == name


def test_a_soc_file_elsewhere_overrides_its_architecture(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SOC + CONSTANTS + "cube:\n  head_cycles: {value: 99, kind: assumed, source: a test}\n")
    soc = load_soc(file)
    assert (soc.name, soc["cube.head_cycles"], soc["cube.fractal_cycles"]) == ("mine", 99, 1)
    assert soc.constants["cube.head_cycles"].file == str(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("architecture: dav-2201\n", ["name = missing"]),
        ("name: mine\n", ["architecture = missing"]),
        (SOC, ["cores.aic = missing", "clock.mhz = missing"]),
        (SOC + "cube: 3\n", ["cube = 3", "a group of constants"]),
        (SOC + "cube: {head_cycles: 3}\n", ["cube.head_cycles = 3", "add its kind and source"]),
        (SOC + "cube: {head_cycles: {value: -1, kind: vendor, source: x}}\n", ["head_cycles.value = -1", "at least 0"]),
        (SOC + "cube: {head_cycles: {value: 1, kind: guess, source: x}}\n", ["kind = 'guess'", ", ".join(KINDS)]),
        (SOC + "cube: {head_cycles: {value: 1, kind: vendor}}\n", ["head_cycles.source = None"]),
        (SOC + "cube: {head_cycles: {valu: 1, kind: vendor, source: x}}\n", ["did you mean value?"]),
        (SOC + "cube: {haed_cycles: {value: 1, kind: vendor, source: x}}\n", ["did you mean cube.head_cycles?"]),
    ],
)
def test_a_bad_soc_file_is_one_paragraph(tmp_path: Path, content: str, words: list[str]) -> None:
    message = refusal(load_soc, tmp_path / "bad.yaml", content)
    assert all(word in message for word in words), message


def test_known_constants_are_listed_once_and_a_stale_build_is_suspected(tmp_path: Path) -> None:
    wrong = "".join(f"  unheard_of_{i}: {{value: 1, kind: vendor, source: x}}\n" for i in range(5))
    message = refusal(load_soc, tmp_path / "bad.yaml", SOC + CONSTANTS + "cube:\n" + wrong)
    assert message.count("memory.l1_bytes") == 1
    assert message.count("a known constant") == 5
    assert message.count("build it again") == 1


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown SoC ascend910b9: .*did you mean ascend910b"):
        load_soc("ascend910b9")
    file = tmp_path / "bad.yaml"
    file.write_text("name: mine\narchitecture: dav-9999\n")
    with pytest.raises(ConfigError, match="dav-9999"):
        load_soc(file)


def test_names_and_paths_find_the_same_file() -> None:
    assert find_config("soc", "ascend910b2") == config_root() / "soc" / "ascend910b2.yaml"
    assert find_config("soc", "some/where.yaml") == Path("some/where.yaml")


# --- limits ----------------------------------------------------------------------------------------------------------


def test_limits_name_the_nearest_legal_value() -> None:
    limit = limits.Limit("x", 16, 128, 16)
    assert [limit.nearest(value) for value in (-5, 16, 17, 128, 500)] == [16, 16, 32, 128, 128]
    assert [limit.holds(value) for value in (0, 16, 24, 128, 144)] == [False, True, False, True, False]
    assert "16 to 128 in multiples of 16" in str(limit.check(24)[0])


def test_the_kernel_is_within_the_operator() -> None:
    kernel = limits.kernel_limits()
    assert all(kernel[name].min >= limit.min for name, limit in limits.OPERATOR.items())
    assert all(limits.OPERATOR[name].holds(kernel[name].max or 0) for name in limits.OPERATOR)
