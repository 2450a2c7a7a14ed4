"""Open a GeoTIFF, and nothing else, read its pixels and where they lie.

A local file is GDAL's. Of a file on a web server GDAL sees only bytes in memory: the header and the tiles are fetched
by `ranges`, and what did not come is an error before GDAL could take it for a zero.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from sarcube.acquisition.files.ranges import Version, fetch, fetch_all, show_url
from sarcube.acquisition.files.tiff import (
    BrokenTiffError,
    Level,
    Skeleton,
    checked_tile,
    read_skeleton,
    tiles_of,
    with_tiles,
)
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import Grid
from sarcube.acquisition.signing import unsigned
from sarcube.errors import ReadError

# Neither side files nor directory listings are looked for: a file is what its item says.
GDAL_SETTINGS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

_HEADER = 1 << 16  # bytes fetched at first: the header of a COG of 30 000 x 20 000 pixels
_GAP = 1 << 17  # bytes: two tiles nearer than this come in one request, which costs less than a second one
_SPAN = 1 << 22  # bytes: a longer request is split, so that parts come side by side and little is fetched twice
_MOST_TILE = 1 << 28  # bytes of a tile; what has larger ones is no COG
_MOST_FETCHED = 1 << 26  # bytes fetched for one header
_MOST_HEADERS = 1 << 26  # bytes of headers that are kept


class Fetch(Protocol):
    """Brings bytes [start, stop) of a URL, as `ranges.fetch` does."""

    def __call__(  # noqa: D102  said above
        self, url: str, start: int, stop: int, *, owner: str, version: Version | None = None
    ) -> tuple[bytes, Version]: ...


@dataclass(frozen=True)
class _Remote:
    """A file on a web server, as far as its header."""

    url: str
    version: Version
    skeleton: Skeleton


@dataclass(frozen=True)
class _Opened:
    remote: _Remote
    owner: str
    overview: int | None
    fetch: Fetch | None


_opened: WeakKeyDictionary[rasterio.DatasetReader, _Opened] = WeakKeyDictionary()
_headers: dict[str, _Remote] = {}  # the least recently used first
_lock = threading.Lock()


@contextmanager
def open_geotiff(
    href: str, *, owner: str, overview: int | None = None, fetch: Fetch | None = None
) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF for reading; what fails while it is open is an error that names it.

    Parameters
    ----------
    href : str
        Local path or http(s) URL. Of a URL only the header is fetched, once, however often it is opened; pixels come
        with `read_window` alone, `dataset.read` fails.
    owner : str
        Whose file it is, for the error message.
    overview : int, optional
        Open this overview instead of the full image; 0 is the largest.
    fetch : callable, optional
        What brings the bytes of a URL, header and tiles, instead of `ranges.fetch`; then no header is kept here.

    Raises
    ------
    ReadError
        If it cannot be read, or is no GeoTIFF; its `kind` says why. "stale" is a URL whose content was replaced since
        its header was fetched; the next opening takes the new one.
    """
    level = {} if overview is None else {"overview_level": overview}
    with named_errors(href, owner), ExitStack() as stack:
        stack.enter_context(rasterio.Env(**GDAL_SETTINGS))
        # One driver, so that a file cannot make GDAL open others, as a VRT does.
        if is_url(href):
            remote = _remote(href, owner=owner) if fetch is None else _fetch_header(href, owner=owner, fetch=fetch)
            memory = stack.enter_context(MemoryFile(remote.skeleton.head))
            dataset = stack.enter_context(memory.open(driver="GTiff", **level))
            _opened[dataset] = _Opened(remote, owner, overview, fetch)
        else:  # a path as Path is never taken for a URL
            dataset = stack.enter_context(rasterio.open(Path(href), driver="GTiff", **level))
        yield dataset


@contextmanager
def named_errors(href: str, owner: str) -> Iterator[None]:
    """Make what fails while a file is open a `ReadError` that names the file and its owner."""
    try:
        yield
    except (CRSError, RasterioError) as error:
        # Of a failed read GDAL's own sentence is the cause.
        shown, kind = (show_url(href), "damaged") if is_url(href) else (href, _kind_of_local(href))
        raise ReadError(f"cannot read {shown} of {owner}: {error.__cause__ or error}", kind=kind) from error
    except ReadError as error:
        if error.kind == "stale":
            with _lock:
                _headers.pop(unsigned(href), None)
        raise


def read_window(dataset: rasterio.DatasetReader, window: Window, *, band: int = 1) -> NDArray[np.generic]:
    """Read a (row, column) window of a band, counted from 1, of a file that `open_geotiff` opened.

    Of a URL just the tiles that the window touches are fetched. A tile that the file does not have (sparse) is its
    nodata value, or zero, as GDAL has it: neither is a valid power. Where tiles are deflated their checksums are
    verified; other compressions have none.

    Raises
    ------
    ReadError
        If a byte of a tile cannot be had, or is damaged; nothing is returned then.
    """
    opened = _opened.get(dataset)
    if opened is None:
        local: NDArray[np.generic] = dataset.read(band, window=window)
        return local
    level = _level(opened.remote.skeleton, dataset.shape)
    source = with_tiles(opened.remote.skeleton, level, _fetch_tiles(opened, level, window, band))
    options = {} if opened.overview is None else {"overview_level": opened.overview}
    with MemoryFile(source) as memory, memory.open(driver="GTiff", **options) as tiles:
        values: NDArray[np.generic] = tiles.read(band, window=window)
    return values


def read_grid(dataset: rasterio.DatasetReader, *, owner: str) -> Grid:
    """Return where the pixels of an open file lie.

    Raises
    ------
    ReadError
        If the file has no CRS.
    """
    if dataset.crs is None:
        opened = _opened.get(dataset)
        name = show_url(opened.remote.url) if opened else dataset.name
        raise ReadError(f"{name} of {owner} has no georeference; expected an RTC GeoTIFF on a map grid")
    a, b, c, d, e, f = (float(value) for value in dataset.transform[:6])
    return Grid(crs_name(dataset.crs.to_wkt()), (a, b, c, d, e, f), (dataset.height, dataset.width))


@lru_cache(maxsize=64)
def crs_name(crs: str | int) -> str:
    """Return the EPSG code of a CRS ("EPSG:32647"), or its WKT where it has none."""
    parsed = pyproj.CRS.from_user_input(crs)
    code = parsed.to_epsg()
    return f"EPSG:{code}" if code else str(parsed.to_wkt())


def version_of(dataset: rasterio.DatasetReader) -> Version | None:
    """Return which content of a URL an open file is; None for a local file."""
    opened = _opened.get(dataset)
    return None if opened is None else opened.remote.version


def spans_of(dataset: rasterio.DatasetReader, window: Window, *, band: int = 1) -> list[tuple[int, int]]:
    """Return which bytes [start, stop) `read_window` fetches for a window of an open URL, as it asks for them.

    Raises
    ------
    ReadError
        If the tiles are too large.
    """
    opened = _opened[dataset]
    level = _level(opened.remote.skeleton, dataset.shape)
    return _spans(_places(opened, level, window, band).values())


def _kind_of_local(path: str) -> str:
    """Return why a local file could not be read: GDAL says it in words only."""
    try:
        with Path(path).open("rb"):
            return "damaged"
    except FileNotFoundError:
        return "not_found"
    except PermissionError:
        return "forbidden"
    except (OSError, ValueError):  # a folder, a name with a null
        return "damaged"


def _remote(url: str, *, owner: str) -> _Remote:
    """Return the header of a URL, fetched or kept; it is kept without a signature, and read with the one of now."""
    key = unsigned(url)
    with _lock:
        if key in _headers:
            _headers[key] = _headers.pop(key)  # now the most recently used
            return replace(_headers[key], url=url)
    remote = _fetch_header(url, owner=owner, fetch=fetch)
    with _lock:
        _headers[key] = replace(remote, url=key)
        room = _MOST_HEADERS - sum(kept.skeleton.nbytes for kept in _headers.values())
        for oldest in list(_headers)[:-1]:
            if room >= 0:
                break
            room += _headers.pop(oldest).skeleton.nbytes
    return remote


def _fetch_header(url: str, *, owner: str, fetch: Fetch) -> _Remote:
    start, version = fetch(url, 0, _HEADER, owner=owner)
    pieces = [(0, start)]

    def read(first: int, after: int) -> bytes:
        for place, body in pieces:
            if place <= first and after <= place + len(body):
                return body[first - place : after - place]
        if after > version.size:
            raise BrokenTiffError(f"ends at byte {version.size}, before its header does (byte {after})")
        if sum(len(body) for _, body in pieces) > _MOST_FETCHED:
            raise BrokenTiffError("has a header of more than 64 MiB")
        # A directory is followed by its values, most often.
        body, _ = fetch(url, first, min(max(after, first + _HEADER), version.size), owner=owner, version=version)
        pieces.append((first, body))
        return body[: after - first]

    try:
        return _Remote(url, version, read_skeleton(read))
    except BrokenTiffError as error:
        raise ReadError(f"cannot read {show_url(url)} of {owner}: it {error}", kind="damaged") from None


def _level(skeleton: Skeleton, shape: tuple[int, int]) -> Level:
    return next(level for level in skeleton.levels if level.shape == shape and not level.mask)


def _fetch_tiles(opened: _Opened, level: Level, window: Window, band: int) -> dict[int, bytes]:
    """Fetch the tiles under a window, verified, by their numbers; those that the file does not have are left out."""
    remote, owner, own = opened.remote, opened.owner, opened.fetch
    places = _places(opened, level, window, band)
    spans = _spans(places.values())
    if own is None:
        bodies = fetch_all(remote.url, spans, owner=owner, version=remote.version)
    else:
        bodies = [own(remote.url, *span, owner=owner, version=remote.version)[0] for span in spans]
    try:
        return {number: checked_tile(level, _cut(spans, bodies, *place)) for number, place in places.items()}
    except BrokenTiffError as error:
        raise ReadError(
            f"cannot read {show_url(remote.url)} of {owner}: it {error}; fetch or publish it again", kind="damaged"
        ) from None


def _places(opened: _Opened, level: Level, window: Window, band: int) -> dict[int, tuple[int, int]]:
    """Return (first byte, length) of the tiles under a window that the file has, by their numbers."""
    rows, columns = (
        (floor(first), ceil(first + length))
        for first, length in ((window.row_off, window.height), (window.col_off, window.width))
    )
    numbers = [int(number) for number in tiles_of(level, rows, columns, band=band) if level.counts[number] > 0]
    places = {number: (int(level.offsets[number]), int(level.counts[number])) for number in numbers}
    largest = max((count for _, count in places.values()), default=0)
    # Compression makes no tile much larger; a header that says so would fill the memory.
    if level.unpacked > _MOST_TILE or largest > 2 * level.unpacked + _HEADER:
        raise ReadError(
            f"cannot read {show_url(opened.remote.url)} of {opened.owner}: its tiles of "
            f"{level.tile[0]} x {level.tile[1]} have {level.unpacked / 2**20:.1f} MiB, compressed up to "
            f"{largest / 2**20:.1f} MiB; expected {_MOST_TILE >> 20} MiB at most: make it a COG, or download it",
            kind="damaged",
        )
    return places


def _spans(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join (first byte, length) that lie near each other into (first byte, byte after the last), sorted."""
    spans: list[tuple[int, int]] = []
    for first, length in sorted(places):
        after = first + length
        if spans and first - spans[-1][1] <= _GAP and max(after, spans[-1][1]) - spans[-1][0] <= _SPAN:
            spans[-1] = spans[-1][0], max(after, spans[-1][1])
        else:
            spans.append((first, after))
    return spans


def _cut(spans: list[tuple[int, int]], bodies: list[bytes], first: int, length: int) -> bytes:
    """Take one tile out of the span that holds it."""
    for (start, after), body in zip(spans, bodies, strict=True):
        if start <= first and first + length <= after:
            return body[first - start : first - start + length]
    raise AssertionError("every tile is in a span")


def _forget_headers_lock() -> None:
    """Start with a free lock in a forked process: another thread may have held it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_headers_lock)
