"""Who is missing when a collective fails: ranks that fail say so in the group's store, the cause among them, so that
the others can name the rank that raised, or that says nothing any more."""

import time
from collections.abc import Iterator
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
    call = _calls[group.group_name] = _calls.get(group.group_name, 0) + 1
    prefix = f"fastattn/{group.group_name}/{call}"
    store = dist.distributed_c10d._get_default_store()
    rank = dist.get_rank(group)
    try:
        yield
    except Exception as error:
        first = _first_failure(store, prefix, rank, error)
        if not _is_collective(error):
            raise
        names = _silent_ranks(store, prefix, group, rank) if first is None else []
        if first is not None:
            raise RankFailedError(f"rank {first[0]} raised {first[1]}") from error
        if names:
            text = ", ".join(f"rank {name}" for name in names)
            raise RankFailedError(f"{text} does not answer: it has died or hangs ({error})") from error
        raise


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
