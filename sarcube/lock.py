"""One writer at a time: a lock beside a folder (a cube, staged scenes) that dies with the process that holds it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sarcube.errors import StoreError


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which need not be there yet.

    The lock is a file beside the folder, so that it also holds while the folder itself is renamed. The system gives it
    up when the process ends, however it ends.

    Raises
    ------
    StoreError
        If another writer has it; the message says who.
    """
    path = folder.with_name(f".{folder.name}.lock")
    descriptor = _acquire(path, folder)
    try:
        who = {
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(who).encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is let go: whoever has opened it by then sees that it is gone
        os.close(descriptor)


def _acquire(path: Path, folder: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = os.read(descriptor, 1000)
            os.close(descriptor)
            raise StoreError(
                f"{folder} is being written by {_describe(said)}; wait until it is done, or stop it, then try again"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its holder has just finished and removed it


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _describe(said: bytes) -> str:
    try:
        who = json.loads(said)
    except ValueError:
        return "another process"
    return f"process {who['pid']} on {who['host']}, since {who['since']}"
