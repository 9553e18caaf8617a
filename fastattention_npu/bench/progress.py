"""A progress bar on standard error: one line that is redrawn on a terminal, silent elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
BAR_CHARS = 30


def progress(items: Iterable[Item], total: int, what: str, show: bool | None = None) -> Iterator[Item]:
    """Hands the items on and draws how many of `total` are done; show None: only on a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield from items
        return
    start_s = time.monotonic()
    for done, item in enumerate(items, 1):
        filled = BAR_CHARS * done // max(total, 1)
        bar = "#" * filled + "." * (BAR_CHARS - filled)
        left_s = (time.monotonic() - start_s) / done * (total - done)
        print(f"\r{what} [{bar}] {done}/{total}, {left_s:.0f} s left ", end="", file=sys.stderr, flush=True)
        yield item
    print(file=sys.stderr)
