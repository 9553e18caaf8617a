"""The report of a simulated run: one HTML file that needs nothing else, with the run's numbers inside as JSON.

The page is report_page/: a skeleton, a style sheet and scripts, put together here. extract() takes the numbers out of a
page again.
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from . import __version__
from .advice import advise
from .backends import plan_shape
from .config import TilingConfig
from .errors import RefusedError
from .profiling import Profile
from .report_data import report_data

SCRIPTS = ("page.js", "timeline_data.js", "timeline.js", "charts.js", "sections.js", "start.js")
DATA_TAG = '<script type="application/json" id="run-data">'


def make_report(profile: Profile) -> dict[str, Any]:
    """Everything that the page shows. Trials of the advice keep the tiling fields that the run was given."""
    data = report_data(profile)

    def try_tiling(values: Mapping[str, int]) -> Mapping[str, Any]:
        given = profile.backend.tiling.fields if profile.backend.tiling else {}
        backend = replace(profile.backend, tiling=TilingConfig({**given, **values}, "the trial"))
        try:
            plan = plan_shape(profile.shape, backend)
        except RefusedError as error:
            return {"refused": " ".join(str(error).split("\n  - ")[1:2]) or str(error)}
        return {"cycles": plan["model"]["cycles"]}

    return data | {"advice": advise(data, try_tiling), "version": __version__}


def page(data: Mapping[str, Any]) -> str:
    """The HTML page around the data."""
    folder = resources.files(__package__) / "report_page"
    part = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", *SCRIPTS)}
    name = data["shape"].get("name") or "attention"
    # "<" never stands in the JSON, so that no text of the run can end the script element.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    filled = {
        "TITLE": html.escape(f"{name} on {data['soc']} (simulated)"),
        "STYLE": part["style.css"],
        "DATA": DATA_TAG + text + "</script>",
        "SCRIPT": "\n".join(part[script] for script in SCRIPTS),
    }
    return re.sub(r"<!--(TITLE|STYLE|DATA|SCRIPT)-->", lambda mark: filled[mark[1]], part["page.html"])


def extract(text: str) -> dict[str, Any]:
    """The data of a page that page() made."""
    start = text.index(DATA_TAG) + len(DATA_TAG)
    return json.loads(text[start : text.index("</script>", start)])


def write_report(profile: Profile, path: Path) -> dict[str, Any]:
    """Writes the page; returns the data in it."""
    data = make_report(profile)
    path.write_text(page(data), encoding="utf-8")
    return data
