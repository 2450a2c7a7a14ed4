"""Terrain on grids in metres and in degrees, and the DEM below it: against cones of known slope on the ellipsoid."""

import dask
import dask.array as da
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sarcube as sc
from sarcube.cube.geometry import relief
from sarcube.cube.geometry.dem import dem_posting, read_dem
from sarcube.cube.geometry.ground import metres_per_pixel, pixel_size
from sarcube.cube.geometry.relief import dem_range
from sarcube.sar import slope_aspect
from sarcube.sar.terrain import curvature

GEOD = pyproj.Geod(ellps="WGS84")
TOP, STEEPNESS = 4000.0, 30.0  # metres, degrees


def _centres(geobox):
    """Longitude and latitude of every pixel."""
    a = geobox.affine
    column, row = np.meshgrid(np.arange(geobox.shape[1]) + 0.5, np.arange(geobox.shape[0]) + 0.5)
    x, y = a.a * column + a.c, a.e * row + a.f
    return pyproj.Transformer.from_crs(geobox.crs.proj, 4326, always_xy=True).transform(x, y)


def _degrees(lon, lat, *, rows=300, columns=260, pixel=(4e-4, 2e-4)):
    """A grid in degrees around a place, its pixels (width, height) in degrees."""
    left, top = lon - columns * pixel[0] / 2, lat + rows * pixel[1] / 2
    return GeoBox((rows, columns), Affine(pixel[0], 0, left, 0, -pixel[1], top), "EPSG:4326")


def _cone(geobox, lon, lat):
    """A cone of 30 degrees on the ellipsoid: heights, distance from its top and azimuth away from it."""
    lons, lats = _centres(geobox)
    away, _, distance = GEOD.inv(np.full(lons.shape, lon), np.full(lons.shape, lat), lons, lats)
    back = GEOD.inv(lons, lats, np.full(lons.shape, lon), np.full(lons.shape, lat))[0]
    assert np.abs((away - back) % 360 - 180).max() < 1  # meridians converge over the cone, by less than that
    return TOP - np.tan(np.radians(STEEPNESS)) * distance, distance, (back + 180) % 360


def _assert_is_the_cone(slope, aspect, distance, away, *, beyond, slope_tolerance=1e-3):
    # Near the top the cone bends within three pixels; at the edge differences are one-sided.
    flank = (distance > beyond)[1:-1, 1:-1]
    assert flank.mean() > 0.3
    error = np.abs(np.tan(np.radians(slope[1:-1, 1:-1])) / np.tan(np.radians(STEEPNESS)) - 1)
    assert error[flank].max() < slope_tolerance
    turn = (aspect[1:-1, 1:-1] - away[1:-1, 1:-1] + 180) % 360 - 180
    assert np.abs(turn[flank]).max() < 0.06


@pytest.mark.parametrize("lat", [45.0, 75.0, -33.0, 0.0])
def test_slope_and_aspect_of_a_cone_in_degrees(lat):
    geobox = _degrees(11.3, lat)
    height, distance, away = _cone(geobox, 11.3, lat)
    slope, aspect = slope_aspect(height, resolution=metres_per_pixel(geobox))
    _assert_is_the_cone(slope, aspect, distance, away, beyond=1000)


def test_slope_of_a_plane_on_oblong_pixels():
    row, column = np.mgrid[:20, :30]
    # Falls by 0.3 per metre to the east and rises by 0.4 to the south, so that it falls to the north.
    height = -0.3 * 25 * column + 0.4 * 10 * row
    slope, aspect = slope_aspect(height, resolution=(10.0, 25.0))
    np.testing.assert_allclose(slope, np.degrees(np.arctan(0.5)), rtol=1e-12)
    np.testing.assert_allclose(aspect, np.degrees(np.arctan2(0.3, 0.4)), rtol=1e-12)
    np.testing.assert_allclose(curvature(height, resolution=(10.0, 25.0)), 0, atol=1e-12)


@pytest.mark.parametrize("lat", [45.0, 75.0])
def test_curvature_of_a_bowl_in_degrees(lat):
    geobox = _degrees(11.3, lat, rows=100, columns=80)
    lons, lats = _centres(geobox)
    distance = GEOD.inv(np.full(lons.shape, 11.3), np.full(lons.shape, lat), lons, lats)[2]
    values = curvature(1e-4 * distance**2, resolution=metres_per_pixel(geobox))
    np.testing.assert_allclose(values[1:-1, 1:-1], -4e-4, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_size_given_in_any_form_gives_the_same_bits(dtype):
    height = np.random.default_rng(0).normal(500, 80, (23, 31)).astype(dtype)
    expected = [*slope_aspect(height, resolution=12.3), curvature(height, resolution=12.3)]
    for size in ((12.3, 12.3), (np.full(23, 12.3), np.full((23, 1), 12.3)), (12.3, np.full(23, 12.3))):
        same = [*slope_aspect(height, resolution=size), curvature(height, resolution=size)]
        for values, wanted in zip(same, expected, strict=True):
            assert values.dtype == dtype
            np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize("size", [0.0, -10.0, (10.0, np.ones(4)), (np.full(5, np.nan), 10.0)])
def test_sizes_that_are_none_are_refused(size):
    for kernel in (slope_aspect, curvature):
        with pytest.raises(sc.SarcubeError, match="one for each of the 5 rows"):
            kernel(np.zeros((5, 4)), resolution=size)


@pytest.mark.parametrize("lat", [0.0, 45.0, -75.0])
def test_metres_per_pixel_of_degrees_are_those_of_geodesics(lat):
    geobox = _degrees(11.3, lat, rows=9)
    down, across = metres_per_pixel(geobox)
    lons, lats = _centres(geobox)
    # A chord of the parallel is shorter than its arc by less than 1e-9 over so little.
    np.testing.assert_allclose(across, GEOD.inv(lons[:, 0], lats[:, 0], lons[:, 1], lats[:, 1])[2], rtol=1e-8)
    np.testing.assert_allclose(down[1:-1], GEOD.inv(lons[:-2, 0], lats[:-2, 0], lons[2:, 0], lats[2:, 0])[2] / 2)


def test_metres_per_pixel_of_a_projected_grid_are_its_own():
    feet = GeoBox((3, 4), Affine(30, 0, 2e6, 0, -15, 7e5), "EPSG:2263")  # New York, US survey feet
    down, across = metres_per_pixel(feet)
    np.testing.assert_allclose(down, np.full(3, 15 * 1200 / 3937))
    np.testing.assert_allclose(across, np.full(3, 30 * 1200 / 3937))
    with pytest.raises(sc.SarcubeError, match="square pixels"):
        pixel_size(feet)


# Cubes and DEMs


def _cube(geobox, chunks=(64, 50)):
    data = da.ones((2, *geobox.shape), chunks=(1, *chunks), dtype=np.float32)
    return xr.Dataset({"vv": (("time", *geobox.dimensions), data)}, coords=xr_coords(geobox)).rename(
        dict(zip(geobox.dimensions, ("y", "x"), strict=True))
    )


def _write(path, heights, affine, crs, *, nodata=-9999.0, **options):
    rows, columns = heights.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=columns,
        height=rows,
        count=1,
        dtype="float32",
        crs=crs,
        transform=affine,
        nodata=nodata,
        **options,
    ) as target:
        target.write(np.where(np.isfinite(heights), heights, nodata).astype(np.float32), 1)
    return path


def _nothing_may_compute(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")


@pytest.mark.parametrize("lat", [45.0, 75.0])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632"])
def test_terrain_of_a_cube_in_degrees(tmp_path, crs, lat):
    """A cone in a DEM of either kind, onto oblong pixels in degrees: true slopes, the same for any chunks."""
    geobox = _degrees(9.5, lat, rows=180, columns=150, pixel=(6e-4, 3e-4))
    if crs == "EPSG:4326":
        posts = _degrees(9.5, lat, rows=420, columns=300, pixel=(4e-4, 2e-4))
    else:
        x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(9.5, lat)
        posts = GeoBox((500, 500), Affine(20, 0, x - 5_003, 0, -20, y + 5_011), crs)
    path = _write(tmp_path / "cone.tif", _cone(posts, 9.5, lat)[0], posts.affine, crs)
    with dask.config.set(scheduler=_nothing_may_compute):
        cubes = [sc.add_terrain(_cube(geobox, chunks), path) for chunks in ((180, 150), (64, 50), (37, 23))]
    whole, *parts = (cube.drop_vars("vv").compute() for cube in cubes)
    for part in parts:
        xr.testing.assert_identical(part, whole)
    height, distance, away = _cone(geobox, 9.5, lat)
    flank = distance > 1000
    np.testing.assert_allclose(whole.elevation.values[flank], height[flank], atol=0.1)
    _assert_is_the_cone(whole.slope.values, whole.aspect.values, distance, away, beyond=1000)


@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_never_change_a_bit(tmp_path, data):
    geobox = _degrees(9.5, 60.0, rows=40, columns=50, pixel=(8e-4, 4e-4))
    posts = _degrees(9.5, 60.0, rows=70, columns=70, pixel=(7e-4, 3e-4))
    heights = np.random.default_rng(data.draw(st.integers(0, 99))).normal(900, 200, posts.shape)
    heights[data.draw(st.integers(0, 69)), data.draw(st.integers(0, 69))] = np.nan
    path = _write(tmp_path / "rough.tif", heights, posts.affine, "EPSG:4326")
    rows = data.draw(st.integers(1, 40))
    chunks = rows, data.draw(st.integers(1 if rows > 30 else 20, 50))  # a task for every pixel would take long
    whole, part = (sc.add_terrain(_cube(geobox, c), path).drop_vars("vv") for c in (geobox.shape, chunks))
    xr.testing.assert_identical(part.compute(), whole.compute())


def test_what_is_no_data_in_the_dem_is_no_data_in_degrees_too(tmp_path):
    geobox = _degrees(9.5, 60.0, rows=40, columns=50, pixel=(8e-4, 4e-4))
    heights = np.full((80, 80), 700.0)
    heights[30:40, 30:40] = np.nan
    posts = _degrees(9.5, 60.0, rows=80, columns=80, pixel=(8e-4, 4e-4))
    cube = sc.add_terrain(_cube(geobox), _write(tmp_path / "hole.tif", heights, posts.affine, "EPSG:4326"))
    elevation, slope = cube.elevation.values, cube.slope.values
    # Twenty posts lie above the cube and fifteen to its left; the convolution reaches two posts, Horn a pixel more.
    hole = np.zeros(geobox.shape, bool)
    hole[10:20, 15:25] = True
    assert np.isnan(elevation[hole]).all()
    assert (elevation[np.isfinite(elevation)] == 700).all()
    assert hole.sum() <= np.isnan(elevation).sum() <= 14 * 14
    assert np.isnan(elevation).sum() < np.isnan(slope).sum() <= 16 * 16


@pytest.mark.parametrize("first", [178.9, -181.1, 538.9])
def test_a_dem_of_other_turns_of_longitude(tmp_path, first, caplog):
    """Longitudes across 180, from -180 down and from 0 to 360 name the same places."""
    affine = Affine(0.01, 0, first, 0, -0.01, -16.0)
    row, column = np.mgrid[:200, :220]
    path = _write(tmp_path / "dem.tif", 100.0 + column + 0.1 * row, affine, "EPSG:4326")
    for geobox in (
        _degrees(180.0, -17.0, rows=50, columns=60, pixel=(2e-3, 2e-3)),
        _degrees(-180.0, -17.0, rows=50, columns=60, pixel=(2e-3, 2e-3)),
        GeoBox((50, 60), Affine(100, 0, 816_000, 0, -100, 8_118_000), "EPSG:32760"),  # across 180
    ):
        lon, lat = _centres(geobox)
        expected = 100 + (np.asarray(lon) % 360 - 178.9) / 0.01 - 0.5 + 0.1 * ((-16 - np.asarray(lat)) / 0.01 - 0.5)
        heights = read_dem(str(path), geobox, slice(0, 50), slice(0, 60))
        np.testing.assert_allclose(heights, expected, atol=2e-3)
        low, high = dem_range(str(path), geobox)
        assert low <= heights.min() < heights.max() <= high
        sc.add_terrain(_cube(geobox), path)
    assert "only in part" not in caplog.text


GRID = GeoBox((40, 50), Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")
POSTS = Affine(30, 0, 499_870, 0, -30, 5_210_130)


@given(seed=st.integers(0, 2**32 - 1), rough=st.sampled_from([0.1, 30.0, 800.0]), hole=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_height_leaves_the_range(tmp_path, seed, rough, hole):
    """Random posts make the convolution overshoot as much as it can."""
    rng = np.random.default_rng(seed)
    heights = rng.choice([-rough, rough], (26, 30)) + rng.normal(1000, rough / 5, (26, 30))
    if hole:
        heights[10:13, 8:12] = np.nan
    path = str(_write(tmp_path / "rough.tif", heights, POSTS, "EPSG:32633"))
    fine = GeoBox((400, 500), GRID.affine * Affine.scale(0.1), GRID.crs)
    low, high = dem_range(path, GRID)
    values = read_dem(path, fine, slice(0, 400), slice(0, 500))
    assert low <= np.nanmin(values)
    assert np.nanmax(values) <= high
    step = max(np.nanmax(np.abs(np.diff(heights, axis=axis))) for axis in (0, 1))
    assert low >= np.floor(np.nanmin(heights) - 0.2813 * step)
    assert high <= np.ceil(np.nanmax(heights) + 0.2813 * step)


def test_the_range_is_that_of_the_area_and_ignores_no_data(tmp_path):
    heights = np.full((26, 30), 500.0)
    heights[0, :] = 3000  # three posts and more from the cube, which begins at post 4
    heights[10, 10] = np.nan
    heights[12, 12] = 504
    path = _write(tmp_path / "dem.tif", heights, POSTS, "EPSG:32633")
    cube = sc.add_terrain(_cube(GRID), path)
    assert cube.elevation.attrs["actual_range"] == [498.0, 506.0]  # 0.28125 of the step of 4 m beyond 500 and 504
    assert cube.elevation.attrs["source"] == "dem.tif"
    assert cube.elevation.attrs["resolution_m"] == 30.0
    assert cube.elevation.attrs["grid_mapping"] == "spatial_ref"


def test_no_data_alone_has_no_range(tmp_path, caplog):
    path = _write(tmp_path / "void.tif", np.full((26, 30), np.nan), POSTS, "EPSG:32633")
    cube = sc.add_terrain(_cube(GRID), path)
    assert "actual_range" not in cube.elevation.attrs
    assert cube.elevation.isnull().all()
    aside = _write(tmp_path / "aside.tif", np.ones((4, 4)), POSTS * Affine.translation(-40, 0), "EPSG:32633")
    assert dem_range(str(aside), GRID) is None


@pytest.mark.parametrize("tiled", [True, False])
def test_the_range_does_not_depend_on_how_it_is_read(tmp_path, monkeypatch, tiled):
    heights = np.random.default_rng(3).normal(1000, 200, (700, 650))
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64} if tiled else {}
    affine = Affine(2, 0, 499_900, 0, -2, 5_210_100)
    path = str(_write(tmp_path / "dem.tif", heights, affine, "EPSG:32633", **options))
    whole = dem_range(path, GRID)
    for at_once in (1, 5000, 64_000):
        monkeypatch.setattr(relief, "_AT_ONCE", at_once)
        assert dem_range(path, GRID) == whole
    # A step between the last row of one strip and the first of the next counts.
    monkeypatch.setattr(relief, "_AT_ONCE", 1)
    ramp = np.repeat(np.arange(700) * 8.0, 650).reshape(700, 650)
    path = str(_write(tmp_path / "ramp.tif", ramp, affine, "EPSG:32633", **options))
    assert dem_range(path, GRID) == (np.floor(47 * 8 - 8 * 0.28125), np.ceil(252 * 8 + 8 * 0.28125))


def test_of_a_large_dem_the_overviews_are_read(tmp_path, monkeypatch):
    row, column = np.mgrid[:700, :650]
    heights = 1000 + 300 * np.sin(row / 40) * np.cos(column / 50)
    affine = Affine(2, 0, 499_900, 0, -2, 5_210_100)
    path = str(_write(tmp_path / "dem.tif", heights, affine, "EPSG:32633", tiled=True, blockxsize=64, blockysize=64))
    exact = dem_range(path, GRID)
    with rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    assert dem_range(path, GRID) == exact  # small enough to be read whole
    read = []
    posts = relief.read_posts
    monkeypatch.setattr(relief, "read_posts", lambda source, window: read.append(source.width) or posts(source, window))
    for most, width in ((20_000, 325), (5_000, 163), (100, 82)):
        monkeypatch.setattr(relief, "_MOST_POSTS", most)
        read.clear()
        low, high = dem_range(path, GRID)
        assert set(read) == {width}
        assert low < exact[0] - 50
        assert exact[1] + 50 < high
        assert high - low < 2.5 * (exact[1] - exact[0])


@pytest.mark.parametrize(("lat", "expected"), [(0.0, 30.8), (45.0, 25.96), (75.0, 15.77)])
def test_posting_of_a_dem_in_arc_seconds(tmp_path, lat, expected):
    """An arc second is 30.9 m north; east that times the cosine of latitude: the square's side is between."""
    second = 1 / 3600
    affine = Affine(second, 0, 9 - 20 * second, 0, -second, lat + 20 * second)
    path = str(_write(tmp_path / "dem.tif", np.zeros((40, 40)), affine, "EPSG:4326"))
    x, y = pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(9.0, lat)
    metres = GeoBox((20, 20), Affine(10, 0, x - 100, 0, -10, y + 100), "EPSG:32632")
    degrees = _degrees(9.0, lat, rows=20, columns=20)
    for grid in (metres, degrees):
        assert dem_posting(path, grid) == pytest.approx(expected, rel=2e-3)
    assert dem_posting(path, degrees) == pytest.approx(dem_posting(path, metres), rel=1e-3)


def test_cubes_that_are_not_north_up_are_refused(tmp_path):
    path = _write(tmp_path / "dem.tif", np.zeros((26, 30)), POSTS, "EPSG:32633")
    with pytest.raises(sc.SarcubeError, match="rows from north to south"):
        sc.add_terrain(_cube(GRID).isel(y=slice(None, None, -1)), path)


def test_a_dem_elsewhere_says_where_it_is_and_where_the_cube_is(tmp_path):
    path = _write(tmp_path / "dem.tif", np.zeros((26, 30)), POSTS, "EPSG:32633")
    with pytest.raises(sc.SarcubeError, match=r"covers 14\.99\d, 47\.03\d, .*the cube 9\.4"):
        sc.add_terrain(_cube(_degrees(9.5, 60.0)), path)
