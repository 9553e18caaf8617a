"""Reads a YAML mapping so that whatever is wrong with the file is one ConfigError that names it; no meaning is given to
the values here. Also finds configuration files by name, in the installed package or in the checkout around it.
"""

from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, Reason

PACKAGE = Path(__file__).resolve().parent


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key} is given twice", key_node.start_mark)
            seen.add(key if isinstance(key, (str, int, float, bool)) else id(key_node))
        return super().construct_mapping(node, deep=deep)


def config_root() -> Path:
    """The folder that holds soc/, shapes/ and tiling/."""
    for root in (PACKAGE / "configs", PACKAGE.parent / "configs"):
        if (root / "soc").is_dir():
            return root
    raise ConfigError(
        "no configuration files found",
        [Reason("configs", f"missing in {PACKAGE}", "installed with the package", "install fastattention-npu again")],
    )


def config_names(kind: str) -> list[str]:
    """Names of the configurations of one kind: soc, shapes or tiling."""
    return sorted(path.stem for path in (config_root() / kind).glob("*.yaml"))


def find_config(kind: str, name: str | Path) -> Path:
    """The file that `name` means: a path if it looks like one or exists, else a configuration of that name."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or path.exists():
        return path
    known = config_root() / kind / f"{name}.yaml"
    return known if known.is_file() else path


def read_mapping(path: Path) -> dict[str, Any]:
    """The file's top-level mapping; an empty file is an empty mapping."""
    what = f"cannot read {path}"
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{what}: {error.strerror or error}; give the path of a readable YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what}: byte {error.start} is not UTF-8 text; give a YAML text file") from error
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{what}: not valid YAML: {_one_line(error)}") from error
    except (RecursionError, ValueError) as error:  # absurd nesting; an impossible date or number
        raise ConfigError(f"{what}: not valid YAML: {type(error).__name__}: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds a {type(data).__name__}, must be a mapping of keys to values (key: value)")
    return {str(key): value for key, value in data.items()}


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    return f"{problem} at line {mark.line + 1}, column {mark.column + 1}" if mark else str(problem)
