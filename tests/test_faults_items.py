"""What is wrong with items and what they hold, a test per row: what is told, and that no wrong pixel looks valid."""

import logging

import numpy as np
import pyproj
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, values_of, write_rtc

import sarcube as sc
from sarcube.acquisition.files import ranges
from sarcube.cube.holes import Hole, hole_reasons, unread_parts
from sarcube.errors import AreaError, BandError, InputError, ReadError

PASSES = [f"2022-02-{day:02d}T11:30:00" for day in (1, 13, 25)]


def cube_on_file_grid(items, shape=(40, 50), **kwargs):
    """Load onto the very pixels of the default scene."""
    return sc.load(items, geobox=GeoBox(shape, Affine(10, 0, LEFT, 0, -10, TOP), CRS), **kwargs)


def degrees(left, bottom, right, top, crs=CRS):
    return pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform_bounds(left, bottom, right, top)


def test_a_part_filled_with_zeros_is_no_measurement(tmp_path):
    """As some products come: the lower half is zero; near it the measurements are left out as well."""
    values = speckle(1, (120, 130))
    values[60:] = 0
    item = make_item("S", {"vv": write_rtc(tmp_path / "S.tif", values)})
    vv = cube_on_file_grid([item], (120, 130)).vv.values[0]
    reasons = hole_reasons(vv)
    assert (reasons[60:] == Hole.ZERO).all()
    assert (reasons[52:60] == Hole.FRINGE).all()
    np.testing.assert_array_equal(vv[:52], values[:52])


def test_border_fringe_is_left_out(tmp_path):
    """Along an oblique edge of the swath noise of -30 dB, 6 pixels wide: none of it is left, and not much else goes."""
    values = speckle(2, (200, 210), level=0.1)
    y, x = np.indices(values.shape)
    edge = 60 + 0.2 * y
    noise = (x >= edge) & (x < edge + 6)
    values[noise] = 1e-4
    values[x < edge] = -32768
    item = make_item("S", {"vv": write_rtc(tmp_path / "S.tif", values)})
    vv = cube_on_file_grid([item], values.shape).vv.values[0]
    assert np.isnan(vv[noise]).all()
    far = x >= edge + 12
    np.testing.assert_array_equal(vv[far], values[far])
    assert np.isfinite(cube_on_file_grid([item], values.shape, border_fringe=0).vv.values[0][noise]).all()


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


def test_a_missing_polarisation_is_nan_and_noted(tmp_path):
    items = [
        scene(tmp_path, "A", seed=1, time=PASSES[0], polarisations=("vv",)),
        scene(tmp_path, "B", seed=2, time=PASSES[1]),
    ]
    cube = cube_on_file_grid(items)
    assert np.isnan(cube.vh.values[0]).all()
    assert np.isfinite(cube.vh.values[1]).all()
    assert cube.attrs["missing_polarisations"] == ["2022-02-01T11:30:12Z D164: vh"]


def test_items_without_vv_and_vh(tmp_path):
    ice = scene(tmp_path, "ice", polarisations=("hh", "hv"))
    with pytest.raises(BandError, match="no item has VV or VH; the items have HH, HV"):
        cube_on_file_grid([ice])
    cube = cube_on_file_grid([ice, scene(tmp_path, "land", time=PASSES[1])])
    assert cube.attrs["items"] == ["land"]
    assert cube.attrs["items_without_vv_and_vh"] == ["ice"]


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


def test_a_stale_item_can_be_skipped_and_leaves_a_trace(tmp_path, caplog):
    """Two slices, the first moved by two pixels since its item was written: its place is a hole, never its values."""
    first = make_item("A", {"vv": write_rtc(tmp_path / "a.tif", speckle(1, (25, 50)))})
    second = make_item(
        "B", {"vv": write_rtc(tmp_path / "b.tif", speckle(2, (20, 50)), top=TOP - 200)}, time="2022-02-01T11:30:25"
    )
    first.properties["proj:transform"] = [10, 0, LEFT + 20, 0, -10, TOP]
    first.properties["proj:shape"] = [25, 48]
    cube = cube_on_file_grid([first, second], on_error="skip", chunks={"y": 8, "x": 8})
    with caplog.at_level(logging.WARNING):
        vv = cube.vv.values[0]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ['item "A"'], "once, not once per block"
    assert "a.tif" in caplog.text
    assert "stale" in caplog.text
    np.testing.assert_array_equal(vv[20:], values_of(second))
    assert unread_parts(vv) == [(0, Hole.STALE)]
    reasons = hole_reasons(vv[:20])
    assert (reasons[:, 2:] == Hole.STALE).all()
    assert (reasons[:, :2] == Hole.OUTSIDE).all()


def test_a_pass_of_which_nothing_can_be_read_stays_a_step_full_of_holes(tmp_path, caplog):
    items = [
        scene(tmp_path, "A", seed=1, time=PASSES[0]),
        make_item("B", {"vv": write_rtc(tmp_path / "b.tif", speckle(2, (20, 50)))}, time=PASSES[1]),
        make_item(
            "C", {"vv": write_rtc(tmp_path / "c.tif", speckle(3, (25, 50)), top=TOP - 150)}, time="2022-02-13T11:30:25"
        ),
    ]
    (tmp_path / "b.tif").unlink()
    (tmp_path / "c.tif").write_bytes(b"hello")
    cube = cube_on_file_grid(items, on_error="skip")
    vv = cube.vv.values
    assert cube.sizes["time"] == 2
    assert cube.item_ids.values[1] == "B,C"
    np.testing.assert_array_equal(vv[0], values_of(items[0]))
    assert unread_parts(vv[1]) == [(0, Hole.NOT_FOUND), (1, Hole.DAMAGED)]
    reasons = hole_reasons(vv[1])
    assert (reasons[:20] == Hole.NOT_FOUND).all()
    assert (reasons[20:] == Hole.DAMAGED).all()
    assert "b.tif" in caplog.text
    assert "c.tif" in caplog.text
    with pytest.raises(ReadError, match=r'b\.tif of item "B"'):
        cube_on_file_grid(items).vv.compute()


def test_the_place_of_an_unread_slice_is_that_among_the_items_of_its_step(tmp_path):
    """The first item has no VH, one lies beside the area: the place still points into item_ids."""
    items = [
        make_item("A", {"vv": write_rtc(tmp_path / "a.tif", speckle(1, (15, 50)))}),
        scene(tmp_path, "B", left=LEFT + 5000, time="2022-02-01T11:30:25"),
        scene(tmp_path, "C", shape=(25, 50), top=TOP - 150, time="2022-02-01T11:30:50"),
    ]
    for path in (tmp_path / "C").iterdir():
        path.unlink()
    cube = cube_on_file_grid(items, on_error="skip")
    assert cube.item_ids.values[0] == "A,C"
    ((place, reason),) = unread_parts(cube.vh.values)
    assert (cube.item_ids.values[0].split(",")[place], reason) == ("C", Hole.NOT_FOUND)
    assert (hole_reasons(cube.vh.values[0, :15]) == Hole.OUTSIDE).all()


def test_an_unread_slice_is_no_loss_where_another_is_valid(tmp_path):
    first, second = speckle(1), speckle(2)
    items = [
        make_item("A", {"vv": write_rtc(tmp_path / "a.tif", first)}),
        make_item("B", {"vv": write_rtc(tmp_path / "b.tif", second)}, time="2022-02-01T11:30:25"),
    ]
    second[3, 4] = 0
    write_rtc(tmp_path / "b.tif", second)
    (tmp_path / "a.tif").unlink()
    vv = cube_on_file_grid(items, on_error="skip").vv.values[0]
    assert unread_parts(vv) == [(0, Hole.NOT_FOUND)]
    assert np.argwhere(np.isnan(vv)).tolist() == [[3, 4]]


def test_an_item_that_nobody_can_place_is_an_error_even_when_errors_are_skipped(tmp_path):
    item = scene(tmp_path, "S")
    for name in ("proj:epsg", "proj:code", "proj:transform", "proj:shape"):
        item.properties.pop(name, None)
    (tmp_path / "S" / "iw-vv.rtc.tiff").unlink()
    with pytest.raises(ReadError, match=r'iw-vv\.rtc\.tiff of item "S"'):
        sc.load([item], on_error="skip")


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


def test_an_area_across_the_antimeridian(tmp_path):
    item = scene(tmp_path, "S", crs="EPSG:32701", left=177_000, top=8_180_000, shape=(400, 500))
    west, south, east, north = degrees(177_000, 8_176_000, 182_000, 8_180_000, "EPSG:32701")
    assert west > 0 > east, "the scene must straddle the line"
    assert sc.load([item], bbox=(west, south, east, north)).sizes["x"] < 600


def test_scenes_on_both_sides_of_the_antimeridian_become_one_cube(tmp_path):
    """Zones 60 and 1: every pixel is the one of its file that holds the transformed centre."""
    to_60 = pyproj.Transformer.from_crs("EPSG:32701", "EPSG:32760", always_xy=True)
    left, top = 177_000.0, 8_180_000.0
    x, y = to_60.transform(left + 1500, top - 2000)
    west, north = round(x, -1) - 3000, round(y, -1) + 3000
    east_file = {"crs": "EPSG:32701", "left": left, "top": top, "shape": (400, 500)}
    items = [
        scene(tmp_path, "A", seed=1, time=PASSES[0], **east_file),
        scene(tmp_path, "B", seed=2, time=PASSES[1], **east_file),
        scene(tmp_path, "C", seed=3, time=PASSES[2], crs="EPSG:32760", left=west, top=north, shape=(600, 600)),
    ]
    area = degrees(left + 200, top - 3000, left + 4200, top - 500, "EPSG:32701")
    assert area[0] > 0 > area[2], "the area must straddle the line"
    for bbox in (area, None):
        cube = sc.load(items, bbox=bbox, chunks={"y": 100, "x": 130})
        assert cube.rio.crs.to_epsg() == 32701
        assert cube.sizes["x"] < 1000
        xs, ys = np.meshgrid(cube.x.values, cube.y.values)
        for step, item, x0, y0 in ((1, items[1], left, top), (2, items[2], west, north)):
            file_x, file_y = (xs, ys) if step == 1 else to_60.transform(xs, ys)
            rows, columns = (
                np.floor((y0 - file_y) / 10 + 1e-6).astype(int),
                np.floor((file_x - x0) / 10 + 1e-6).astype(int),
            )
            values = values_of(item)
            inside = (rows >= 0) & (rows < values.shape[0]) & (columns >= 0) & (columns < values.shape[1])
            expected = np.full(rows.shape, np.nan, np.float32)
            expected[inside] = values[rows[inside], columns[inside]]
            assert inside.mean() > 0.3
            np.testing.assert_array_equal(cube.vv.values[step], expected)


def test_files_in_degrees_across_the_antimeridian_do_not_span_the_globe(tmp_path):
    settings_ = {"crs": "EPSG:4326", "resolution": 1e-4, "top": -16.5, "shape": (50, 60)}
    items = [
        scene(tmp_path, "A", seed=1, time=PASSES[0], left=179.996, **settings_),
        scene(tmp_path, "B", seed=2, time=PASSES[1], left=-179.998, **settings_),
    ]
    cube = sc.load(items)
    assert cube.rio.crs.to_epsg() in (32701, 32760)
    assert cube.sizes["x"] < 200
    longitude, latitude = pyproj.Transformer.from_crs(cube.rio.crs, 4326, always_xy=True).transform(
        *np.meshgrid(cube.x.values, cube.y.values)
    )
    for step, item, left in ((0, items[0], 179.996), (1, items[1], -179.998)):
        rows = np.floor((-16.5 - latitude) / 1e-4 + 1e-6).astype(int)
        columns = np.floor(((longitude - left + 180) % 360 - 180) / 1e-4 + 1e-6).astype(int)
        inside = (rows >= 0) & (rows < 50) & (columns >= 0) & (columns < 60)
        expected = np.full(rows.shape, np.nan, np.float32)
        expected[inside] = values_of(item)[rows[inside], columns[inside]]
        assert inside.mean() > 0.4
        np.testing.assert_array_equal(cube.vv.values[step], expected)


def test_an_area_outside_the_items_names_both(tmp_path):
    with pytest.raises(AreaError, match=r"it is 10\.\d+, 45\.\d+, .* the items cover 99\.\d+, 0\.9\d+"):
        sc.load([scene(tmp_path, "S")], bbox=(10, 45, 10.01, 45.01), crs="EPSG:32632")


def test_a_hostile_id_stays_text(tmp_path):
    """Nothing is named after an id: no file appears beside the archive, and the cube says the id as it came."""
    folder = tmp_path / "archive"
    item = scene(folder, "S")
    item.id = "../../evil"
    before = sorted(path for path in tmp_path.rglob("*"))
    cube = cube_on_file_grid([item])
    np.testing.assert_array_equal(cube.vv.values[0], values_of(item))
    assert cube.item_ids.values.tolist() == ["../../evil"]
    assert cube.attrs["items"] == ["../../evil"]
    assert sorted(path for path in tmp_path.rglob("*")) == before
    (folder / "S" / "iw-vv.rtc.tiff").unlink()
    with pytest.raises(ReadError, match=r'item "\.\./\.\./evil"'):
        cube.vv.compute()


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


def test_a_signature_is_never_shown(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(ranges, "SETTINGS", ranges.RangeSettings(attempts=1))
    item = scene(tmp_path, "S")
    for asset in item.assets.values():
        asset.href = "http://127.0.0.1:9/S.tif?sig=secret"
    with pytest.raises(ReadError) as caught:
        cube_on_file_grid([item]).vv.compute()
    vv = cube_on_file_grid([item], on_error="skip").vv.values[0]
    assert (hole_reasons(vv) == Hole.NO_CONNECTION).all()
    assert "127.0.0.1:9/S.tif" in caplog.text
    assert "secret" not in caplog.text + str(caught.value)
