"""How long to keep asking: what may pass is tried again, later each time, and what stays wrong ends in words."""

import email.utils
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import responses
from typing import TypeVar

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_KINDS = {404: "not_found", 410: "not_found", 429: "throttled", 503: "throttled"}


@dataclass(frozen=True)
class RangeSettings:
    """How patient the reader is; times in seconds."""

    attempts: int = 5
    first_pause: float = 0.5  # doubled each time; a random part of it is waited
    longest_pause: float = 60.0  # also of what a server's Retry-After may ask
    connect_timeout: float = 10.0
    read_timeout: float = 30.0  # without a single byte
    answer_timeout: float = 60.0  # until status and headers are complete
    slowest: float = 16_384.0  # bytes per second: a body that is slower has hung
    whole_file: int = 4 << 20  # bytes: up to here a server without ranges is good enough


class Failure(Exception):  # noqa: N818  an answer that cannot be used, on its way to who makes an error of it
    """Why one attempt failed: a kind of `ReadError`, whether it may pass, and the seconds that the server asks for."""

    def __init__(self, words: str, kind: str, *, again: bool = False, wait: float = 0.0, status: int = 0) -> None:
        super().__init__(words)
        self.words, self.kind, self.again, self.wait, self.status = words, kind, again, wait, status

    def __str__(self) -> str:
        return self.words


def persist(attempt: Callable[[], _T | Failure], *, settings: RangeSettings, what: str) -> _T | Failure:
    """Make an attempt until it gives no failure, one that cannot pass, or too many; the last one says how many.

    Failures are returned, not raised: what a handler caught may hold the whole URL, and a signature with it.
    """
    number = 0
    while True:
        number += 1
        found = attempt()
        if not isinstance(found, Failure):
            return found
        if not found.again or number >= settings.attempts:
            if number > 1:
                found.words += f" ({number} attempts)"
            return found
        pause = pause_after(number, found.wait, settings=settings)
        logger.info("%s: %s; trying again in %.1f s", what, found, pause)
        time.sleep(pause)


def pause_after(attempt: int, wait: float, *, settings: RangeSettings) -> float:
    """Return the seconds to wait after an attempt, counted from 1, if the server asks for `wait` of them."""
    # Full jitter: clients that failed together do not come back together.
    jitter = random.uniform(0, settings.first_pause * 2 ** (attempt - 1))  # noqa: S311
    return min(wait + jitter, settings.longest_pause)


def refusal(status: int, retry_after: str) -> Failure:
    """Return the failure that a status stands for; `retry_after` is that header, "" for none."""
    name = responses.get(status, "no known status")
    kind = _KINDS.get(status) or ("no_connection" if status >= 500 or status in _AGAIN else "forbidden")
    wait = seconds_asked(retry_after)
    return Failure(f"the server answers {status} ({name})", kind, again=status in _AGAIN, wait=wait, status=status)


def seconds_asked(retry_after: str) -> float:
    """Return the seconds that a Retry-After asks for: a number, or a date; 0 for nothing one can read."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
