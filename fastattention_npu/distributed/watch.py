"""Work on a stream that waits for another rank, watched from a thread: past the group's timeout the waits are let go
and RankFailedError is raised in the thread that called. NCCL's watchdog does the like for its own collectives, by
ending the process."""

import ctypes
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from .faults import RankFailedError

POLL_S = 0.05


class Marker(Protocol):
    def query(self) -> bool:
        """Is all work before it done?"""


@dataclass(frozen=True)
class _Call:
    marker: Marker
    deadline: float
    caller: int
    explain: Callable[[], str]
    release: Callable[[], None]


class Watch:
    """Calls of one group on one device, in their order."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._failure: str | None = None
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def follow(self, stream: torch.cuda.Stream, explain: Callable[[], str], release: Callable[[], None]) -> None:
        """Watches all that the stream has to do so far; explain: who is missing, release: lets go what waits."""
        marker = torch.cuda.Event()
        marker.record(stream)
        self.follow_marker(marker, explain, release)

    def follow_marker(self, marker: Marker, explain: Callable[[], str], release: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="fastattn watch")
            self._thread.start()
        deadline = time.monotonic() + self.timeout_s
        self._calls.put(_Call(marker, deadline, threading.get_ident(), explain, release))

    def raise_if_failed(self) -> None:
        if self._failure is not None:
            raise RankFailedError(self._failure)

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            while not call.marker.query():
                if time.monotonic() > call.deadline:
                    self._expire(call)
                    return
                time.sleep(POLL_S)

    def _expire(self, call: _Call) -> None:
        self._failure = call.explain()
        raise_in(call.caller, self._failure)
        call.release()


def raise_in(thread: int, text: str) -> None:
    """RankFailedError in another thread, as soon as it runs Python."""

    class TimeoutFailedError(RankFailedError):
        def __init__(self) -> None:
            super().__init__(text)

    TimeoutFailedError.__name__ = TimeoutFailedError.__qualname__ = RankFailedError.__name__
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeoutFailedError))
