"""Look geometry against golden points of real products (GEOMETRY 1c), real annotations, and plain vector algebra."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from orbit_samples import earth_fixed, reference_trajectory, turned

import sarcube as sc
from sarcube.sar import Trajectory, look_from_orbit, look_geometry, tracks_over
from sarcube.sar.orbit import solve_points
from sarcube.sar.reference_orbit import NODE_SHIFT, PERIOD, node_longitude, revolution

GOLDEN = [  # relative orbit, pass, lat, lon, height m, incidence on the ellipsoid normal, sensor azimuth
    (59, "ascending", 45.435053, 1.681007, 423.98, 30.4964, 258.785),
    (168, "descending", 47.117028, 12.432669, 2322.0, 30.7819, 101.260),
    (22, "descending", 41.280780, 11.868003, 0.0, 46.1076, 99.003),
]
PASSES = st.sampled_from(["ascending", "descending"])


@pytest.mark.parametrize(("orbit", "state", "lat", "lon", "height", "incidence", "azimuth"), GOLDEN)
def test_golden_points(orbit, state, lat, lon, height, incidence, azimuth):
    theta, phi = look_geometry(lat, lon, height, relative_orbit=orbit, orbit_state=state)
    assert theta == pytest.approx(incidence, abs=0.01)
    assert phi == pytest.approx(azimuth, abs=0.005)


def test_arrays_keep_their_shape_and_nan_stays_nan():
    lat = np.array([[45.4, np.nan], [45.6, 45.7]])
    theta, phi = look_geometry(lat, 1.7, 0.0, relative_orbit=59, orbit_state="ascending")
    assert theta.shape == phi.shape == (2, 2)
    assert np.isnan(theta[0, 1])
    assert np.isnan(phi[0, 1])
    alone, _ = look_geometry(45.7, 1.7, 0.0, relative_orbit=59, orbit_state="ascending")
    assert theta[1, 1] == alone


def test_a_raster_in_pieces_is_the_raster_to_the_bit():
    lat, lon = np.meshgrid(np.linspace(45.0, 46.0, 150), np.linspace(1.0, 2.5, 151), indexing="ij")
    whole = look_geometry(lat, lon, 300.0, relative_orbit=59, orbit_state="ascending")
    for rows in (1, 7, 149):
        parts = [look_geometry(lat[:rows], lon[:rows], 300.0, relative_orbit=59, orbit_state="ascending")]
        parts += [look_geometry(lat[rows:], lon[rows:], 300.0, relative_orbit=59, orbit_state="ascending")]
        for angle, pieces in zip(whole, zip(*parts, strict=True), strict=True):
            assert np.array_equal(angle, np.concatenate(pieces))


def test_height_lowers_the_incidence_by_a_few_hundredths_of_a_degree_per_kilometre():
    low, _ = look_geometry(45.4, 1.7, 0.0, relative_orbit=59, orbit_state="ascending")
    high, _ = look_geometry(45.4, 1.7, 1000.0, relative_orbit=59, orbit_state="ascending")
    assert 0.02 < high - low < 0.06


@given(
    lat=st.floats(-75, 75), lon=st.floats(-180, 180), height=st.floats(-400, 8000), state=PASSES, step=st.integers(1, 9)
)
def test_next_track_is_twelve_days_over_175_orbits_west(lat, lon, height, state, step):
    for orbit in tracks_over(lat, lon, orbit_state=state):
        if orbit + step <= 175:
            here = look_geometry(lat, lon, height, relative_orbit=orbit, orbit_state=state)
            there = look_geometry(lat, lon - step * NODE_SHIFT, height, relative_orbit=orbit + step, orbit_state=state)
            assert_allclose(here, there, rtol=0, atol=1e-9)


@given(lat=st.floats(-77, 77), lon=st.floats(-180, 180), height=st.floats(-400, 8000), state=PASSES)
def test_the_solution_is_the_nearest_approach_and_its_angles_are_those_of_plain_vectors(lat, lon, height, state):
    """Zero Doppler in the turning frame is the least range; PROJ gives the point, the normal and north."""
    for orbit in tracks_over(lat, lon, orbit_state=state):
        look = solve_points(lat, lon, height, relative_orbit=orbit, orbit_state=state)
        point, above, northward = earth_fixed(np.array([lat, lat, lat + 1e-5]), lon, height + np.array([0, 1000, 0]))
        seconds, path = revolution().times, reference_trajectory(orbit, revolution().times)
        for width in (5.0, 0.005):  # seconds around the sample that is nearest so far
            ranges = np.linalg.norm(path.positions - point, axis=1)
            seconds = seconds[ranges.argmin()] + np.linspace(-width, width, 2001)
            path = reference_trajectory(orbit, seconds)
        ranges = np.linalg.norm(path.positions - point, axis=1)
        assert look.slant_range == pytest.approx(ranges.min(), abs=1e-4)

        sight = (path.positions[ranges.argmin()] - point) / ranges.min()
        up, north = (v / np.linalg.norm(v) for v in (above - point, northward - point))
        east = np.cross(north, up)
        assert look.incidence == pytest.approx(np.degrees(np.arccos(sight @ up)), abs=1e-5)
        assert look.azimuth == pytest.approx(np.degrees(np.arctan2(sight @ east, sight @ north)) % 360, abs=5e-5)


def test_some_track_looks_everywhere_up_to_75_degrees():
    """The properties above would hold of nothing."""
    for state in ("ascending", "descending"):
        assert all(tracks_over(lat, 20.0, orbit_state=state) for lat in range(-75, 76, 25))


def test_a_slice_over_the_node_keeps_its_orbit_number():
    lon = node_longitude(59) + 4.0
    lat = np.linspace(-6.0, 6.0, 121)
    theta, phi = look_geometry(lat, lon - 0.2 * lat, relative_orbit=59, orbit_state="ascending")
    for angle in (theta, phi):
        assert np.abs(np.diff(angle, n=2)).max() < 1e-3  # no step where the revolution begins
    before, after = (
        look_geometry([0.0, 5.0], lon, relative_orbit=orbit, orbit_state="ascending") for orbit in (58, 59)
    )
    assert before[0] == pytest.approx(after[0], abs=0.0063)  # orbit 58 ends where 59 begins: the orbit closes
    assert before[1] == pytest.approx(after[1], abs=0.0022)


def test_a_slice_ten_minutes_after_its_node_does_not_belong_to_the_next_orbit():
    with pytest.raises(sc.SarcubeError, match="track A058 does not look at"):
        look_geometry(38.0, node_longitude(59) - 8.0, relative_orbit=58, orbit_state="ascending")


def test_a_track_that_does_not_see_the_place_is_an_error():
    with pytest.raises(sc.SarcubeError, match="track A060 does not look at"):
        look_geometry(45.4, 1.7, 0.0, relative_orbit=60, orbit_state="ascending")


@pytest.mark.parametrize(("orbit", "state"), [(0, "ascending"), (176, "descending"), (59, "up")])
def test_bad_tracks_are_refused(orbit, state):
    with pytest.raises(sc.SarcubeError, match=r"must be"):
        look_geometry(45.4, 1.7, 0.0, relative_orbit=orbit, orbit_state=state)


def test_tracks_over_a_place_are_those_that_look_at_it():
    over = tracks_over(45.435053, 1.681007, orbit_state="ascending")
    assert over[59] == pytest.approx(30.48, abs=0.03)
    assert set(over) == {59, 132}
    assert 168 in tracks_over(47.117028, 12.432669, orbit_state="descending")
    for orbit, incidence in tracks_over(-20.0, 100.0, orbit_state="ascending").items():
        theta, _ = look_geometry(-20.0, 100.0, relative_orbit=orbit, orbit_state="ascending")
        assert theta == pytest.approx(incidence)


# State vectors

LAT, LON = 45.435053, 1.681007  # A059 sees it twelve minutes after the node
SEEN_AT = 741.7


def test_the_place_of_these_tests_is_seen_when_they_say():
    path = reference_trajectory(59, SEEN_AT + np.arange(-20.0, 20.0, 0.1))
    ranges = np.linalg.norm(path.positions - earth_fixed(LAT, LON, 0.0), axis=1)
    assert path.times[ranges.argmin()] - 20.0 == pytest.approx(0.0, abs=2.0)


@given(
    spacings=st.lists(st.floats(1.0, 20.0), min_size=24, max_size=24),
    turn=st.floats(-360, 360),
    height=st.floats(0, 4000),
)
def test_state_vectors_at_any_times_and_an_earth_turned_by_any_angle_give_the_same_look(spacings, turn, height):
    times = np.cumsum(spacings)
    path = reference_trajectory(59, SEEN_AT + times - times.mean())
    path = Trajectory(path.times, turned(path.positions, turn), turned(path.velocities, turn))
    expected = look_geometry(LAT, LON, height, relative_orbit=59, orbit_state="ascending")
    look = look_from_orbit(LAT, LON + turn, height, path, orbit_state="ascending")
    assert_allclose(look, expected, rtol=0, atol=1e-5)


def test_one_spacing_beyond_the_state_vectors_is_extrapolated_and_more_is_refused():
    expected = look_geometry(LAT, LON, relative_orbit=59, orbit_state="ascending")
    for offsets in (np.arange(8.0, 100.0, 10.0), np.arange(-98.0, -2.0, 10.0)):
        near = reference_trajectory(59, SEEN_AT + offsets)
        look = look_from_orbit(LAT, LON, 0.0, near, orbit_state="ascending")
        assert_allclose(look, expected, rtol=0, atol=1e-4)
    late = reference_trajectory(59, SEEN_AT + np.arange(13.0, 100.0, 10.0))
    span = re.escape("2021-08-09T12:00:00 UTC to 2021-08-09T12:01:20 UTC")
    with pytest.raises(sc.SarcubeError, match=f"state vectors' span, {span}"):
        look_from_orbit(LAT, LON, 0.0, late, orbit_state="ascending")
    clockless = Trajectory(late.times, late.positions, late.velocities)
    with pytest.raises(sc.SarcubeError, match=r"track A059 .* span, 0\.0 s to 80\.0 s"):
        solve_points(LAT, LON, 0.0, relative_orbit=59, orbit_state="ascending", trajectory=clockless)


def test_state_vectors_of_the_other_pass_or_the_other_side_are_refused():
    path = reference_trajectory(59, SEEN_AT + np.arange(-50.0, 60.0, 10.0))
    with pytest.raises(sc.SarcubeError, match="descending pass of the state vectors does not look at"):
        look_from_orbit(LAT, LON, 0.0, path, orbit_state="descending")
    with pytest.raises(sc.SarcubeError, match="not to the right of the pass"):
        look_from_orbit(LAT, LON - 15.0, 0.0, path, orbit_state="ascending")
    with pytest.raises(sc.SarcubeError, match="must be"):
        look_from_orbit(LAT, LON, 0.0, path, orbit_state="up")


@pytest.mark.parametrize("pair", [(60.0, 70.0), (50.0, 53.0)])
def test_a_place_far_along_the_path_is_refused_without_a_warning(pair):
    path = reference_trajectory(59, pair)
    with pytest.raises(sc.SarcubeError, match="does not look at"):
        look_from_orbit(-LAT, LON + 120.0, 0.0, path, orbit_state="ascending")


def test_trajectories_that_are_none_are_refused():
    times, states = np.arange(3.0), np.ones((3, 3))
    with pytest.raises(sc.SarcubeError, match=r"two states or more.*\(1,\)"):
        Trajectory(times[:1], states[:1], states[:1])
    with pytest.raises(sc.SarcubeError, match=r"\(3,\), \(3, 3\), \(2, 3\)"):
        Trajectory(times, states, states[:2])
    with pytest.raises(sc.SarcubeError, match="must rise"):
        Trajectory(times[::-1].copy(), states, states)
    with pytest.raises(sc.SarcubeError, match="finite"):
        Trajectory(times, states * np.nan, states)


def test_the_reference_revolution_reaches_two_minutes_beyond_its_nodes():
    times = revolution().times
    assert times[0] < -115
    assert times[-1] > PERIOD + 115
