"""A GeoTIFF of any grid on the grid of a cube, lazily: nearest pixel, or the mean of those under a pixel.

Every position is computed from a pixel's place in the whole grid, one pixel at a time, so that neither the chunks of a
cube nor the parts a block is read in can change a value.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from sarcube.acquisition.files.headers import open_geotiff, read_grid, read_window
from sarcube.acquisition.files.ranges import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import Grid
from sarcube.cube.geometry.ground import Chunks
from sarcube.cube.grid import bounds_in_degrees
from sarcube.cube.reading.place import Block, Place, halves, nearest_pixels, overlap, place_points
from sarcube.errors import AreaError, InputError, ReadError

Values = NDArray[Any]
Floats64 = NDArray[np.float64]

_INTEGER = 1e-6  # a ratio of pixel sizes this close to a whole number is one
# Pixels and points held at once: a coarse cube on a fine raster is read in parts.
_MOST_AT_ONCE = 2**22


@dataclass(frozen=True)
class RasterFile:
    """What the header of a GeoTIFF says; `dtype` is NumPy's name of it, the tuples are per band."""

    href: str
    owner: str
    grid: Grid
    dtype: str
    nodata: float | None
    scaled: bool
    descriptions: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.descriptions)

    @property
    def name(self) -> str:
        """Name of the file without its folder."""
        return show_path(self.href).rsplit("/", 1)[-1]

    @property
    def shown(self) -> str:
        """What messages and attributes call it."""
        return show_path(self.href)


def open_raster(path: str | Path, *, owner: str) -> RasterFile:
    """Read the header of a GeoTIFF.

    Parameters
    ----------
    path : str or Path
        Local path or http(s) URL.
    owner : str
        What the file is for, for messages: 'layer "landcover"'.

    Raises
    ------
    ReadError
        If it cannot be read, is no GeoTIFF or has no CRS.
    InputError
        If it hides pixels by a mask or alpha band, or its bands differ in type.
    """
    href = os.fspath(path)
    if not is_url(href):
        if not Path(href).is_file():
            raise ReadError(f"there is no file {href}, the {owner}: give the path of a GeoTIFF", kind="not_found")
        href = str(Path(href).resolve())
    with open_geotiff(href, owner=owner) as dataset:
        if any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums):
            raise InputError(
                f"{show_path(href)}, the {owner}, hides pixels by a mask or alpha band, which is not read; make it "
                "nodata, for example with gdalwarp -dstnodata VALUE"
            )
        if len(set(dataset.dtypes)) > 1 or len(set(map(str, dataset.nodatavals))) > 1:  # as text NaN equals NaN
            raise InputError(
                f"{show_path(href)}, the {owner}, has bands of different types ({', '.join(dataset.dtypes)}) or "
                "nodata; give a file whose bands are alike"
            )
        return RasterFile(
            href=href,
            owner=owner,
            grid=read_grid(dataset, owner=owner),
            dtype=str(np.dtype(dataset.dtypes[0])),
            nodata=dataset.nodata,
            scaled=set(dataset.scales) != {1.0} or set(dataset.offsets) != {0.0},
            descriptions=tuple(text or "" for text in dataset.descriptions),
            units=tuple(text or "" for text in dataset.units),
        )


def show_path(path: str | Path) -> str:
    """Return an absolute path, or a URL without the signature, and the dates in it, that it may carry."""
    text = os.fspath(path)
    return show_url(text).partition("?")[0] if is_url(text) else str(Path(text).absolute())


def space_coords(geobox: GeoBox) -> dict[Any, xr.DataArray]:
    """Return x, y and spatial_ref of a grid in any CRS, with names and standard names."""
    assert geobox.crs is not None
    space: dict[Any, xr.DataArray] = dict(xr_coords(geobox, dims=("y", "x")))
    names = {"x": "longitude", "y": "latitude"} if geobox.crs.geographic else {"x": "easting", "y": "northing"}
    for name, long_name in names.items():
        standard = long_name if geobox.crs.geographic else f"projection_{name}_coordinate"
        space[name].attrs |= {"long_name": long_name, "standard_name": standard}
    return space


def covers(file: RasterFile, target: Grid) -> bool:
    """Return whether a raster covers all of a grid.

    Raises
    ------
    AreaError
        If it covers none of it.
    """
    touches, holds = overlap(file.grid, target)
    if not touches:
        raise AreaError(
            f"{file.shown}, the {file.owner}, covers none of the cube: it covers {bounds_in_degrees([file.grid])}, the "
            f"cube {bounds_in_degrees([target])} (west, south, east, north in degrees)"
        )
    return holds


def lazy_raster(
    file: RasterFile,
    target: Grid,
    chunks: Chunks,
    *,
    convert: Callable[[Values], Values],
    outside: float,
    dtype: str = "float32",
    band: int = 1,
    samples: tuple[int, int] = (1, 1),
) -> da.Array:
    """Return one band of a file on a grid, lazily.

    Parameters
    ----------
    file : RasterFile
    target : Grid
        The whole grid, in any CRS.
    chunks : pair of tuples of int
        Along y and x.
    convert : function
        From the file's own pixels to values of `dtype`, element by element; a function of a module, so that it can be
        sent to other processes.
    outside : float
        Value of pixels beside the file.
    dtype : str
    band : int
        Counted from 1.
    samples : (int, int)
        Points per pixel along y and x. One takes the file's pixel at the centre (nearest); with more the value is
        the mean of those at the points that are not NaN.

    Returns
    -------
    (y, x) dask array
        A file that is not what its header was raises `ReadError` when it is read.
    """
    local = None if is_url(file.href) else Path(file.href).stat()
    identity = tokenize(file, local and (local.st_mtime_ns, local.st_size), target, convert, outside, dtype, band)
    lazy: da.Array = da.map_blocks(
        _read_block,
        file=file,
        target=target,
        convert=convert,
        outside=outside,
        out=dtype,
        band=band,
        samples=samples,
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
        name=f"raster-{identity}-{tokenize(chunks, samples)}",
    )
    return lazy


def valid_floats(native: Values, *, nodata: float | None) -> NDArray[np.float32]:
    """Return values as float32, NaN where they are nodata or infinite."""
    values = native.astype(np.float32)
    missing = ~np.isfinite(values)
    if nodata is not None:
        missing |= native == nodata
    values[missing] = np.nan
    return values


def samples_for_mean(file: RasterFile, target: Grid) -> tuple[int, int]:
    """Return how many points per pixel along y and x meet every pixel of a file, so that their mean is that of them.

    Where the pixels of the grid are whole multiples of the file's, every pixel of the file counts alike.
    """
    row, column = target.shape[0] / 2, target.shape[1] / 2
    corners = place_points(file.grid, target, np.array([row, row + 1]), np.array([column, column + 1]))
    rows, columns = corners.each
    down = math.hypot(rows[1, 0] - rows[0, 0], columns[1, 0] - columns[0, 0])
    across = math.hypot(rows[0, 1] - rows[0, 0], columns[0, 1] - columns[0, 0])
    return _points(down), _points(across)


def _points(ratio: float) -> int:
    if not math.isfinite(ratio):
        raise InputError("the raster's CRS cannot be projected onto the cube's; reproject it with gdalwarp first")
    whole = max(round(ratio), 1)
    return whole if abs(ratio - whole) < _INTEGER else math.ceil(2 * ratio)


def _read_block(
    *,
    file: RasterFile,
    target: Grid,
    convert: Callable[[Values], Values],
    outside: float,
    out: str,
    band: int,
    samples: tuple[int, int],
    block_info: Mapping[Any, Any] | None = None,
) -> Values:
    assert block_info is not None
    (y0, y1), (x0, x1) = block_info[None]["array-location"]
    values = np.full((y1 - y0, x1 - x0), outside, out)
    with open_geotiff(file.href, owner=file.owner) as dataset:
        found = read_grid(dataset, owner=file.owner)
        if found != file.grid or str(np.dtype(dataset.dtypes[0])) != file.dtype or dataset.count != file.bands:
            raise ReadError(
                f"{file.shown}, the {file.owner}, is not the file it was when it was opened: run the call again",
                kind="stale",
            )

        def read(window: Window) -> Values:
            return convert(read_window(dataset, window, band=band))

        _fill(values, Block(y0, y1, x0, x1), file.grid, target, samples, read)
    return values


def _fill(
    values: Values,
    block: Block,
    source: Grid,
    target: Grid,
    samples: tuple[int, int],
    read: Callable[[Window], Values],
) -> None:
    """Write a block's values; what the file does not cover stays as it is."""
    height, width = values.shape
    many = height * width * samples[0] * samples[1]
    if many <= _MOST_AT_ONCE or height * width == 1:
        down, across = _positions(block.y0, block.y1, samples[0]), _positions(block.x0, block.x1, samples[1])
        rows, columns = Place(*nearest_pixels(place_points(source, target, down, across))).each
        # A centre that cannot be transformed is infinite, so outside.
        inside = (rows >= 0) & (rows < source.shape[0]) & (columns >= 0) & (columns < source.shape[1])
        if not inside.any():
            return
        at_rows, at_columns = rows[inside].astype(np.int64), columns[inside].astype(np.int64)
        row, column = int(at_rows.min()), int(at_columns.min())
        window = Window(column, row, int(at_columns.max()) + 1 - column, int(at_rows.max()) + 1 - row)
        if window.width * window.height <= 4 * _MOST_AT_ONCE or height * width == 1:
            native = read(window)
            if samples == (1, 1):
                values[inside] = native[at_rows - row, at_columns - column]
                return
            points = np.full(inside.shape, np.nan)
            points[inside] = native[at_rows - row, at_columns - column]
            values[:] = _mean(points, samples, values)
            return
    for part in halves(block) or ():
        within = slice(part.y0 - block.y0, part.y1 - block.y0), slice(part.x0 - block.x0, part.x1 - block.x0)
        _fill(values[within], part, source, target, samples, read)


def _mean(points: Floats64, samples: tuple[int, int], values: Values) -> Values:
    """Mean of a pixel's points that are not NaN: (y * down, x * across) -> (y, x)."""
    down, across = samples
    parts = points.reshape(values.shape[0], down, values.shape[1], across)
    known = np.isfinite(parts)
    rows = np.where(known, parts, 0.0).sum(axis=3)
    count = known.sum(axis=(1, 3))
    # One by one: over this axis NumPy's own sum has an order that depends on the block's shape.
    total = np.zeros(values.shape)
    for number in range(down):
        total += rows[:, number]
    return np.where(count > 0, total / np.maximum(count, 1), values).astype(values.dtype)


def _positions(first: int, last: int, points: int) -> Floats64:
    """Points in the pixels [first, last), in pixels from the grid's edge: their centres, if it is one a pixel."""
    within = (np.arange(points) + 0.5) / points
    return np.asarray((np.arange(first, last)[:, None] + within).ravel(), np.float64)
