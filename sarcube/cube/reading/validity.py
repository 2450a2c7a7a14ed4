"""Which pixels of a file are measurements; the others become holes that say why."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sarcube.cube.holes import Floats, Hole, hole_value

Bits = NDArray[np.uint32]

# Float32 of a finite number > 0 are, read as integers, 1 to _INFINITY - 1: one comparison decides.
_INFINITY = 0x7F800000
_SIGN = 0x80000000
_NODATA, _ZERO = (int(hole_value(reason).view(np.uint32)) for reason in (Hole.NODATA, Hole.ZERO))
_FIRST_UNREAD = int(Hole.NOT_FOUND)
_NO_VALUE = 0  # as the bits of nodata: zero is a hole whatever the file declares


def mark_holes(values: Floats, *, nodata: float | None) -> Floats:
    """Turn what is no measurement into holes that say why, in place.

    Parameters
    ----------
    values : (y, x) float32 array
        A file's own pixels, C-contiguous; changed.
    nodata : float, optional
        What the file declares.

    Returns
    -------
    (y, x) float32 array
        `values`: NODATA where nodata, NaN or infinite, ZERO where zero or negative; other pixels are untouched.
    """
    with np.errstate(over="ignore"):  # a nodata of float64, as the file's own values were cast
        missing = int(np.float32(nodata).view(np.uint32)) if nodata is not None else _NO_VALUE
    _mark(values.view(np.uint32), np.uint32(missing))
    return values


def fill_holes(values: Floats, other: Floats) -> Floats:
    """Fill the holes of one slice with what the next one holds, in place.

    A valid pixel is kept. Of two holes the one that tells more is: an unread file before all, then FRINGE, ZERO,
    NODATA, OUTSIDE; of two unread files the first.

    Parameters
    ----------
    values, other : (y, x) float32 array
        C-contiguous; the first is changed.

    Returns
    -------
    (y, x) float32 array
        `values`.
    """
    _fill(values.view(np.uint32), other.view(np.uint32))
    return values


def blank(shape: tuple[int, int], reason: Hole, *, part: int = 0) -> Floats:
    """Return a (y, x) float32 array of nothing but one hole."""
    return np.full(shape, hole_value(reason, part=part), np.float32)


@njit(cache=True, nogil=True)
def _mark(bits: Bits, missing: np.uint32) -> None:
    one, top = np.uint32(1), np.uint32(_INFINITY - 1)
    for r in range(bits.shape[0]):
        row = bits[r]
        holes = 0  # counted first, without a branch: most rows have none
        for c in range(row.size):
            holes += (np.uint32(row[c] - one) >= top) | (row[c] == missing)
        if holes == 0:
            continue
        for c in range(row.size):
            value = row[c]
            if value == missing and value != 0:
                row[c] = _NODATA
            elif np.uint32(value - one) >= top:
                magnitude = value & np.uint32(_SIGN - 1)
                row[c] = _NODATA if magnitude >= _INFINITY else _ZERO


@njit(cache=True, nogil=True)
def _fill(bits: Bits, other: Bits) -> None:
    for r in range(bits.shape[0]):
        for c in range(bits.shape[1]):
            mine, its = bits[r, c], other[r, c]
            if (mine & np.uint32(_SIGN - 1)) <= _INFINITY:
                continue  # no NaN
            if (its & np.uint32(_SIGN - 1)) <= _INFINITY or min(its & 0xFF, _FIRST_UNREAD) > min(
                mine & 0xFF, _FIRST_UNREAD
            ):
                bits[r, c] = its
