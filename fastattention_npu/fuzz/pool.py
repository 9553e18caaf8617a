"""Worker processes with a time limit: a crash or a hang becomes a verdict, and the worker is replaced."""

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType

from .judge import Verdict
from .problems import Case

WORKER = (sys.executable, "-m", "fastattention_npu.fuzz.worker")
START_S = 120.0  # for the imports, on a busy machine


class Worker:
    """One process, started when it is needed."""

    def __init__(self, command: Sequence[str], limit_s: float) -> None:
        self.command, self.limit_s = command, limit_s
        self.process: subprocess.Popen[str] | None = None

    def judge(self, case: Case) -> Verdict:
        fresh = self.process is None
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process = self.process
        assert process.stdin is not None, "a pipe"
        assert process.stdout is not None, "a pipe"
        try:
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._lost("crash", f"the worker ended with {process.wait()}")
        if not select.select([process.stdout], [], [], self.limit_s + START_S * fresh)[0]:
            return self._lost("hang", f"no verdict within {self.limit_s:g} s")
        line = process.stdout.readline()
        if not line:
            return self._lost("crash", f"the worker ended with {process.wait()}")
        return json.loads(line)

    def _lost(self, how: str, text: str) -> Verdict:
        self.close()
        return {"how": how, "text": text}

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class Pool:
    """`jobs` workers; verdicts come in the order of the cases."""

    def __init__(self, jobs: int, limit_s: float, command: Sequence[str] = WORKER) -> None:
        self.workers: SimpleQueue[Worker] = SimpleQueue()
        self.all = [Worker(command, limit_s) for _ in range(jobs)]
        for worker in self.all:
            self.workers.put(worker)
        self.threads = ThreadPoolExecutor(jobs)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.threads.shutdown(cancel_futures=True)
        for worker in self.all:
            worker.close()

    def judge(self, case: Case) -> Verdict:
        worker = self.workers.get()
        try:
            return worker.judge(case)
        finally:
            self.workers.put(worker)

    def map(self, cases: Iterable[Case], done: Callable[[], None] = lambda: None) -> Iterator[tuple[Case, Verdict]]:
        def one(case: Case) -> tuple[Case, Verdict]:
            verdict = self.judge(case)
            done()
            return case, verdict

        yield from self.threads.map(one, cases)
