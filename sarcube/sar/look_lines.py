"""Lines along which a radar looks over a grid: its rows (or columns), sheared.

Each pixel belongs to the one line that passes nearest to its centre, and takes that line's verdict. Heights are
interpolated to the line itself: with the pixels' own heights, every jump of a line from one row to the next would be a
step in the ground on slopes across the look, and cast layover of its own.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class LookLines(NamedTuple):
    """How look lines run over a grid: a step is a column and a lane a row, or the other way round where turned.

    A line drifts `shear` lanes a step; it is counted by the lane where it crosses the grid's first step.
    `backwards`: the sensor stands at the high steps.
    """

    turned: bool
    backwards: bool
    shear: float


def orient(azimuth: float) -> tuple[bool, float, float, bool]:
    """How look lines run over a grid whose rows go north to south.

    Parameters
    ----------
    azimuth : float
        Radians clockwise from grid north, from the pixel to the sensor.

    Returns
    -------
    turned : bool
        Transpose the grid first: the look runs closer to north-south than to east-west.
    shear : float
        Rows that a line drifts per column (after the transposition).
    step : float
        Length of one column along the look, in pixels.
    backwards : bool
        The sensor stands at the high columns.
    """
    east, south = -math.sin(azimuth), math.cos(azimuth)  # ground direction away from the sensor, in grid axes
    if abs(east) >= abs(south):
        return False, south / east, 1 / abs(east), east < 0
    return True, east / south, 1 / abs(south), south < 0


def drift_of_steps(shear: float, steps: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lanes between a line's start and each step, and what the line itself is off that lane's middle (-0.5 to 0.5)."""
    exact = shear * steps
    drift = np.floor(exact + 0.5)
    return drift.astype(np.int64), exact - drift


@njit(cache=True, nogil=True)
def drift_of_columns(shear: float, columns: int) -> NDArray[np.int64]:
    """Rows between a line's start and each column; its phase hangs on the column, so lines never share a pixel."""
    drift = np.empty(columns, np.int64)
    for c in range(columns):
        drift[c] = math.floor(shear * c + 0.5)
    return drift


@njit(cache=True, nogil=True)
def height_on_line(z: NDArray[np.floating], row: int, column: int, aside: float) -> float:
    """Height `aside` rows (-0.5 to 0.5) from a pixel's centre; the pixel's own where its neighbour has none."""
    own = float(z[row, column])
    other = row + (1 if aside > 0 else -1)
    if aside == 0 or other < 0 or other >= z.shape[0] or math.isnan(z[other, column]):
        return own
    return own + abs(aside) * (float(z[other, column]) - own)
