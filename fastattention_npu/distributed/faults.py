"""Who is missing when a collective fails: ranks that fail say so in the group's store, the cause among them, so that
the others can name the rank that raised, or that says nothing any more."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

ANSWER_S = 1.0  # how long the others may take to say that they failed, too
_calls: dict[str, int] = {}


class RankFailedError(RuntimeError):
    """A rank of the group has raised or has died; the text names it."""


@contextmanager
def named_failures(group: dist.ProcessGroup | None) -> Iterator[None]:
    """Within the block, an error on one rank makes the error of the others name it."""
    if group is None:
        yield
        return
    _calls[group.group_name] = _calls.get(group.group_name, 0) + 1
    prefix = _prefix(group)
    store = dist.distributed_c10d._get_default_store()
    rank = dist.get_rank(group)
    try:
        yield
    except Exception as error:
        text = _explain(store, prefix, group, rank, error)
        if text is None:
            raise
        raise RankFailedError(text) from error


def explain_timeout(group: dist.ProcessGroup) -> Callable[[], str]:
    """Says, once this rank's present call has outlasted the group's timeout, which rank it waited for."""
    prefix, rank = _prefix(group), dist.get_rank(group)
    store = dist.distributed_c10d._get_default_store()

    def explain() -> str:
        error = RuntimeError("timed out waiting for the other ranks")
        return _explain(store, prefix, group, rank, error) or str(error)

    return explain


def _prefix(group: dist.ProcessGroup) -> str:
    return f"fastattn/{group.group_name}/{_calls.get(group.group_name, 0)}"


def _explain(store: dist.Store, prefix: str, group: dist.ProcessGroup, rank: int, error: Exception) -> str | None:
    """Tells the others of this rank's error; the rank that an error of the communication is due to, if one is."""
    first = _first_failure(store, prefix, rank, error)
    if not _is_collective(error):
        return None
    if first is not None:
        return f"rank {first[0]} raised {first[1]}"
    names = ", ".join(f"rank {name}" for name in _silent_ranks(store, prefix, group, rank))
    return f"{names} does not answer: it has died or hangs ({error})" if names else None


def _first_failure(store: dist.Store, prefix: str, rank: int, error: Exception) -> tuple[int, str] | None:
    """The rank whose own error came first, if it is not this one's."""
    text = f"{rank}|{type(error).__name__}: {error}"
    try:
        store.set(f"{prefix}/failed/{rank}", text)
        if not _is_collective(error):
            store.compare_set(f"{prefix}/cause", "", text)
            return None
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            if store.check([f"{prefix}/cause"]):
                name, cause = store.get(f"{prefix}/cause").decode().split("|", 1)
                return int(name), cause
            time.sleep(0.05)
    except Exception:  # the store went with the process that kept it, rank 0 of the default group
        return 0, "nothing more, and its store is gone: it has died"
    return None


def _is_collective(error: Exception) -> bool:
    """Did the error come from the communication library, not from this rank's own work?"""
    text = str(error).lower()
    words = ("gloo", "nccl", "hccl", "connection", "timed out", "timeout", "socket", "peer")
    return isinstance(error, (RuntimeError, dist.DistBackendError)) and any(word in text for word in words)


def _silent_ranks(store: dist.Store, prefix: str, group: dist.ProcessGroup, rank: int) -> list[int]:
    """Ranks that have not said that they failed."""
    silent = []
    for other in range(dist.get_world_size(group)):
        if other == rank:
            continue
        try:
            store.wait([f"{prefix}/failed/{other}"], timedelta(seconds=ANSWER_S))
        except Exception:
            silent.append(other)
    return silent
