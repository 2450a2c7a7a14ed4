"""What `benchmarks.geometry` compares with: the exact mask along look lines in vectorised numpy, at its best.

Same algorithm, same lines, heights in float64, one incidence angle and azimuth for the whole grid. Only the order in a
line counts, so slant range and look angle are both divided by what stands before the height: R = x tan(incidence) - z
and p = x cot(incidence) + z order points as GEOMETRY 3's do and save two products. The grid must be free of gaps,
which saves numpy every test for them; fmax and fmin, as fast as maximum and minimum, step over what is off the grid.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Array = NDArray[Any]


@dataclass(frozen=True)
class Lines:
    """Look lines over a grid that was turned so that they run along x, from the sensor away."""

    shift: NDArray[np.intp]  # (x,) line l passes row l - span + shift[column]
    beside: NDArray[np.intp]  # (x,) the row that lies on the line's other side: +1 below, -1 above
    weight: NDArray[np.float64]  # (x,) its share in the height on the line
    slant: NDArray[np.float64]  # (x,) x tan(incidence), metres
    look: NDArray[np.float64]  # (x,) x cot(incidence), metres

    @property
    def span(self) -> int:
        """Rows that a line crosses."""
        return int(self.shift.max())


def mask_by_accumulate(
    elevation: Array, *, resolution: float, incidence: float, azimuth: float, block: int | None, threads: int
) -> Mask:
    """Layover and shadow by `np.maximum.accumulate` along sheared rows, `block` lines at a time (None: all).

    Angles in degrees; elevation (y, x) finite, rows north to south.
    """
    z, lines, back = _along_x(elevation, resolution, incidence, azimuth)
    rows, columns = z.shape
    span, count = lines.span, rows + lines.span
    flat, size = z.reshape(-1), block or count
    column, number = np.arange(columns), np.arange(size)[:, None]
    own_place = (number + lines.shift + 1) * columns + column  # of a block whose first line starts in the second row
    other_place = own_place + lines.beside * columns
    codes = np.empty((count, columns), np.uint8)  # (line, x)

    def work(first: int) -> None:
        held = [np.empty(size * columns, kind) for kind in (z.dtype, z.dtype, float, float, float, bool, bool)]
        for start in range(first * size, count, threads * size):
            stop = min(start + size, count)
            # Lines near a corner leave the grid: only the columns where one of these is on it.
            on_grid = np.flatnonzero((start - span + lines.shift < rows) & (stop - span + lines.shift > 0))
            part = slice(int(on_grid[0]), int(on_grid[-1]) + 1)
            shape = (stop - start, part.stop - part.start)
            own, other, height, order, most, layover, hit = (b[: shape[0] * shape[1]].reshape(shape) for b in held)
            top = start - span  # row that the first of these lines starts in
            if top > 0 and stop < rows:
                here = flat[(top - 1) * columns :]
                np.take(here, own_place[: shape[0], part], out=own, mode="clip")
                np.take(here, other_place[: shape[0], part], out=other, mode="clip")
            else:
                skipped = (top - 1) * columns
                np.take(flat, own_place[: shape[0], part] + skipped, out=own, mode="clip")
                np.take(flat, other_place[: shape[0], part] + skipped, out=other, mode="clip")
                row = top + number[: shape[0]] + lines.shift[part]
                own[(row < 0) | (row >= rows)] = np.nan
                row += lines.beside[part]
                np.copyto(other, own, where=(row < 0) | (row >= rows))
            np.subtract(other, own, out=height, dtype=float)
            height *= lines.weight[part]
            height += own

            np.subtract(lines.slant[part], height, out=order)
            layover[:, 0] = False
            np.fmax.accumulate(order, axis=1, out=most)
            np.less_equal(order[:, 1:], most[:, :-1], out=layover[:, 1:])
            np.fmin.accumulate(order[:, ::-1], axis=1, out=most[:, ::-1])
            np.greater_equal(order[:, :-1], most[:, 1:], out=hit[:, :-1])
            layover[:, :-1] |= hit[:, :-1]

            np.add(lines.look[part], height, out=order)
            np.fmax.accumulate(order, axis=1, out=most)
            hit[:, 0] = False
            np.less_equal(order[:, 1:], most[:, :-1], out=hit[:, 1:])
            _encode(layover, hit, codes[start:stop, part])

    _on_threads(work, threads)
    mask = np.empty((rows, columns), np.uint8)
    line_place = (number + span - lines.shift) * columns + column

    def unshear(first: int) -> None:
        for start in range(first * size, rows, threads * size):
            stop = min(start + size, rows)
            here = codes.reshape(-1)[start * columns :]
            np.take(here, line_place[: stop - start], out=mask[start:stop], mode="clip")

    _on_threads(unshear, threads)
    return back(mask)


def _along_x(
    elevation: Array, resolution: float, incidence: float, azimuth: float
) -> tuple[Array, Lines, Callable[[Mask], Mask]]:
    """Turn the grid so that lines run along x away from the sensor; also how to turn a mask back."""
    east, south = -math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    transpose = abs(east) < abs(south)
    main, side = (south, east) if transpose else (east, south)
    z = elevation.T if transpose else elevation
    column = np.arange(z.shape[1])
    drift = np.floor(side / main * column + 0.5)
    aside = side / main * column - drift
    order = slice(None, None, -1 if main < 0 else 1)

    def back(mask: Mask) -> Mask:
        mask = mask[:, order]
        return np.ascontiguousarray(mask.T if transpose else mask)

    theta, x = math.radians(incidence), column * resolution / abs(main)
    lines = Lines(
        (drift - drift.min()).astype(np.intp)[order],
        np.where(aside > 0, 1, -1)[order],
        np.abs(aside)[order],
        x * math.tan(theta),
        x / math.tan(theta),
    )
    return np.ascontiguousarray(z[:, order]), lines, back


def _encode(layover: NDArray[np.bool_], shadow: NDArray[np.bool_], codes: Mask) -> None:
    """Write OPERA's codes: 1 shadow, 2 layover, 3 both."""
    np.left_shift(layover.view(np.uint8), 1, out=layover.view(np.uint8))
    np.bitwise_or(layover.view(np.uint8), shadow.view(np.uint8), out=codes)


def _on_threads(work: Callable[[int], None], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(threads)):
            pass
