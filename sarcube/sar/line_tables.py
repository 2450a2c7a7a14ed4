"""What the order of arrival along a look line hangs on: slant range R and look angle p as functions of height.

At ground distance x from the sensor and height z above the ellipsoid, with incidence angle θ and slant range ρ of the
ellipsoid there, to the second order in z and exact in x:

    R = F(x) - z cos θ + z² sin² θ / 2ρ              F = ∫ sin θ dx
    p = G(x) + z c sin θ + z² c sin θ cos θ / ρ      G = ∫ c cos θ dx,   c = ρ₀/ρ

R is the slant range, p the sensor's look angle times a constant ρ₀, both but for a constant. Where ρ is infinite they
are GEOMETRY 3's; the second order is what θ changes with height, 0.04 degrees a kilometre: whether heights are counted
from the ellipsoid or from the geoid does not matter here.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class LineTables(NamedTuple):
    """Six numbers a step: F, cos θ, sin² θ / 2ρ, G, c sin θ, c sin θ cos θ / ρ.

    A line holds `along + (line - centre) * across`, each (6, step); lines are counted as in `LookLines`.
    """

    along: Floats
    across: Floats
    centre: float


class PixelAngles(NamedTuple):
    """Sine and cosine of each pixel's own incidence angle, (y, x), and the metres of a step along the look."""

    sine: Floats
    cosine: Floats
    length: float


def constant_tables(incidence: float, *, length: float, steps: int, backwards: bool) -> LineTables:
    """Tables of one incidence angle (radians) for steps of `length` metres, from the grid's first on."""
    distance = np.arange(steps) * (-length if backwards else length)
    s, k = np.sin(incidence), np.cos(incidence)
    rows = (distance * s, k, 0.0, distance * k, s, 0.0)
    along = np.stack([np.broadcast_to(row, steps) for row in rows]).astype(float)
    return LineTables(along, np.zeros_like(along), 0.0)


class LineKnots(NamedTuple):
    """What `LineTables` are made of, at equally spaced steps along one lane of the whole grid.

    positions (n,) steps; at_lane and per_lane (6, n), the six numbers there and their change from lane to lane, but the
    first and the fourth as growth per step: metres of step times sin θ and c cos θ, negative toward the sensor.
    """

    positions: Floats
    at_lane: Floats
    per_lane: Floats
    lane: float


def six_numbers(incidence: Floats, slant_range: Floats, metres_per_step: Floats, *, mean_range: float) -> Floats:
    """Return the six numbers, the first and the fourth per step, of points of the ellipsoid: (...) -> (6, ...).

    Parameters
    ----------
    incidence : numpy.ndarray
        Radians, from the ellipsoid's normal, at height 0.
    slant_range : numpy.ndarray
        Metres, at height 0.
    metres_per_step : numpy.ndarray
        Ground distance away from the sensor in a step; negative where steps lead toward it.
    mean_range : float
        Metres, the same for the whole grid: ρ₀.
    """
    s, k, c = np.sin(incidence), np.cos(incidence), mean_range / slant_range
    return np.stack(
        [metres_per_step * s, k, s**2 / (2 * slant_range), metres_per_step * c * k, c * s, c * s * k / slant_range]
    )


def tables_at(knots: LineKnots, shear: float, steps: NDArray[np.int64]) -> LineTables:
    """Return the tables of lines that drift `shear` lanes a step, at steps of the whole grid.

    Numbers are linear between knots; what is summed along a line is then summed exactly, from the first knot on, so
    that a step's numbers hang on its place in the whole grid alone.
    """
    along, across = np.empty((6, steps.size)), np.empty((6, steps.size))
    _fill(knots.positions, knots.at_lane, knots.per_lane, shear, steps, along, across)
    return LineTables(along, across, knots.lane)


@njit(nogil=True, cache=True)
def _on_line(
    position: float, cell: int, number: int, positions: Floats, at_lane: Floats, per_lane: Floats, shear: float
) -> tuple[float, float]:
    """One number at a position of a cell: along the line through lane 0 at step 0, and its change from line to line."""
    share = (position - positions[cell]) / (positions[1] - positions[0])
    change = per_lane[number, cell] * (1 - share) + per_lane[number, cell + 1] * share
    value = at_lane[number, cell] * (1 - share) + at_lane[number, cell + 1] * share
    return value + shear * position * change, change


@njit(nogil=True, cache=True)
def _summed(
    first: float,
    last: float,
    cell: int,
    number: int,
    positions: Floats,
    at_lane: Floats,
    per_lane: Floats,
    shear: float,
) -> tuple[float, float]:
    """Sum of a number over a part of a cell, by Simpson's rule: exact, for it is of second degree there."""
    a = _on_line(first, cell, number, positions, at_lane, per_lane, shear)
    b = _on_line((first + last) / 2, cell, number, positions, at_lane, per_lane, shear)
    c = _on_line(last, cell, number, positions, at_lane, per_lane, shear)
    sixth = (last - first) / 6
    return (a[0] + 4 * b[0] + c[0]) * sixth, (a[1] + 4 * b[1] + c[1]) * sixth


@njit(nogil=True, cache=True)
def _fill(
    positions: Floats,
    at_lane: Floats,
    per_lane: Floats,
    shear: float,
    steps: NDArray[np.int64],
    along: Floats,
    across: Floats,
) -> None:
    cells = positions.size - 1
    spacing = positions[1] - positions[0]
    for number in range(6):
        is_sum = number == 0 or number == 3
        before = np.zeros((cells + 1, 2))  # sums up to each knot
        if is_sum:
            for cell in range(cells):
                part = _summed(positions[cell], positions[cell + 1], cell, number, positions, at_lane, per_lane, shear)
                before[cell + 1, 0] = before[cell, 0] + part[0]
                before[cell + 1, 1] = before[cell, 1] + part[1]
        for n in range(steps.size):
            position = float(steps[n])
            cell = min(max(int((position - positions[0]) // spacing), 0), cells - 1)
            if is_sum:
                here = _summed(positions[cell], position, cell, number, positions, at_lane, per_lane, shear)
                along[number, n], across[number, n] = before[cell, 0] + here[0], before[cell, 1] + here[1]
            else:
                along[number, n], across[number, n] = _on_line(
                    position, cell, number, positions, at_lane, per_lane, shear
                )
