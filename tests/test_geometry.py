"""Terrain and look geometry as layers of a cube: lazy, the same for any chunks, equal to the kernels."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sarcube as sc
from sarcube.cube.geometry.look import look_at_pixels, solve_look
from sarcube.sar import layover_shadow_mask, look_geometry

GEOBOX = GeoBox((210, 190), Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")


def _cube(chunks=(64, 50)):
    data = da.ones((3, *GEOBOX.shape), chunks=(1, *chunks), dtype=np.float32)
    return xr.Dataset(
        {"vv": (("time", "y", "x"), data)},
        coords={
            **xr_coords(GEOBOX),
            "time": pd.date_range("2021-04-01", periods=3),
            "scene_track": ("time", np.array(["D168", "A044", "D168"], object)),
            "relative_orbit": ("time", np.array([168, 44, 168], np.int16)),
            "orbit_state": ("time", np.array(["descending", "ascending", "descending"], object)),
        },
    )


def _heights(x, y):
    return 600 + 250 * np.sin(x / 330) * np.cos(y / 270) + 0.1 * (x - 500_000)


@pytest.fixture
def dem(tmp_path):
    """A smooth DEM of 30 m in the cube's CRS, off its grid."""
    path = tmp_path / "dem.tif"
    affine = Affine(30, 0, 499_781, 0, -30, 5_210_217)
    c, r = np.meshgrid(np.arange(90), np.arange(90))
    heights = _heights(affine.c + 30 * (c + 0.5), affine.f - 30 * (r + 0.5)).astype(np.float32)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=90,
        height=90,
        count=1,
        dtype="float32",
        crs="EPSG:32633",
        transform=affine,
        nodata=-9999,
    ) as target:
        target.write(heights, 1)
    return path


def _nothing_may_compute(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def test_lazy_and_the_same_for_any_chunks(dem):
    with dask.config.set(scheduler=_nothing_may_compute):
        cubes = [sc.add_geometry(sc.add_terrain(_cube(chunks), dem)) for chunks in ((210, 190), (64, 50), (37, 190))]
        local = [sc.add_geometry(c, method="local") for c in cubes]
    whole, *parts = (c.compute() for c in cubes)
    for part in parts:
        xr.testing.assert_identical(part, whole)
    whole, *parts = (c.compute() for c in local)
    for part in parts:
        xr.testing.assert_identical(part, whole)


def test_elevation_slope_and_mask_are_those_of_the_kernels(dem):
    cube = sc.add_geometry(sc.add_terrain(_cube(), dem)).compute()
    x, y = np.meshgrid(cube.x.values, cube.y.values)
    # Cubic convolution of a smooth surface sampled at a thirtieth of its wavelength.
    np.testing.assert_allclose(cube.elevation, _heights(x, y), atol=0.2)
    expected = sc.sar.slope_aspect(cube.elevation.values, resolution=10.0)[0]
    np.testing.assert_allclose(cube.slope, expected, atol=1e-4)
    for track, orbit, state in (("A044", 44, "ascending"), ("D168", 168, "descending")):
        here = cube.sel(track=track)
        lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
        theta, azimuth = look_geometry(lat, lon, cube.elevation.values, relative_orbit=orbit, orbit_state=state)
        np.testing.assert_allclose(here.incidence_angle, theta, atol=5e-4)
        np.testing.assert_allclose(here.sensor_azimuth, azimuth, atol=5e-4)
        mask = layover_shadow_mask(
            cube.elevation.values,
            resolution=10.0,
            incidence_angle=here.incidence_angle.values.astype(float),
            sensor_azimuth=solve_look(GEOBOX, relative_orbit=orbit, orbit_state=state).mean_grid_azimuth,
        )
        np.testing.assert_array_equal(here.layover_shadow, mask)
        assert here.layover_shadow.attrs["flag_meanings"].split()[2] == "layover"
    assert (cube.layover_shadow == 2).any()


def test_interpolated_geometry_equals_the_solved_one_over_a_whole_scene():
    scene = GeoBox((170, 250), Affine(1000, 0, 60_000, 0, -1000, 5_300_000), "EPSG:32633")
    nodes = solve_look(scene, relative_orbit=168, orbit_state="descending")
    rows, columns = np.array([3.0, 77.3, 160.0]), np.array([20.0, 131.0, 240.0])
    height = np.array([[0.0, 1500, 4000]] * 3)
    theta, azimuth = look_at_pixels(nodes, rows, columns, height)
    c, r = np.meshgrid(columns, rows)
    x, y = scene.affine.c + 1000 * (c + 0.5), scene.affine.f - 1000 * (r + 0.5)
    lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    expected = look_geometry(lat, lon, height, relative_orbit=168, orbit_state="descending")
    np.testing.assert_allclose(theta, expected[0], atol=1e-3)
    np.testing.assert_allclose(azimuth, expected[1], atol=1e-3)


def test_holes_in_the_dem_are_no_data_never_clear(dem):
    with rasterio.open(dem, "r+") as target:
        values = target.read(1)
        values[20:30, 20:30] = -9999
        target.write(values, 1)
    cube = sc.add_geometry(sc.add_terrain(_cube(), dem)).compute()
    hole = cube.elevation.isnull().values
    assert 900 < hole.sum() < 2500
    assert (cube.layover_shadow.values[:, hole] == 255).all()
    assert (cube.layover_shadow.values[:, ~hole] != 255).all()
    assert cube.slope.isnull().values[hole].all()


def test_clear_errors(dem, tmp_path):
    with pytest.raises(sc.SarcubeError, match="there is no DEM at"):
        sc.add_terrain(_cube(), tmp_path / "none.tif")
    (tmp_path / "broken.tif").write_bytes(b"not a raster")
    with pytest.raises(sc.SarcubeError, match=r"broken\.tif cannot be read"):
        sc.add_terrain(_cube(), tmp_path / "broken.tif")
    far = _cube().assign_coords(y=_cube().y + 50_000)
    with pytest.raises(sc.SarcubeError, match="does not touch the cube"):
        sc.add_terrain(far, dem)
    with pytest.raises(sc.SarcubeError, match=r"run sc\.add_terrain"):
        sc.add_geometry(_cube())
    with pytest.raises(sc.SarcubeError, match='"exact" or "local"'):
        sc.add_geometry(sc.add_terrain(_cube(), dem), method="guess")


def test_a_dem_that_covers_in_part_warns(dem, caplog):
    far = _cube()
    far = far.assign_coords(y=far.y + 1500)
    sc.add_terrain(far, dem)
    assert "only in part" in caplog.text
