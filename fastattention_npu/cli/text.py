"""Plain-text tables and bars of the command line."""

from collections.abc import Sequence

BAR_CHARS = 40


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their longest cell; numbers (None is a missing one) to the right, the rest to the left."""
    cells = [[str(x) for x in header], *([cell(x) for x in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    right = [
        bool(rows) and all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(header))
    ]
    lines = [
        "  ".join(x.rjust(w) if r else x.ljust(w) for x, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join(lines)


def cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def bar(fraction: float) -> str:
    """A share of 1 as a bar and a percentage."""
    filled = round(max(0.0, min(1.0, fraction)) * BAR_CHARS)
    return f"{'#' * filled}{'.' * (BAR_CHARS - filled)} {fraction:6.1%}"


def indent(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


def byte_text(count: float) -> str:
    """A byte count in the largest unit that leaves it at least 1."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
