"""Where the pixels of a block of the cube lie in a file: a scene, a layer, a DEM.

A pixel's centre is computed from its place in the whole grid, never from its place in the block, so that the blocks a
cube is cut into cannot change a value.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from sarcube.acquisition.scenes import Grid
from sarcube.cube.grid import same_crs

Floats64 = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

PIXEL_TOLERANCE = 1e-6  # of a pixel: a centre that floating point puts this far below an edge is on it
_OUTLINE = 65  # points along a side of a grid: straight sides bend when they are projected
_AGREEMENT = 1e-3  # of a pixel: grids, or edges, that are nowhere farther apart are one; a centimetre at 10 m


@dataclass(frozen=True)
class Block:
    """A block of a grid: rows [y0, y1), columns [x0, x1)."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0


def halves(block: Block) -> tuple[Block, Block] | None:
    """Cut a block in two across its longer side; None if it is a single pixel."""
    rows, columns = block.shape
    if rows == columns == 1:
        return None
    if rows >= columns:
        middle = block.y0 + rows // 2
        return Block(block.y0, middle, block.x0, block.x1), Block(middle, block.y1, block.x0, block.x1)
    middle = block.x0 + columns // 2
    return Block(block.y0, block.y1, block.x0, middle), Block(block.y0, block.y1, middle, block.x1)


@dataclass(frozen=True)
class Place:
    """Centres of a block's pixels, in a file's pixels: the one in row i, column j covers [i, i + 1) and [j, j + 1).

    Where both grids are parallel `rows` is (y,) and `columns` (x,), else both are (y, x), infinite where the file's
    projection does not reach.
    """

    rows: Floats64
    columns: Floats64
    points: int = 1  # to take of a pixel along each side, for an average across projections

    @property
    def is_parallel(self) -> bool:
        """Whether rows and columns of both grids are parallel."""
        return self.rows.ndim == 1

    @property
    def each(self) -> tuple[Floats64, Floats64]:
        """Row and column of every pixel, (y, x) both."""
        if not self.is_parallel:
            return self.rows, self.columns
        rows, columns = np.broadcast_arrays(self.rows[:, np.newaxis], self.columns)
        return rows, columns


def are_parallel(source: Grid, target: Grid) -> bool:
    """Return whether rows and columns of a file are those of the cube's (north-up) grid in direction."""
    return same_crs(source.crs, target.crs) and source.transform[1] == source.transform[3] == 0


@lru_cache(maxsize=4096)
def agree(source: Grid, target: Grid) -> bool:
    """Return whether two grids put their pixels in the same places; decided for whole grids, never for a block."""
    if not are_parallel(source, target):
        return False
    edges = Block(0, target.shape[0], 0, target.shape[1])
    rows, columns = (np.array([part[0], part[-1]]) for part in _edges(source, target, edges))
    spans = (rows[1] - rows[0], columns[1] - columns[0])
    return all(np.abs(part - np.round(part)).max() < _AGREEMENT for part in (rows, columns)) and all(
        round(span) == size for span, size in zip(spans, target.shape, strict=True)
    )


def place_of(source: Grid, target: Grid, block: Block) -> Place:
    """Return where the centres of a block's pixels lie in a file; across projections every one is transformed."""
    rows, columns = (
        np.arange(first, last, dtype=np.float64) + 0.5 for first, last in ((block.y0, block.y1), (block.x0, block.x1))
    )
    return place_points(source, target, rows, columns)


def place_points(source: Grid, target: Grid, rows: Floats64, columns: Floats64) -> Place:
    """Return where points of a north-up grid lie in a file: rows (y,) and columns (x,) in pixels from its edge."""
    a, _, c, _, e, f = target.transform
    x, y = c + a * columns, f + e * rows
    parallel = are_parallel(source, target)
    if not parallel:
        to_source = pyproj.Transformer.from_crs(target.crs, source.crs, always_xy=True)
        x, y = to_source.transform(*np.meshgrid(x, y))
    with np.errstate(invalid="ignore"):  # a centre that cannot be transformed is infinite
        if _is_in_degrees(source.crs):  # a file across the antimeridian counts on beyond 180
            middle, _ = Affine(*source.transform) * (source.shape[1] / 2, source.shape[0] / 2)
            x = x + 360 * np.round((middle - x) / 360)
        if parallel:
            a, _, c, _, e, f = source.transform
            return Place((y - f) / e, (x - c) / a)
        inverse = ~Affine(*source.transform)
        return Place(inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c)


def place_outline(source: Grid, target: Grid) -> tuple[Floats64, Floats64]:
    """Return rows and columns (n,) in a file of points along the sides of a grid, infinite where it does not reach."""
    sides = np.linspace(0, 1, _OUTLINE)
    rows, columns = sides * target.shape[0], sides * target.shape[1]
    ends = slice(None, None, _OUTLINE - 1)
    upright, level = (
        place_points(source, target, *points).each for points in ((rows, columns[ends]), (rows[ends], columns))
    )
    at_rows, at_columns = (np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(upright, level, strict=True))
    return at_rows, at_columns


def overlap(source: Grid, target: Grid) -> tuple[bool, bool]:
    """Return whether a file holds any of a grid, and whether it holds all of it."""
    places = list(zip(place_outline(source, target), source.shape, strict=True))
    known = np.isfinite(places[0][0]) & np.isfinite(places[1][0])
    touches = known.any() and all(at[known].min() < size and at[known].max() > 0 for at, size in places)
    holds = all(((at > -_AGREEMENT) & (at < size + _AGREEMENT)).all() for at, size in places)
    return bool(touches), bool(holds)


def edges_of(source: Grid, target: Grid, block: Block) -> tuple[Floats64, Floats64]:
    """Return the edges between the rows (y + 1,) and columns (x + 1,) of a block in pixels of a parallel file."""
    rows, columns = _edges(source, target, block)
    return _on_lines(rows), _on_lines(columns)


def nearest_pixels(place: Place) -> tuple[Floats64, Floats64]:
    """Return row and column of the pixels that hold the centres, as floats: infinite stays infinite."""
    return np.floor(place.rows + PIXEL_TOLERANCE), np.floor(place.columns + PIXEL_TOLERANCE)


def covered(source: Grid, target: Grid, block: Block) -> Mask:
    """Return which pixels (y, x) of a block have their centre in a file."""
    rows, columns = nearest_pixels(place := place_of(source, target, block))
    in_rows = (rows >= 0) & (rows < source.shape[0])
    in_columns = (columns >= 0) & (columns < source.shape[1])
    return in_rows[:, np.newaxis] & in_columns if place.is_parallel else in_rows & in_columns


def _edges(source: Grid, target: Grid, block: Block) -> tuple[Floats64, Floats64]:
    a, _, c, _, e, f = target.transform
    x = c + a * np.arange(block.x0, block.x1 + 1, dtype=np.float64)
    y = f + e * np.arange(block.y0, block.y1 + 1, dtype=np.float64)
    a, _, c, _, e, f = source.transform
    return (y - f) / e, (x - c) / a


@lru_cache(maxsize=64)
def _is_in_degrees(crs: str) -> bool:
    return bool(pyproj.CRS.from_user_input(crs).is_geographic)


def _on_lines(edges: Floats64) -> Floats64:
    """Put edges that floating point keeps off a line between two pixels onto it."""
    lines = np.round(edges)
    return np.where(np.abs(edges - lines) < PIXEL_TOLERANCE, lines, edges)
