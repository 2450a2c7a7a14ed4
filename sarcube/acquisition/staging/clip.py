"""The part of a raster that an area needs, as a COG of its own: whole blocks, pixels bit for bit the source's."""

import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio import shutil as raster_shutil
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises; it has no public name
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from sarcube.acquisition.files.borrowing import small_tile_cache
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.files.headers import open_geotiff, read_grid, read_window, spans_of, version_of
from sarcube.acquisition.files.ranges import Version
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import Grid
from sarcube.acquisition.staging.area import Bounds, Span, clipped, window_of
from sarcube.acquisition.staging.pieces import Pieces, make_folder, sync_file, sync_folder
from sarcube.errors import ReadError, SarcubeError, StoreError

MARGIN = 64  # pixels: a border's fringe is decided within 39, and resampling takes a few more
WORK = "work"  # folder of what is being written, below the pieces

Tell = Callable[[int], object]

_TILE = 512
_COG = {"compress": "deflate", "level": 1, "predictor": "yes", "blocksize": _TILE}
# No side files; and overviews made in pieces that fit into the cache.
_GDAL = {"GDAL_PAM_ENABLED": "NO", "GDAL_OVR_CHUNK_MAX_SIZE": 16_000_000}
_READ = 1 << 20  # pixels read at once: 4 MiB, and as much again for each step of their decoding
_PARALLEL = 4  # requests for one file
_OVERVIEWS = 4 / 3  # of the pixels: what all overviews together add


@dataclass(frozen=True)
class Clip:
    """What is to be staged of one raster.

    `window` is rows and columns [first, after the last) of the source; `grid` is the whole source's. `version` is
    None for a local file. `nbytes` are still to be fetched (0 for a local file), `kept` are on disk already; `room` is
    about what the disk must hold meanwhile, beside the pieces.
    """

    href: str
    owner: str
    target: Path
    window: tuple[Span, Span]
    grid: Grid
    version: Version | None
    nbytes: int
    kept: int
    room: int


def plan_clip(
    href: str, target: Path, *, owner: str, bbox: Bounds, margin: int = MARGIN, pieces: Pieces
) -> Clip | None:
    """Read the header of a raster and find out what is to be fetched.

    Parameters
    ----------
    href : str
        http(s) URL or absolute local path of a GeoTIFF with one band.
    target : Path
        Where the COG is to be.
    owner : str
        Whose file it is, for error messages.
    bbox : (west, south, east, north)
        In degrees; west greater than east crosses the antimeridian.
    margin : int
        Pixels around the area.
    pieces : Pieces
        Where fetched bytes are kept.

    Returns
    -------
    Clip or None
        None if no pixel of the file is in the area.

    Raises
    ------
    ReadError
        If the header cannot be read, or there are several bands.
    """
    with _opened(href, owner, pieces) as dataset:
        grid, version = read_grid(dataset, owner=owner), version_of(dataset)
        if dataset.count != 1:
            raise ReadError(f"a file of {owner} has {dataset.count} bands; expected one, a polarisation or heights")
        window = window_of(grid, bbox, margin=margin, block=dataset.block_shapes[0])
        if window is None:
            return None
        pixels = np.prod([after - first for first, after in window], dtype=float)
        raw = round(pixels * np.dtype(dataset.dtypes[0]).itemsize * _OVERVIEWS)
        spans, missing = [], []
        if version is not None:
            spans = _spans(dataset, window)
            missing = pieces.missing(href, spans, version)
    total, nbytes = (sum(stop - start for start, stop in these) for these in (spans, missing))
    return Clip(href, owner, target, window, grid, version, nbytes, total - nbytes, 2 * raw)


def fetch_clip(clip: Clip, *, pieces: Pieces, tell: Tell) -> None:
    """Fetch what is missing of a clip, then write it: a COG at `clip.target`, whole and on the disk.

    Parameters
    ----------
    clip : Clip
        From `plan_clip`.
    pieces : Pieces
        The same as there; those of this clip are kept.
    tell : callable
        Called with the number of bytes that came, from several threads. What it raises stops the rest.

    Raises
    ------
    ReadError
        If a byte cannot be had or is damaged; "stale" if the source was replaced since it was planned.
    StoreError
        If the disk is full, or cannot be written.
    """
    with _disk(clip, pieces):
        if clip.version is not None:
            _fetch(clip, clip.version, pieces, tell)
        make_folder(pieces.home / WORK)
        make_folder(clip.target.parent)
        with tempfile.TemporaryDirectory(dir=pieces.home / WORK) as folder:
            file = Path(folder) / clip.target.name
            _write(clip, file, pieces)
            sync_file(file)
            file.replace(clip.target)
        sync_folder(clip.target.parent)


@contextmanager
def _disk(clip: Clip, pieces: Pieces) -> Iterator[None]:
    """Make what fails while something is written a `StoreError`; what was wrong with the source stays a `ReadError`."""
    try:
        yield
    except SarcubeError:
        raise
    except (OSError, RasterioError, CPLE_BaseError) as error:
        free = shutil.disk_usage(pieces.home.parent).free / 1e6
        raise StoreError(
            f'cannot write "{clip.target}": {error}; {free:.0f} MB of the disk are free; what is there is kept, and '
            "staging again goes on from it"
        ) from error


@contextmanager
def _opened(href: str, owner: str, pieces: Pieces) -> Iterator[DatasetReader]:
    """Open a raster whose bytes come through pieces; a header that is none is not kept."""
    with ExitStack() as stack:
        try:
            dataset = stack.enter_context(open_geotiff(href, owner=owner, fetch=pieces.fetch))
        except ReadError as error:
            if is_url(href) and error.kind == "damaged":
                pieces.drop(href)
            raise
        yield dataset


def _parts(window: tuple[Span, Span], block: tuple[int, int]) -> Iterator[Window]:
    """Cut a window that begins with a block into parts of whole blocks, small enough to be in memory."""
    (top, bottom), (left, right) = window
    rows, columns = block
    across = min(max(_READ // (rows * columns), 1) * columns, -(-(right - left) // columns) * columns)
    down = max(_READ // (rows * across), 1) * rows
    for y in range(top, bottom, down):
        for x in range(left, right, across):
            yield Window(x, y, min(across, right - x), min(down, bottom - y))


def _spans(dataset: DatasetReader, window: tuple[Span, Span]) -> list[tuple[int, int]]:
    return [span for part in _parts(window, dataset.block_shapes[0]) for span in spans_of(dataset, part)]


def _fetch(clip: Clip, version: Version, pieces: Pieces, tell: Tell) -> None:
    """Bring all pieces of a clip to the disk, a few at a time."""
    with _opened(clip.href, clip.owner, pieces) as dataset:
        if version_of(dataset) != version:
            raise ReadError(
                f"{show_url(clip.href)} of {clip.owner} was replaced since its header was read; stage it again",
                kind="stale",
            )
        missing = pieces.missing(clip.href, _spans(dataset, clip.window), version)

    def one(span: tuple[int, int]) -> None:
        pieces.fetch(clip.href, *span, owner=clip.owner, version=version)
        tell(span[1] - span[0])

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="sarcube-staging") as pool:
        waiting = [pool.submit(one, span) for span in missing]
        try:
            for future in waiting:
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _write(clip: Clip, file: Path, pieces: Pieces) -> None:
    """Write the COG, and read it again: on a full disk GDAL may only log that it could not write."""
    # The COG driver copies whole files only: pixels go to a plain file first.
    plain = file.with_name("plain.tif")
    with small_tile_cache(), rasterio.Env(**_GDAL):
        sums = _copy(clip, plain, pieces)
        with rasterio.open(plain) as dataset:
            resampling = "average" if np.issubdtype(dataset.dtypes[0], np.floating) else "nearest"
        raster_shutil.copy(plain, file, driver="COG", overview_resampling=resampling, **_COG)
        plain.unlink()
        lost = sum(_sum(file, part) != check for part, check in sums)
    if lost:
        raise StoreError(f'{lost} of {len(sums)} parts did not arrive in "{clip.target}"; is the disk full?')


def _copy(clip: Clip, plain: Path, pieces: Pieces) -> list[tuple[Window, int]]:
    """Copy the pixels, with all that the file says of them; return the parts and what their checksums are."""
    (top, bottom), (left, right) = clip.window
    sums = []
    with ExitStack() as stack:
        source = stack.enter_context(_opened(clip.href, clip.owner, pieces))
        with _disk(clip, pieces):
            target = stack.enter_context(
                rasterio.open(
                    plain,
                    "w",
                    driver="GTiff",
                    height=bottom - top,
                    width=right - left,
                    count=1,
                    dtype=source.dtypes[0],
                    crs=source.crs,
                    transform=Affine(*clipped(clip.grid, *clip.window).transform),
                    nodata=source.nodata,
                    tiled=True,
                    blockxsize=_TILE,
                    blockysize=_TILE,
                    bigtiff="if_safer",
                )
            )
            _describe(target, source)
        for part in _parts(clip.window, source.block_shapes[0]):
            values = _read(part, clip, pieces)
            place = Window(part.col_off - left, part.row_off - top, part.width, part.height)
            sums.append((place, zlib.crc32(values.tobytes())))
            with _disk(clip, pieces):
                target.write(values, 1, window=place)
        with _disk(clip, pieces):
            target.close()
    return sums


def _read(part: Window, clip: Clip, pieces: Pieces) -> NDArray[np.generic]:
    """Read a part of the source, opened for it alone: what GDAL decodes it keeps as long as a file is open."""
    with _opened(clip.href, clip.owner, pieces) as source:
        try:
            return read_window(source, part)
        except ReadError as error:
            if is_url(clip.href) and error.kind == "damaged":  # where it comes from: it may be mended there
                pieces.forget(clip.href, spans_of(source, part))
            raise


def _sum(file: Path, part: Window) -> int:
    with rasterio.open(file) as dataset:
        return zlib.crc32(dataset.read(1, window=part).tobytes())


def _describe(target: DatasetWriter, source: DatasetReader) -> None:
    """Say of the copy what the source says of itself, but for statistics, which are of the whole scene."""
    target.update_tags(**source.tags())
    target.update_tags(1, **{name: text for name, text in source.tags(1).items() if not name.startswith("STATISTICS_")})
    target.descriptions, target.units = source.descriptions, source.units
    target.scales, target.offsets = source.scales, source.offsets
