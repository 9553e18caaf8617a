"""Runs mutants in worker processes: a mutant may crash, spin or eat memory, and must not take the benchmark with it."""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from .kernel_cases import Verdict
from .mutation_schema import Schema, Switch

START_TIMEOUT_S = 120.0
TASK_TIMEOUT_S = 20.0  # of a task, beside what its cases may take
CASE_TIMEOUT_S = 0.2  # on average: a small case takes some 10 to 50 ms
MEMORY_BYTES = 2 << 30  # beyond what a worker has mapped when it starts


class RunnableCase(Protocol):
    """A shape of some kernel, with the inputs and the reference that go with it."""

    def run(self, library: str | Path, checks: bool, trace: bool) -> Verdict: ...


@dataclass(frozen=True)
class Task:
    """A mutant and the cases to try it on, in this order, until one catches it (or all of them)."""

    mutant: int
    cases: tuple[int, ...]
    checks: bool = True
    trace: bool = False
    stop_when_caught: bool = True


@dataclass(frozen=True)
class Outcome:
    """The verdict on each case tried, and the mutants whose sites each case reached."""

    task: Task
    verdicts: tuple[Verdict, ...]
    reached: tuple[frozenset[int], ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The first evidence, or the last clean verdict."""
        return next((v for v in self.verdicts if v.caught), self.verdicts[-1] if self.verdicts else Verdict("clean"))


def _limit_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, resource.RLIM_INFINITY))


def run_task(task: Task, schema: Schema, switch: Switch, cases: Sequence[RunnableCase]) -> Outcome:
    verdicts, reached = [], []
    for case in task.cases:
        switch.choose(task.mutant)
        try:
            verdict = cases[case].run(schema.library, task.checks, task.trace)
        except MemoryError:
            verdict = Verdict("runaway", "the mutant ran out of memory")
        verdicts.append(verdict)
        reached.append(frozenset(switch.reached()))
        if verdict.caught and task.stop_when_caught:
            break
    return Outcome(task, tuple(verdicts), tuple(reached))


def _work(channel: Connection, schema: Schema, cases: Sequence[RunnableCase]) -> None:
    switch = Switch(schema.library, len(schema.mutants))
    _limit_memory()
    channel.send("ready")
    while (task := channel.recv()) is not None:
        channel.send(run_task(task, schema, switch, cases))


class _Worker:
    def __init__(self, schema: Schema, cases: Sequence[RunnableCase]) -> None:
        context = multiprocessing.get_context("spawn")
        self.channel, remote = context.Pipe()
        self.process = context.Process(target=_work, args=(remote, schema, cases), daemon=True)
        self.process.start()
        remote.close()
        self.task: Task | None = None
        self.index = 0
        self.allowed_s = self.deadline = 0.0
        # A worker that cannot start must not pass for a mutant that crashes.
        try:
            if not self.channel.poll(START_TIMEOUT_S) or self.channel.recv() != "ready":
                raise RuntimeError("a worker of the mutation benchmark did not start in time")
        except EOFError as error:
            raise RuntimeError("a worker of the mutation benchmark could not start; its error is above") from error

    def give(self, index: int, task: Task) -> None:
        self.index, self.task = index, task
        # Of the task as a whole: allowed a case each, a mutant that never ends would hold a worker for half an hour.
        self.allowed_s = TASK_TIMEOUT_S + CASE_TIMEOUT_S * len(task.cases)
        self.deadline = time.monotonic() + self.allowed_s
        self.channel.send(task)

    def collect(self, ready: bool) -> Outcome | None:
        """The outcome of the task, if it has ended one way or the other."""
        if self.task is None:
            return None
        if ready:
            try:
                return self.channel.recv()
            except (EOFError, ConnectionError):
                return Outcome(self.task, (Verdict("crash", "the mutant crashed the simulator's process"),))
        if time.monotonic() > self.deadline:
            return Outcome(self.task, (Verdict("runaway", f"no end after {self.allowed_s:.0f} s"),))
        return None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


class Pool:
    """Workers that know a schema and its cases; a context manager."""

    def __init__(self, schema: Schema, cases: Sequence[RunnableCase], workers: int = 2) -> None:
        self.schema = schema
        self.cases = cases
        self._workers = [_Worker(schema, cases) for _ in range(workers)]

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def run(self, tasks: Iterable[Task], done: Callable[[Outcome], Any] = lambda outcome: None) -> list[Outcome]:
        """All outcomes, in the order of the tasks; `done` hears of each as it comes."""
        order = list(tasks)
        waiting = list(enumerate(order))[::-1]
        outcomes: dict[int, Outcome] = {}
        while len(outcomes) < len(order):
            for worker in self._workers:
                if worker.task is None and waiting:
                    worker.give(*waiting.pop())
            ready = wait([worker.channel for worker in self._workers if worker.task is not None], timeout=1.0)
            for i, worker in enumerate(self._workers):
                outcome = worker.collect(worker.channel in ready)
                if outcome is None:
                    continue
                outcomes[worker.index] = outcome
                done(outcome)
                worker.task = None
                if outcome.verdict.how in ("crash", "runaway"):
                    worker.stop()
                    self._workers[i] = _Worker(self.schema, self.cases)
        return [outcomes[i] for i in range(len(order))]
