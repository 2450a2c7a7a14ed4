"""A file is there whole, or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sarcube.errors import SarcubeError, StoreError


@contextmanager
def replacing(path: Path, *, errors: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and move what was written into place at the end.

    The temporary file lies in a folder of its own, so that a format of several files (a shapefile) is moved as one
    set: every file in it takes its place, the one named like `path` last.

    Parameters
    ----------
    path : Path
        The file to write. Its folder must exist.
    errors : tuple of exception types
        What a writer raises, beside `OSError`, when the disk is full or the folder cannot be written.

    Raises
    ------
    StoreError
        If it cannot be written. What was at `path` before is still there then.
    """
    if not path.parent.is_dir():
        raise StoreError(f'cannot write "{path}": the folder "{path.parent}" does not exist; make it first')
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            written = sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name)
            for file in written:
                file.replace(path.parent / file.name)
    except SarcubeError:
        raise  # of what is computed while it is written: not the disk's fault
    except (OSError, *errors) as error:  # type: ignore[misc]  # a tuple built from types is one of types
        raise StoreError(f'cannot write "{path}": {error}; is the disk full, or the folder write-protected?') from error
