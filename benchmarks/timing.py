"""Seconds of a call, warm."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_QUICK = 1.0  # seconds
_REPEATS = 5


def time_warm(work: Callable[[], Result]) -> tuple[Result, float]:
    """Call `work`; return what it gives and its seconds.

    What takes less than a second is called five times more, and the median of these counts: while slow ones had their
    turn, the machine may have taken back the memory that the quick ones read.
    """
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    if seconds >= _QUICK:
        return result, seconds
    again = []
    for _ in range(_REPEATS):
        del result  # two of them at a time would be more memory than a call takes
        start = time.perf_counter()
        result = work()
        again.append(time.perf_counter() - start)
    return result, statistics.median(again)
