"""A clip of a raster: whole blocks around the area, pixels bit for bit the source's, only what is needed is fetched."""

import os
import resource
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from range_server import serve
from rtc_scenes import CRS, LEFT, TOP, speckle, write_rtc

from sarcube.acquisition.files import ranges
from sarcube.acquisition.scenes import Grid
from sarcube.acquisition.staging.area import bounds_of, clipped, outline, window_of
from sarcube.acquisition.staging.clip import fetch_clip, plan_clip
from sarcube.acquisition.staging.pieces import Pieces
from sarcube.errors import ReadError, StoreError

SHAPE = (300, 400)


def box_of(rows, columns, *, crs=CRS, left=LEFT, top=TOP, pixel=10.0):
    """Return the box in degrees around some pixels."""
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    x = [left + pixel * column for column in columns]
    y = [top - pixel * row for row in rows]
    return to_degrees.transform_bounds(min(x), min(y), max(x), max(y))


BOX = box_of((130, 150), (180, 220))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    with serve(folder) as running:
        running.folder = folder
        yield running


@pytest.fixture(autouse=True)
def patience(server, monkeypatch):
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, attempts=2, first_pause=0.01))
    yield
    server.heal()
    server.forget()


def clip_of(href, folder, *, bbox=BOX, margin=64, tell=lambda n: None):
    pieces = Pieces(folder)
    clip = plan_clip(str(href), folder / "vv.tiff", owner='item "S"', bbox=bbox, margin=margin, pieces=pieces)
    if clip is not None:
        fetch_clip(clip, pieces=pieces, tell=tell)
    return clip


def cut(values, clip):
    (top, bottom), (left, right) = clip.window
    return values[top:bottom, left:right]


def test_the_copy_is_the_sources_pixels_on_the_sources_grid(server, tmp_path):
    values = speckle(1, SHAPE)
    values[100:140, 150:170] = 0
    values[:, 200] = np.nan
    values[131] = -32768
    write_rtc(server.folder / "a.tif", values, tags={"PRODUCT": "RTC", "TIFFTAG_DATETIME": "2022:02:01 10:00:00"})
    clip = clip_of(f"{server.url}/a.tif", tmp_path)
    # 130 - 64 = 66 and 150 + 64 = 214, outwards to tiles of 16
    assert clip.window == ((64, 224), (112, 288))
    with rasterio.open(tmp_path / "vv.tiff") as dataset:
        np.testing.assert_array_equal(dataset.read(1).view("u4"), cut(values, clip).view("u4"))
        assert dataset.transform == Affine(10, 0, LEFT + 1120, 0, -10, TOP - 640)
        assert (dataset.nodata, dataset.dtypes, dataset.crs.to_string()) == (-32768, ("float32",), CRS)
        assert dataset.tags()["PRODUCT"] == "RTC"
        assert dataset.tags()["TIFFTAG_DATETIME"] == "2022:02:01 10:00:00"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (dataset.profile["blockxsize"], dataset.compression.value) == (512, "DEFLATE")


def test_only_the_tiles_of_the_window_are_fetched_and_once(server, tmp_path):
    # Tiles of 1 MB: nothing but themselves lies between two of them.
    values = speckle(2, (2048, 2048))
    write_rtc(tmp_path / "plain.tif", values)
    rasterio.shutil.copy(
        tmp_path / "plain.tif", server.folder / "big.tif", driver="GTiff", tiled=True, blockxsize=512, blockysize=512
    )
    told = []
    clip = clip_of(f"{server.url}/big.tif", tmp_path, bbox=box_of((1100, 1200), (1100, 1200)), tell=told.append)
    assert clip.window == ((1024, 1536), (1024, 1536))
    assert clip.nbytes == sum(told) == 512 * 512 * 4
    header, tile = server.requests()
    first, last = map(int, tile.range.removeprefix("bytes=").split("-"))
    assert header.range == "bytes=0-65535"
    assert last + 1 - first == 512 * 512 * 4
    server.forget()
    assert clip_of(f"{server.url}/big.tif", tmp_path, bbox=box_of((1100, 1200), (1100, 1200))).nbytes == 0
    assert server.requests() == []


def test_a_local_file_gives_the_same_bytes(server, tmp_path):
    path = write_rtc(server.folder / "b.tif", speckle(3, SHAPE))
    (tmp_path / "remote").mkdir()
    (tmp_path / "local").mkdir()
    remote = clip_of(f"{server.url}/b.tif", tmp_path / "remote")
    local = clip_of(path, tmp_path / "local")
    assert remote.target.read_bytes() == local.target.read_bytes()
    assert (local.nbytes, local.version) == (0, None)
    assert not list(tmp_path.rglob("plain*"))


@pytest.mark.parametrize(
    "options",
    [
        {"tiled": False},
        {"tiled": False, "blockysize": 300},
        {"compress": "lzw", "blockxsize": 64, "blockysize": 32},
        {"compress": "deflate", "predictor": 3, "blockxsize": 512, "blockysize": 512},
        {"sparse_ok": True, "compress": "deflate", "blockxsize": 16, "blockysize": 16},
        {"bigtiff": "yes", "endianness": "big", "blockxsize": 128, "blockysize": 128},
    ],
)
def test_layouts_of_tiffs(server, tmp_path, options):
    values = speckle(4, SHAPE)
    if "sparse_ok" in options:
        values[64:160, 100:200] = -32768  # tiles that the file does not have
    settings = {"tiled": True, **options}
    with rasterio.open(
        server.folder / "c.tif",
        "w",
        driver="GTiff",
        height=SHAPE[0],
        width=SHAPE[1],
        count=1,
        dtype="float32",
        nodata=-32768,
        crs=CRS,
        transform=Affine(10, 0, LEFT, 0, -10, TOP),
        **settings,
    ) as dataset:
        dataset.write(values, 1)
    clip = clip_of(f"{server.url}/c.tif", tmp_path)
    with rasterio.open(clip.target) as dataset:
        np.testing.assert_array_equal(dataset.read(1), cut(values, clip))


@pytest.mark.parametrize("dtype", ["float64", "int16", "uint8"])
def test_pixels_of_other_types(tmp_path, dtype):
    values = (speckle(5, SHAPE) * 100).astype(dtype)
    path = write_rtc(tmp_path / "d.tif", values, nodata=None)
    clip = clip_of(path, tmp_path)
    with rasterio.open(clip.target) as dataset:
        assert (dataset.dtypes, dataset.nodata) == ((dtype,), None)
        np.testing.assert_array_equal(dataset.read(1), cut(values, clip))


def test_larger_copies_have_overviews_and_show_their_holes(tmp_path):
    values = speckle(6, (1300, 1300))
    values[200:600, 200:600] = -32768
    path = write_rtc(tmp_path / "e.tif", values)
    clip = clip_of(path, tmp_path, bbox=box_of((0, 1300), (0, 1300)))
    with rasterio.open(clip.target) as dataset:
        assert dataset.overviews(1) == [2, 4]
        np.testing.assert_array_equal(dataset.read(1), values)
    with rasterio.open(clip.target, overview_level=1) as dataset:
        assert (dataset.read(1)[60:140, 60:140] == -32768).all()


def test_a_file_beside_the_area_is_no_clip_and_only_its_header_is_fetched(server, tmp_path):
    write_rtc(server.folder / "f.tif", speckle(7, SHAPE))
    assert clip_of(f"{server.url}/f.tif", tmp_path, bbox=box_of((310, 350), (0, 50))) is None
    assert len(server.requests()) <= 2  # the second where the directory lies at the end
    assert clip_of(f"{server.url}/f.tif", tmp_path, bbox=box_of((290, 350), (0, 50))).window == ((224, 300), (0, 128))


def test_what_a_raster_must_be(tmp_path):
    with rasterio.open(
        tmp_path / "two.tif", "w", driver="GTiff", height=9, width=9, count=2, dtype="uint8", crs=CRS,
        transform=Affine(10, 0, LEFT, 0, -10, TOP),
    ) as dataset:  # fmt: skip
        dataset.write(np.ones((2, 9, 9), np.uint8))
    with pytest.raises(ReadError, match='of item "S" has 2 bands; expected one'):
        clip_of(tmp_path / "two.tif", tmp_path)
    with pytest.raises(ReadError) as caught:
        clip_of(tmp_path / "absent.tif", tmp_path)
    assert caught.value.kind == "not_found"


def test_a_header_that_is_none_is_not_kept(server, tmp_path):
    path = server.folder / "g.tif"
    path.write_bytes(b"<html>sign in first</html>" * 9)
    with pytest.raises(ReadError, match="is no TIFF"):
        clip_of(f"{server.url}/g.tif", tmp_path)
    assert not list(tmp_path.rglob("*-*-*"))


def test_a_tile_that_is_broken_where_it_comes_from_is_not_kept(server, tmp_path):
    values = speckle(8, SHAPE)
    whole = write_rtc(server.folder / "h.tif", values).read_bytes()
    with rasterio.open(server.folder / "h.tif") as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_12_9", "TIFF", bidx=1))
    path = server.folder / "h.tif"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(whole[: place + 9] + bytes([whole[place + 9] ^ 4]) + whole[place + 10 :])
    os.utime(path, ns=(stamp, stamp))
    with pytest.raises(ReadError, match="damaged tile") as caught:
        clip_of(f"{server.url}/h.tif", tmp_path)
    assert caught.value.kind == "damaged"
    assert not (tmp_path / "vv.tiff").exists()
    path.write_bytes(whole)
    os.utime(path, ns=(stamp, stamp))  # mended in place: size and ETag are the same
    clip = clip_of(f"{server.url}/h.tif", tmp_path)
    with rasterio.open(clip.target) as dataset:
        np.testing.assert_array_equal(dataset.read(1), cut(values, clip))


def test_a_source_that_is_replaced_after_its_header_is_stale(server, tmp_path):
    write_rtc(server.folder / "i.tif", speckle(9, SHAPE))
    pieces = Pieces(tmp_path)
    url = f"{server.url}/i.tif"
    clip = plan_clip(url, tmp_path / "vv.tiff", owner="x", bbox=BOX, margin=64, pieces=pieces)
    write_rtc(server.folder / "i.tif", speckle(10, SHAPE))
    with pytest.raises(ReadError) as caught:
        fetch_clip(clip, pieces=pieces, tell=lambda n: None)
    assert caught.value.kind == "stale"
    with pytest.raises(ReadError, match="was replaced since its header was read") as caught:
        fetch_clip(clip, pieces=pieces, tell=lambda n: None)
    assert caught.value.kind == "stale"


@pytest.mark.parametrize("kilobytes", [1, 50, 130])
def test_a_full_disk_is_an_error_and_leaves_no_half_file(tmp_path, kilobytes):
    path = write_rtc(tmp_path / "j.tif", speckle(11, SHAPE))
    pieces = Pieces(tmp_path)
    clip = plan_clip(str(path), tmp_path / "vv.tiff", owner="x", bbox=BOX, margin=64, pieces=pieces)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*vv\.tiff|did not arrive"):
            fetch_clip(clip, pieces=pieces, tell=lambda n: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not clip.target.exists()
    assert list((tmp_path / ".parts" / "work").iterdir()) == []
    fetch_clip(clip, pieces=pieces, tell=lambda n: None)


def test_pixels_that_do_not_arrive_are_noticed(tmp_path, monkeypatch):
    """On a full disk GDAL may only log that it could not write."""
    path = write_rtc(tmp_path / "l.tif", speckle(13, SHAPE))
    copy = rasterio.shutil.copy

    def lossy(source, target, **options):
        with rasterio.open(source, "r+") as dataset:
            dataset.write(np.zeros((1, 1), np.float32), 1, window=((150, 151), (3, 4)))
        copy(source, target, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", lossy)
    with pytest.raises(StoreError, match=r"1 of 1 parts did not arrive in .*vv\.tiff"):
        clip_of(path, tmp_path)
    assert not (tmp_path / "vv.tiff").exists()


def test_who_is_told_may_stop_it(server, tmp_path):
    write_rtc(tmp_path / "plain.tif", speckle(12, (2048, 2048)))
    rasterio.shutil.copy(
        tmp_path / "plain.tif", server.folder / "k.tif", driver="GTiff", tiled=True, blockxsize=512, blockysize=512
    )
    told, lock = [], threading.Lock()

    def tell(nbytes):
        with lock:
            told.append(nbytes)
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        clip_of(f"{server.url}/k.tif", tmp_path, bbox=box_of((0, 2000), (0, 2000)), tell=tell)
    assert 1 <= len(told) <= 8  # those that were under way
    assert not (tmp_path / "vv.tiff").exists()
    fetched = sum(told)
    rest = []
    clip = clip_of(f"{server.url}/k.tif", tmp_path, bbox=box_of((0, 2000), (0, 2000)), tell=rest.append)
    assert fetched + sum(rest) == clip.nbytes + clip.kept == 2048 * 2048 * 4


GRIDS = st.builds(
    Grid,
    st.sampled_from(["EPSG:32647", "EPSG:32646", "EPSG:32648", "EPSG:4326"]),
    st.just((0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    st.tuples(st.integers(20, 90), st.integers(20, 90)),
)


@settings(max_examples=60)
@given(
    grid=GRIDS,
    latitude=st.floats(-70, 70),
    longitude=st.floats(96.5, 101.5),
    size=st.floats(0.002, 0.05),
    away=st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
    margin=st.integers(0, 20),
    block=st.tuples(st.integers(1, 16), st.integers(1, 16)),
)
def test_every_pixel_of_the_area_and_its_margin_is_in_the_window(grid, latitude, longitude, size, away, margin, block):
    bbox = (longitude, latitude, longitude + size, latitude + size)
    to_grid = pyproj.Transformer.from_crs(4326, grid.crs, always_xy=True)
    x, y = to_grid.transform(longitude, latitude)
    pixel = 100.0 if grid.crs != "EPSG:4326" else 0.001
    grid = replace(grid, transform=(pixel, 0, x - pixel * away[0], 0, -pixel, y + pixel * away[1]))
    window = window_of(grid, bbox, margin=margin, block=block)
    rows, columns = np.indices(grid.shape)
    a, _, c, _, e, f = grid.transform
    at = to_grid.transform(c + a * (columns + 0.5), f + e * (rows + 0.5), direction="INVERSE")
    inside = (at[0] >= bbox[0]) & (at[0] <= bbox[2]) & (at[1] >= bbox[1]) & (at[1] <= bbox[3])
    if window is None:
        assert not inside.any()
        return
    (top, bottom), (left, right) = window
    assert 0 <= top < bottom <= grid.shape[0]
    assert 0 <= left < right <= grid.shape[1]
    for first, after, step, length in ((top, bottom, block[0], grid.shape[0]), (left, right, block[1], grid.shape[1])):
        assert first % step == 0
        assert after % step == 0 or after == length
    if inside.any():
        r, k = np.nonzero(inside)
        assert top <= max(r.min() - margin, 0)
        assert bottom >= min(r.max() + 1 + margin, grid.shape[0])
        assert left <= max(k.min() - margin, 0)
        assert right >= min(k.max() + 1 + margin, grid.shape[1])


@pytest.mark.parametrize(
    ("crs", "x", "west"),
    [("EPSG:32601", 166_000.0, 179.9), ("EPSG:32660", 833_000.0, 179.9), ("EPSG:4326", -180.05, 179.98)],
)
def test_areas_across_the_antimeridian(crs, x, west):
    pixel = 10.0 if crs != "EPSG:4326" else 0.0001
    y = 0.05 if crs == "EPSG:4326" else 5_000.0
    grid = Grid(crs, (pixel, 0, x, 0, -pixel, y), (1000, 1000))
    window = window_of(grid, (west, 0.0, -179.98, 0.02), margin=0, block=(1, 1))
    assert window is not None
    assert window_of(grid, (0.0, 0.0, 0.1, 0.02), margin=0, block=(1, 1)) is None
    parts = outline(grid)
    assert parts.geom_type == "MultiPolygon"
    found = bounds_of(parts)
    assert found[0] > 179 > -179 > found[2]
    assert parts.bounds[0] == -180
    assert parts.bounds[2] == 180


def test_an_outline_this_side_of_the_antimeridian_is_one_part():
    grid = Grid(CRS, (10, 0, LEFT, 0, -10, TOP), (100, 100))
    assert outline(grid).geom_type == "Polygon"
    west, south, east, north = bounds_of(outline(grid))
    assert 99 < west < east < 100
    assert 0 < south < north < 1


def test_the_grid_of_a_window_of_a_turned_grid():
    turned = Affine.translation(500, 900) * Affine.rotation(30) * Affine.scale(10, -10)
    part = clipped(Grid(CRS, tuple(turned)[:6], (100, 100)), (20, 50), (30, 70))
    assert part.shape == (30, 40)
    assert Affine(*part.transform) * (0, 0) == pytest.approx(turned * (30, 20))


def memory_of(folder, *arguments):
    """Return by how many kB the memory of a process grew beyond what Python and its libraries need."""
    script = Path(__file__).with_name("clip_memory.py")
    command = [sys.executable, script, *arguments, folder]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout or 0)


def test_the_memory_of_a_large_scene_stays_small(tmp_path):
    memory_of(tmp_path, "write", "5120")  # pixels a side: 105 MB
    assert memory_of(tmp_path, "clip", tmp_path) < 80_000


@pytest.mark.slow
def test_the_memory_of_a_large_scene_from_a_server_stays_small(server, tmp_path):
    memory_of(server.folder, "write", "7680")  # 236 MB
    assert memory_of(tmp_path, "clip", server.url) < 130_000
