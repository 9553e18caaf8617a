"""The tiling files that `fastattn tune` writes."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, Reason


def write_tiling(path: Path, tuned: Mapping[str, Any], fields: Mapping[str, int | str]) -> None:
    """A tiling file with those fields; tuned: where they come from. Raises ConfigError if it cannot be written."""
    header = "# Written by `fastattn tune`. Figures are modelled and simulated; nothing was measured on a card.\n"
    text = header + yaml.safe_dump({"tuned": dict(tuned)} | dict(fields), sort_keys=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        reason = Reason("--output", str(path), "a file that can be written", error.strerror or str(error))
        raise ConfigError("cannot write the tiling", [reason]) from error


def hand_over(options: argparse.Namespace, tuned: Mapping[str, Any], fields: Mapping[str, int | str], text: str) -> int:
    """Writes the file that --output names and says so, with --json as an object; text: the result in words."""
    write_tiling(options.output, tuned, fields)
    if options.json:
        print(json.dumps({"figures": "simulated", "output": str(options.output), **tuned, "tiling": fields}))
    else:
        print(text)
        print(f"written to {options.output}; use it with --tiling {options.output}")
    return 0
