"""Whether the slices of one pass have the same level: the strongest step of its backscatter along the flight.

A pass is held against the median of its track's other passes, on cells of some pixels, and the difference is followed
along the flight. Slices are cut along the radar's line, across the flight; archives that clip them cut along the
grid's rows: both directions are tried.
"""

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.ground import pixel_size
from sarcube.cube.geometry.look import solve_look

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]

_MIN_CELL = 4  # pixels
_MOST_CELLS = 256  # along a side: what is kept of a pass of any size is small
_BIN = 2  # cells along the flight
_REACH = 12  # bins on each side of a step
_STRIPS = 5  # along the flight
_MIN_STRIPS = 3
_MIN_CELLS = 8  # of a bin in a strip
_MIN_FILLED = 0.6  # of the bins on a side


def cell_size(shape: tuple[int, int]) -> int:
    """Pixels along a side of a cell, from the grid alone."""
    return max(_MIN_CELL, -(-max(shape) // _MOST_CELLS))


def flight_heading(geobox: GeoBox, *, relative_orbit: int, orbit_state: str) -> float:
    """Direction of the flight in radians, clockwise from the grid's north.

    Raises
    ------
    InputError
        If the grid is not projected, its pixels are not square, or the track does not look at it.
    """
    pixel_size(geobox)  # refuses oblong pixels: between them a heading is another angle than on the ground
    nodes = solve_look(geobox, relative_orbit=relative_orbit, orbit_state=orbit_state)
    return float(np.radians(nodes.mean_grid_azimuth + 90))  # the radar looks to its right, so is seen to the left


def strongest_step(difference: Floats, *, heading: float) -> float:
    """Return the strongest step of a pass along the flight or along the columns, in dB without sign.

    A seam crosses the whole swath at one place; snow and rain do not. So the swath is cut into five strips along the
    flight, and what a quarter of them does not show is not counted.

    Parameters
    ----------
    difference : (y, x) float32 array
        Cells of the pass less those of its reference, dB; NaN where not valid.
    heading : float
        Direction of the flight in radians, clockwise from the grid's north.

    Returns
    -------
    float
        NaN where the pass is too short or too narrow: twelve bins of two cells are needed on each side of a step,
        in three strips.
    """
    rows, columns = np.indices(difference.shape, dtype=np.float64)
    flight = columns * np.sin(heading) - rows * np.cos(heading), columns * np.cos(heading) + rows * np.sin(heading)
    steps = np.concatenate([_steps(_profiles(difference, *place)) for place in (flight, (rows, columns))])
    return float(np.nanmax(steps)) if np.isfinite(steps).any() else np.nan


def _profiles(difference: Floats, along: Floats64, across: Floats64) -> Floats64:
    """Median of the difference in each bin: (strip, bin), NaN where a bin has too few cells."""
    bins = np.floor((along - along.min()) / _BIN).astype(np.int64)
    strips = np.floor((across - across.min()) / (np.ptp(across) + 1) * _STRIPS).astype(np.int64)
    length = int(bins.max()) + 1
    number = strips * length + bins
    valid = np.isfinite(difference)
    count = np.bincount(number[valid], minlength=_STRIPS * length)
    # Corners of a turned grid and ends of a swath: a few cells are no level.
    usual = int(np.median(count[count > 0])) if valid.any() else 0
    profiles = np.full(count.size, np.nan)
    ordered = difference[valid][np.argsort(number[valid], kind="stable")]
    for place, values in enumerate(np.split(ordered, np.cumsum(count)[:-1])):
        if values.size >= max(_MIN_CELLS, usual // 2):
            profiles[place] = np.median(values)
    return profiles.reshape(_STRIPS, length)


def _steps(profiles: Floats64) -> Floats64:
    """Strength of the step at each bin, which is left out itself as it may hold both levels: (bin,), dB.

    The smaller of two: the step of the medians that three quarters of the strips show at least, which noise spoils
    little but a slope feigns; and the step between lines fitted to both sides, which a slope cannot feign.
    """
    places = range(_REACH, profiles.shape[1] - _REACH)
    strengths = np.full(len(places), np.nan)
    for number, place in enumerate(places):
        before = profiles[:, place - _REACH : place][:, ::-1]
        after = profiles[:, place + 1 : place + 1 + _REACH]
        filled = [np.isfinite(side).mean(axis=1) >= _MIN_FILLED for side in (before, after)]
        usable = filled[0] & filled[1]
        if usable.sum() >= _MIN_STRIPS:
            low, high = np.quantile(
                np.nanmedian(after[usable], axis=1) - np.nanmedian(before[usable], axis=1), [0.25, 0.75]
            )
            line = _end(_mean(after[usable])) - _end(_mean(before[usable]))
            strengths[number] = min(max(low, -high, 0.0), abs(line))
    return strengths


def _mean(values: Floats64) -> Floats64:
    """Mean of the strips that have a bin: (strip, bin) -> (bin,), NaN where none has."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def _end(values: Floats64) -> float:
    """Where the line fitted to the values of bins 1, 2, ... is at 0."""
    distance = np.arange(1.0, values.size + 1)[np.isfinite(values)]
    values = values[np.isfinite(values)]
    centred = distance - distance.mean()
    slope = (centred * values).sum() / (centred**2).sum()
    return float(values.mean() - slope * distance.mean())
