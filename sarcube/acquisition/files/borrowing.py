"""Many windows of one file: it stays open between them, and memory stays bounded."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rasterio

from sarcube.acquisition.files.headers import GDAL_SETTINGS, named_errors, open_geotiff
from sarcube.acquisition.hrefs import is_url

# Windows read before a kept file is closed: GDAL keeps the tiles of a file while it is open, 4 MiB a window and more.
_MOST_WINDOWS = 64
_WINDOWS_A_TRIM = 128  # windows a thread reads before free memory is given back, which takes 10 ms
# Bytes of decoded tiles that GDAL keeps in a long computation, instead of a twentieth of the memory: what the blocks of
# two rows share.
_TILE_CACHE = (32 << 20) * (os.cpu_count() or 1)


@dataclass
class _Kept:
    """A local file that a thread keeps open from one window to the next."""

    key: tuple[object, ...]
    dataset: rasterio.DatasetReader
    windows: int = 0


_kept = threading.local()


@contextmanager
def small_tile_cache() -> Iterator[None]:
    """Keep GDAL's cache of decoded tiles small while this is open: it is one for the whole process."""
    with rasterio.Env(GDAL_CACHEMAX=_TILE_CACHE):
        yield


@contextmanager
def borrow_geotiff(href: str, *, owner: str, overview: int | None = None) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF as `open_geotiff` does, for one window of many: the thread keeps a local file open for the next.

    One file is kept, and one overview.

    Raises
    ------
    ReadError
        As `open_geotiff`.
    """
    if is_url(href):  # its header is kept already
        with open_geotiff(href, owner=owner, overview=overview) as dataset:
            yield dataset
        return
    slot = "file" if overview is None else "overview"
    with named_errors(href, owner):
        kept = _keep(href, slot, overview)
        try:
            yield kept.dataset
        except BaseException:
            _let_go(slot)  # nobody knows what state it is in
            raise


def _keep(href: str, slot: str, overview: int | None) -> _Kept:
    """Return the thread's open file, opened anew where it is another, was replaced, or has been read from enough."""
    status = os.stat(href) if os.path.exists(href) else None  # noqa: PTH110, PTH116  three times as fast
    # By process: a forked one would share the place in the file with its parent.
    key = (os.getpid(), href, overview, status and (status.st_ino, status.st_size, status.st_mtime_ns))
    kept: _Kept | None = getattr(_kept, slot, None)
    if kept is None or kept.key != key or kept.windows >= _MOST_WINDOWS:
        _let_go(slot)
        level = {} if overview is None else {"overview_level": overview}
        with rasterio.Env(**GDAL_SETTINGS):
            kept = _Kept(key, rasterio.open(Path(href), driver="GTiff", **level))
        setattr(_kept, slot, kept)
    kept.windows += 1
    return kept


def _let_go(slot: str) -> None:
    kept: _Kept | None = getattr(_kept, slot, None)
    setattr(_kept, slot, None)
    if kept is not None:
        kept.dataset.close()
        _kept.windows = getattr(_kept, "windows", 0) + kept.windows
        if _give_back is not None and _kept.windows >= _WINDOWS_A_TRIM:
            _kept.windows = 0
            _give_back(0)


def _malloc_trim() -> Callable[[int], object] | None:
    """Return glibc's way to give free memory back; None with another C library.

    It keeps what GDAL frees, in pieces, for each thread: without this the peak of memory grows with the area.
    """
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return None
    return trim


_give_back = _malloc_trim()
