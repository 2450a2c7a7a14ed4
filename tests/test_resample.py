"""Onto another grid, in power, holes left out: against what each method says of itself, and against GDAL."""

import numpy as np
import pyproj
import pytest
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.warp import Resampling, reproject
from rtc_scenes import CRS, LEFT, TOP, make_item, speckle, values_of, write_rtc
from scipy import ndimage

import sarcube as sc
from sarcube.cube.holes import VALID, Hole, hole_reasons
from sarcube.cube.reading import mosaic as read

OTHER = "EPSG:32648"
BOTH = pytest.mark.parametrize("method", ["bilinear", "average"])


def one(folder, values, **settings_):
    return make_item("S", {"vv": write_rtc(folder / "S.tif", values.astype(np.float32), **settings_)})


def vv_of(item, geobox, **settings_):
    return sc.load([item], geobox=geobox, **settings_).vv.values[0]


def box(rows, columns, *, left=LEFT, top=TOP, resolution=10.0, crs=CRS):
    return GeoBox((rows, columns), Affine(resolution, 0, left, 0, -resolution, top), crs)


def inside_other(rows=120, columns=130):
    """A grid of the next zone that lies within a file of 200 x 200 pixels at LEFT, TOP."""
    x, y = pyproj.Transformer.from_crs(CRS, OTHER, always_xy=True).transform(LEFT + 1000, TOP - 1000)
    return box(rows, columns, left=round(x, -1) - 5 * columns + 3, top=round(y, -1) + 5 * rows - 4, crs=OTHER)


@BOTH
@pytest.mark.parametrize(("resolution", "shift"), [(10, 3.3), (7, 0), (30, 0), (23, 4.1)])
def test_a_constant_stays_what_it_is(tmp_path, method, resolution, shift):
    item = one(tmp_path, np.full((200, 200), 0.1))
    grid = box(25, 30, left=LEFT + 100 + shift, top=TOP - 200, resolution=resolution)
    np.testing.assert_array_equal(vv_of(item, grid, resampling=method), np.float32(0.1))
    np.testing.assert_array_equal(vv_of(item, inside_other(), resampling=method), np.float32(0.1))


@pytest.mark.parametrize("method", ["nearest", "bilinear", "average"])
def test_where_the_grids_agree_nothing_is_resampled(tmp_path, method):
    values = speckle(1)
    values[5:8, 5:9] = 0
    item = one(tmp_path, values)
    cut = vv_of(item, box(30, 30, left=LEFT + 50, top=TOP - 40), resampling=method)
    expected = values[4:34, 5:35]
    np.testing.assert_array_equal(cut, np.where(expected > 0, expected, np.nan))
    np.testing.assert_array_equal(hole_reasons(cut) == Hole.ZERO, expected == 0)


def test_average_of_whole_pixels_is_their_mean(tmp_path):
    values = speckle(2, (60, 90))
    coarse = vv_of(one(tmp_path, values), box(20, 30, resolution=30), resampling="average")
    blocks = values.astype(np.float64).reshape(20, 3, 30, 3)
    np.testing.assert_array_equal(coarse, blocks.mean(axis=(1, 3)).astype(np.float32))
    assert coarse.astype(np.float64).mean() == pytest.approx(values.astype(np.float64).mean(), rel=1e-6)


def test_average_conserves_power_on_an_offset_grid(tmp_path):
    """A bright point amid darkness: what it gives to the pixels around it adds up to what it was."""
    values = np.full((60, 60), 1e-3)
    values[30, 31] = 1000.0
    fine = vv_of(one(tmp_path, values), box(50, 50, left=LEFT + 43, top=TOP - 57), resampling="average")
    assert (fine.astype(np.float64) - 1e-3).sum() == pytest.approx(1000, rel=1e-4)
    weights = np.outer([0.3, 0.7], [0.7, 0.3])
    row, column = np.argwhere(fine > 1).min(axis=0)
    np.testing.assert_allclose(
        np.sort(fine[row : row + 2, column : column + 2], axis=None), np.sort(weights, axis=None) * 1000, rtol=1e-3
    )


def test_average_leaves_holes_out_and_needs_half_of_the_area(tmp_path):
    values = np.full((9, 12), 2.0)
    values[0, :] = 4.0
    values[0:3, 0:3][[1, 1, 1, 2], [0, 1, 2, 0]] = 0  # 5 of 9 are left
    values[0:3, 3:6][[0, 0, 0, 2, 2], [0, 1, 2, 0, 1]] = -32768  # 4 of 9, the centre valid
    values[0:3, 6:9][[1, 1, 1, 2, 2], [0, 1, 2, 1, 2]] = [0, np.nan, 0, 0, 0]  # 4 of 9, NaN at the centre
    values[3:6, 0:3] = np.nan
    coarse = vv_of(one(tmp_path, values), box(3, 4, resolution=30), resampling="average")
    assert coarse[0, 0] == np.float32((3 * 4.0 + 2 * 2.0) / 5)
    assert coarse[0, 3] == np.float32(8 / 3)
    reasons = hole_reasons(coarse)
    assert reasons[0].tolist() == [VALID, Hole.NODATA, Hole.NODATA, VALID]
    assert reasons[1].tolist() == [Hole.NODATA, VALID, VALID, VALID]


def test_average_beyond_the_file_is_outside(tmp_path):
    item = one(tmp_path, np.full((10, 10), 2.0))  # a third of the last pixel is in the file, two of the one before it
    coarse = vv_of(item, box(4, 4, resolution=30), resampling="average")
    assert (coarse[:3, :3] == 2).all()
    assert (hole_reasons(coarse)[3] == Hole.OUTSIDE).all()
    assert (hole_reasons(coarse)[:, 3] == Hole.OUTSIDE).all()


def test_bilinear_of_a_ramp_is_the_ramp(tmp_path):
    y, x = np.indices((80, 80))
    item = one(tmp_path, 5 + 3.0 * y + 0.5 * x)
    for resolution, left, top in ((10, 103.0, -251.0), (7, 100.0, -100.0), (13, 98.0, -99.0)):
        grid = box(30, 30, left=LEFT + left, top=TOP + top, resolution=resolution)
        rows = (-top + resolution * (np.arange(30) + 0.5)) / 10 - 0.5
        columns = (left + resolution * (np.arange(30) + 0.5)) / 10 - 0.5
        expected = 5 + 3.0 * rows[:, np.newaxis] + 0.5 * columns
        np.testing.assert_allclose(vv_of(item, grid, resampling="bilinear"), expected, rtol=1e-6)


def test_bilinear_keeps_to_the_valid_ones(tmp_path):
    """Only the pixel that holds the centre is valid, or is the one hole."""
    values = np.full((9, 9), np.nan)
    values[4, 4] = 3.0
    grid = box(8, 8, left=LEFT + 3, top=TOP - 3)
    lone = vv_of(one(tmp_path, values), grid, resampling="bilinear", border_fringe=0)
    assert np.argwhere(np.isfinite(lone)).tolist() == [[4, 4]]
    assert lone[4, 4] == 3
    values = np.full((9, 9), 2.0)
    values[4, 4] = 0
    pierced = vv_of(one(tmp_path, values), grid, resampling="bilinear")
    assert np.argwhere(np.isnan(pierced)).tolist() == [[4, 4]]
    assert hole_reasons(pierced)[4, 4] == Hole.ZERO
    assert np.nanmax(np.abs(pierced - 2)) == 0


def test_bilinear_at_the_files_edge_uses_what_is_there(tmp_path):
    values = speckle(4, (20, 20))
    edge = vv_of(one(tmp_path, values), box(22, 22, left=LEFT - 12, top=TOP + 12), resampling="bilinear")
    assert (hole_reasons(edge)[[0, -1]] == Hole.OUTSIDE).all()
    assert (hole_reasons(edge)[:, [0, -1]] == Hole.OUTSIDE).all()
    assert np.isfinite(edge[1:-1, 1:-1]).all()
    assert edge[1, 1] == values[0, 0]


@pytest.mark.parametrize(("method", "ratio"), [("bilinear", 1), ("average", 1), ("average", 3)])
def test_agreement_with_gdal(tmp_path, method, ratio):
    """Offset grids of 10 m, and an average onto 30 m; a bilinear GDAL widens its kernel there, so is not asked."""
    item = one(tmp_path, speckle(5, (200, 200)))
    grid = box(40, 50, left=LEFT + 123, top=TOP - 234, resolution=10 * ratio)
    theirs = np.zeros(grid.shape, np.float32)
    reproject(
        values_of(item),
        theirs,
        src_transform=Affine(10, 0, LEFT, 0, -10, TOP),
        src_crs=CRS,
        dst_transform=grid.affine,
        dst_crs=CRS,
        resampling=Resampling[method],
        tolerance=0,
    )
    np.testing.assert_allclose(vv_of(item, grid, resampling=method), theirs, rtol=1e-5)


def test_agreement_with_gdal_across_zones(tmp_path):
    item = one(tmp_path, speckle(6, (200, 200)))
    grid = inside_other()
    theirs = np.zeros(grid.shape, np.float32)
    reproject(
        values_of(item),
        theirs,
        src_transform=Affine(10, 0, LEFT, 0, -10, TOP),
        src_crs=CRS,
        dst_transform=grid.affine,
        dst_crs=OTHER,
        resampling=Resampling.bilinear,
        tolerance=0,
        XSCALE=1,
        YSCALE=1,
    )
    ours = vv_of(item, grid, resampling="bilinear")
    xs, ys = (grid.affine * np.meshgrid(np.arange(130) + 0.5, np.arange(120) + 0.5))[:2]
    xs, ys = pyproj.Transformer.from_crs(OTHER, CRS, always_xy=True).transform(xs, ys)
    exact = ndimage.map_coordinates(values_of(item), [(TOP - ys) / 10 - 0.5, (xs - LEFT) / 10 - 0.5], order=1)
    np.testing.assert_allclose(ours, exact, rtol=1e-5)
    np.testing.assert_allclose(ours, theirs, rtol=5e-3)  # GDAL's positions are a centimetre or two off


def test_average_across_zones_is_the_mean_of_the_area(tmp_path):
    """100 m from 10 m: many points, so near to the mean of the pixels whose centres lie in the turned square."""
    item = one(tmp_path, speckle(7, (200, 200)))
    grid = inside_other(13, 13)
    grid = box(9, 9, left=grid.affine.c - 400, top=grid.affine.f + 400, resolution=100, crs=OTHER)
    ours = vv_of(item, grid, resampling="average")
    x, y = np.meshgrid(LEFT + 10 * (np.arange(200) + 0.5), TOP - 10 * (np.arange(200) + 0.5))
    x, y = pyproj.Transformer.from_crs(CRS, OTHER, always_xy=True).transform(x, y)
    rows, columns = np.floor((grid.affine.f - y) / 100), np.floor((x - grid.affine.c) / 100)
    values = values_of(item)
    means = np.array([[values[(rows == r) & (columns == c)].mean() for c in range(9)] for r in range(9)])
    np.testing.assert_allclose(ours, means, rtol=0.05)
    assert ours.mean() == pytest.approx(means.mean(), rel=2e-3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    y=st.integers(5, 45),
    x=st.integers(5, 55),
    crs=st.sampled_from([CRS, OTHER]),
    method=st.sampled_from(["bilinear", "average"]),
    resolution=st.sampled_from([7.0, 10.0, 23.0]),
)
def test_chunks_never_change_a_bit(tmp_path, y, x, crs, method, resolution):
    path = tmp_path / "S.tif"
    if not path.exists():
        values = speckle(8, (180, 190))
        values[:, :40] = -32768
        values[np.random.default_rng(0).random(values.shape) < 0.1] = 0
        values[100:150, 90:140] = np.nan
        write_rtc(path, values)
    item = make_item("S", {"vv": path})
    grid = inside_other(60, 70) if crs == OTHER else box(60, 70, left=LEFT + 203.7, top=TOP - 221.2)
    grid = GeoBox(grid.shape, grid.affine * Affine.scale(resolution / 10), crs)
    whole = sc.load([item], geobox=grid, resampling=method, chunks={"y": -1, "x": -1}).vv.values
    parts = sc.load([item], geobox=grid, resampling=method, chunks={"y": y, "x": x}).vv.values
    np.testing.assert_array_equal(parts.view(np.uint32), whole.view(np.uint32))
    assert np.isfinite(whole).any()
    assert Hole.FRINGE in hole_reasons(whole)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "average"])
@pytest.mark.parametrize("crs", [CRS, OTHER])
def test_large_areas_are_read_in_pieces(tmp_path, monkeypatch, method, crs):
    item = one(tmp_path, speckle(9, (200, 200)))
    grid = inside_other(40, 41) if crs == OTHER else box(21, 25, left=LEFT + 41, resolution=70)
    whole = sc.load([item], geobox=grid, resampling=method)
    expected = whole.vv.values
    monkeypatch.setattr(read, "_NATIVE_LIMIT", 300)
    np.testing.assert_array_equal(whole.vv.values.view(np.uint32), expected.view(np.uint32))


def test_the_cube_says_how_it_was_made(tmp_path):
    item = one(tmp_path, speckle(1))
    attrs = sc.load([item], resampling="average", border_fringe=3, on_error="skip").attrs
    assert {name: attrs[name] for name in ("resampling", "engine", "border_fringe", "on_error")} == {
        "resampling": "average",
        "engine": "native",
        "border_fringe": 3,
        "on_error": "skip",
    }


def test_slices_are_joined_after_resampling(tmp_path):
    """A pixel that the first slice holds less than half of comes from the second."""
    north, south = np.full((10, 30), 1.0, np.float32), np.full((20, 30), 2.0, np.float32)
    items = [
        make_item("A", {"vv": write_rtc(tmp_path / "a.tif", north)}),
        make_item("B", {"vv": write_rtc(tmp_path / "b.tif", south, top=TOP - 100)}, time="2022-02-01T11:30:25"),
    ]
    cube = sc.load(items, geobox=box(10, 10, resolution=30), resampling="average")
    assert cube.vv.values[0, :, 0].tolist()[:4] == [1, 1, 1, 2]
    xr.testing.assert_identical(
        cube.compute(),
        sc.load(items, geobox=box(10, 10, resolution=30), resampling="average", chunks={"y": 3}).compute(),
    )
