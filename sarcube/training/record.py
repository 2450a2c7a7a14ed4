"""The log of a training: a CSV file, or a folder of TensorBoard event files."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sarcube.atomic import replacing
from sarcube.errors import InputError, StoreError

Entry = dict[str, float]


@contextmanager
def recording(path: str | Path | None, history: Sequence[Entry]) -> Iterator[Callable[[Entry], None]]:
    """Give a function that adds an epoch's entry to a log, which is on disk when it returns.

    Parameters
    ----------
    path : str or Path, optional
        A file ending in ``.csv``, replaced if it is there; or a folder, made if need be. None records nothing.
    history : sequence of dict
        Epochs of a training that goes on: they are in the log whatever an interruption left of it.

    Raises
    ------
    InputError
        If TensorBoard is not installed.
    StoreError
        If the log cannot be written.
    """
    if path is None:
        yield lambda _: None
    elif Path(path).suffix == ".csv":
        yield _csv(Path(path), history)
    else:
        with _tensorboard(Path(path), history) as add:
            yield add


def _csv(path: Path, history: Sequence[Entry]) -> Callable[[Entry], None]:
    with replacing(path) as temporary:
        _append(temporary, history, header=True)

    def add(entry: Entry) -> None:
        try:
            _append(path, [entry], header=path.stat().st_size == 0)
        except OSError as error:
            raise StoreError(f'cannot write the log "{path}": {error}; is the disk full?') from error

    return add


def _append(path: Path, entries: Sequence[Entry], *, header: bool) -> None:
    if not entries:
        path.touch()
        return
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, entries[0].keys())
        if header:
            writer.writeheader()
        writer.writerows(entries)


@contextmanager
def _tensorboard(folder: Path, history: Sequence[Entry]) -> Iterator[Callable[[Entry], None]]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            f'a log in the folder "{folder}" needs TensorBoard, which is not installed: pip install tensorboard; '
            "or give a log that ends in .csv"
        ) from error
    try:
        # What an interrupted training wrote of epochs that are trained again is not shown.
        writer = SummaryWriter(str(folder), purge_step=len(history) + 1)
    except OSError as error:
        raise StoreError(f'cannot write the log "{folder}": {error}; give another folder') from error

    def add(entry: Entry) -> None:
        for name, value in entry.items():
            if name != "epoch":
                writer.add_scalar(name, value, int(entry["epoch"]))
        writer.flush()

    try:
        yield add
    finally:
        writer.close()
