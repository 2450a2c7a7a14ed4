"""What a user sees while a command works."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from dask.callbacks import Callback
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from sarcube.cli.console import err


@contextmanager
def steps() -> Iterator[Any]:
    """Show a bar that is told (what, done, total); it goes when the last step is done."""
    with _telling(_bar()) as tell:
        yield tell


@contextmanager
def transfers() -> Iterator[Any]:
    """Show a bar of bytes that is told (what, done, total); it goes when the last byte is there."""
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _telling(Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=err)) as tell:
        yield tell


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Show a bar for every Dask computation inside, from the first one on."""
    bar = _bar()
    try:
        with _DaskBar(bar, what):
            yield
    finally:
        _stop(bar)


@contextmanager
def resumable() -> Iterator[None]:
    """Say to whoever interrupts what is inside that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("what is finished is kept: the same command goes on from there")
        raise


def quiet(name: str) -> AbstractContextManager[None]:
    """Let a part of sarcube say nothing below an error."""
    return _level(name, logging.ERROR)


def heard(name: str) -> AbstractContextManager[None]:
    """Let a part of sarcube also say what is no warning."""
    return _level(name, logging.INFO)


@contextmanager
def _level(name: str, level: int) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _telling(bar: Progress) -> Iterator[Any]:
    task = bar.add_task("", total=None)

    def tell(what: str, done: int, total: int) -> None:
        if done < total:
            bar.start()
        bar.update(task, description=what, completed=done, total=total)
        if done == total:
            _stop(bar)

    try:
        yield tell
    finally:
        _stop(bar)


def _stop(bar: Progress) -> None:
    if bar.live.is_started:  # of a bar that was never shown an empty line would be left
        bar.stop()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )


class _DaskBar(Callback):
    """Counts finished tasks of whatever Dask computes; Dask wants a class here."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar, self._task = bar, bar.add_task(what, total=None)

    def _start_state(self, dsk: Any, state: Any) -> None:
        self._bar.start()
        self._bar.update(self._task, completed=0, total=sum(len(state[k]) for k in ("ready", "waiting")))

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        self._bar.advance(self._task)
