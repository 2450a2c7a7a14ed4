"""dB, local angles, gamma0 and sigma0, slope correction: arrays against vectors and areas, cubes against arrays."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcube.cube.geometry.north import convergence_nodes, interpolate_nodes, node_positions
from sarcube.cube.geometry.radiometry import (
    GAMMA0,
    SIGMA0,
    add_local_incidence,
    correct_slopes,
    radiometry_of,
    to_gamma0,
    to_sigma0,
)
from sarcube.cube.holes import Hole, hole_reasons, hole_value
from sarcube.errors import BandError, InputError, TrackError
from sarcube.sar.radiometry import (
    from_db,
    gamma0_per_sigma0,
    gamma0_to_sigma0,
    local_incidence_angle,
    range_azimuth_slopes,
    sigma0_to_gamma0,
    slope_correction,
    to_db,
)

SLOPES = st.floats(0, 85)
AZIMUTHS = st.floats(0, 360)
INCIDENCES = st.floats(20, 50)


# --- dB ---------------------------------------------------------------------------------------------------------------


@given(st.floats(1e-6, 1e4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_db_and_back_is_the_same_power(dtype, power):
    power = np.array([power], dtype)
    there = to_db(power)
    back = from_db(there)
    assert there.dtype == back.dtype == dtype
    np.testing.assert_allclose(back, power, rtol=1e-6)


def test_db_of_known_powers():
    np.testing.assert_allclose(to_db(np.array([1.0, 10.0, 0.01, 0.5])), [0, 10, -20, -3.0103], atol=1e-5)
    assert to_db(100) == 20  # whole numbers are taken in double precision


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_power_is_nan_without_a_warning(dtype):
    # Warnings are errors in these tests.
    assert np.isnan(to_db(np.array([0, -0.0, -1, -32768, np.nan, np.inf, -np.inf], dtype))).all()
    assert np.isfinite(to_db(np.array([np.finfo(dtype).tiny, np.finfo(dtype).max], dtype))).all()
    assert np.isnan(from_db(np.array([np.nan, np.inf, -np.inf, 1e5, -1e5], dtype))).all()


# --- angles -----------------------------------------------------------------------------------------------------------


def _normal(slope, aspect):
    """East, north, up: a slope's normal leans downhill."""
    lean, toward = np.radians(slope), np.radians(aspect)
    return np.array([np.sin(lean) * np.sin(toward), np.sin(lean) * np.cos(toward), np.cos(lean)])


@given(SLOPES, AZIMUTHS, INCIDENCES, AZIMUTHS)
def test_local_incidence_is_the_angle_between_two_vectors(slope, aspect, theta, azimuth):
    # The line to the sensor is the normal of a plane that leans toward it by the incidence angle.
    to_sensor, normal = _normal(theta, azimuth), _normal(slope, aspect)
    # The sine as well: the cosine alone knows small angles badly.
    expected = np.degrees(np.arctan2(np.linalg.norm(np.cross(to_sensor, normal)), to_sensor @ normal))
    angle = local_incidence_angle(slope, aspect, incidence_angle=theta, sensor_azimuth=azimuth)
    np.testing.assert_allclose(angle, expected, atol=2e-6)


@pytest.mark.parametrize(("slope", "error"), [(30.0, 1.287), (60.0, 13.576)])
def test_the_papers_local_incidence_is_off_by_as_much_as_the_docstring_says(slope, error):
    aspect = np.linspace(0, 360, 3601)
    exact = local_incidence_angle(slope, aspect, incidence_angle=39.0, sensor_azimuth=0.0)
    along, across = np.radians(range_azimuth_slopes(slope, aspect, sensor_azimuth=0.0))
    paper = np.degrees(np.arccos(np.cos(across) * np.cos(np.radians(39) - along)))  # equation 4
    assert np.abs(paper - exact).max() == pytest.approx(error, abs=2e-3)


def test_slopes_toward_the_sensor_and_across_it():
    aspects = np.array([260.0, 80, 350, 170, 215])  # to the sensor, away from it, across, across, half
    toward, across = range_azimuth_slopes(30.0, aspects, sensor_azimuth=260.0)
    half = np.degrees(np.arctan(np.tan(np.radians(30)) * np.sqrt(0.5)))
    np.testing.assert_allclose(toward, [30, -30, 0, 0, half], atol=1e-12)
    np.testing.assert_allclose(across, [0, 0, -30, 30, half], atol=1e-12)


@given(SLOPES, AZIMUTHS, AZIMUTHS, st.floats(-180, 180))
def test_slopes_do_not_depend_on_which_north(slope, aspect, azimuth, turn):
    first = range_azimuth_slopes(slope, aspect, sensor_azimuth=azimuth)
    turned = range_azimuth_slopes(slope, aspect + turn, sensor_azimuth=azimuth + turn)
    np.testing.assert_allclose(first, turned, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flat_ground_and_unknown_ground(dtype):
    slope, aspect = np.array([0, 0, np.nan, 20], dtype), np.array([np.nan, 90, np.nan, np.nan], dtype)
    look = {"incidence_angle": dtype(39), "sensor_azimuth": dtype(260)}
    toward, across = range_azimuth_slopes(slope, aspect, sensor_azimuth=look["sensor_azimuth"])
    for values, flat in (
        (toward, 0),
        (across, 0),
        (local_incidence_angle(slope, aspect, **look), 39),
        (gamma0_per_sigma0(slope, aspect, **look), 1 / np.cos(np.radians(39))),
        (gamma0_per_sigma0(slope, aspect, **look, model="surface"), 1 / np.cos(np.radians(39))),
    ):
        assert values.dtype == dtype
        np.testing.assert_allclose(values, [flat, flat, np.nan, np.nan], rtol=1e-6, atol=1e-12)


# --- gamma0, sigma0, slope correction ---------------------------------------------------------------------------------


def test_ratio_in_db_at_39_degrees():
    # ../shared/GEOMETRY.md, section 4.
    slope, aspect = np.array([30.0, 0, 30]), np.array([80, np.nan, 260])
    ratio = gamma0_per_sigma0(slope, aspect, incidence_angle=39.0, sensor_azimuth=260.0)
    np.testing.assert_allclose(to_db(ratio), [6.2, 1.1, -6.0], atol=0.05)


def _facet_in_radar(slope, aspect, theta, azimuth):
    """Area of a facet over 1 m² of map that the sensor sees, and slant range that it covers, per metre of azimuth."""
    east, north, up = _normal(slope, aspect)
    facet = np.array([east, north, up]) / up  # its length is the facet's area
    to_sensor = _normal(theta, azimuth)
    seen = facet @ to_sensor
    away = np.array([-np.sin(np.radians(azimuth)), -np.cos(np.radians(azimuth))])
    rise = -(east * away[0] + north * away[1]) / up  # of the ground, away from the sensor
    slant = np.sin(np.radians(theta)) - rise * np.cos(np.radians(theta))
    return seen, slant


@given(st.floats(0.1, 80), AZIMUTHS, INCIDENCES, AZIMUTHS)
def test_ratio_is_that_of_the_areas_a_plane_facet_shows(slope, aspect, theta, azimuth):
    seen, slant = _facet_in_radar(slope, aspect, theta, azimuth)
    ratio = gamma0_per_sigma0(slope, aspect, incidence_angle=theta, sensor_azimuth=azimuth)
    if slant < -1e-9 or seen < -1e-9:
        assert np.isnan(ratio)
    elif slant > 1e-6 and seen > 1e-6:
        # gamma0 = beta0 (slant cell) / (area seen); sigma0 on the ellipsoid = beta0 sin(theta).
        np.testing.assert_allclose(ratio, slant / seen / np.sin(np.radians(theta)), rtol=1e-6)


def test_active_layover_and_shadow_have_no_ratio():
    slope = np.array([38.9, 39.0, 39.1, 50.9, 51.1])
    aspect = np.array([260.0, 260, 260, 80, 80])
    for model in ("volume", "surface"):
        ratio = gamma0_per_sigma0(slope, aspect, incidence_angle=39.0, sensor_azimuth=260.0, model=model)
        np.testing.assert_array_equal(np.isnan(ratio), [False, True, True, False, True])
    for theta in (0.0, 90.0, -30.0, 120.0, np.nan):
        assert np.isnan(gamma0_per_sigma0(0.0, np.nan, incidence_angle=theta, sensor_azimuth=260.0))


@given(st.floats(0.1, 60), AZIMUTHS, INCIDENCES)
def test_the_papers_models(slope, aspect, theta):
    toward, across = np.radians(range_azimuth_slopes(slope, aspect, sensor_azimuth=100.0))
    beside = np.pi / 2 - np.radians(theta)
    volume = np.tan(beside + toward) / np.tan(beside)
    surface = np.cos(beside) / (np.cos(across) * np.cos(beside + toward))
    for model, divisor in (("volume", volume), ("surface", surface)):
        corrected = slope_correction(
            0.2, slope=slope, aspect=aspect, incidence_angle=theta, sensor_azimuth=100.0, model=model
        )
        if 1e-6 < np.radians(theta) - toward < np.pi / 2 - 1e-6:
            np.testing.assert_allclose(corrected, 0.2 / np.cos(np.radians(theta)) / divisor, rtol=1e-6)


def test_slopes_toward_the_sensor_are_made_darker_and_others_brighter():
    look = {"incidence_angle": 39.0, "sensor_azimuth": 100.0}
    for model in ("volume", "surface"):
        away, flat, toward = slope_correction(
            1.0, slope=np.array([20.0, 0, 20]), aspect=np.array([280.0, np.nan, 100]), **look, model=model
        )
        assert toward < flat < away


@given(st.floats(0.1, 35), AZIMUTHS, INCIDENCES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigma0_and_back(dtype, slope, aspect, theta):
    ground = {"slope": dtype(slope), "aspect": dtype(aspect)}
    look = {"incidence_angle": dtype(theta), "sensor_azimuth": dtype(260)}
    gamma0 = np.array([1e-4, 0.1, 3], dtype)
    sigma0 = gamma0_to_sigma0(gamma0, **ground, **look)
    assert sigma0.dtype == dtype
    if np.isfinite(gamma0_per_sigma0(*ground.values(), **look)):
        np.testing.assert_allclose(sigma0_to_gamma0(sigma0, **ground, **look), gamma0, rtol=1e-6)
        np.testing.assert_array_equal(
            slope_correction(sigma0, **ground, **look), sigma0_to_gamma0(sigma0, **ground, **look)
        )
    else:
        assert np.isnan(sigma0).all()


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError, match='"volume" or "surface"'):
        gamma0_per_sigma0(10.0, 90.0, incidence_angle=39.0, sensor_azimuth=100.0, model="canopy")


# --- grid north -------------------------------------------------------------------------------------------------------

EDGE = GeoBox((60, 50), Affine(20, 0, 613_000, 0, -20, 7_770_000), "EPSG:32633")  # 70 N, 18 E: the zone's edge


def _azimuths_on_grid(geobox, row, column, azimuth):
    """Walk 10 m from a pixel's centre in a true azimuth, and see where one goes on the grid."""
    x, y = geobox.affine * (column + 0.5, row + 0.5)
    there = pyproj.Transformer.from_crs(geobox.crs.proj, 4326, always_xy=True)
    lon, lat = there.transform(x, y)
    lon, lat, _ = pyproj.Geod(ellps="WGS84").fwd(lon, lat, azimuth, 10.0)
    x_end, y_end = there.transform(lon, lat, direction="INVERSE")
    return np.degrees(np.arctan2(x_end - x, y_end - y)) % 360


@pytest.mark.parametrize(
    "geobox",
    [
        EDGE,
        GeoBox((170, 250), Affine(1000, 0, 60_000, 0, -1000, 7_900_000), "EPSG:32633"),
        GeoBox((170, 250), Affine(1000, 0, 600_000, 0, -1000, 7_000_000), "EPSG:32733"),
        GeoBox((100, 100), Affine(1000, 0, -50_000, 0, -1000, -1_900_000), "EPSG:3413"),
        GeoBox((100, 100), Affine(0.01, 0, 12, 0, -0.01, 60), "EPSG:4326"),
    ],
)
def test_convergence_turns_true_north_to_grid_north(geobox):
    y, x = node_positions(geobox)
    everywhere = interpolate_nodes(convergence_nodes(geobox), y.values[:, None], x.values)
    assert everywhere.shape == geobox.shape
    for row, column in ((0, 0), (7, 31), (geobox.shape[0] - 1, geobox.shape[1] - 1)):
        # On a grid in degrees only walking along the axes keeps its azimuth.
        azimuth = 90.0 if geobox.crs.geographic else 258.0
        expected = _azimuths_on_grid(geobox, row, column, azimuth)
        difference = (azimuth - everywhere[row, column] - expected + 180) % 360 - 180
        assert abs(difference) < 2e-3
    if geobox is EDGE:
        assert everywhere.mean() == pytest.approx(2.8, abs=0.05)


# --- cubes ------------------------------------------------------------------------------------------------------------

TRACKS = ("A044", "D168")
DATES = ("D168", "A044", "D168", "D168")


def _cube(chunks=(23, 17), *, geobox=EDGE, tracks=TRACKS, dates=DATES, seed=0):
    """Random ground and backscatter, all of it lazy; `chunks` None: in memory."""
    rng = np.random.default_rng(seed)
    shape = geobox.shape

    def lazy(values, lead):
        values = values.astype(np.float32)
        return values if chunks is None else da.from_array(values, chunks=(*lead, *chunks))

    slope = rng.uniform(0, 40, shape)
    slope[:5, :5] = 0
    aspect = np.where(slope == 0, np.nan, rng.uniform(0, 360, shape))
    slope[10:12, 10:12] = aspect[10:12, 10:12] = np.nan
    incidence = {"A044": rng.uniform(30, 35, shape), "D168": rng.uniform(40, 45, shape)}
    azimuth = {"A044": rng.uniform(258, 262, shape), "D168": rng.uniform(98, 102, shape)}
    power = rng.gamma(4.4, 0.02, (len(dates), *shape)).astype(np.float32)
    power[:, 20, 20] = hole_value(Hole.NODATA)
    power[1, :8, 20:30] = hole_value(Hole.FRINGE)
    described = {"units": "1", "grid_mapping": "spatial_ref"}
    bands = {
        name: (
            ("time", "y", "x"),
            lazy(power * scale, (1,)),
            {**described, "long_name": f"gamma0 backscatter, {name.upper()}, linear power, terrain-flattened"},
        )
        for name, scale in (("vv", np.float32(1)), ("vh", np.float32(0.25)))
    }
    per_track = {
        name: (("track", "y", "x"), lazy(np.stack([values[track] for track in tracks]), (1,)), {"source": "made up"})
        for name, values in (("incidence_angle", incidence), ("sensor_azimuth", azimuth))
    }
    return xr.Dataset(
        bands | per_track | {"slope": (("y", "x"), lazy(slope, ())), "aspect": (("y", "x"), lazy(aspect, ()))},
        coords={
            **xr_coords(geobox),
            "time": pd.date_range("2021-04-01", periods=len(dates)),
            "scene_track": ("time", np.array(dates, object)),
            "track": ("track", list(tracks)),
        },
        attrs={"title": "Sentinel-1 gamma0, radiometrically terrain corrected"},
    )


def _nothing_may_compute(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def _rechunked(cube, names, **sizes):
    return cube.assign(
        {name: cube[name].chunk({d: n for d, n in sizes.items() if d in cube[name].dims}) for name in names}
    )


def _all_of(cube):
    sigma0 = to_sigma0(cube)
    return [
        sigma0,
        to_gamma0(sigma0),
        correct_slopes(sigma0),
        correct_slopes(sigma0, model="surface"),
        add_local_incidence(cube),
    ]


def test_cubes_are_lazy_and_the_same_for_any_chunks_and_order_of_tracks():
    whole = [result.compute() for result in _all_of(_cube(None))]
    with dask.config.set(scheduler=_nothing_may_compute):
        lazy = [
            *(_all_of(_cube(chunks)) for chunks in ((60, 50), (23, 17), (7, 50))),
            _all_of(_cube(tracks=TRACKS[::-1])),
            _all_of(_rechunked(_cube(), ("vv", "vh"), time=4, y=11)),
            _all_of(_rechunked(_cube(), ("incidence_angle", "slope"), track=2, x=13)),
        ]
    for results in lazy:
        for result, expected in zip(results, whole, strict=True):
            assert result.vv.chunks is not None
            found = result.compute().sel(track=list(TRACKS))
            xr.testing.assert_identical(found, expected)
            assert found.vv.dtype == np.float32


@settings(max_examples=10)
@given(st.integers(9, 60), st.integers(9, 50), st.integers(1, 4))
def test_chunks_of_any_size_change_no_bit(rows, columns, dates):
    cube = _rechunked(_cube(), ("vv", "vh"), time=dates, y=rows, x=columns)
    found = to_sigma0(cube)
    assert found.vv.chunks == cube.vv.chunks
    np.testing.assert_array_equal(found.vv.values.view(np.uint32), to_sigma0(_cube(None)).vv.values.view(np.uint32))


def test_each_date_takes_its_tracks_geometry_from_grid_north():
    cube = _cube(None)
    sigma0, local = to_sigma0(cube), add_local_incidence(cube).local_incidence_angle
    row, column = 33, 41
    for step, track in enumerate(DATES):
        layers = {
            name: float(cube[name].sel(track=track)[row, column]) for name in ("incidence_angle", "sensor_azimuth")
        }
        layers["sensor_azimuth"] = _azimuths_on_grid(EDGE, row, column, layers["sensor_azimuth"])
        ground = {name: float(cube[name][row, column]) for name in ("slope", "aspect")}
        expected = gamma0_to_sigma0(float(cube.vh[step, row, column]), **ground, **layers)
        np.testing.assert_allclose(sigma0.vh[step, row, column], expected, rtol=1e-5)
        angle = local_incidence_angle(*ground.values(), **layers)
        np.testing.assert_allclose(local.sel(track=track)[row, column], angle, atol=1e-4)
    # Without the turn to grid north it would be wrong by far more than that.
    wrong = gamma0_per_sigma0(
        cube.slope.values,
        cube.aspect.values,
        incidence_angle=cube.incidence_angle.values[1],
        sensor_azimuth=cube.sensor_azimuth.values[1],
    )
    error = np.abs(to_db(cube.vv.values[0] / sigma0.vv.values[0]) - to_db(wrong))
    assert 0.05 < np.nanmedian(error) < 0.5


def test_there_and_back_keeps_values_and_holes():
    cube = _cube(None)
    sigma0 = to_sigma0(cube)
    back = to_gamma0(sigma0)
    kept = np.isfinite(sigma0.vv.values)
    np.testing.assert_allclose(back.vv.values[kept], cube.vv.values[kept], rtol=1e-6)
    before, after = hole_reasons(cube.vv.values), hole_reasons(sigma0.vv.values)
    is_hole = np.isnan(cube.vv.values)
    np.testing.assert_array_equal(after[is_hole], before[is_hole])
    assert {Hole.NODATA, Hole.FRINGE} <= set(after[is_hole])
    # What has no slope, and what the slope hides, is lost, and nothing else.
    assert np.isnan(sigma0.vv.values[:, 10:12, 10:12]).all()
    local = add_local_incidence(cube).local_incidence_angle.sel(track=list(DATES)).values
    hidden = np.isnan(sigma0.vv.values) & ~is_hole & np.isfinite(local)
    toward = cube.slope.values > np.min(cube.incidence_angle.values) - 1e-3
    assert hidden.any()
    assert (toward | ~hidden).all()


def test_a_cube_says_what_it_holds_and_is_not_converted_twice():
    cube = _cube()
    sigma0 = to_sigma0(cube)
    assert (radiometry_of(cube), radiometry_of(sigma0), radiometry_of(to_gamma0(sigma0))) == (GAMMA0, SIGMA0, GAMMA0)
    assert sigma0.vh.attrs["long_name"] == "sigma0 backscatter, VH, linear power, on the ellipsoid"
    assert set(sigma0.vh.attrs) == {*cube.vh.attrs, "radiometry"}
    assert add_local_incidence(cube).local_incidence_angle.attrs["source"] == "made up"
    assert "gamma0" not in sigma0.attrs["title"]
    assert cube.vh.attrs["long_name"].startswith("gamma0")  # the cube given is as it was
    assert to_gamma0(sigma0).vh.attrs["long_name"] == cube.vh.attrs["long_name"]
    with pytest.raises(InputError, match='needs a cube of "gamma0 RTC", and this one holds "sigma0'):
        to_sigma0(sigma0)
    for convert in (to_gamma0, correct_slopes):
        with pytest.raises(InputError, match=r'needs a cube of "sigma0.*to_sigma0'):
            convert(cube)
    with pytest.raises(InputError, match="surface model"):
        to_sigma0(correct_slopes(sigma0, model="surface"))
    with pytest.raises(InputError, match='"volume" or "surface"'):
        correct_slopes(sigma0, model="both")


def test_bands_that_do_not_say_what_they_hold_are_refused():
    cube = _cube()
    cube.vv.attrs["long_name"] = "backscatter, VV, linear power, as published"
    with pytest.raises(InputError, match=r'"vv" does not say.*attrs'):
        to_sigma0(cube)
    cube.vv.attrs["radiometry"] = GAMMA0
    assert radiometry_of(to_sigma0(cube)) == SIGMA0
    cube.vv.attrs["radiometry"] = SIGMA0
    with pytest.raises(InputError, match="different radiometries"):
        to_sigma0(cube)
    with pytest.raises(BandError, match="has none of vv"):
        to_sigma0(cube.drop_vars(["vv", "vh"]))


def test_missing_layers_name_what_to_run():
    cube = _cube()
    with pytest.raises(BandError, match=r"slope, aspect.*sc\.add_terrain"):
        to_sigma0(cube.drop_vars(["slope", "aspect"]))
    with pytest.raises(BandError, match=r"sensor_azimuth.*sc\.add_geometry"):
        add_local_incidence(cube.drop_vars("sensor_azimuth"))
    with pytest.raises(TrackError, match=r'"D168" has no per-track layers.*A044.*sc\.add_geometry'):
        to_sigma0(cube.isel(track=[0]))


def test_a_cube_in_degrees_has_one_north():
    geobox = GeoBox((60, 50), Affine(2e-4, 0, 18, 0, -1e-4, 70), "EPSG:4326")
    cube = _cube(None, geobox=geobox)
    cube = cube.rename({name: new for name, new in (("latitude", "y"), ("longitude", "x")) if name in cube.dims})
    expected = local_incidence_angle(
        cube.slope.values,
        cube.aspect.values,
        incidence_angle=cube.incidence_angle.values,
        sensor_azimuth=cube.sensor_azimuth.values,
    )
    np.testing.assert_array_equal(add_local_incidence(cube).local_incidence_angle, expected)
