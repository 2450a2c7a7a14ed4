"""From items to a cube: every case is a file whose values are known."""

import dask
import numpy as np
import pyproj
import pystac
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, values_of, write_rtc

import sarcube as sc
from sarcube.errors import AreaError, BandError, InputError, NoSceneError, ReadError

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


def test_two_utm_zones_become_one_grid(tmp_path):
    """A file of the next zone: every pixel is the one that holds the transformed centre."""
    near = scene(tmp_path, "A", seed=1, time=PASSES[0])
    near_too = scene(tmp_path, "B", seed=2, time=PASSES[1])
    x, y = pyproj.Transformer.from_crs(CRS, "EPSG:32648", always_xy=True).transform(LEFT + 250, TOP - 200)
    left, top = round(x, -1) - 600, round(y, -1) + 600
    far = scene(tmp_path, "C", seed=3, time=PASSES[2], crs="EPSG:32648", left=left, top=top, shape=(120, 120))
    cube = sc.load([near, near_too, far])
    assert cube.rio.crs.to_epsg() == 32647
    cube = cube_on_file_grid([near, near_too, far], chunks={"y": 7, "x": 11})
    xs, ys = np.meshgrid(cube.x.values, cube.y.values)
    far_x, far_y = pyproj.Transformer.from_crs(CRS, "EPSG:32648", always_xy=True).transform(xs, ys)
    expected = values_of(far)[((top - far_y) // 10).astype(int), ((far_x - left) // 10).astype(int)]
    np.testing.assert_array_equal(cube.vv.values[2], expected)


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


def test_slices_of_a_pass_are_one_step(tmp_path):
    """The northern slice overlaps the southern one by five rows; there the first id wins, where it is valid."""
    north = speckle(1, (25, 50))
    north[22, :] = 0
    south = speckle(2, (20, 50))
    items = [
        make_item("B", {"vv": write_rtc(tmp_path / "b.tif", south, top=TOP - 200)}, time="2022-02-01T11:30:25"),
        make_item("A", {"vv": write_rtc(tmp_path / "a.tif", north)}, time="2022-02-01T11:30:00"),
    ]
    cube = cube_on_file_grid(items)
    assert cube.sizes["time"] == 1
    assert cube.item_ids.values[0] == "A,B"
    assert cube.time.values[0] == np.datetime64("2022-02-01T11:30:12.5")
    expected = np.vstack([north, south[5:]])
    expected[22] = south[2]
    np.testing.assert_array_equal(cube.vv.values[0], expected)


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


def test_the_newest_processing_wins_and_is_reported(tmp_path, caplog):
    items = [
        scene(tmp_path, "S_new", seed=1, time="2022-02-01T11:30:00.4", processed="2023-05-01T00:00:00Z"),
        scene(tmp_path, "S_old", seed=2, time="2022-02-01T11:30:00.1", processed="2022-02-01T15:00:00Z"),
        scene(tmp_path, "S_older", seed=3, time="2022-02-01T11:30:00.1"),
    ]
    cube = cube_on_file_grid(items)
    assert cube.attrs["items"] == ["S_new"]
    assert cube.attrs["duplicates_dropped"] == ["S_old (kept: S_new)", "S_older (kept: S_new)"]
    assert 'dropped item "S_old"' in caplog.text
    np.testing.assert_array_equal(cube.vv.values[0], values_of(items[0]))


def test_a_missing_polarisation_is_nan_and_noted(tmp_path):
    items = [
        scene(tmp_path, "A", seed=1, time=PASSES[0], polarisations=("vv",)),
        scene(tmp_path, "B", seed=2, time=PASSES[1]),
    ]
    cube = cube_on_file_grid(items)
    assert np.isnan(cube.vh.values[0]).all()
    assert np.isfinite(cube.vh.values[1]).all()
    assert cube.attrs["missing_polarisations"] == ["2022-02-01T11:30:12Z D164: vh"]


def test_a_polarisation_that_nobody_has_is_absent(tmp_path):
    cube = cube_on_file_grid([scene(tmp_path, "A", polarisations=("vv",))])
    assert list(cube.data_vars) == ["vv"]
    assert cube.attrs["missing_polarisations"] == []


def test_items_without_vv_and_vh(tmp_path):
    ice = scene(tmp_path, "ice", polarisations=("hh", "hv"))
    with pytest.raises(BandError, match="no item has VV or VH; the items have HH, HV"):
        cube_on_file_grid([ice])
    cube = cube_on_file_grid([ice, scene(tmp_path, "land", time=PASSES[1])])
    assert cube.attrs["items"] == ["land"]
    assert cube.attrs["items_without_vv_and_vh"] == ["ice"]


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


def test_a_header_that_disagrees_is_an_error(tmp_path):
    item = scene(tmp_path, "S")
    item.properties["proj:transform"] = [10, 0, LEFT + 20, 0, -10, TOP]
    with pytest.raises(ReadError, match='is not where its item "S" puts it'):
        cube_on_file_grid([item]).vv.compute()
    item.properties["proj:transform"] = [10, 0, LEFT, 0, -10, TOP]
    item.properties["proj:shape"] = [41, 50]
    with pytest.raises(ReadError, match="41 x 50 pixels"):
        cube_on_file_grid([item]).vv.compute()
    item.properties |= {"proj:shape": [40, 50], "proj:epsg": 32648}
    with pytest.raises(ReadError, match="EPSG:32648"):
        sc.load([item]).vv.compute()


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


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/passwd",
        "/vsicurl/http://127.0.0.1/x.tif",
        "<VRTDataset></VRTDataset>",
        "s3://bucket/x.tif",
        "x.tif",
    ],
)
def test_hostile_hrefs_are_refused(tmp_path, href):
    item = scene(tmp_path, "S")
    item.assets["vv"].href = href
    with pytest.raises(InputError, match='item "S"'):
        sc.load([item])


def test_an_area_outside_the_items_names_both(tmp_path):
    with pytest.raises(AreaError, match=r"it is 10\.\d+, 45\.\d+, .* the items cover 99\.\d+, 0\.9\d+"):
        sc.load([scene(tmp_path, "S")], bbox=(10, 45, 10.01, 45.01), crs="EPSG:32632")


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


def test_an_area_across_the_antimeridian(tmp_path):
    item = scene(tmp_path, "S", crs="EPSG:32701", left=177_000, top=8_180_000, shape=(400, 500))
    west, south, east, north = degrees(177_000, 8_176_000, 182_000, 8_180_000, "EPSG:32701")
    assert west > 0 > east, "the scene must straddle the line"
    assert sc.load([item], bbox=(west, south, east, north)).sizes["x"] < 600
