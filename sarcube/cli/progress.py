"""What a user sees while a command works."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dask.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sarcube.cli.console import err


@contextmanager
def steps() -> Iterator[Any]:
    """Show a bar that is told (what, done, total); it goes when the last step is done."""
    bar = _bar()
    task = bar.add_task("", total=None)

    def tell(what: str, done: int, total: int) -> None:
        bar.start()
        bar.update(task, description=what, completed=done, total=total)
        if done == total:
            bar.stop()

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Show a bar for every Dask computation inside."""
    with _bar() as bar, _DaskBar(bar, what):
        yield


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Let a part of sarcube say nothing below an error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )


class _DaskBar(Callback):
    """Counts finished tasks of whatever Dask computes; Dask wants a class here."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar, self._task = bar, bar.add_task(what, total=None)

    def _start_state(self, dsk: Any, state: Any) -> None:
        self._bar.update(self._task, completed=0, total=sum(len(state[k]) for k in ("ready", "waiting")))

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        self._bar.advance(self._task)
