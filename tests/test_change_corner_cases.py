"""Corner cases of composites, maps of change and their pictures."""

import io

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer
from test_composite import EVENT, make_cube

import sarcube as sc
from sarcube.change import nanmedian
from sarcube.errors import InputError

DAYS = [-50, -38, -26, -14, -2, 4, 10]


def cube_with_ground(shape=(25, 31)):
    cube = make_cube(DAYS, shape)
    random = np.random.default_rng(5)
    cube["slope"] = (("y", "x"), random.uniform(5, 40, shape).astype("f4"))
    cube["elevation"] = (("y", "x"), random.uniform(0, 400, shape).astype("f4"))
    cube["layover_shadow"] = (("track", "y", "x"), random.choice([0, 2], (1, *shape)).astype("u1"))
    return cube.assign_coords(track=["D164"])


def lazy(cube, names, chunk=5):
    return cube.assign({name: cube[name].chunk(dict.fromkeys(cube[name].dims, chunk)) for name in names})


@pytest.mark.parametrize("width", [1, 5, 20])
def test_memory_order_does_not_change_a_median(width):
    values = np.random.default_rng(1).random((3, 9, width)).astype("f4")
    np.testing.assert_array_equal(nanmedian(np.asfortranarray(values)), nanmedian(values))


def test_a_transposed_lazy_cube_gives_the_same_composite():
    cube = make_cube(DAYS, (25, 31))
    turned = cube.transpose("x", "y", "time").chunk({"y": 4, "x": 7})
    xr.testing.assert_identical(sc.composite(turned, EVENT).compute(), sc.composite(cube, EVENT))


@pytest.mark.parametrize("names", [["layover_shadow"], ["elevation"], ["slope"], ["vh"]])
def test_density_takes_lazy_layers_beside_ones_in_memory(names):
    cube = cube_with_ground()
    options = {"radius_pixels": 3, "min_curvature": -0.01, "mask_distortion": True}
    expected = sc.landslide_density(cube, EVENT, **options)
    xr.testing.assert_identical(sc.landslide_density(lazy(cube, names), EVENT, **options).compute(), expected)


def test_density_takes_lazy_water_beside_a_slope_in_memory():
    cube = cube_with_ground()
    water = cube["slope"] > 30
    expected = sc.landslide_density(cube, EVENT, water=water)
    xr.testing.assert_identical(sc.landslide_density(cube, EVENT, water=water.chunk({"y": 4})).compute(), expected)


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (3, 3)])
def test_density_of_an_area_smaller_than_the_circle(shape):
    cube = cube_with_ground(shape)
    options = {"min_curvature": -0.01}
    expected = sc.landslide_density(cube, EVENT, **options)
    found = sc.landslide_density(lazy(cube, ["vv", "vh", "elevation"], 4), EVENT, **options)
    xr.testing.assert_identical(found.compute(), expected)


def test_windows_keep_the_chunks_of_the_cube():
    cube = make_cube(DAYS, (9, 31)).chunk({"y": 9, "x": 11})
    change = sc.autocorrelation_change(cube, EVENT)
    assert isinstance(change.data, da.Array)
    assert change.chunks == ((9,), (11, 11, 9))  # Zarr refuses a last chunk larger than the first


def test_numpy_integers_are_integers():
    cube = cube_with_ground()
    three = np.int64(3)
    sc.landslide_density(cube, EVENT, radius_pixels=three)
    sc.mahalanobis_change(cube, EVENT, window=three)
    sc.autocorrelation_change(cube, EVENT, window=three)
    sc.composite(cube, EVENT, pre_steps=three)


@pytest.mark.parametrize("dates", [1, 7])
def test_a_time_series_of_one_date_or_of_four_years_draws_without_a_warning(dates):
    cube = make_cube(DAYS, (9, 14)).isel(time=slice(dates))
    cube = cube.assign_coords(time=pd.date_range("2016-01-01", periods=dates, freq="243D"))
    to_degrees = Transformer.from_crs(cube.rio.crs, 4326, always_xy=True)
    point = to_degrees.transform(float(cube["x"][5]), float(cube["y"][5]))
    sc.plot_time_series(cube, point=point).savefig(io.BytesIO(), dpi=40)


def test_a_picture_refuses_what_it_cannot_draw():
    cube = make_cube(DAYS, (9, 14))
    stacks = sc.composites(cube, EVENT, buffers=[(60, 12), (30, 12)])
    degrees = cube.assign_coords(x=100.3 + 1e-4 * np.arange(14), y=0.05 - 1e-4 * np.arange(9)).rio.write_crs(4326)
    for wrong in (stacks, sc.composite(cube.isel(y=[0]), EVENT), sc.composite(degrees, EVENT)):
        for plot in (sc.plot_change, sc.plot_rgb):
            with pytest.raises(InputError, match="the picture needs"):
                plot(wrong)


def test_a_mask_is_a_background():
    cube = cube_with_ground()
    sc.plot_change(sc.composite(cube, EVENT), background=cube["slope"] > 20)
