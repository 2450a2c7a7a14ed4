"""Widen layover and shadow by a distance."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sarcube.sar.look_codes import LAYOVER, NO_DATA, SHADOW

Mask = NDArray[np.uint8]


@njit(nogil=True, cache=True)
def _widen(mask: Mask, reach: NDArray[np.int64], wide: Mask) -> None:
    """Add to each known pixel the flags within reach[|rows apart|] columns of it."""
    rows, columns = mask.shape
    last = np.empty(2, np.int64)
    for row in range(rows):
        for apart in range(-(reach.size - 1), reach.size):
            source = row + apart
            if source < 0 or source >= rows:
                continue
            across = reach[abs(apart)]
            for sweep in range(2):  # from the left, then from the right
                last[:] = columns + across + 1
                for n in range(columns):
                    column = n if sweep == 0 else columns - 1 - n
                    last += 1
                    code = mask[source, column]
                    if code != NO_DATA:
                        if code & SHADOW:
                            last[0] = 0
                        if code & LAYOVER:
                            last[1] = 0
                    if wide[row, column] != NO_DATA:
                        if last[0] <= across:
                            wide[row, column] |= SHADOW
                        if last[1] <= across:
                            wide[row, column] |= LAYOVER


def widen(mask: Mask, *, pixel: tuple[float, float], buffer: float) -> Mask:
    """Flag every pixel whose centre is at most `buffer` metres from that of a flagged one, layover and shadow apart.

    Parameters
    ----------
    mask : numpy.ndarray of uint8
        (y, x), OPERA's codes.
    pixel : (float, float)
        Height and width of a pixel in metres.
    buffer : float
        Metres; with 0 the mask itself comes back.

    Returns
    -------
    numpy.ndarray of uint8
        (y, x); no data stays no data.
    """
    if buffer == 0:
        return mask
    down, across = pixel
    apart = np.arange(rows_within(buffer, down) + 1) * down
    reach = np.floor(np.sqrt(np.maximum(buffer**2 - apart**2, 0)) / across + 1e-9).astype(np.int64)
    wide = mask.copy()
    _widen(np.ascontiguousarray(mask), reach, wide)
    return wide


def rows_within(buffer: float, size: float) -> int:
    """Return how many pixels of a size in metres a buffer reaches."""
    return math.floor(buffer / size + 1e-9)
