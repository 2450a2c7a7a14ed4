"""Read one file onto one block of a cube's grid: validity first, then the pixels.

A target pixel takes the source pixel that holds its centre. The centre is computed from the pixel's place in the whole
grid, never from its place in the block, so that the blocks a cube is cut into cannot change a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyproj
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcube.acquisition.headers import open_geotiff, read_grid
from sarcube.acquisition.scenes import Grid
from sarcube.cube.grid import same_crs
from sarcube.errors import ReadError

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Indices = NDArray[np.int64]

_PIXEL_TOLERANCE = 1e-6  # of a pixel: a centre that floating point puts this far below an edge is on it
_HEADER_TOLERANCE = 0.01  # of a pixel: how far a file's corners may be from where its item puts them


@dataclass(frozen=True)
class Source:
    """A file, the item it belongs to, and where the item says its pixels lie."""

    item: str
    href: str
    grid: Grid


@dataclass(frozen=True)
class Block:
    """A block of a grid: rows [y0, y1), columns [x0, x1)."""

    y0: int
    y1: int
    x0: int
    x1: int


def mosaic(sources: Sequence[Source], target: Grid, block: Block) -> Floats:
    """Read a block from the slices of one pass: the first valid value in the order given.

    Parameters
    ----------
    sources : sequence of Source
    target : Grid
        The whole cube's grid, north-up.
    block : Block

    Returns
    -------
    (y, x) float32 array
        Linear power; NaN where no source is valid.

    Raises
    ------
    ReadError
        If a file that is needed cannot be read, or is not what its item says.
    """
    values = np.full((block.y1 - block.y0, block.x1 - block.x0), np.nan, np.float32)
    for source in sources:
        holes = np.isnan(values)
        if not holes.any():
            break
        np.copyto(values, read_block(source, target, block), where=holes)
    return values


def read_block(source: Source, target: Grid, block: Block) -> Floats:
    """Read what one file holds of a block; see `mosaic`."""
    values = np.full((block.y1 - block.y0, block.x1 - block.x0), np.nan, np.float32)
    x = _centres(target.transform[2], target.transform[0], block.x0, block.x1)
    y = _centres(target.transform[5], target.transform[4], block.y0, block.y1)
    if same_crs(source.grid.crs, target.crs) and source.grid.transform[1] == source.grid.transform[3] == 0:
        _read_rectangle(source, x, y, values)
    else:
        _read_points(source, target.crs, x, y, values)
    return values


def _read_rectangle(source: Source, x: Floats64, y: Floats64, values: Floats) -> None:
    """Read where rows and columns of source and target are parallel: a copy, or whole rows and columns picked."""
    a, _, c, _, e, f = source.grid.transform
    columns, rows = _index(x, c, a), _index(y, f, e)
    to_columns = np.flatnonzero((columns >= 0) & (columns < source.grid.shape[1]))
    to_rows = np.flatnonzero((rows >= 0) & (rows < source.grid.shape[0]))
    if not to_columns.size or not to_rows.size:
        return
    columns, rows = columns[to_columns], rows[to_rows]
    native, row, column = _read_valid(source, rows, columns)
    # A view: what is written to it is written to the values.
    part = values[to_rows[0] : to_rows[-1] + 1, to_columns[0] : to_columns[-1] + 1]
    if (np.diff(rows) == 1).all() and (np.diff(columns) == 1).all():
        part[:] = native  # the grids agree
    else:
        part[:] = native[np.ix_(rows - row, columns - column)]


def _read_points(source: Source, crs: str, x: Floats64, y: Floats64, values: Floats) -> None:
    """Read across two projections: every pixel centre is transformed, none is interpolated."""
    to_source = pyproj.Transformer.from_crs(crs, source.grid.crs, always_xy=True)
    source_x, source_y = to_source.transform(*np.meshgrid(x, y))
    inverse = ~Affine(*source.grid.transform)
    columns = np.floor(inverse.a * source_x + inverse.b * source_y + inverse.c + _PIXEL_TOLERANCE)
    rows = np.floor(inverse.d * source_x + inverse.e * source_y + inverse.f + _PIXEL_TOLERANCE)
    # A centre that cannot be transformed is infinite, so outside.
    inside = (rows >= 0) & (rows < source.grid.shape[0]) & (columns >= 0) & (columns < source.grid.shape[1])
    if not inside.any():
        return
    inside_rows, inside_columns = rows[inside].astype(np.int64), columns[inside].astype(np.int64)
    native, row, column = _read_valid(source, inside_rows, inside_columns)
    values[inside] = native[inside_rows - row, inside_columns - column]


def _read_valid(source: Source, rows: Indices, columns: Indices) -> tuple[Floats, int, int]:
    """Read the window around pixels, at native resolution; NaN where not valid. Also its first row and column."""
    row, column = int(rows.min()), int(columns.min())
    window = Window(column, row, int(columns.max()) + 1 - column, int(rows.max()) + 1 - row)
    with open_geotiff(source.href, owner=f'item "{source.item}"') as dataset:
        _check_header(dataset, source)
        native = dataset.read(1, window=window)
        nodata = dataset.nodata
    native = native.astype(np.float32, copy=False)
    valid = (native > 0) & (native < np.inf)  # NaN compares false
    if nodata is not None and nodata > 0:
        valid &= native != np.float32(nodata)
    native[~valid] = np.nan
    return native, row, column


def _check_header(dataset: rasterio.DatasetReader, source: Source) -> None:
    found, said = read_grid(dataset, owner=f'item "{source.item}"'), source.grid
    if found.shape != said.shape or not same_crs(found.crs, said.crs) or _distance(found, said) > _HEADER_TOLERANCE:
        raise ReadError(
            f'{source.href} is not where its item "{source.item}" puts it: the item says {_describe(said)}, the file '
            f"{_describe(found)}; the file was replaced or the item is stale: fetch both again"
        )
    if dataset.count != 1 or not np.issubdtype(dataset.dtypes[0], np.floating):
        raise ReadError(
            f'{source.href} of item "{source.item}" has {dataset.count} bands of {dataset.dtypes[0]}; expected '
            "one band of floating point numbers, gamma0 in linear power"
        )


def _distance(a: Grid, b: Grid) -> float:
    """Return how far two grids are apart at their corners, in pixels of the second."""
    ta, tb = Affine(*a.transform), Affine(*b.transform)
    rows, columns = b.shape
    corners = np.array([(0, 0, 1), (columns, 0, 1), (0, rows, 1), (columns, rows, 1)]).T
    matrix = np.array(~tb @ ta).reshape(3, 3)
    return float(np.abs(matrix @ corners - corners).max())


def _describe(grid: Grid) -> str:
    a, _, c, _, e, f = grid.transform
    crs = grid.crs if len(grid.crs) < 20 else "another CRS"
    return f"{grid.shape[0]} x {grid.shape[1]} pixels of {a:g} x {abs(e):g} from ({c:.10g}, {f:.10g}) in {crs}"


def _centres(origin: float, step: float, first: int, last: int) -> Floats64:
    return np.asarray(origin + step * (np.arange(first, last, dtype=np.float64) + 0.5))


def _index(centres: Floats64, origin: float, step: float) -> Indices:
    return np.floor((centres - origin) / step + _PIXEL_TOLERANCE).astype(np.int64)
