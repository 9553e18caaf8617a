"""What this package raises for wrong input: every reason at once, each as name, value received, limit and remedy.

The text form is op_host's (op_host/refusal.cpp), so that a reader meets one kind of message whichever side refuses.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Reason:
    """One thing that is wrong: `name` had the value `received`, must be `limit`; `remedy` says what to change."""

    name: str
    received: object
    limit: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} = {self.received}: must be {self.limit}; {self.remedy}"


class RefusedError(ValueError):
    """Base of the errors that list reasons."""

    def __init__(self, headline: str, reasons: Iterable[Reason] = ()) -> None:
        self.reasons = tuple(reasons)
        super().__init__(format_reasons(headline, self.reasons))


class ArgumentError(RefusedError):
    """Arguments of an operator or a function that it cannot serve."""


class ConfigError(RefusedError):
    """A configuration file that cannot be used."""


class BackendUnavailableError(RuntimeError):
    """A backend that this machine, or this version of the package, cannot run."""


class SimulatorWarning(RuntimeWarning):
    """What a kernel did that the simulated chip lets pass and that may fail on a real one; the text names the rule."""


def warn_of(texts: Iterable[str]) -> None:
    """A SimulatorWarning with the texts, if there are any."""
    found = list(texts)
    if found:
        warnings.warn(
            f"{len(found)} warnings of the simulator:\n  " + "\n  ".join(found), SimulatorWarning, stacklevel=3
        )


def format_reasons(headline: str, reasons: Iterable[Reason]) -> str:
    reasons = tuple(reasons)
    if not reasons:
        return headline
    count = "1 reason" if len(reasons) == 1 else f"{len(reasons)} reasons"
    return "\n  - ".join([f"{headline} ({count})", *map(str, reasons)])


def unknown_name(name: str, received: object, known: Iterable[str], kind: str) -> Reason:
    """Reason for a name that is none of `known`, with the nearest one as remedy."""
    names = list(known)
    limit = f"one of the known {kind}s ({', '.join(names)})"
    return Reason(str(name), received, limit, did_you_mean(str(name), names, f"remove this {kind}"))


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for a misspelt word: the nearest known one, or `otherwise` if none is near."""
    nearest = get_close_matches(word.lower(), list(known), n=1)
    return f"did you mean {nearest[0]}?" if nearest else otherwise
