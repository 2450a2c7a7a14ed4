"""From items to a cube: every case is a file whose values are known."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pyproj
import pystac
import pytest
import rasterio
import xarray as xr
from affine import Affine
from distributed.core import error_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, values_of, write_rtc

import sarcube as sc
from sarcube.errors import InputError, NoSceneError, ReadError

BBOX = (99.9, 0.9, 99.903, 0.903)  # inside the default scene's 500 m x 400 m
PASSES = [f"2022-02-{day:02d}T11:30:00" for day in (1, 13, 25)]


def cube_on_file_grid(items, **kwargs):
    """Load onto the very pixels of the default scene."""
    return sc.load(items, geobox=GeoBox((40, 50), Affine(10, 0, LEFT, 0, -10, TOP), CRS), **kwargs)


def degrees(left, bottom, right, top, crs=CRS):
    return pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform_bounds(left, bottom, right, top)


def raising_get(dsk, keys, **kwargs):
    raise AssertionError("computed while the graph was built")


def test_it_is_lazy_and_describes_itself(tmp_path):
    items = [scene(tmp_path, f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    with dask.config.set(scheduler=raising_get):
        cube = cube_on_file_grid(items, chunks={"time": -1, "y": 16, "x": 16})
    assert dict(cube.sizes) == {"time": 3, "y": 40, "x": 50}
    assert list(cube.data_vars) == ["vv", "vh"]
    assert cube.vv.dtype == cube.vh.dtype == np.float32
    assert list(cube.scene_track.values) == ["D164"] * 3
    assert list(cube.orbit_state.values) == ["descending"] * 3
    assert list(cube.relative_orbit.values) == [164] * 3
    assert list(cube.platform.values) == ["SENTINEL-1A"] * 3
    assert list(cube.item_ids.values) == ["S0", "S1", "S2"]
    assert cube.time.values[1] == np.datetime64("2022-02-13T11:30:12.5")
    assert cube.attrs["items"] == ["S0", "S1", "S2"]
    assert cube.rio.crs.to_epsg() == 32647
    assert cube.odc.geobox.affine == Affine(10, 0, LEFT, 0, -10, TOP)
    for name in ("vv", "vh", "x", "y", "relative_orbit"):
        assert {"units", "long_name"} <= set(cube[name].attrs), name


def test_values_on_the_same_grid_are_copied(tmp_path):
    item = scene(tmp_path, "S", seed=3)
    cube = cube_on_file_grid([item])
    np.testing.assert_array_equal(cube.vv.values[0], values_of(item))
    np.testing.assert_array_equal(cube.vh.values[0], values_of(item, "vh"))


def test_a_graph_has_one_task_per_step_band_and_block(tmp_path):
    items = [scene(tmp_path, f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    cube = cube_on_file_grid(items, chunks={"y": 20, "x": 25})
    assert len(dict(cube.vv.data.__dask_graph__())) == 3 * 2 * 2


def test_what_is_not_valid_is_nan(tmp_path):
    values = speckle(1)
    values[0, :] = -32768
    values[1, :] = 0
    values[2, :] = np.nan
    values[3, :] = np.inf
    values[4, :] = -0.5
    item = make_item("S", {"vv": write_rtc(tmp_path / "vv.tif", values)})
    vv = cube_on_file_grid([item]).vv.values[0]
    assert np.isnan(vv[:5]).all()
    np.testing.assert_array_equal(vv[5:], values[5:])


def test_positive_nodata_is_not_valid(tmp_path):
    values = speckle(1)
    values[7, 9] = 99
    item = make_item("S", {"vv": write_rtc(tmp_path / "vv.tif", values, nodata=99)})
    vv = cube_on_file_grid([item]).vv.values[0]
    assert np.isnan(vv[7, 9])
    assert np.isnan(vv).sum() == 1


def test_the_grid_takes_the_files_phase(tmp_path):
    """Files that start 3 m and 4 m off the multiples of 10 m: the box is snapped to them, not to the multiples."""
    item = scene(tmp_path, "S", left=LEFT + 3, top=TOP - 4)
    cube = sc.load([item], bbox=degrees(LEFT + 100, TOP - 300, LEFT + 300, TOP - 100))
    affine = cube.odc.geobox.affine
    assert (affine.c % 10, affine.f % 10) == (3, 6)
    column, row = round((affine.c - LEFT - 3) / 10), round((TOP - 4 - affine.f) / 10)
    rows, columns = cube.vv.shape[1:]
    np.testing.assert_array_equal(cube.vv.values[0], values_of(item)[row : row + rows, column : column + columns])
    assert affine.c <= LEFT + 100 < LEFT + 300 <= affine.c + 10 * columns
    assert affine.f - 10 * rows <= TOP - 300 < TOP - 100 <= affine.f


def test_the_grid_follows_most_files(tmp_path):
    items = [
        scene(tmp_path, f"S{n}", seed=n, time=time, left=LEFT + shift)
        for n, (time, shift) in enumerate(zip(PASSES, (0, 4, 4), strict=True))
    ]
    assert sc.load(items).odc.geobox.affine.c % 10 == 4


@pytest.mark.parametrize("shift", [0.0, 2.5, 5.0, 7.5, -3.0])
def test_nearest_takes_the_pixel_that_holds_the_centre(tmp_path, shift):
    item = scene(tmp_path, "S", left=LEFT - 100 + shift, top=TOP + 100 - shift, shape=(60, 70))
    vv = cube_on_file_grid([item]).vv.values[0]
    source = values_of(item)
    for row in (0, 17, 39):
        for column in (0, 23, 49):
            x, y = LEFT + 10 * (column + 0.5), TOP - 10 * (row + 0.5)
            expected = source[int((TOP + 100 - shift - y) // 10), int((x - (LEFT - 100 + shift)) // 10)]
            assert vv[row, column] == expected


@pytest.mark.parametrize("resolution", [7.0, 10.3, 20.0, 30.0])
def test_other_pixel_sizes(tmp_path, resolution):
    item = scene(tmp_path, "S", resolution=resolution, shape=(80, 90))
    vv = cube_on_file_grid([item]).vv.values[0]
    rows = ((np.arange(40) + 0.5) * 10 / resolution).astype(int)
    columns = ((np.arange(50) + 0.5) * 10 / resolution).astype(int)
    np.testing.assert_array_equal(vv, values_of(item)[np.ix_(rows, columns)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(y=st.integers(9, 45), x=st.integers(9, 55), time=st.integers(1, 4), other=st.booleans())
def test_chunks_never_change_the_cube(tmp_path, y, x, time, other):
    folder = tmp_path / str(other)
    crs, left, top = ("EPSG:32648", -68_800.0, 100_600.0) if other else (CRS, LEFT - 13.7, TOP + 21.2)
    settings_ = {"left": left, "top": top, "crs": crs, "shape": (90, 130)}
    items = [scene(folder, f"S{n}", seed=n, time=t, **settings_) for n, t in enumerate(PASSES[:2])]
    whole = cube_on_file_grid(items, chunks={"time": -1, "y": -1, "x": -1})
    assert np.isfinite(whole.vv.values).any()
    parts = cube_on_file_grid(items, chunks={"time": time, "y": y, "x": x})
    xr.testing.assert_identical(parts.compute(), whole.compute())


def test_tracks_and_platforms_are_never_mixed(tmp_path):
    items = [
        scene(tmp_path, "A", seed=1),
        scene(tmp_path, "B", seed=2, relative_orbit=62),
        scene(tmp_path, "C", seed=3, orbit_state="ascending"),
        scene(tmp_path, "D", seed=4, platform="SENTINEL-1C"),
    ]
    cube = cube_on_file_grid(items)
    assert cube.sizes["time"] == 4
    assert sorted(cube.scene_track.values) == ["A164", "D062", "D164", "D164"]


def test_a_polarisation_that_nobody_has_is_absent(tmp_path):
    cube = cube_on_file_grid([scene(tmp_path, "A", polarisations=("vv",))])
    assert list(cube.data_vars) == ["vv"]
    assert cube.attrs["missing_polarisations"] == []


def test_outside_a_file_is_nan(tmp_path):
    item = scene(tmp_path, "S", shape=(15, 20))
    vv = cube_on_file_grid([item], chunks={"y": 8, "x": 8}).vv.values[0]
    np.testing.assert_array_equal(vv[:15, :20], values_of(item))
    assert np.isnan(vv[15:]).all()
    assert np.isnan(vv[:, 20:]).all()


def test_items_without_projection_are_asked_for_their_header(tmp_path):
    item = scene(tmp_path, "S")
    for name in ("proj:epsg", "proj:code", "proj:transform", "proj:shape"):
        item.properties.pop(name, None)
    np.testing.assert_array_equal(cube_on_file_grid([item]).vv.values[0], values_of(item))


@pytest.mark.parametrize("where", ["item", "asset"])
def test_proj_code_is_read_like_proj_epsg(tmp_path, where):
    item = scene(tmp_path, "S")
    fields = {"proj:code": f"EPSG:{item.properties.pop('proj:epsg')}"}
    if where == "item":
        item.properties |= fields
    else:
        for asset in item.assets.values():
            asset.extra_fields |= fields
    np.testing.assert_array_equal(sc.load([item]).vv.values[0], values_of(item))


@pytest.mark.parametrize("epsg", [{"proj:epsg": 32647}, {"proj:code": "EPSG:32647"}])
def test_items_as_pystac_reads_them(tmp_path, epsg):
    """Whatever the installed pystac makes of either field when it reads an item."""
    document = scene(tmp_path, "S").to_dict()
    document["properties"].pop("proj:epsg")
    document["properties"] |= epsg
    document["stac_extensions"] = ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"]
    cube = sc.load([pystac.Item.from_dict(document)])
    assert cube.rio.crs.to_epsg() == 32647


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "no tiff", "vrt"])
def test_a_broken_file_is_named(tmp_path, damage):
    item = scene(tmp_path, "S", shape=(400, 500))
    geobox = GeoBox((400, 500), Affine(10, 0, LEFT, 0, -10, TOP), CRS)
    cube = sc.load([item], geobox=geobox)
    path = tmp_path / "S" / "iw-vv.rtc.tiff"
    if damage == "missing":
        path.unlink()
    elif damage == "vrt":
        with rasterio.open(tmp_path / "S" / "iw-vh.rtc.tiff") as vh:
            xml = (
                f'<VRTDataset rasterXSize="500" rasterYSize="400"><SRS>{CRS}</SRS>'
                f"<GeoTransform>{LEFT}, 10, 0, {TOP}, 0, -10</GeoTransform>"
                f'<VRTRasterBand dataType="Float32" band="1"><SimpleSource><SourceFilename>{vh.name}</SourceFilename>'
                "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
            )
        path.write_text(xml)
    else:
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "no tiff": b"hello" * 1000}[damage])
    with pytest.raises(ReadError, match=r'iw-vv\.rtc\.tiff of item "S"'):
        cube.vv.compute()


def test_decibel_in_integers_is_refused(tmp_path):
    item = make_item("S", {"vv": write_rtc(tmp_path / "vv.tif", np.full((40, 50), 7, np.int16), nodata=None)})
    with pytest.raises(ReadError, match="expected one band of floating point"):
        cube_on_file_grid([item]).vv.compute()


def test_a_pass_beside_the_area_is_no_step(tmp_path):
    items = [scene(tmp_path, "A", seed=1), scene(tmp_path, "B", seed=2, time=PASSES[1], left=LEFT + 50_000)]
    cube = cube_on_file_grid(items)
    assert cube.attrs["items"] == ["A"]


def test_arguments_that_cannot_be_used(tmp_path):
    item = scene(tmp_path, "S")
    geobox = GeoBox((4, 5), Affine(10, 0, LEFT, 0, -10, TOP), CRS)
    with pytest.raises(NoSceneError):
        sc.load([])
    with pytest.raises(InputError, match="projected"):
        sc.load([item], crs="EPSG:4326")
    with pytest.raises(InputError, match="projected"):
        sc.load([item], crs="nonsense")
    with pytest.raises(InputError, match="resolution"):
        sc.load([item], resolution=0)
    with pytest.raises(InputError, match="geobox= alone"):
        sc.load([item], geobox=geobox, bbox=BBOX)
    with pytest.raises(InputError, match="north-up"):
        sc.load([item], geobox=GeoBox((4, 5), Affine(10, 0, LEFT, 0, 10, TOP), CRS))
    with pytest.raises(InputError, match="south < north"):
        sc.load([item], bbox=(99.9, 1.0, 99.91, 0.9))
    with pytest.raises(InputError, match="band is none of them"):
        sc.load([item], chunks={"band": 1})
    del item.properties["sat:relative_orbit"]
    with pytest.raises(InputError, match="sat:relative_orbit"):
        sc.load([item])


def test_the_whole_of_the_items_is_the_default_area(tmp_path):
    items = [scene(tmp_path, "A", seed=1), scene(tmp_path, "B", seed=2, time=PASSES[1], left=LEFT + 100)]
    assert sc.load(items).odc.geobox == GeoBox((40, 60), Affine(10, 0, LEFT, 0, -10, TOP), CRS)


def test_the_same_grid_as_another_cube(tmp_path):
    items = [scene(tmp_path, f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    small = sc.load(items, bbox=BBOX)
    for like in (small, small.vv, small.isel(time=0)):
        xr.testing.assert_identical(sc.load(items, like=like).compute(), small.compute())
    with pytest.raises(InputError, match="lies on no grid"):
        sc.load(items, like=xr.Dataset())
    with pytest.raises(InputError, match="y are not equally far apart"):
        sc.load(items, like=small.isel(y=[0, 1, 5]))
    with pytest.raises(InputError, match="like= alone"):
        sc.load(items, like=small, bbox=BBOX)


def test_items_that_nobody_wants_are_left_out(tmp_path):
    items = [scene(tmp_path, f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    cube = sc.load(items, drop=["S1"])
    assert cube.attrs["items"] == ["S0", "S2"]
    assert cube.attrs["dropped_on_request"] == ["S1"]
    assert sc.load(items).attrs["dropped_on_request"] == []
    assert sc.load(items, drop="S1").attrs["dropped_on_request"] == ["S1"]
    with pytest.raises(InputError, match='"S11", which is not among the 3 items; near: S1'):
        sc.load(items, drop=["S11"])
    with pytest.raises(NoSceneError, match="leaves none of the 3"):
        sc.load(items, drop=["S0", "S1", "S2"])


def test_dropping_the_newest_processing_brings_back_the_one_before(tmp_path):
    items = [
        scene(tmp_path, "new", seed=1, processed="2023-05-01T00:00:00Z"),
        scene(tmp_path, "old", seed=2, processed="2022-02-01T15:00:00Z"),
    ]
    cube = sc.load(items, drop=["new"])
    assert cube.attrs["items"] == ["old"]
    assert cube.attrs["duplicates_dropped"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"engine": "gdal"}, "engine must be one of native, odc, stackstac, not 'gdal'"),
        ({"resampling": "cubic"}, "resampling must be one of nearest, bilinear, average, not 'cubic'"),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip, not 'ignore'"),
        ({"border_fringe": -1}, "border_fringe must be a number of pixels, 0 to 1000, not -1"),
        ({"border_fringe": 1001}, "border_fringe must be"),
        ({"border_fringe": 1.5}, "border_fringe must be"),
        ({"border_fringe": True}, "border_fringe must be"),
        ({"engine": "odc", "border_fringe": 8}, "erodes no border fringe"),
        ({"engine": "stackstac", "on_error": "skip"}, "cannot say which pixels it skipped"),
    ],
)
def test_ways_to_read_that_do_not_exist(tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        sc.load([scene(tmp_path, "S")], **arguments)


@pytest.mark.parametrize("engine", ["odc", "stackstac"])
def test_reference_engines_stand_behind_the_same_call(tmp_path, engine):
    items = [scene(tmp_path, f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    ours, theirs = (cube_on_file_grid(items, engine=e, chunks={"y": 20, "x": 25}) for e in ("native", engine))
    assert theirs.attrs == {**ours.attrs, "engine": engine, "border_fringe": 0}
    assert theirs.chunks == ours.chunks
    theirs.attrs = ours.attrs
    xr.testing.assert_identical(theirs.compute(), ours.compute())


def test_the_names_of_the_tasks_are_the_same_in_another_process(tmp_path):
    """A store continues an interrupted build by them; what a file weighs or when it was touched does not matter."""
    items = [scene(tmp_path, f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    pystac.ItemCollection(items).save_object(tmp_path / "items.json")
    code = (
        "import sys, pystac, sarcube as sc\n"
        "items = pystac.ItemCollection.from_file(sys.argv[1])\n"
        "cube = sc.load(items, resolution=20, chunks={'x': 7}, on_error='skip')\n"
        "print(cube.vv.data.name, cube.vh.data.name)"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "items.json")]
    settings_ = {"resolution": 20, "chunks": {"x": 7}, "on_error": "skip"}
    cube = sc.load(items, **settings_)
    os.utime(items[0].assets["vv"].href, (0, 0))
    path = Path(items[1].assets["vv"].href)
    path.write_bytes(path.read_bytes() + b"x")
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    names = subprocess.run(run, capture_output=True, check=True, text=True, env=environment).stdout.split()
    assert names == [cube.vv.data.name, cube.vh.data.name]
    for other in (
        {"resolution": 10},
        {"chunks": {"x": 8}},
        {"on_error": "raise"},
        {"resampling": "average"},
        {"border_fringe": 0},
    ):
        assert sc.load(items, **(settings_ | other)).vv.data.name not in names


def test_a_cube_computes_in_other_processes(tmp_path):
    """Tasks are plain values: they survive a pickle, and so do the reasons of their holes."""
    items = [scene(tmp_path, f"S{n}", seed=n, time=time, shape=(30, 40)) for n, time in enumerate(PASSES)]
    cube = cube_on_file_grid(items, chunks={"y": 20, "x": 25})
    expected = cube.vv.values
    graph = pickle.loads(pickle.dumps(dict(cube.vv.data.__dask_graph__())))
    again = dask.get(graph, [(cube.vv.data.name, 1, 1, 1)])[0]
    np.testing.assert_array_equal(again.view(np.uint32)[0], expected.view(np.uint32)[1, 20:, 25:])


def test_an_error_of_a_dask_worker_is_still_a_read_error(tmp_path):
    item = scene(tmp_path, "S")
    Path(item.assets["vv"].href).unlink()
    with pytest.raises(ReadError) as caught:
        cube_on_file_grid([item]).vv.compute()
    error = pickle.loads(error_message(caught.value)["exception"].data)
    assert isinstance(error, ReadError)
    assert error.kind == "not_found"
