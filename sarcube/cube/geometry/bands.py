"""Look lines over a whole grid: bands of lanes, each with the direction and the tables of its middle.

Over a scene the grid azimuth of the look turns by some tenths of a degree, mostly along the flight. A pixel is judged
on the lines of its own band, whichever block it is computed in.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sarcube.cube.geometry.look import LookNodes
from sarcube.sar.line_tables import LineKnots, six_numbers, tables_at
from sarcube.sar.look_lines import LookLines
from sarcube.sar.look_scan import scan

Floats = NDArray[np.float64]
Mask = NDArray[np.uint8]

_BAND = 20_480.0  # metres across the look
# Radians by which incidence may be less or more at the heights of the ground than on the ellipsoid.
_BELOW, _ABOVE = math.radians(0.1), math.radians(0.5)
NEIGHBOURS = 2  # pixels: lines pass between two, and a line is up to half a pixel aside


class Band(NamedTuple):
    """Lanes [first, last) of a grid, with their lines and what these need.

    `toward` is (rows, columns) per metre on the ground toward the sensor, at the band's middle.
    """

    first: int
    last: int
    lines: LookLines
    knots: LineKnots
    toward: tuple[float, float]


def bands_over(nodes: LookNodes, shape: tuple[int, int]) -> tuple[Band, ...]:
    """Cut a grid of (rows, columns) into bands along the look."""
    mean = nodes.away.mean((1, 2))
    turned = bool(abs(mean[0]) > abs(mean[1]))
    lane_axis, step_axis = (1, 0) if turned else (0, 1)
    lanes, steps = (nodes.columns, nodes.rows) if turned else (nodes.rows, nodes.columns)
    away = nodes.away.transpose(0, 2, 1) if turned else nodes.away  # (2, lane, step)
    incidence, slant = (a.T if turned else a for a in (np.radians(nodes.incidence[0]), nodes.slant_range))
    numbers = six_numbers(incidence, slant, 1 / away[step_axis], mean_range=float(nodes.slant_range.mean()))
    count = shape[lane_axis]
    lanes_of_band = max(1, round(_BAND * float(np.hypot(*mean))))
    middle_step = (steps[0] + steps[-1]) / 2
    bands = []
    for first in range(0, count, lanes_of_band):
        last = min(first + lanes_of_band, count)
        lane, half = (first + last - 1) / 2, (last - first) / 2
        at = {offset: _at_lane(numbers, lanes, lane + offset) for offset in (-half, 0.0, half)}
        knots = LineKnots(steps, at[0.0], (at[half] - at[-half]) / (2 * half), lane)
        direction = _at_lane(away, lanes, lane)
        row, column = (float(np.interp(middle_step, steps, part)) for part in direction)
        shear = (column, row)[step_axis] / (row, column)[step_axis]
        backwards = (row, column)[step_axis] < 0
        bands.append(Band(first, last, LookLines(turned, backwards, shear), knots, (-row, -column)))
    return tuple(bands)


def reach_of_relief(relief: float, lowest: float, highest: float) -> tuple[float, float]:
    """Metres toward the sensor and away from it in which ground can distort a pixel, or be distorted with it.

    Where heights differ by `relief` metres, layover reaches relief × cot θ to both sides and shadow relief × tan θ away
    from the sensor (GEOMETRY 3). `lowest` and `highest` θ in radians, on the ellipsoid.
    """
    behind = relief / math.tan(lowest - _BELOW)
    return max(behind, relief * math.tan(highest + _ABOVE)), behind


def exact_mask(
    elevation: NDArray[np.floating],
    bands: tuple[Band, ...],
    *,
    first: tuple[int, int],
    core: tuple[slice, slice],
    relief: float,
) -> Mask:
    """Judge the core of a block along look lines: passive and active layover and shadow.

    Parameters
    ----------
    elevation : numpy.ndarray
        (y, x), metres, with the ground around the core that can reach it.
    bands : tuple of Band
    first : (row, column)
        Where the block's first pixel lies in the whole grid.
    core : (slice, slice)
        Rows and columns of the block.
    relief : float
        Metres by which heights in the block differ: no more ground is walked than can matter.

    Returns
    -------
    numpy.ndarray of uint8
        (y, x) of the core, OPERA's codes.
    """
    turned = bands[0].lines.turned
    lane_axis, step_axis = (1, 0) if turned else (0, 1)
    steps = np.arange(first[step_axis], first[step_axis] + elevation.shape[step_axis])
    lanes = core[lane_axis]
    parts = []
    for band in bands:
        start = max(band.first - first[lane_axis], lanes.start)
        stop = min(band.last - first[lane_axis], lanes.stop)
        if start < stop:
            part = (core[0], slice(start, stop)) if turned else (slice(start, stop), core[1])
            tables = tables_at(band.knots, band.lines.shear, steps)
            metres = reach_of_relief(relief, *_incidences(band, steps, first[lane_axis], elevation.shape[lane_axis]))
            before, after = (math.ceil(m * abs(band.toward[step_axis])) + NEIGHBOURS for m in metres)
            reach = (after, before) if band.lines.backwards else (before, after)
            parts.append(scan(elevation, band.lines, tables, first=first, core=part, reach=reach))
    return np.concatenate(parts, axis=lane_axis) if len(parts) > 1 else parts[0]


def azimuths(bands: tuple[Band, ...], rows: slice, columns: slice, down: Floats, across: Floats) -> Floats:
    """Azimuth to the sensor from the grid's north, radians, in each pixel's band: (y, 1), or (1, x) where turned.

    `down` and `across` (y,) are metres from row to row and from column to column, of the grid's rows.
    """
    turned = bands[0].lines.turned
    lanes = columns if turned else rows
    found = np.empty(lanes.stop - lanes.start)
    for band in bands:
        middle = len(down) // 2 if turned else (band.first + band.last) // 2
        north, east = -band.toward[0] * down[middle], band.toward[1] * across[middle]
        start, stop = max(band.first - lanes.start, 0), max(band.last - lanes.start, 0)
        found[start:stop] = math.atan2(east, north)
    return found[np.newaxis] if turned else found[:, np.newaxis]


def _incidences(band: Band, steps: NDArray[np.int64], first: int, count: int) -> tuple[float, float]:
    """Lowest and highest incidence, radians on the ellipsoid, at some steps and `count` lanes from the `first` on."""
    knots = band.knots
    inside = (knots.positions > steps[0]) & (knots.positions < steps[-1])
    at = np.concatenate([steps[[0, -1]], knots.positions[inside]])
    cosine, change = (np.interp(at, knots.positions, values[1]) for values in (knots.at_lane, knots.per_lane))
    angles = np.arccos([cosine + (lane - knots.lane) * change for lane in (first, first + count - 1)])
    return float(angles.min()), float(angles.max())


def _at_lane(values: Floats, lanes: Floats, lane: float) -> Floats:
    """Interpolate (n, lane, step) to a lane, in a straight line: (n, step)."""
    cell = int(np.clip((lane - lanes[0]) // (lanes[1] - lanes[0]), 0, lanes.size - 2))
    share = (lane - lanes[cell]) / (lanes[cell + 1] - lanes[cell])
    result: Floats = values[:, cell] * (1 - share) + values[:, cell + 1] * share
    return result
