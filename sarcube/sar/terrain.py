"""Slope, aspect and curvature of an elevation grid."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError

Floats: TypeAlias = NDArray[np.floating[Any]]
# Of a pixel in metres: of all pixels alike, or from row to row and from column to column, each alike or (y,) per row.
Resolution: TypeAlias = float | tuple[ArrayLike, ArrayLike]


def slope_aspect(elevation: Floats, *, resolution: Resolution) -> tuple[Floats, Floats]:
    """Slope and downhill aspect by Horn's 3 × 3 differences (Horn 1981, Proc. IEEE 69).

    Parameters
    ----------
    elevation : numpy.ndarray
        (y, x), metres, rows north to south. NaN is no data.
    resolution : float or (down, across)
        Pixel size in metres. Oblong pixels: from row to row and from column to column, each a number or (y,), one
        for each row, as of a grid in degrees.

    Returns
    -------
    slope, aspect : numpy.ndarray
        (y, x), degrees, elevation's dtype. Aspect is the direction of steepest descent, clockwise from grid north,
        0 to 360; NaN where the ground is flat. Both are NaN where any of the nine heights is.

    Raises
    ------
    InputError
        If a pixel size is not positive, or neither a number nor one for each row.

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


def curvature(elevation: Floats, *, resolution: Resolution) -> Floats:
    """Total curvature -2(D + E) of Zevenbergen & Thorne 1987 (ESPL 12): (y, x), 1/m, positive on ridges.

    Parameters and what raises as of `slope_aspect`.
    """
    down, across = _pixel_sizes(elevation, resolution)
    z = _continue(elevation)
    east_west = z[1:-1, 2:] + z[1:-1, :-2] - 2 * z[1:-1, 1:-1]
    north_south = z[2:, 1:-1] + z[:-2, 1:-1] - 2 * z[1:-1, 1:-1]
    dtype = elevation.dtype
    return (-(east_west / (across**2).astype(dtype) + north_south / (down**2).astype(dtype))).astype(dtype, copy=False)


def _gradient(elevation: Floats, resolution: Resolution) -> tuple[Floats, Floats]:
    """Rise per metre toward the east and toward the south."""
    down, across = _pixel_sizes(elevation, resolution)
    z = _continue(elevation)
    west, east = z[:-2, :-2] + 2 * z[1:-1, :-2] + z[2:, :-2], z[:-2, 2:] + 2 * z[1:-1, 2:] + z[2:, 2:]
    north, south = z[:-2, :-2] + 2 * z[:-2, 1:-1] + z[:-2, 2:], z[2:, :-2] + 2 * z[2:, 1:-1] + z[2:, 2:]
    own = z[1:-1, 1:-1] * 0  # the middle has no weight, but its absence counts
    dtype = elevation.dtype
    return (east - west) / (8 * across).astype(dtype) + own, (south - north) / (8 * down).astype(dtype) + own


def _pixel_sizes(elevation: Floats, resolution: Resolution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres from row to row and from column to column, (1, 1) or (y, 1) each."""
    sizes = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    down, across = (np.asarray(size, np.float64).reshape(-1, 1) for size in sizes)
    for size in (down, across):
        if size.size not in (1, elevation.shape[0]) or not (size > 0).all():
            raise InputError(
                "resolution must be the pixels' size in metres > 0, or a pair of sizes (from row to row, from column "
                f"to column), each a number or one for each of the {elevation.shape[0]} rows, not {resolution!r}"
            )
    return down, across


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
