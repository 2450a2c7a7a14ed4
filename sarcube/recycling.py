"""Memory of blocks, used again: fresh pages from the system cost more than many a kernel that fills them."""

import os
import threading
import weakref

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_MOST = 1 << 28  # bytes that lie ready in a process at most

_ready: list[Bytes] = []  # the oldest first
_lock = threading.RLock()  # a thread that holds it may be interrupted by the end of another array


def recycled_bytes(size: int) -> Bytes:
    """Return memory that is not filled, and that the next caller for as much of it gets when nobody holds it any more.

    For blocks: results that are copied, stored or looked at, and dropped. It is given back when the last array on it is
    gone, views included. What lies ready is bounded, the oldest goes first.

    Parameters
    ----------
    size : int
        Bytes, 1 or more.

    Returns
    -------
    ndarray of uint8, (size,)
        Hand on views of it (`.view(dtype).reshape(shape)`), never its bare address.
    """
    with _lock:
        place = next((number for number, memory in enumerate(_ready) if memory.size == size), None)
        memory = np.empty(size, np.uint8) if place is None else _ready.pop(place)
    # Not a view of `memory`: views would lead to it, and outlive the array whose end is watched.
    watched: Bytes = np.frombuffer(memoryview(memory), np.uint8)  # type: ignore[arg-type]  # an array is a buffer
    weakref.finalize(watched, _give_back, memory).atexit = False
    return watched


def _give_back(memory: Bytes) -> None:
    with _lock:
        _ready.append(memory)
        while sum(kept.size for kept in _ready) > _MOST:
            _ready.pop(0)


def _forget_lock() -> None:
    """Start with a free lock in a forked process: another thread may have held it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)
