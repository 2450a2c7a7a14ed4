"""A finding, and how a check becomes one whatever happens in it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from sarcube.acquisition.doctor import patience
from sarcube.errors import SarcubeError

State = Literal["well", "warning", "failed", "skipped"]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Finding:
    """The answer to one question of the doctor.

    Parameters
    ----------
    name : str
        What was looked at; docs/access.md explains each.
    state : {"well", "warning", "failed", "skipped"}
        "warning" slows down or surprises, "failed" keeps scenes from coming, "skipped" was not asked.
    words : str
        What was found; never holds a signature, key or password.
    advice : str
        What to do; "" where nothing is to be done.
    """

    name: str
    state: State
    words: str
    advice: str = ""


class Trouble(Exception):  # noqa: N818  what a check found, on its way to a `Finding`
    """What is wrong, and what to do."""

    def __init__(self, words: str, advice: str) -> None:
        super().__init__(words)
        self.words, self.advice = words, advice


def sum_up(name: str, facts: Sequence[str], troubles: Sequence[tuple[str, str]]) -> Finding:
    """Make one finding of several facts and of several (words, advice) to warn of; what is wrong comes first."""
    words = "; ".join([*(words for words, _ in troubles), *facts])
    advice = "; ".join(dict.fromkeys(advice for _, advice in troubles))
    return Finding(name, "warning" if troubles else "well", words, advice)


def check(name: str, work: Callable[[], Finding]) -> Finding:
    """Run a check that finds nothing but its finding; see `check_for`."""
    return check_for(name, lambda: (work(), None))[0]


def check_for(
    name: str, work: Callable[[], tuple[Finding, Value]], *, seconds: float | None = None
) -> tuple[Finding, Value | None]:
    """Run a check for `patience.CHECK` seconds at most; return its finding, and what later checks need of it.

    The check gets a thread of its own: looking up a name and touching a folder on a dead network disk have no timeout.
    """
    limit = patience.CHECK if seconds is None else seconds
    done: list[tuple[Finding, Value | None]] = []
    thread = threading.Thread(target=lambda: done.append(_tried(name, work)), name=f"doctor: {name}", daemon=True)
    thread.start()
    thread.join(limit)
    if done:
        finding, value = done[0]
        # Addresses that a server made up come into words in many places.
        return replace(finding, words=printable(finding.words, most=1000)), value
    return Finding(name, "failed", f"no result within {limit:g} s", "a disk or the line hangs: try again later"), None


def _tried(name: str, work: Callable[[], tuple[Finding, Value]]) -> tuple[Finding, Value | None]:
    try:
        return work()
    except Trouble as trouble:
        return Finding(name, "failed", trouble.words, trouble.advice), None
    except SarcubeError as error:
        return Finding(name, "failed", str(error)), None
    except Exception as error:  # noqa: BLE001  nothing may keep the doctor from the next check
        # Its message is not shown: the libraries put whole addresses into theirs, and signatures with them.
        words = f"this check itself broke ({type(error).__name__})"
        return Finding(name, "failed", words, "report it to the developers of sarcube, with the line on versions"), None


def printable(text: object, *, most: int = 80) -> str:
    """Return what a server or a file says, fit for a terminal: printable characters only, and not too many."""
    shown = "".join(character if character.isprintable() else "?" for character in str(text))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def in_units(count: float) -> str:
    """Return a number of bytes as people read it: 210 kB, 1.3 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def in_time(seconds: float) -> str:
    """Return a span of time as people read it: 40 s, 12 min, 3.4 h."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86400:.0f} days"
