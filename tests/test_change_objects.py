"""Polygons from maps of change."""

from functools import partial

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Geod
from scipy import ndimage

from sarcube.change.objects import change_objects
from sarcube.detection.export import write_detections
from sarcube.errors import InputError

COLUMNS = ["area_m2", "pixels", "mean", "extreme", "geometry"]


def make_layer(values, *, crs=32647, step=10.0, west=646000.0, north=6000.0, **attrs):
    """A layer whose pixels begin at `west` and `north`."""
    rows, columns = np.shape(values)
    coords = {"y": north - step * (np.arange(rows) + 0.5), "x": west + step * (np.arange(columns) + 0.5)}
    layer = xr.DataArray(np.asarray(values), dims=("y", "x"), coords=coords, attrs=attrs, name="density")
    return layer.rio.write_crs(crs)


def two_slides():
    values = np.zeros((12, 20), "float32")
    values[2:5, 3:7] = 0.5
    values[3, 4] = 0.9
    values[8, 10:13] = 0.7
    values[7, 13] = np.nan
    return values


def maps():
    """Maps of few values, so that a threshold meets them, with holes."""
    value = st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")])
    return arrays("float32", st.tuples(st.integers(2, 12), st.integers(2, 12)), elements=value)


def test_objects_follow_the_pixels():
    found = change_objects(make_layer(two_slides()), threshold=0.5)
    assert list(found.columns) == COLUMNS
    assert found.crs.to_epsg() == 32647
    assert found.pixels.tolist() == [12, 3]
    assert found.area_m2.tolist() == [1200.0, 300.0]
    assert found.geometry.area.tolist() == [1200.0, 300.0]
    assert found.geometry[0].bounds == (646030.0, 5950.0, 646070.0, 5980.0)
    assert found.geometry[1].bounds == (646100.0, 5910.0, 646130.0, 5920.0)
    np.testing.assert_allclose(found["mean"], [(11 * 0.5 + 0.9) / 12, 0.7], rtol=1e-6)
    np.testing.assert_allclose(found.extreme, [0.9, 0.7], rtol=1e-6)


def test_below_takes_the_low_side_and_its_lowest_value():
    layer = make_layer(1 - two_slides())
    found = change_objects(layer, threshold=0.5, below=True)
    assert found.pixels.tolist() == [12, 3]
    np.testing.assert_allclose(found.extreme, [0.1, 0.3], rtol=1e-6)
    assert found.attrs["below"] is True


def test_the_threshold_itself_counts():
    assert len(change_objects(make_layer(np.full((3, 3), 2)), threshold=2)) == 1
    assert len(change_objects(make_layer(np.full((3, 3), 2)), threshold=2, below=True)) == 1
    assert len(change_objects(make_layer(np.full((3, 3), 2)), threshold=2.01)) == 0


def test_corners_join_and_stay_valid():
    values = np.zeros((8, 8), "float32")
    values[1:3, 1:3] = 1
    values[3:5, 3:5] = 1  # touches at a corner alone
    found = change_objects(make_layer(values), threshold=1)
    assert found.geom_type.tolist() == ["MultiPolygon"]
    assert found.is_valid.all()
    assert found.geometry.area.tolist() == [800.0]


def test_a_hole_that_touches_the_outside_at_a_corner_is_valid():
    values = np.ones((4, 4), "float32")
    values[0, 0] = values[1, 1] = 0
    found = change_objects(make_layer(values), threshold=1)
    assert found.is_valid.all()
    assert found.geometry.area.tolist() == [1400.0]


def test_nothing_found_is_an_empty_table():
    found = change_objects(make_layer(np.full((4, 5), np.nan, "float32")), threshold=0.5)
    assert isinstance(found, gpd.GeoDataFrame)
    assert len(found) == 0
    full = change_objects(make_layer(two_slides()), threshold=0.5)
    pd.testing.assert_series_equal(found.dtypes, full.dtypes)
    assert found.crs == full.crs


def test_small_objects_are_left_out():
    layer = make_layer(two_slides())
    assert change_objects(layer, threshold=0.5, min_area=300).pixels.tolist() == [12, 3]
    assert change_objects(layer, threshold=0.5, min_area=301).pixels.tolist() == [12]


def test_equal_areas_stand_by_row_and_column():
    values = np.zeros((6, 9))
    values[4, 0] = values[1, 7] = values[1, 2] = 1
    found = change_objects(make_layer(values), threshold=1)
    assert found.geometry.bounds[["minx", "maxy"]].to_numpy().tolist() == [
        [646020.0, 5990.0],
        [646070.0, 5990.0],
        [646000.0, 5960.0],
    ]


def test_masked_gentle_and_wet_ground_is_left_out():
    layer = make_layer(two_slides())
    codes = make_layer(np.zeros((12, 20), "uint8"))
    codes[8, 10], codes[8, 11], codes[8, 12] = 1, 2, 255
    assert change_objects(layer, threshold=0.5, mask=codes).pixels.tolist() == [12]
    assert change_objects(layer, threshold=0.5, mask=codes > 0).pixels.tolist() == [12]
    assert change_objects(layer, threshold=0.5, water=(codes > 1).transpose("x", "y")).pixels.tolist() == [12, 1]
    slope = make_layer(np.full((12, 20), 10.0, "float32"))
    slope[2] = 9.9
    slope[3, 3] = np.nan
    assert change_objects(layer, threshold=0.5, slope=slope).pixels.tolist() == [7, 3]
    assert change_objects(layer, threshold=0.5, slope=slope, min_slope=9.0).pixels.tolist() == [11, 3]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "float64"])
def test_any_numbers_will_do(dtype):
    found = change_objects(make_layer((two_slides() > 0.4).astype(dtype)), threshold=1)
    assert found.pixels.tolist() == [12, 3]
    assert found["mean"].tolist() == [1.0, 1.0]


def test_attributes_go_with_the_objects():
    layer = make_layer(two_slides(), event="hokkaido-2018", simulated=True, track="D164", long_name="density")
    found = change_objects(layer, threshold=0.5)
    assert found.attrs == {
        "event": "hokkaido-2018",
        "simulated": True,
        "track": "D164",
        "layer": "density",
        "threshold": 0.5,
        "below": False,
    }


@pytest.mark.parametrize("north", [0.003, 61.2])
def test_areas_in_degrees_are_those_of_the_ground(north):
    layer = make_layer(two_slides(), crs=4326, step=1e-4, west=11.0, north=north)
    found = change_objects(layer, threshold=0.5)
    # PROJ's geodesics on the same polygons; a side along a parallel is no geodesic, but over 40 m nearly one.
    truth = [abs(Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]) for shape in found.geometry]
    np.testing.assert_allclose(found.area_m2, truth, rtol=1e-6)
    assert change_objects(layer, threshold=0.5, min_area=truth[1] + 1).pixels.tolist() == [12]


def test_areas_in_feet_are_metres():
    layer = make_layer(two_slides(), crs=2263)  # New York, US survey feet
    assert change_objects(layer, threshold=0.5).area_m2[0] == pytest.approx(1200 * (1200 / 3937) ** 2)


@given(maps(), st.sampled_from([0.25, 0.5]), st.booleans())
def test_objects_cover_what_is_flagged_and_no_more(values, threshold, below):
    found = change_objects(make_layer(values), threshold=threshold, below=below)
    flagged = values <= np.float32(threshold) if below else values >= np.float32(threshold)
    labels, count = ndimage.label(flagged, structure=np.ones((3, 3)))
    assert len(found) == count
    assert found.pixels.sum() == flagged.sum()
    assert found.area_m2.sum() == 100.0 * flagged.sum()
    np.testing.assert_array_equal(found.geometry.area, found.area_m2)
    assert found.is_valid.all()
    sizes = np.sort(ndimage.sum_labels(flagged, labels, np.arange(1, count + 1)))[::-1]
    np.testing.assert_array_equal(found.pixels, sizes)
    burnt = np.zeros(values.shape, int)
    y, x = 5995.0 - 10 * np.arange(values.shape[0])[:, None], 646005.0 + 10 * np.arange(values.shape[1])
    for shape, extreme in zip(found.geometry, found.extreme, strict=True):
        inside = shapely.contains_xy(shape, *np.broadcast_arrays(x, y))
        burnt += inside
        assert extreme == (values[inside].min() if below else values[inside].max())
    np.testing.assert_array_equal(burnt, flagged.astype(int))


@given(maps(), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 150.0]))
def test_chunks_change_nothing(values, rows, columns, min_area):
    layer = make_layer(values)
    mask = make_layer((np.arange(values.size).reshape(values.shape) % 5 == 0).astype("uint8"))
    expected = change_objects(layer, threshold=0.5, mask=mask, min_area=min_area)
    lazy = layer.copy(data=da.from_array(values, chunks=(rows, columns)))
    for other in (mask, mask.copy(data=da.from_array(mask.values, chunks=(2, 3)))):
        found = change_objects(lazy, threshold=0.5, mask=other, min_area=min_area)
        pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))
        assert found.attrs == expected.attrs


@given(maps())
def test_transposed_layers_are_the_same(values):
    layer = make_layer(values)
    expected = change_objects(layer, threshold=0.5)
    found = change_objects(layer.transpose("x", "y"), threshold=0.5)
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))


@pytest.mark.parametrize("name", ["mask", "slope", "water"])
def test_other_grids_are_refused(name):
    layer = make_layer(two_slides())
    other = make_layer(np.zeros((12, 20), "float32" if name == "slope" else "uint8"))
    for wrong in (other[1:], other.assign_coords(x=other.x + 5), other.rio.write_crs(32648)):
        with pytest.raises(InputError, match=f"{name} must have the coordinates and the CRS"):
            change_objects(layer, threshold=0.5, **{name: wrong})
    with pytest.raises(InputError, match=f"{name} must be a DataArray"):
        change_objects(layer, threshold=0.5, **{name: other.expand_dims(track=["D164"])})
    with pytest.raises(InputError, match=f"{name} must be of"):
        change_objects(layer, threshold=0.5, **{name: other.astype("bool" if name == "slope" else "float32")})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": np.nan}, "threshold"),
        ({"threshold": 0.5, "min_area": -1}, "min_area"),
        ({"threshold": 0.5, "min_slope": 90}, "min_slope"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        change_objects(make_layer(two_slides()), **options)


def test_layers_that_cannot_be():
    layer = make_layer(two_slides())
    with pytest.raises(InputError, match=r"choose a band: \.sel"):
        change_objects(layer.expand_dims(band=["vh_diff"]), threshold=1)
    with pytest.raises(InputError, match="not ndarray"):
        change_objects(layer.values, threshold=1)
    with pytest.raises(InputError, match="numbers, not of datetime64"):
        change_objects(layer.copy(data=np.zeros((12, 20), "M8[ns]")), threshold=1)
    with pytest.raises(InputError, match="no regular grid with a CRS"):
        change_objects(layer.drop_vars("spatial_ref"), threshold=1)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet", ".shp"])
def test_objects_of_several_parts_are_written(tmp_path, suffix):
    layer = make_layer(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], "float32"))
    objects = change_objects(layer, threshold=0.5)
    assert objects.geom_type.tolist() == ["MultiPolygon"]
    path = write_detections(objects, tmp_path / f"objects{suffix}")
    read = {".parquet": gpd.read_parquet, ".gpkg": partial(gpd.read_file, layer="detections")}
    back = read.get(suffix, gpd.read_file)(path)
    assert back.geometry.iloc[0].area > 0
    assert len(back) == 1
