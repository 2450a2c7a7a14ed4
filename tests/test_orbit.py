"""Look geometry against golden points of real products (GEOMETRY 1c)."""

import numpy as np
import pytest

import sarcube as sc
from sarcube.sar import look_geometry, tracks_over

GOLDEN = [  # relative orbit, pass, lat, lon, height m, incidence on the ellipsoid normal, sensor azimuth
    (59, "ascending", 45.435053, 1.681007, 423.98, 30.4964, 258.785),
    (168, "descending", 47.117028, 12.432669, 2322.0, 30.7819, 101.260),
    (22, "descending", 41.280780, 11.868003, 0.0, 46.1076, 99.003),
]


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


def test_height_lowers_the_incidence_by_a_few_hundredths_of_a_degree_per_kilometre():
    low, _ = look_geometry(45.4, 1.7, 0.0, relative_orbit=59, orbit_state="ascending")
    high, _ = look_geometry(45.4, 1.7, 1000.0, relative_orbit=59, orbit_state="ascending")
    assert 0.02 < high - low < 0.06


def test_next_track_is_twelve_days_over_175_orbits_west():
    here, _ = look_geometry(30.0, 10.0, 0.0, relative_orbit=15, orbit_state="ascending")
    there, _ = look_geometry(30.0, 10.0 - 360 * 12 / 175, 0.0, relative_orbit=16, orbit_state="ascending")
    assert here == pytest.approx(there, abs=1e-9)


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
