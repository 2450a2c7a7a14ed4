"""What is a measurement, and why the rest is not: against the whole image, with scipy."""

from itertools import pairwise

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from range_server import serve
from rasterio.enums import Resampling
from rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, write_rtc
from scipy import ndimage

import sarcube as sc
from sarcube.cube.holes import VALID, Hole, hole_reasons, hole_value
from sarcube.cube.reading import outlook
from sarcube.cube.reading.fringe import fringe_reach, mark_fringe
from sarcube.cube.reading.place import Block
from sarcube.cube.reading.validity import blank, fill_holes, mark_holes

NODATA = -32768.0


def fringe_truth(invalid, width):
    """Which pixels lie within `width` of a place for a 32 x 32 square of holes; strips of 10 at the edge go on."""
    rows, columns = invalid.shape
    image = np.pad(invalid, 64, mode="edge")
    deep, wide = min(10, rows), min(10, columns)
    for axis, strip in ((0, deep), (1, wide)):
        image = np.moveaxis(image, axis, 0)
        image[:64] = image[64 : 64 + strip].all(axis=0)
        image[-64:] = image[-64 - strip : -64].all(axis=0)
        image = np.moveaxis(image, 0, axis)
    thick = ndimage.grey_opening(image.astype(np.uint8), size=(32, 32))
    near = ndimage.maximum_filter(thick, size=2 * width + 1).astype(bool)
    return near[64:-64, 64:-64] & ~invalid


def reasons_of(values, nodata=NODATA, width=8):
    """What a file's pixels are, decided on the whole image."""
    missing = ~np.isfinite(values) | (values == nodata if nodata is not None else False)
    reasons = np.full(values.shape, VALID, np.uint8)
    reasons[values <= 0] = Hole.ZERO
    reasons[missing] = Hole.NODATA
    if width:
        reasons[fringe_truth(reasons != VALID, width)] = Hole.FRINGE
    return reasons


def holed(seed, shape, blobs=4):
    """Speckle with rectangles, an oblique swath edge and single pixels of nothing."""
    draw = np.random.default_rng(seed)
    values = speckle(seed, shape)
    y, x = np.indices(shape)
    nothing = (NODATA, 0.0, np.nan, np.inf, -0.5)
    if draw.random() < 0.7:
        values[x + y * draw.uniform(-0.4, 0.4) < draw.uniform(-10, 0.6 * shape[1])] = NODATA
    for _ in range(blobs):
        top, left = draw.integers(-30, shape[0]), draw.integers(-30, shape[1])
        height, length = draw.choice([1, 9, 10, 31, 32, 33, 40], 2)
        values[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + length, 0)] = draw.choice(nothing)
    values[draw.random(shape) < 0.002] = draw.choice(nothing)
    return values


def test_every_kind_of_nothing_has_its_name():
    values = np.array([[0.5, NODATA, np.nan, np.inf, -np.inf, 0.0, -0.0, -3.0, 1e-45, 3e38]], np.float32)
    before = values.copy()
    reasons = hole_reasons(mark_holes(values, nodata=NODATA))
    nodata, zero = Hole.NODATA, Hole.ZERO
    assert reasons.tolist() == [[VALID, nodata, nodata, nodata, nodata, zero, zero, zero, VALID, VALID]]
    valid = reasons == VALID
    np.testing.assert_array_equal(values[valid].view(np.uint32), before[valid].view(np.uint32))


@pytest.mark.parametrize("nodata", [99.0, np.nan, 0.0, -1.7976931348623157e308, None])
def test_nodata_may_be_any_number_or_none(nodata):
    values = np.array([[99.0, 0.5, 0.0, np.nan, -np.inf]], np.float32)
    reasons = hole_reasons(mark_holes(values, nodata=nodata))[0]
    assert reasons[0] == (Hole.NODATA if nodata == 99 else VALID)
    assert reasons[1] == VALID
    assert reasons[2] == Hole.ZERO
    assert reasons[3] == reasons[4] == Hole.NODATA


def test_a_nan_that_a_file_brings_says_nothing_of_its_own():
    values = np.full((2, 3), hole_value(Hole.STALE, part=3), np.float32)
    assert (hole_reasons(mark_holes(values, nodata=None)) == Hole.NODATA).all()


def test_of_two_holes_the_one_that_tells_more_is_kept():
    unread, later = hole_value(Hole.FORBIDDEN, part=1), hole_value(Hole.STALE, part=2)
    ranked = [hole_value(reason) for reason in (Hole.OUTSIDE, Hole.NODATA, Hole.ZERO, Hole.FRINGE)] + [unread]
    for low, high in pairwise(ranked):
        for first, second in ((low, high), (high, low)):
            kept = fill_holes(np.full((1, 1), first), np.full((1, 1), second))
            assert kept.view(np.uint32) == high.view(np.uint32)
    assert fill_holes(np.full((1, 1), unread), np.full((1, 1), later)).view(np.uint32) == unread.view(np.uint32)
    assert fill_holes(np.full((1, 1), unread), np.full((1, 1), np.float32(2)))[0, 0] == 2
    assert fill_holes(np.full((1, 1), np.float32(1)), np.full((1, 1), np.float32(2)))[0, 0] == 1
    assert (hole_reasons(blank((2, 2), Hole.NOT_MEASURED)) == Hole.NOT_MEASURED).all()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 150),
    columns=st.integers(1, 150),
    width=st.integers(1, 20),
)
@example(seed=1, rows=9, columns=140, width=8)
@example(seed=1, rows=32, columns=32, width=8)
def test_fringe_is_what_the_whole_image_says(seed, rows, columns, width):
    values = holed(seed, (rows, columns))
    truth = reasons_of(values, width=width)
    mark_holes(values, nodata=NODATA)
    mark_fringe(values, width=width, part=Block(0, rows, 0, columns), shape=(rows, columns))
    np.testing.assert_array_equal(hole_reasons(values), truth)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), data=st.data(), width=st.integers(1, 12))
def test_a_part_with_its_surroundings_knows_its_fringe(seed, data, width):
    shape = (140, 160)
    values = holed(seed, shape)
    truth = reasons_of(values, width=width)
    y0, x0 = data.draw(st.integers(0, 139)), data.draw(st.integers(0, 159))
    y1, x1 = data.draw(st.integers(y0 + 1, 140)), data.draw(st.integers(x0 + 1, 160))
    reach = fringe_reach(width)
    around = Block(max(y0 - reach, 0), min(y1 + reach, 140), max(x0 - reach, 0), min(x1 + reach, 160))
    cut = np.ascontiguousarray(values[around.y0 : around.y1, around.x0 : around.x1])
    mark_holes(cut, nodata=NODATA)
    mark_fringe(cut, width=width, part=around, shape=shape)
    inner = hole_reasons(cut)[y0 - around.y0 : y1 - around.y0, x0 - around.x0 : x1 - around.x0]
    np.testing.assert_array_equal(inner, truth[y0:y1, x0:x1])


# Through load: the overview's shortcut, chunks, other grids.


def write_cog(path, values, *, resampling, nodata, factors=(2, 4, 8)):
    """A file of 32-pixel tiles with overviews of a kind; nodata None: the file says nothing of its nodata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype="float32",
        crs=CRS,
        transform=Affine(10, 0, LEFT, 0, -10, TOP),
        nodata=nodata,
        tiled=True,
        blockxsize=32,
        blockysize=32,
    ) as dataset:
        dataset.write(values, 1)
        if factors:
            dataset.build_overviews(factors, resampling)
    return path


def vv_on_file_grid(path, **settings_):
    with rasterio.open(path) as dataset:
        rows, columns = dataset.shape
    geobox = GeoBox((rows, columns), Affine(10, 0, LEFT, 0, -10, TOP), CRS)
    return sc.load([make_item("S", {"vv": path})], geobox=geobox, **settings_).vv.values[0]


@pytest.mark.parametrize("resampling", [Resampling.average, Resampling.nearest, Resampling.cubic, Resampling.bilinear])
@pytest.mark.parametrize("nodata", [NODATA, None])
@pytest.mark.parametrize("shape", [(320, 256), (211, 303)])
def test_the_overviews_shortcut_changes_nothing(tmp_path, monkeypatch, resampling, nodata, shape):
    asked = []
    for seed in range(3):
        values = holed(seed, shape, blobs=6)
        if nodata is None:
            values[values == NODATA] = 0
        expected = reasons_of(values, nodata)
        with np.errstate(invalid="ignore"):
            path = write_cog(tmp_path / f"{seed}.tif", values, resampling=resampling, nodata=nodata)
        short = vv_on_file_grid(path, chunks={"y": 32, "x": 32})
        np.testing.assert_array_equal(hole_reasons(short), expected)
        np.testing.assert_array_equal(short[expected == VALID], values[expected == VALID])
        with monkeypatch.context() as patch:
            patch.setattr(outlook, "_overview", lambda *_: None)
            long = vv_on_file_grid(path, chunks={"y": 80, "x": 80})
        np.testing.assert_array_equal(short.view(np.uint32), long.view(np.uint32))
        asked.append((expected == Hole.FRINGE).any())
    assert any(asked)


def test_without_thick_holes_no_surroundings_are_read(tmp_path, monkeypatch):
    """A file with single zeros and a wide edge of nothing on the left: only the blocks there look around."""
    from sarcube.cube.reading import native

    windows = []
    original = native.read_window
    monkeypatch.setattr(
        native, "read_window", lambda d, w: windows.append((w.row_off, w.col_off, w.height)) or original(d, w)
    )
    values = speckle(3, (512, 512))
    values[:, :60] = NODATA
    values[300, 400] = 0
    path = write_cog(tmp_path / "S.tif", values, resampling=Resampling.average, nodata=NODATA)
    vv_on_file_grid(path, chunks={"y": 128, "x": 128})
    assert sum(height > 128 for _, _, height in windows) == 4
    assert len(windows) == 16
    windows.clear()
    vv_on_file_grid(path, chunks={"y": 128, "x": 128}, border_fringe=0)
    assert {height for _, _, height in windows} == {128}


def test_a_file_replaced_between_two_reads_is_looked_at_again(tmp_path):
    values = speckle(3, (256, 256))
    path = write_cog(tmp_path / "S.tif", values, resampling=Resampling.nearest, nodata=NODATA)
    assert (hole_reasons(vv_on_file_grid(path, chunks={"y": 64, "x": 64})) == VALID).all()
    values[:100] = NODATA
    path.unlink()
    write_cog(path, values, resampling=Resampling.nearest, nodata=NODATA)
    reasons = hole_reasons(vv_on_file_grid(path, chunks={"y": 64, "x": 64}))
    assert (reasons[100:108] == Hole.FRINGE).all()
    assert (reasons[108:] == VALID).all()


def test_a_shadow_and_a_single_zero_erode_nothing(tmp_path):
    values = speckle(1, (120, 120))
    values[20, 20] = 0
    values[40:71, 30:110] = 0  # 31 rows
    values[:9, :] = NODATA  # a strip of 9
    reasons = hole_reasons(vv_on_file_grid(write_rtc(tmp_path / "S.tif", values)))
    assert Hole.FRINGE not in reasons
    values[40:72, 30:110] = 0
    values[:10, :] = NODATA
    reasons = hole_reasons(vv_on_file_grid(write_rtc(tmp_path / "T.tif", values)))
    assert (reasons[32:40, 22:118] == Hole.FRINGE).all()
    assert (reasons[10:18] == Hole.FRINGE).all()
    assert (reasons == Hole.FRINGE).sum() == 48 * 96 - 32 * 80 + 8 * 120


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 5),
    y=st.integers(25, 90),
    x=st.integers(25, 90),
    grid=st.sampled_from(["same", "offset", "zone"]),
    width=st.sampled_from([0, 1, 8]),
)
def test_chunks_never_change_a_hole(tmp_path, seed, y, x, grid, width):
    path = tmp_path / f"{seed}.tif"
    if not path.exists():
        write_cog(path, holed(seed, (200, 220)), resampling=Resampling.average, nodata=NODATA)
    geobox = {
        "same": GeoBox((180, 200), Affine(10, 0, LEFT - 50, 0, -10, TOP + 50), CRS),
        "offset": GeoBox((150, 160), Affine(10, 0, LEFT + 123.4, 0, -10, TOP - 77.7), CRS),
        "zone": GeoBox((190, 190), Affine(10, 0, -68_400, 0, -10, 100_300), "EPSG:32648"),
    }[grid]
    item = make_item("S", {"vv": path})
    whole = sc.load([item], geobox=geobox, border_fringe=width, chunks={"y": -1, "x": -1}).vv.values
    parts = sc.load([item], geobox=geobox, border_fringe=width, chunks={"y": y, "x": x}).vv.values
    np.testing.assert_array_equal(parts.view(np.uint32), whole.view(np.uint32))
    assert np.isfinite(whole).any()


def test_a_cube_says_why_each_pixel_is_missing(tmp_path):
    """Two slices, the first with zeros where the second has fringe, nodata, values or nothing at all."""
    first, second = speckle(1, (60, 90)), speckle(2, (60, 90))
    first[:, :80] = 0
    second[:, :40] = NODATA
    second[:, 60] = np.nan
    items = [
        make_item("A", {"vv": write_rtc(tmp_path / "a.tif", first)}),
        make_item("B", {"vv": write_rtc(tmp_path / "b.tif", second[:50])}, time="2022-02-01T11:30:25"),
        scene(tmp_path, "C", time="2022-02-13T11:30:00", polarisations=("vh",)),
    ]
    cube = sc.load(items, geobox=GeoBox((60, 100), Affine(10, 0, LEFT, 0, -10, TOP), CRS)).compute()
    vv = hole_reasons(cube.vv.values[0])
    assert (vv[:, :40] == Hole.ZERO).all()
    assert (vv[:50, 40:48] == Hole.FRINGE).all()
    assert (vv[50:, 40:80] == Hole.ZERO).all()
    np.testing.assert_array_equal(cube.vv.values[0, :50, 48:60], second[:50, 48:60])
    assert (vv[:50, 60] == Hole.ZERO).all()
    np.testing.assert_array_equal(cube.vv.values[0, :50, 80:88], second[:50, 80:88])
    assert (vv[50:, 80:88] == Hole.FRINGE).all()
    assert (vv[:, 88:90] == VALID).all()
    assert (vv[:, 90:] == Hole.OUTSIDE).all()
    assert (hole_reasons(cube.vv.values[1]) == Hole.NOT_MEASURED).all()


def test_a_file_on_a_server_is_asked_for_its_overview_too(tmp_path):
    values = holed(2, (320, 256))
    path = write_cog(tmp_path / "S.tif", values, resampling=Resampling.average, nodata=NODATA)
    item = make_item("S", {"vv": path})
    geobox = GeoBox(values.shape, Affine(10, 0, LEFT, 0, -10, TOP), CRS)
    with serve(tmp_path) as server:
        item.assets["vv"].href = f"{server.url}/S.tif"
        vv = sc.load([item], geobox=geobox, chunks={"y": 96, "x": 96}).vv.values[0]
    expected = reasons_of(values)
    np.testing.assert_array_equal(hole_reasons(vv), expected)
    np.testing.assert_array_equal(vv[expected == VALID], values[expected == VALID])
    assert Hole.FRINGE in expected
