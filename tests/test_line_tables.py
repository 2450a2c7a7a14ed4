"""Tables along look lines against the plain geometry of a sensor over a round Earth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relief import fractal

from sarcube.sar.line_tables import LineKnots, constant_tables, six_numbers, tables_at
from sarcube.sar.look_lines import LookLines
from sarcube.sar.look_scan import scan

EARTH, ALTITUDE = 6_371_000.0, 700_000.0


def _round_earth(arc, height):
    """Slant range and look angle of points at an arc (metres on the sphere) from the sensor's nadir."""
    beta = arc / EARTH
    along, up = (EARTH + height) * np.sin(beta), (EARTH + height) * np.cos(beta)
    return np.hypot(along, EARTH + ALTITUDE - up), np.arctan2(along, EARTH + ALTITUDE - up)


def _incidence(arc):
    return _round_earth(arc, 0.0)[1] + arc / EARTH


def _truth(arc, height):
    """Codes of profiles (lane, step) by what the sensor sees: order of range, order of look angle."""
    slant, look = _round_earth(arc, height.astype(float))
    first = np.full((height.shape[0], 1), -np.inf)
    most_slant = np.concatenate([first, np.maximum.accumulate(slant, 1)[:, :-1]], 1)
    most_look = np.concatenate([first, np.maximum.accumulate(look, 1)[:, :-1]], 1)
    least = np.concatenate([np.minimum.accumulate(slant[:, ::-1], 1)[:, ::-1][:, 1:], -first], 1)
    layover = (slant <= most_slant) | (slant >= least)
    return (layover * 2 + (look <= most_look)).astype(np.uint8)


def _knots(start, steps, resolution, knots=9):
    positions = np.linspace(-0.5, steps - 0.5, knots)
    arc = start + positions * resolution
    slant = _round_earth(arc, 0.0)[0]
    numbers = six_numbers(_incidence(arc), slant, np.full(knots, resolution), mean_range=float(slant.mean()))
    return LineKnots(positions, numbers, np.zeros_like(numbers), 0.0)


@pytest.mark.parametrize(("base", "near"), [(0.0, 330_000.0), (3000.0, 330_000.0), (5000.0, 600_000.0)])
def test_masks_of_high_ground_are_those_of_a_sensor_over_a_round_earth(base, near):
    resolution, steps = 20.0, 1500
    height = fractal(3, (64, steps), relief=2500, decay=1.5) + np.float32(base)
    knots = _knots(near, steps, resolution)
    expected = _truth(near + np.arange(steps) * resolution, height)
    assert (expected & 2 > 0).mean() > 0.02
    lines = LookLines(turned=False, backwards=False, shear=0.0)
    found = scan(height, lines, tables_at(knots, 0.0, np.arange(steps)))
    assert (found != expected).mean() < 5e-5  # seen 3e-5: three pixels, by the third order in height
    # Without the second order, and with the angles of the ellipsoid, high ground is judged worse.
    flat = LineKnots(knots.positions, knots.at_lane * np.array([1, 1, 0, 1, 1, 0])[:, None], knots.per_lane, 0.0)
    plain = scan(height, lines, tables_at(flat, 0.0, np.arange(steps)))
    if base:
        assert (plain != expected).mean() > 10 * max((found != expected).mean(), 1e-5)


@given(st.floats(-1, 1), st.integers(0, 900), st.integers(1, 100), st.integers(0, 10**6))
def test_a_step_has_the_same_numbers_in_every_part(shear, start, count, seed):
    rng = np.random.default_rng(seed)
    positions = np.linspace(-0.5, 999.5, 6)
    knots = LineKnots(positions, rng.random((6, 6)), rng.random((6, 6)) * 1e-3, 321.0)
    whole = tables_at(knots, shear, np.arange(1000))
    part = tables_at(knots, shear, np.arange(start, min(start + count, 1000)))
    for one, other in ((whole.along, part.along), (whole.across, part.across)):
        np.testing.assert_array_equal(one[:, start : start + count], other)


def test_sums_along_a_line_are_those_of_the_numbers_on_it():
    rng = np.random.default_rng(0)
    positions = np.linspace(-0.5, 999.5, 6)
    knots = LineKnots(positions, rng.random((6, 6)), rng.random((6, 6)) * 1e-3, 10.0)
    shear, line = 0.3, 25.0
    tables = tables_at(knots, shear, np.arange(1000))
    number = tables.along + (line - knots.lane) * tables.across
    fine = np.linspace(0, 999, 999 * 64 + 1)
    lane = line + shear * fine
    at = [np.interp(fine, positions, knots.at_lane[n]) for n in (0, 3)]
    change = [np.interp(fine, positions, knots.per_lane[n]) for n in (0, 3)]
    for row, a, b in zip((0, 3), at, change, strict=True):
        rate = a + (lane - knots.lane) * b
        summed = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(fine))])[::64]
        np.testing.assert_allclose(number[row] - number[row, 0], summed, atol=1e-4)
    lane = line + shear * np.arange(1000)
    for row in (1, 2, 4, 5):
        expected = np.interp(np.arange(1000), positions, knots.at_lane[row])
        expected += (lane - knots.lane) * np.interp(np.arange(1000), positions, knots.per_lane[row])
        np.testing.assert_allclose(number[row], expected, rtol=1e-12)


def test_one_angle_is_the_case_of_a_sensor_infinitely_far():
    theta = np.radians(39.0)
    positions = np.linspace(-0.5, 99.5, 3)
    numbers = six_numbers(np.full(3, theta), np.full(3, np.inf), np.full(3, 10.0), mean_range=1.0)
    numbers[[3, 4]] = np.array([[10 * np.cos(theta)], [np.sin(theta)]])  # ρ₀/ρ is 1
    tables = tables_at(LineKnots(positions, numbers, np.zeros_like(numbers), 0.0), 0.0, np.arange(100))
    constant = constant_tables(float(theta), length=10.0, steps=100, backwards=False)
    found = tables.along - tables.along[:, :1] * np.array([1, 0, 0, 1, 0, 0])[:, None]
    np.testing.assert_allclose(found, constant.along, atol=1e-9)
