"""Look geometry at nodes over a grid and between them: against the orbit, geodesics and the law of slant range."""

from dataclasses import replace

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import sarcube as sc
from sarcube.cube.geometry import look
from sarcube.cube.geometry.look import look_at_pixels, pixel_centres, solve_look
from sarcube.sar import look_geometry, tracks_over
from sarcube.sar.reference_orbit import node_longitude, revolution
from sarcube.sar.trajectory import Trajectory

GEOD = pyproj.Geod(ellps="WGS84")


def _around(lon, lat, crs, *, pixel, metres=60_000):
    """A grid of some 60 km around a place; `pixel` is its width and height in units of the CRS."""
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    size = (metres, metres)
    if pyproj.CRS(crs).is_geographic:
        size = metres / 111_000 / np.cos(np.radians(lat)), metres / 111_000
    columns, rows = (int(length / step) for length, step in zip(size, pixel, strict=True))
    return GeoBox((rows, columns), Affine(pixel[0], 0, x - size[0] / 2, 0, -pixel[1], y + size[1] / 2), crs)


GRIDS = {
    "UTM, off the central meridian": _around(17.6, 46.0, "EPSG:32633", pixel=(100, 100)),
    "UTM, oblong": _around(12.1, 46.0, "EPSG:32633", pixel=(100, 40)),
    "UTM south": _around(172.5, -43.0, "EPSG:32759", pixel=(100, 100)),
    "UTM at 75°": _around(-24.0, 75.0, "EPSG:32627", pixel=(100, 100)),
    "UTM over the antimeridian": _around(179.9, 65.0, "EPSG:32660", pixel=(100, 100)),
    "polar stereographic": _around(-40.0, 75.0, "EPSG:3413", pixel=(100, 100)),
    "Mercator": _around(10.0, 60.0, "EPSG:3857", pixel=(100, 100)),
    "degrees": _around(11.0, 45.0, "EPSG:4326", pixel=(1e-3, 1e-3)),
    "degrees, south": _around(100.0, -8.0, "EPSG:4326", pixel=(1e-3, 5e-4)),
    "degrees at 75°": _around(-24.0, 75.0, "EPSG:4326", pixel=(2e-3, 1e-3)),
    "degrees beyond 180": _around(180.0, -17.0, "EPSG:4326", pixel=(1e-3, 1e-3)),
}
PASSES = ("ascending", "descending")


def _lon_lat(grid, rows, columns):
    """Longitude and latitude of pixels."""
    transformer = pyproj.Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)
    return transformer.transform(*pixel_centres(grid, rows, columns))


def _track(grid, orbit_state):
    """The relative orbit that sees the middle of a grid nearest to the middle of its swath."""
    lon, lat = _lon_lat(grid, grid.shape[0] / 2, grid.shape[1] / 2)
    seen = tracks_over(lat, lon, orbit_state=orbit_state)
    return {"relative_orbit": min(seen, key=lambda orbit: abs(seen[orbit] - 38)), "orbit_state": orbit_state}


def _difference(azimuth, other):
    return (azimuth - other + 180) % 360 - 180


@pytest.mark.parametrize("orbit_state", PASSES)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_angles_between_nodes_are_those_of_the_orbit(grid, orbit_state):
    track = _track(grid, orbit_state)
    nodes = solve_look(grid, **track)
    rng = np.random.default_rng(1)
    rows, columns = (np.sort(rng.integers(0, n, 30)) for n in grid.shape)
    lon, lat = _lon_lat(grid, *np.meshgrid(rows, columns, indexing="ij"))
    # Incidence bends with height: the chord from 0 to 3000 m shows between and beyond.
    for height, tolerance in ((-400, 1.2e-4), (0, 5e-5), (1500, 1e-4), (3000, 5e-5), (4000, 2.2e-4), (8800, 2.2e-3)):
        expected = look_geometry(lat, lon, height, **track)
        incidence, azimuth = look_at_pixels(nodes, rows, columns, np.full(lat.shape, height, np.float32))
        assert incidence.dtype == azimuth.dtype == np.float32
        assert np.abs(incidence - expected[0]).max() < tolerance
        assert np.abs(_difference(azimuth, expected[1])).max() < 5e-5
        assert azimuth.min() >= 0
        assert azimuth.max() < 360


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_away_is_where_a_geodesic_leads(grid):
    nodes = solve_look(grid, **_track(grid, "descending"))
    row, column = np.meshgrid(nodes.rows, nodes.columns, indexing="ij")
    lon, lat = _lon_lat(grid, row, column)
    ahead, behind = (
        _pixels(grid, *GEOD.fwd(lon, lat, nodes.azimuth[0] + turn, np.full(lon.shape, 50.0))[:2]) for turn in (180, 0)
    )
    for walked, across in zip(np.subtract(ahead, behind) / 100, nodes.away, strict=True):
        assert np.abs(walked - across).max() < 1e-8 * np.hypot(*nodes.away).max()


def _pixels(grid, lon, lat):
    """Rows and columns of places; on a grid beyond 180 degrees, longitudes count on."""
    x, y = pyproj.Transformer.from_crs(4326, grid.crs.proj, always_xy=True).transform(lon, lat)
    if grid.crs.geographic:
        middle = grid.affine.c + grid.affine.a * grid.shape[1] / 2
        x = np.asarray(x) + 360 * np.round((middle - x) / 360)
    return (y - grid.affine.f) / grid.affine.e - 0.5, (x - grid.affine.c) / grid.affine.a - 0.5


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_slant_range_grows_by_the_sine_of_incidence_per_metre_away(grid):
    nodes = solve_look(grid, **_track(grid, "ascending"))
    per_row, per_column = np.gradient(nodes.slant_range, nodes.rows, nodes.columns)
    growth = per_row * nodes.away[0] + per_column * nodes.away[1]
    inner = (slice(1, -1), slice(1, -1))  # differences at the edge are one-sided
    expected = np.sin(np.radians(nodes.incidence[0]))
    np.testing.assert_allclose(growth[inner], expected[inner], rtol=1e-5)
    assert nodes.slant_range.min() > 7e5
    assert nodes.slant_range.max() < 1.1e6


@pytest.mark.parametrize("name", ["UTM, off the central meridian", "UTM south", "UTM at 75°", "polar stereographic"])
def test_mean_grid_azimuth_is_the_true_one_less_the_convergence_of_the_projection(name):
    grid = GRIDS[name]
    nodes = solve_look(grid, **_track(grid, "ascending"))
    lon, lat = _lon_lat(grid, *np.meshgrid(nodes.rows, nodes.columns, indexing="ij"))
    convergence = pyproj.Proj(grid.crs.proj).get_factors(lon, lat).meridian_convergence
    assert np.abs(_difference(nodes.convergence, convergence)).max() < 1e-6
    expected = (nodes.azimuth[0] - convergence).mean() % 360
    assert nodes.mean_grid_azimuth == pytest.approx(expected, abs=1e-6)
    assert 0 <= nodes.mean_grid_azimuth < 360


def test_in_degrees_the_grid_points_north():
    nodes = solve_look(GRIDS["degrees"], **_track(GRIDS["degrees"], "ascending"))
    np.testing.assert_allclose(nodes.convergence, 0, atol=1e-9)


WHOLE = GRIDS["UTM, off the central meridian"]
NODES = solve_look(WHOLE, **_track(WHOLE, "descending"))


@given(
    y=st.lists(st.integers(0, WHOLE.shape[0] - 1), min_size=2, max_size=2, unique=True),
    x=st.lists(st.integers(0, WHOLE.shape[1] - 1), min_size=2, max_size=2, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_pixel_does_not_depend_on_its_block(y, x, seed):
    height = np.random.default_rng(seed).uniform(-400, 8000, WHOLE.shape).astype(np.float32)
    rows, columns = (np.arange(n) for n in WHOLE.shape)
    whole = look_at_pixels(NODES, rows, columns, height)
    part = slice(*sorted(y)), slice(*sorted(x))
    block = look_at_pixels(NODES, rows[part[0]], columns[part[1]], height[part])
    for values, expected in zip(block, whole, strict=True):
        np.testing.assert_array_equal(values, expected[part])


def test_heights_of_any_float_type_and_layout_give_the_same():
    height = np.random.default_rng(0).uniform(0, 4000, (40, 50)).astype(np.float32)
    height[3, 4] = np.nan
    rows, columns = np.arange(40), np.arange(50)
    expected = look_at_pixels(NODES, rows, columns, height)
    for same in (height.astype(np.float64), np.asfortranarray(height), np.repeat(height, 2, axis=1)[:, ::2]):
        for values, wanted in zip(look_at_pixels(NODES, rows, columns, same), expected, strict=True):
            np.testing.assert_array_equal(values, wanted)
    for values in expected:
        assert np.isnan(values[3, 4])
        assert np.isnan(values).sum() == 1


def test_an_azimuth_that_passes_north_stays_within_a_turn():
    across = np.broadcast_to(np.linspace(-20, 20, NODES.columns.size), NODES.azimuth.shape)
    rows, columns = np.arange(5), np.arange(WHOLE.shape[1])
    expected = np.interp(columns, NODES.columns, across[0, 0])
    for turns in (0, 360):
        nodes = replace(NODES, azimuth=across + turns)
        _, azimuth = look_at_pixels(nodes, rows, columns, np.zeros((5, columns.size), np.float32))
        assert azimuth.min() >= 0
        assert azimuth.max() < 360
        np.testing.assert_allclose(_difference(azimuth, expected[None]), 0, atol=5e-5)


def test_an_azimuth_just_west_of_north_is_not_rounded_to_a_full_turn():
    nodes = replace(NODES, azimuth=np.full(NODES.azimuth.shape, -1e-9))
    _, azimuth = look_at_pixels(nodes, np.arange(2), np.arange(20), np.zeros((2, 20), np.float32))
    np.testing.assert_array_equal(azimuth, 0)


def test_heights_above_the_geoid_are_raised_by_its_undulation(monkeypatch):
    monkeypatch.setattr(look, "geoid_undulation", lambda lat, lon: (40 + 5 * np.sin(lat), "above a made-up geoid"))
    track = _track(WHOLE, "descending")
    nodes = solve_look(WHOLE, **track, above_geoid=True)
    assert nodes.heights == "above a made-up geoid"
    rows, columns = np.arange(0, 600, 37), np.arange(0, 600, 41)
    _, lat = _lon_lat(WHOLE, *np.meshgrid(rows, columns, indexing="ij"))
    height = np.full(lat.shape, 1000, np.float32)
    expected = look_at_pixels(NODES, rows, columns, (height + 40 + 5 * np.sin(lat)).astype(np.float32))
    for values, wanted in zip(look_at_pixels(nodes, rows, columns, height), expected, strict=True):
        np.testing.assert_allclose(values, wanted, rtol=0, atol=4e-5)  # two roundings of azimuth in float32
    assert NODES.heights == "above the ellipsoid"
    assert (NODES.undulation == 0).all()


def test_state_vectors_take_the_place_of_the_reference_orbit():
    track = _track(WHOLE, "descending")
    given_vectors = solve_look(WHOLE, **track, trajectory=_raised(track), source="made-up vectors")
    assert given_vectors.source == "made-up vectors"
    assert "reference orbit" in NODES.source
    # A kilometre higher is the cosine of the angle at the sensor farther, 25 to 40 degrees in a swath.
    farther = given_vectors.slant_range - NODES.slant_range
    assert 760 < farther.min() < farther.max() < 920


def _raised(track):
    """The reference orbit of a track, one kilometre higher."""
    node = np.radians(node_longitude(track["relative_orbit"]))
    turn = np.array([[np.cos(node), np.sin(node), 0], [-np.sin(node), np.cos(node), 0], [0, 0, 1]])
    orbit = revolution()
    higher = 1 + 1000 / np.linalg.norm(orbit.positions, axis=1, keepdims=True)
    return Trajectory(orbit.times, orbit.positions @ turn * higher, orbit.velocities @ turn * higher)


def test_the_whole_of_a_thin_grid_is_solved():
    thin = GeoBox((1, 1), Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")
    nodes = solve_look(thin, **_track(thin, "descending"))
    assert nodes.incidence.shape == (2, 2, 2)
    incidence, _ = look_at_pixels(nodes, np.array([0]), np.array([0]), np.zeros((1, 1), np.float32))
    assert incidence[0, 0] == pytest.approx(nodes.incidence[0].mean(), abs=1e-5)


def test_grids_that_cannot_be_looked_at_are_refused():
    track = _track(WHOLE, "descending")
    south_up = GeoBox(WHOLE.shape, WHOLE.affine * Affine.scale(1, -1), WHOLE.crs)
    nowhere = GeoBox(WHOLE.shape, WHOLE.affine, None)
    for grid in (south_up, nowhere):
        with pytest.raises(sc.SarcubeError, match="rows from north to south"):
            solve_look(grid, **track)
    with pytest.raises(sc.SarcubeError, match="does not look at"):
        solve_look(GRIDS["UTM south"], **track)
