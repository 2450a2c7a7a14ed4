"""One thread for torch within a task: tasks run side by side, and each with threads of its own would be too many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread

import torch

_lock = Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use no thread but this one, and afterwards as many as before; other threads keep what they have."""
    before = torch.get_num_threads()
    _set_here(1)
    try:
        yield
    finally:
        _set_here(before)


def _set_here(number: int) -> None:
    """Set the number for this thread alone.

    torch keeps one for each thread, but also notes the one set last, anywhere, for threads that are yet to begin. So
    one of these tells what was noted, and another sets it again.
    """
    with _lock:
        noted: list[int] = []
        _elsewhere(lambda: noted.append(torch.get_num_threads()))
        torch.set_num_threads(number)
        _elsewhere(lambda: torch.set_num_threads(noted[0]))


def _elsewhere(work: Callable[[], None]) -> None:
    thread = Thread(target=work)
    thread.start()
    thread.join()
