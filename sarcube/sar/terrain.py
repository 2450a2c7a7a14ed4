"""Slope, aspect and curvature of an elevation grid."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]


def slope_aspect(elevation: Floats, *, resolution: float) -> tuple[Floats, Floats]:
    """Slope and downhill aspect by Horn's 3 × 3 differences (Horn 1981, Proc. IEEE 69).

    Parameters
    ----------
    elevation : numpy.ndarray
        (y, x), metres, rows north to south, square pixels. NaN is no data.
    resolution : float
        Pixel size in metres.

    Returns
    -------
    slope, aspect : numpy.ndarray
        (y, x), degrees, elevation's dtype. Aspect is the direction of steepest descent, clockwise from grid north,
        0 to 360; NaN where the ground is flat. Both are NaN where any of the nine heights is.

    Notes
    -----
    At the array's edge the ground is continued in a straight line, so that the border is neither flat nor lost.
    """
    west_east, north_south = _gradient(elevation, resolution)
    slope = np.degrees(np.arctan(np.hypot(west_east, north_south)))
    # Downhill is against the gradient; north_south is the rise toward the south (down the rows).
    aspect = np.degrees(np.arctan2(-west_east, north_south)) % 360
    flat = (west_east == 0) & (north_south == 0)
    aspect = np.where(flat, np.nan, aspect)
    return slope.astype(elevation.dtype, copy=False), aspect.astype(elevation.dtype, copy=False)


def curvature(elevation: Floats, *, resolution: float) -> Floats:
    """Total curvature -2(D + E) of Zevenbergen & Thorne 1987 (ESPL 12): (y, x), 1/m, positive on ridges."""
    z = _continue(elevation)
    east_west = z[1:-1, 2:] + z[1:-1, :-2] - 2 * z[1:-1, 1:-1]
    north_south = z[2:, 1:-1] + z[:-2, 1:-1] - 2 * z[1:-1, 1:-1]
    return (-(east_west + north_south) / resolution**2).astype(elevation.dtype)


def _gradient(elevation: Floats, resolution: float) -> tuple[Floats, Floats]:
    """Rise per metre toward the east and toward the south."""
    z = _continue(elevation)
    west, east = z[:-2, :-2] + 2 * z[1:-1, :-2] + z[2:, :-2], z[:-2, 2:] + 2 * z[1:-1, 2:] + z[2:, 2:]
    north, south = z[:-2, :-2] + 2 * z[:-2, 1:-1] + z[:-2, 2:], z[2:, :-2] + 2 * z[2:, 1:-1] + z[2:, 2:]
    own = z[1:-1, 1:-1] * 0  # the middle has no weight, but its absence counts
    return (east - west) / (8 * resolution) + own, (south - north) / (8 * resolution) + own


def _continue(elevation: Floats) -> Floats:
    """One more row and column on each side, continued in a straight line."""
    padded = np.pad(elevation, 1, mode="edge")
    if elevation.shape[0] > 1:
        padded[0] = 2 * padded[1] - padded[2]
        padded[-1] = 2 * padded[-2] - padded[-3]
    if elevation.shape[1] > 1:
        padded[:, 0] = 2 * padded[:, 1] - padded[:, 2]
        padded[:, -1] = 2 * padded[:, -2] - padded[:, -3]
    return padded
