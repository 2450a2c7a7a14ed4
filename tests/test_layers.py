"""Rasters of any grid as layers of a cube."""

import pickle
from pathlib import Path

import dask
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from foreign_rasters import CRS, LEFT, TOP, make_cube, nothing_may_compute, write_raster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from range_server import serve

from sarcube.cube.foreign import raster
from sarcube.cube.foreign.layers import add_layer
from sarcube.errors import AreaError, InputError, ReadError, SarcubeError

CALIFORNIA = Path(__file__).parents[2] / "shared" / "data" / "opera-rtc-california"
DEGREES = Affine(0.000992, 0, 99.89, 0, -0.000992, 0.93)  # CGLS-LC100's pixels: 1/1008 of a degree


def classes(shape=(60, 60), seed=0):
    return np.random.default_rng(seed).integers(1, 200, shape).astype(np.uint8)


@pytest.fixture
def landcover(tmp_path):
    return write_raster(tmp_path / "lc100.tif", classes(), transform=DEGREES, crs="EPSG:4326", nodata=255)


def expected_nearest(cube, values, transform, crs, fill):
    """Look every pixel centre up, one by one."""
    to_source = pyproj.Transformer.from_crs(cube.odc.geobox.crs.to_wkt(), crs, always_xy=True)
    found = np.full((cube.sizes["y"], cube.sizes["x"]), fill, values.dtype)
    for i, y in enumerate(cube.y.values):
        for j, x in enumerate(cube.x.values):
            column, row = ~transform @ to_source.transform(x, y)
            if 0 <= row < values.shape[0] and 0 <= column < values.shape[1]:
                found[i, j] = values[int(row), int(column)]
    return found


def test_land_cover_in_degrees_keeps_its_classes(landcover):
    cube = add_layer(make_cube(resolution=60.0), "landcover", landcover)
    layer = cube.landcover
    assert layer.dtype == np.uint8
    assert layer.dims == ("y", "x")
    assert layer.attrs["nodata"] == 255
    assert "_FillValue" not in layer.attrs
    assert layer.attrs["units"] == "1"
    assert layer.attrs["long_name"] == "landcover"
    assert layer.attrs["grid_mapping"] == "spatial_ref"
    expected = expected_nearest(cube, classes(), DEGREES, "EPSG:4326", 255)
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(layer.values, expected)


@pytest.mark.parametrize("resampling", ["nearest", "average"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_chunks_change_no_value_and_nothing_is_read_before(tmp_path, resampling, kind):
    values = classes((300, 300)).astype(kind)
    values[40:60, 100:120] = 255
    transform = Affine(0.0001, 0, 99.897, 0, -0.0001, 0.906)
    path = write_raster(tmp_path / "a.tif", values, transform=transform, crs="EPSG:4326", nodata=255)
    with dask.config.set(scheduler=nothing_may_compute):
        cubes = [
            add_layer(make_cube(chunks, resolution=37.0), "a", path, resampling=resampling)
            for chunks in ((40, 50), (1, 50), (7, 11), (40, 1))
        ]
    whole, *parts = (cube.a.compute() for cube in cubes)
    for part in parts:
        xr.testing.assert_identical(part, whole)
    hole = 255 if whole.dtype == np.uint8 else np.nan
    assert (whole == 255).any() if hole == 255 else whole.isnull().any()


def test_parts_that_a_block_is_read_in_change_no_value(tmp_path, monkeypatch):
    values = np.random.default_rng(1).normal(size=(300, 300)).astype(np.float32)
    path = write_raster(tmp_path / "a.tif", values, transform=Affine(0.0001, 0, 99.897, 0, -0.0001, 0.906), crs=4326)
    for resampling in ("nearest", "average"):
        at_once = add_layer(make_cube(resolution=37.0), "a", path, resampling=resampling).a.values
        with monkeypatch.context() as patch:
            patch.setattr(raster, "_MOST_AT_ONCE", 500)
            in_parts = add_layer(make_cube(resolution=37.0), "a", path, resampling=resampling).a.values
        np.testing.assert_array_equal(in_parts, at_once)


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_the_average_of_whole_multiples_is_the_mean(tmp_path, factor):
    values = np.random.default_rng(factor).normal(size=(40 * factor, 50 * factor)).astype(np.float32)
    transform = Affine(10 / factor, 0, LEFT, 0, -10 / factor, TOP)
    path = write_raster(tmp_path / "a.tif", values, transform=transform)
    layer = add_layer(make_cube(), "a", path, resampling="average").a
    np.testing.assert_allclose(layer, values.reshape(40, factor, 50, factor).mean(axis=(1, 3)), atol=1e-6)


def test_the_average_is_of_valid_pixels(tmp_path):
    values = np.full((80, 100), 4, np.int16)
    values[0, 0] = 10
    values[1, 1] = -9999
    values[2:4, 0:2] = -9999
    path = write_raster(tmp_path / "a.tif", values, transform=Affine(5, 0, LEFT, 0, -5, TOP), nodata=-9999)
    layer = add_layer(make_cube(), "a", path, resampling="average").a
    assert layer.dtype == np.float32
    assert float(layer[0, 0]) == 6.0
    assert np.isnan(layer[1, 0])
    assert float(layer[5, 5]) == 4.0


def test_a_coarser_raster_gives_its_pixels_to_both(tmp_path):
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    path = write_raster(tmp_path / "a.tif", values, transform=Affine(100, 0, LEFT, 0, -100, TOP))
    for resampling in ("nearest", "average"):
        layer = add_layer(make_cube(), "a", path, resampling=resampling).a
        np.testing.assert_array_equal(layer, np.kron(values, np.ones((10, 10))))


def test_float_holes_are_nan(tmp_path):
    values = np.ones((40, 50), np.float32)
    values[0, 0], values[0, 1], values[0, 2] = -9999, np.inf, np.nan
    path = write_raster(tmp_path / "a.tif", values, nodata=-9999)
    assert np.isnan(add_layer(make_cube(), "a", path).a.values[0, :4]).tolist() == [True, True, True, False]


def test_a_part_is_covered(tmp_path, caplog):
    path = write_raster(tmp_path / "a.tif", classes((20, 20)), nodata=0)
    layer = add_layer(make_cube(), "a", path).a
    assert "only in part" in caplog.text
    np.testing.assert_array_equal(layer[:20, :20], classes((20, 20)))
    assert (layer[20:] == 0).all()
    assert (layer[:, 20:] == 0).all()
    path = write_raster(tmp_path / "b.tif", classes((20, 20)).astype(np.float32))
    layer = add_layer(make_cube(), "b", path).b
    assert layer.notnull().sum() == 400


def test_classes_beside_the_raster_never_look_like_a_class(tmp_path):
    path = write_raster(tmp_path / "a.tif", classes((20, 20)))
    with pytest.raises(InputError, match="a_nodata"):
        add_layer(make_cube(), "a", path)
    whole = write_raster(tmp_path / "b.tif", classes((40, 50)))
    assert "nodata" not in add_layer(make_cube(), "a", whole).a.attrs


def test_a_raster_elsewhere_is_an_error(tmp_path):
    path = write_raster(tmp_path / "a.tif", classes(), transform=Affine(0.01, 0, 10, 0, -0.01, 50), crs="EPSG:4326")
    with pytest.raises(AreaError, match="covers none of the cube"):
        add_layer(make_cube(), "a", path)
    beside = write_raster(tmp_path / "b.tif", classes(), transform=Affine(10, 0, LEFT + 500, 0, -10, TOP))
    with pytest.raises(AreaError):
        add_layer(make_cube(), "a", beside)


@pytest.mark.parametrize("west", [-180, 0, 180])
def test_the_antimeridian_and_longitudes_beyond_180(tmp_path, west):
    """A cube at 180 degrees on a raster of the whole earth, wherever its longitudes begin."""
    column = np.arange(3600)
    longitude = (west + (column + 0.5) / 10) % 360
    values = np.broadcast_to((longitude * 10).astype(np.int32), (20, 3600)).copy()
    path = write_raster(tmp_path / "a.tif", values, transform=Affine(0.1, 0, west, 0, -0.1, 1), crs="EPSG:4326")
    cube = make_cube((9, 13), crs="EPSG:32660", left=800_000.0, top=50_000.0, resolution=2000.0)
    layer = add_layer(cube, "a", path).a
    x, y = np.meshgrid(cube.x, cube.y)
    expected = (pyproj.Transformer.from_crs(32660, 4326, always_xy=True).transform(x, y)[0] % 360 * 10).astype(int)
    np.testing.assert_array_equal(layer, expected)
    assert expected.min() < 1800 < expected.max()


def test_rotated_and_south_up_rasters(tmp_path):
    values = classes((60, 60))
    rotated = Affine.translation(LEFT + 250, TOP + 100) @ Affine.rotation(-60) @ Affine.scale(12, 12)
    south_up = Affine(10, 0, LEFT, 0, 10, TOP - 500)
    for number, transform in enumerate((rotated, south_up)):
        path = write_raster(tmp_path / f"{number}.tif", values, transform=transform, nodata=0)
        cube = add_layer(make_cube(), "a", path)
        expected = expected_nearest(cube, values, transform, CRS, 0)
        assert len(np.unique(expected)) > 100
        np.testing.assert_array_equal(cube.a, expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    step=st.floats(3.1, 40),
    east=st.floats(-300, 300),
    south=st.floats(-300, 300),
    chunk=st.tuples(*[st.integers(1, 50)] * 2),
)
def test_nearest_is_the_pixel_that_holds_the_centre(tmp_path_factory, step, east, south, chunk):
    values = classes((50, 50))
    transform = Affine(step, 0, LEFT + east, 0, -step, TOP - south)
    path = write_raster(tmp_path_factory.mktemp("r") / "a.tif", values, transform=transform, nodata=0)
    cube = make_cube(chunk, shape=(20, 25))
    try:
        cube = add_layer(cube, "a", path)
    except AreaError:
        assert east >= 250 or south >= 200 or east <= -50 * step or south <= -50 * step
        return
    columns = np.floor((cube.x.values - transform.c) / step + 1e-6).astype(int)
    rows = np.floor((transform.f - cube.y.values) / step + 1e-6).astype(int)
    padded = np.pad(values, 200)
    np.testing.assert_array_equal(cube.a, padded[np.ix_(rows + 200, columns + 200)])


def test_what_the_file_says_of_its_band_is_kept(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.ones((40, 50), np.float32), descriptions=["rain of a day"])
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ["mm"]
    assert add_layer(make_cube(), "rain", path).rain.attrs == {
        "units": "mm",
        "long_name": "rain of a day",
        "source": "a.tif",
        "resampling": "nearest",
        "grid_mapping": "spatial_ref",
    }
    layer = add_layer(make_cube(), "rain", path, units="m", long_name="rain").rain
    assert (layer.attrs["units"], layer.attrs["long_name"]) == ("m", "rain")


@pytest.mark.parametrize("name", ["", "land cover", "1st", "class", "vv", "time", "x", "spatial_ref", "scene_track", 3])
def test_names_that_cannot_be_used(landcover, name):
    with pytest.raises(InputError, match=r"name such as|already holds"):
        add_layer(make_cube(), name, landcover)


def test_files_that_are_no_layer(tmp_path, landcover):
    cube = make_cube()
    with pytest.raises(ReadError, match="there is no file") as caught:
        add_layer(cube, "a", tmp_path / "missing.tif")
    assert caught.value.kind == "not_found"
    (tmp_path / "text.tif").write_text("no tiff")
    with pytest.raises(ReadError, match=r"text\.tif"):
        add_layer(cube, "a", tmp_path / "text.tif")
    with pytest.raises(ReadError, match="georeference"):
        add_layer(cube, "a", write_raster(tmp_path / "nocrs.tif", classes((40, 50)), crs=None))
    with pytest.raises(InputError, match="2 bands"):
        add_layer(cube, "a", write_raster(tmp_path / "two.tif", np.ones((2, 40, 50), np.float32)))
    with pytest.raises(InputError, match="complex64"):
        add_layer(cube, "a", write_raster(tmp_path / "c.tif", np.ones((40, 50), np.complex64)))
    with pytest.raises(InputError, match="nearest"):
        add_layer(cube, "a", landcover, resampling="cubic")
    scaled = write_raster(tmp_path / "scaled.tif", classes((40, 50)))
    with rasterio.open(scaled, "r+") as dataset:
        dataset.scales = [0.1]
    with pytest.raises(InputError, match="unscale"):
        add_layer(cube, "a", scaled)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        masked = write_raster(tmp_path / "masked.tif", classes((40, 50)))
        with rasterio.open(masked, "r+") as dataset:
            dataset.write_mask(np.zeros((40, 50), np.uint8))
    with pytest.raises(InputError, match="mask or alpha"):
        add_layer(cube, "a", masked)


def test_a_file_that_is_replaced_before_it_is_read_is_an_error(tmp_path):
    path = write_raster(tmp_path / "a.tif", classes((40, 50)))
    cube = add_layer(make_cube(), "a", path)
    write_raster(path, classes((30, 50)))
    with pytest.raises(ReadError, match="is not the file it was") as caught:
        cube.a.compute()
    assert caught.value.kind == "stale"


def test_a_truncated_file_is_an_error_and_no_zeros(tmp_path):
    path = write_raster(tmp_path / "a.tif", classes((400, 500)), transform=Affine(1, 0, LEFT, 0, -1, TOP))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(SarcubeError):
        add_layer(make_cube(), "a", path).a.compute()


def test_it_travels_to_other_processes(landcover):
    cube = add_layer(make_cube((7, 50), resolution=60.0), "a", landcover)
    sent = pickle.loads(pickle.dumps(cube))
    np.testing.assert_array_equal(sent.a, cube.a)


def test_a_relative_path_is_found_from_elsewhere(landcover, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(landcover.parent)
    cube = add_layer(make_cube(resolution=60.0), "a", "lc100.tif")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    cube.a.compute()


def test_files_on_a_web_server(tmp_path, landcover):
    with serve(tmp_path) as server:
        url = f"{server.url}/lc100.tif"
        cube = add_layer(make_cube(resolution=60.0), "a", f"{url}?sig=secret")
        xr.testing.assert_equal(cube.a, add_layer(make_cube(resolution=60.0), "a", landcover).a)
        assert cube.a.attrs["source"] == "lc100.tif"
        with pytest.raises(ReadError) as caught:
            add_layer(make_cube(), "a", f"{server.url}/missing.tif?sig=secret")
        assert caught.value.kind == "not_found"
        elsewhere = make_cube(left=400_000.0)
        with pytest.raises(AreaError) as away:
            add_layer(elsewhere, "a", f"{url}?sig=secret")
        server.fail("lc100.tif", "truncate")
        with pytest.raises(ReadError):
            cube.a.compute()
    assert "secret" not in f"{caught.value} {away.value}"


@pytest.mark.realdata
@pytest.mark.skipif(not CALIFORNIA.is_dir(), reason=f"the real data is not at {CALIFORNIA}")
def test_a_real_file_on_its_own_grid_is_copied():
    path = sorted(CALIFORNIA.rglob("*_VV.tif"))[0]
    with rasterio.open(path) as dataset:
        values, (left, top) = dataset.read(1), (dataset.transform.c, dataset.transform.f)
        crs, resolution = str(dataset.crs), dataset.transform.a
    cube = make_cube((17, 31), shape=values.shape, left=left, top=top, crs=crs, resolution=resolution)
    for resampling in ("nearest", "average"):
        layer = add_layer(cube, "theirs", path, resampling=resampling).theirs
        np.testing.assert_array_equal(layer, np.where(np.isfinite(values), values, np.nan))
