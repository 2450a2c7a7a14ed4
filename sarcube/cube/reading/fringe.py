"""Border fringe: the low, positive noise that a swath's edge holds, eroded on the file's own pixels.

A pixel is fringe if it is valid and within `width` pixels (in rows and in columns) of a thick area: one that a fully
invalid square of 32 x 32 pixels fits into. A shadow or a single zero is not thick and erodes nothing. Beyond the file's
edge an invalid strip goes on if it is at least 10 pixels wide; a clean edge, as of a clipped file, erodes nothing.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sarcube.cube.holes import Floats, Hole, hole_value
from sarcube.cube.reading.place import Block
from sarcube.cube.reading.validity import Bits

Marks = NDArray[np.uint8]

_THICK = 32  # pixels along a side: 320 m, more than a usual shadow or lake
# At the edge less must do; more than the support of a usual overview's pixel, so that overviews show it.
_STRIP = 10
_FRINGE = int(hole_value(Hole.FRINGE).view(np.uint32))
_INFINITY = 0x7F800000
_MAGNITUDE = 0x7FFFFFFF


def fringe_reach(width: int) -> int:
    """Return how many pixels beyond a window decide what is fringe in it."""
    return width + _THICK - 1


def mark_fringe(values: Floats, *, width: int, part: Block, shape: tuple[int, int]) -> None:
    """Turn valid pixels near thick holes into FRINGE, in place.

    Parameters
    ----------
    values : (y, x) float32 array
        Part of a file, holes marked; changed. Right for pixels at least `fringe_reach(width)` from those of its sides
        that are not the file's.
    width : int
        Pixels to erode.
    part : Block
        Which part.
    shape : (int, int)
        Rows and columns of the file.
    """
    reach = fringe_reach(width)
    pads = (
        reach if part.y0 == 0 else 0,
        reach if part.y1 == shape[0] else 0,
        reach if part.x0 == 0 else 0,
        reach if part.x1 == shape[1] else 0,
    )
    bits = values.view(np.uint32)
    invalid = _invalid(bits, pads)
    if not _squares(invalid):
        return
    _apply(bits, invalid, pads, width)


@njit(cache=True, nogil=True)
def _invalid(bits: Bits, pads: tuple[int, int, int, int]) -> Marks:
    """Return 1 where a pixel is a hole, padded where the file ends."""
    top, bottom, left, right = pads
    rows, columns = bits.shape
    marks = np.zeros((top + rows + bottom, left + columns + right), np.uint8)
    for r in range(rows):
        for c in range(columns):
            marks[top + r, left + c] = (bits[r, c] & np.uint32(_MAGNITUDE)) > np.uint32(_INFINITY)
    for c in range(left, left + columns):
        above, below = np.uint8(1), np.uint8(1)
        for k in range(min(_STRIP, rows)):
            above &= marks[top + k, c]
            below &= marks[top + rows - 1 - k, c]
        marks[:top, c] = above
        marks[top + rows :, c] = below
    for r in range(marks.shape[0]):
        before, after = np.uint8(1), np.uint8(1)
        for k in range(min(_STRIP, columns)):
            before &= marks[r, left + k]
            after &= marks[r, left + columns - 1 - k]
        marks[r, :left] = before
        marks[r, left + columns :] = after
    return marks


@njit(cache=True, nogil=True)
def _squares(marks: Marks) -> bool:
    """Leave 1 only at the lower right corners of fully invalid squares, in place; return whether there is one."""
    found = False
    down = np.zeros(marks.shape[1], np.int32)
    for r in range(marks.shape[0]):
        run = 0
        for c in range(marks.shape[1]):
            run = run + 1 if marks[r, c] else 0
            down[c] = down[c] + 1 if run >= _THICK else 0
            marks[r, c] = down[c] >= _THICK
            found |= down[c] >= _THICK
    return found


@njit(cache=True, nogil=True)
def _apply(bits: Bits, corners: Marks, pads: tuple[int, int, int, int], width: int) -> None:
    """Mark valid pixels within `width` of a square: those that have its corner from -width to 31 + width on."""
    top, _, left, _ = pads
    height, length = corners.shape
    ahead = _THICK - 1 + width
    near = np.zeros(length, np.int32)  # corners in reach of this row, per column
    for r in range(min(ahead, height)):
        for c in range(length):
            near[c] += corners[r, c]
    for r in range(height):
        if r + ahead < height:
            for c in range(length):
                near[c] += corners[r + ahead, c]
        if r - width - 1 >= 0:
            for c in range(length):
                near[c] -= corners[r - width - 1, c]
        row = r - top
        if row < 0 or row >= bits.shape[0]:
            continue
        total = 0
        for c in range(min(ahead, length)):
            total += near[c]
        for c in range(length):
            if c + ahead < length:
                total += near[c + ahead]
            if c - width - 1 >= 0:
                total -= near[c - width - 1]
            column = c - left
            if total == 0 or column < 0 or column >= bits.shape[1]:
                continue
            if (bits[row, column] & np.uint32(_MAGNITUDE)) <= np.uint32(_INFINITY):
                bits[row, column] = _FRINGE
