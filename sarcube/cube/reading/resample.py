"""A file's pixels onto a block of the cube's grid: nearest, bilinear or average, in power, holes left out.

Each method is three functions: where the block lies in the file, which part of the file that needs, and the block made
of it. The sums run in one fixed order, pixel by pixel, so that the blocks a cube is cut into cannot change a bit.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from sarcube.acquisition.scenes import Grid
from sarcube.cube.holes import Floats, Hole, hole_value
from sarcube.cube.reading.place import (
    PIXEL_TOLERANCE,
    Block,
    Floats64,
    Indices,
    Mask,
    Place,
    are_parallel,
    edges_of,
    nearest_pixels,
    place_of,
)
from sarcube.cube.reading.validity import Bits, blank

_Shape = tuple[int, int]

_HALF = 0.5 - 1e-9  # of an area; floating point may take a little from it
_POINTS = 2  # across projections an average takes this many points per pixel of the file along each side
_LEAST_POINTS = 4  # and at least this many per pixel of the cube
_OUTSIDE = int(hole_value(Hole.OUTSIDE).view(np.uint32))
_INFINITY = 0x7F800000
_MAGNITUDE = 0x7FFFFFFF


class Method(NamedTuple):
    """A way to bring a file's pixels onto a block."""

    place: Callable[[Grid, Grid, Block], Place]
    needed: Callable[[Place, _Shape], Block | None]  # the file's shape -> a part of the file; None: it has no pixel
    make: Callable[[Floats, Block, Place, _Shape], Floats]  # that part, masked; which it is; the file's shape


def nearest(native: Floats, part: Block, place: Place, file_shape: _Shape) -> Floats:
    """Give each pixel the value of the file's pixel that holds its centre.

    Parameters
    ----------
    native : (y, x) float32 array
        The part of the file that is needed, holes marked; C-contiguous.
    part : Block
        Which part.
    place : Place
        Where the block lies in the file.
    file_shape : (int, int)
        Rows and columns of the file.

    Returns
    -------
    (y, x) float32 array
        OUTSIDE where no pixel of the file holds the centre. It may be `native` itself.
    """
    rows, columns = nearest_pixels(place)
    in_rows, in_columns = _inside(rows, file_shape[0]), _inside(columns, file_shape[1])
    if not place.is_parallel:
        inside = in_rows & in_columns
        values = blank(rows.shape, Hole.OUTSIDE)
        values[inside] = native[rows[inside].astype(np.int64) - part.y0, columns[inside].astype(np.int64) - part.x0]
        return values
    from_rows = rows[in_rows].astype(np.int64) - part.y0
    from_columns = columns[in_columns].astype(np.int64) - part.x0
    if not _is_run(from_rows) or not _is_run(from_columns):
        native = native[np.ix_(from_rows, from_columns)]
    shape = rows.size, columns.size
    if native.shape == shape:
        return native
    values = blank(shape, Hole.OUTSIDE)
    row, column = int(np.argmax(in_rows)), int(np.argmax(in_columns))
    values[row : row + native.shape[0], column : column + native.shape[1]] = native
    return values


def bilinear(native: Floats, part: Block, place: Place, file_shape: _Shape) -> Floats:
    """Give each pixel the mean of the valid ones of the four pixels around its centre, weighted by nearness.

    Where the pixel that holds the centre is a hole the result is the same hole. Parameters as of `nearest`.
    """
    rows, columns = place.rows, place.columns
    if place.is_parallel:
        rows, columns = rows[:, np.newaxis], columns[np.newaxis]
    values = np.empty((rows.shape[0], columns.shape[1]), np.float32)
    _bilinear(native, native.view(np.uint32), part.y0, part.x0, rows, columns, file_shape, values, _bits(values))
    return values


def average(native: Floats, part: Block, place: Place, file_shape: _Shape) -> Floats:
    """Give each pixel the mean of the valid pixels in its area.

    On parallel grids each pixel of the file counts by the area it shares, which is exact; across projections by how
    many points it holds of a fixed number, evenly spread. A pixel that is not valid on half of its area or more is a
    hole: the one at its centre or, where that is valid, the first, row by row. Parameters as of `nearest`, but the
    place as of `_area_of`.
    """
    inner = 1 if place.is_parallel else 2
    values = np.empty((place.rows.shape[0] - inner, place.columns.shape[-1] - inner), np.float32)
    arrays = native, native.view(np.uint32), part.y0, part.x0, place.rows, place.columns
    if place.is_parallel:
        _average_areas(*arrays, file_shape, values, _bits(values))
    else:
        _average_points(*arrays, place.points, file_shape, values, _bits(values))
    return values


def _around_centres(place: Place, file_shape: _Shape) -> Block | None:
    rows, columns = nearest_pixels(place)
    return _touched(rows, rows + 1, columns, columns + 1, file_shape)


def _around_four(place: Place, file_shape: _Shape) -> Block | None:
    held = _around_centres(place, file_shape)
    if held is None:
        return None
    (rows, columns) = file_shape
    return Block(max(held.y0 - 1, 0), min(held.y1 + 1, rows), max(held.x0 - 1, 0), min(held.x1 + 1, columns))


def _area_of(source: Grid, target: Grid, block: Block) -> Place:
    """Return the edges between a block's pixels in a parallel file; else their centres, with those one pixel around.

    How a pixel lies in a file of another projection is seen from its neighbours.
    """
    if are_parallel(source, target):
        return Place(*edges_of(source, target, block))
    place = place_of(source, target, Block(block.y0 - 1, block.y1 + 1, block.x0 - 1, block.x1 + 1))
    ratio = target.transform[0] / math.sqrt(abs(source.transform[0] * source.transform[4]))
    return Place(place.rows, place.columns, points=max(_LEAST_POINTS, math.ceil(_POINTS * ratio)))


def _around_areas(place: Place, file_shape: _Shape) -> Block | None:
    if place.is_parallel:
        rows, columns = place.rows, place.columns
        return _touched(
            np.minimum(rows[:-1], rows[1:]),
            np.maximum(rows[:-1], rows[1:]),
            np.minimum(columns[:-1], columns[1:]),
            np.maximum(columns[:-1], columns[1:]),
            file_shape,
        )
    with np.errstate(invalid="ignore"):  # infinite where the projection does not reach
        (row, row_half), (column, column_half) = _extent(place.rows), _extent(place.columns)
        return _touched(row - row_half, row + row_half, column - column_half, column + column_half, file_shape)


def _extent(positions: Floats64) -> tuple[Floats64, Floats64]:
    """Return the positions (y, x) inside a ring of neighbours, and half of what a pixel there spans."""
    down = np.abs(positions[2:, 1:-1] - positions[:-2, 1:-1]) / 2
    across = np.abs(positions[1:-1, 2:] - positions[1:-1, :-2]) / 2
    return positions[1:-1, 1:-1], (down + across) / 2


def _touched(top: Floats64, bottom: Floats64, left: Floats64, right: Floats64, file_shape: _Shape) -> Block | None:
    """Return the part of a file between the outermost edges; 1-D edges are those of rows and of columns."""
    in_rows, in_columns = (bottom > 0) & (top < file_shape[0]), (right > 0) & (left < file_shape[1])
    if top.ndim == 2:
        in_rows = in_columns = in_rows & in_columns
    if not in_rows.any() or not in_columns.any():
        return None
    (y0, y1), (x0, x1) = (
        (max(math.floor(low[held].min()), 0), min(math.ceil(high[held].max()), size))
        for low, high, held, size in ((top, bottom, in_rows, file_shape[0]), (left, right, in_columns, file_shape[1]))
    )
    return Block(y0, y1, x0, x1)


def _inside(indices: Floats64, size: int) -> Mask:
    return np.asarray((indices >= 0) & (indices < size))


def _is_run(indices: Indices) -> bool:
    return bool((np.diff(indices) == 1).all())


def _bits(values: Floats) -> Bits:
    return values.view(np.uint32)


@njit(cache=True, nogil=True, inline="always")
def _is_hole(bits: np.uint32) -> bool:
    return bool((bits & np.uint32(_MAGNITUDE)) > np.uint32(_INFINITY))


@njit(cache=True, nogil=True)
def _bilinear(
    native: Floats,
    bits: Bits,
    y0: int,
    x0: int,
    rows: Floats64,
    columns: Floats64,
    file_shape: _Shape,
    values: Floats,
    value_bits: Bits,
) -> None:
    wide, high = rows.shape[1] > 1, columns.shape[0] > 1  # else one number serves a whole row or column
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            y, x = rows[r, c if wide else 0], columns[r if high else 0, c]
            if not (y > -1 and y < file_shape[0] and x > -1 and x < file_shape[1]):  # infinite: not inside either
                value_bits[r, c] = _OUTSIDE
                continue
            i, j = math.floor(y + PIXEL_TOLERANCE), math.floor(x + PIXEL_TOLERANCE)
            if i < 0 or j < 0 or i >= file_shape[0] or j >= file_shape[1]:
                value_bits[r, c] = _OUTSIDE
                continue
            centre = bits[i - y0, j - x0]
            if _is_hole(centre):
                value_bits[r, c] = centre
                continue
            top, left = math.floor(y - 0.5), math.floor(x - 0.5)
            total, weights = 0.0, 0.0
            for k in range(top, top + 2):
                if k < 0 or k >= file_shape[0]:
                    continue
                down = 1 - abs(y - 0.5 - k)
                for m in range(left, left + 2):
                    if m < 0 or m >= file_shape[1] or _is_hole(bits[k - y0, m - x0]):
                        continue
                    weight = down * (1 - abs(x - 0.5 - m))
                    total += weight * native[k - y0, m - x0]
                    weights += weight
            values[r, c] = total / weights


@njit(cache=True, nogil=True)
def _average_areas(
    native: Floats,
    bits: Bits,
    y0: int,
    x0: int,
    rows: Floats64,
    columns: Floats64,
    file_shape: _Shape,
    values: Floats,
    value_bits: Bits,
) -> None:
    for r in range(values.shape[0]):
        top, bottom = min(rows[r], rows[r + 1]), max(rows[r], rows[r + 1])
        i = math.floor((top + bottom) / 2 + PIXEL_TOLERANCE)
        for c in range(values.shape[1]):
            left, right = min(columns[c], columns[c + 1]), max(columns[c], columns[c + 1])
            j = math.floor((left + right) / 2 + PIXEL_TOLERANCE)
            total, weights = 0.0, 0.0
            hole = np.uint32(_OUTSIDE)
            for k in range(max(math.floor(top), 0), min(math.ceil(bottom), file_shape[0])):
                down = min(k + 1, bottom) - max(k, top)
                for m in range(max(math.floor(left), 0), min(math.ceil(right), file_shape[1])):
                    code = bits[k - y0, m - x0]
                    if _is_hole(code):
                        hole = code if hole == _OUTSIDE else hole
                        continue
                    weight = down * (min(m + 1, right) - max(m, left))
                    total += weight * native[k - y0, m - x0]
                    weights += weight
            if weights >= _HALF * (bottom - top) * (right - left):
                values[r, c] = total / weights
            elif i < 0 or j < 0 or i >= file_shape[0] or j >= file_shape[1]:
                value_bits[r, c] = _OUTSIDE
            else:
                centre = bits[i - y0, j - x0]
                value_bits[r, c] = centre if _is_hole(centre) else hole


@njit(cache=True, nogil=True)
def _average_points(
    native: Floats,
    bits: Bits,
    y0: int,
    x0: int,
    rows: Floats64,
    columns: Floats64,
    points: int,
    file_shape: _Shape,
    values: Floats,
    value_bits: Bits,
) -> None:
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            y, x = rows[r + 1, c + 1], columns[r + 1, c + 1]
            # How far one goes in the file per pixel down and across.
            y_down, x_down = (rows[r + 2, c + 1] - rows[r, c + 1]) / 2, (columns[r + 2, c + 1] - columns[r, c + 1]) / 2
            y_over, x_over = (rows[r + 1, c + 2] - rows[r + 1, c]) / 2, (columns[r + 1, c + 2] - columns[r + 1, c]) / 2
            if not math.isfinite(y + x + y_down + x_down + y_over + x_over):
                value_bits[r, c] = _OUTSIDE
                continue
            total, count = 0.0, 0
            hole = np.uint32(_OUTSIDE)
            for p in range(points):
                down = (p + 0.5) / points - 0.5
                for q in range(points):
                    over = (q + 0.5) / points - 0.5
                    i = math.floor(y + down * y_down + over * y_over)
                    j = math.floor(x + down * x_down + over * x_over)
                    if i < 0 or j < 0 or i >= file_shape[0] or j >= file_shape[1]:
                        continue
                    code = bits[i - y0, j - x0]
                    if _is_hole(code):
                        hole = code if hole == _OUTSIDE else hole
                        continue
                    total += native[i - y0, j - x0]
                    count += 1
            i, j = math.floor(y + PIXEL_TOLERANCE), math.floor(x + PIXEL_TOLERANCE)
            if count >= _HALF * points * points:
                values[r, c] = total / count
            elif i < 0 or j < 0 or i >= file_shape[0] or j >= file_shape[1]:
                value_bits[r, c] = _OUTSIDE
            else:
                centre = bits[i - y0, j - x0]
                value_bits[r, c] = centre if _is_hole(centre) else hole


METHODS = {
    "nearest": Method(place_of, _around_centres, nearest),
    "bilinear": Method(place_of, _around_four, bilinear),
    "average": Method(_area_of, _around_areas, average),
}
