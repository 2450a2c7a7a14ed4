"""The staged DEM: one raster over the area and its margin, of tiles that line up, whole or not there."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
import rasterio
from affine import Affine
from dem_tiles import ROWS, hills, ramp, write_tile
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from range_server import serve
from simple_cube import simple_cube

import sarcube as sc
from sarcube.acquisition.staging.clip import fetch_clip
from sarcube.acquisition.staging.dem import DEM, plan_dem, write_dem
from sarcube.acquisition.staging.dem_raster import lazy_raster
from sarcube.acquisition.staging.pieces import Pieces
from sarcube.acquisition.staging.posts import (
    MARGIN,
    Posts,
    open_tile,
    posts_over,
    read_heights,
    square_name,
    squares_over,
    widen,
)

AREA = (6.4, 45.4, 6.6, 45.6)
ITEMS = Path(__file__).parents[2] / "shared/data/planetary-computer-items/cop-dem-glo-30-pc.json"


def stage(items, folder, bbox=AREA, *, told=None):
    """Plan and write the DEM of an area; return its path."""
    folder.mkdir(exist_ok=True)
    pieces = Pieces(folder)
    plan = plan_dem(bbox, folder, catalog=collection(items), pieces=pieces)
    return write_dem(plan, pieces=pieces, tell=[].append if told is None else told.append)


def collection(items):
    return pystac.ItemCollection(items)


def read(path):
    """Heights of a staged DEM with the latitude and longitude of each."""
    with rasterio.open(path) as dataset:
        rows, columns = np.indices(dataset.shape)
        lon, lat = dataset.transform * (columns + 0.5, rows + 0.5)
        return dataset.read(1), lat, lon


def grid_around(crs, lon, lat, *, shape=(40, 50), pixel=100.0):
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    left, top = round(x / pixel) * pixel - pixel * shape[1] / 2, round(y / pixel) * pixel + pixel * shape[0] / 2
    return GeoBox(shape, Affine(pixel, 0, left, 0, -pixel, top), crs)


# What it is


def test_a_part_of_one_tile_is_that_tile_bit_for_bit(tmp_path):
    path = stage([write_tile(tmp_path / "tiles", 45, 6)], tmp_path / "staged")
    assert path == tmp_path / "staged" / DEM
    heights, lat, lon = read(path)
    assert heights.dtype == np.float32
    rows, columns = np.round((46 - lat) * ROWS).astype(int), np.round((lon - 6) * 60).astype(int)
    with rasterio.open(tmp_path / "tiles/Copernicus_DSM_COG_10_N45_00_E006_00_DEM.tif") as tile:
        np.testing.assert_array_equal(heights, tile.read(1)[rows, columns])
        np.testing.assert_allclose((tile.transform.a, tile.transform.e), (1 / 60, -1 / 60), rtol=1e-15)


def test_it_reaches_as_far_around_the_area_as_its_tags_say(tmp_path):
    path = stage([write_tile(tmp_path, 45, 6)], tmp_path / "staged")
    west, south, east, north = AREA
    geod = pyproj.Geod(ellps="WGS84")
    with rasterio.open(path) as dataset:
        tags, bounds = dataset.tags(), dataset.bounds
        assert (dataset.crs.to_epsg(), dataset.units, np.isnan(dataset.nodata)) == (4326, ("m",), True)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    reach = [
        geod.inv(west, 45.5, bounds.left, 45.5)[2],
        geod.inv(east, 45.5, bounds.right, 45.5)[2],
        geod.inv(6.5, south, 6.5, bounds.bottom)[2],
        geod.inv(6.5, north, 6.5, bounds.top)[2],
    ]
    post = 1 / ROWS * 111_320
    assert MARGIN - post / 2 <= min(reach)
    assert max(reach) < MARGIN + 2 * post  # no more than the area's turn in its UTM zones, and a post
    assert tags["area"] == "6.4, 45.4, 6.6, 45.6"
    assert tags["margin"] == "5000 m around the area"
    assert tags["vertical_datum"] == "EGM2008 (EPSG:3855)"
    assert tags["tiles"] == "Copernicus_DSM_COG_10_N45_00_E006_00_DEM"
    assert tags["missing_tiles"] == "none"


def test_four_tiles_meet_without_a_seam(tmp_path):
    items = [write_tile(tmp_path, south, west) for south in (45, 46) for west in (6, 7)]
    heights, lat, lon = read(stage(items, tmp_path / "staged", (6.9, 45.9, 7.1, 46.1)))
    np.testing.assert_array_equal(heights, truth(lat, lon))
    assert lon.min() < 6.9 < 7.1 < lon.max()


def test_two_runs_write_the_same_bytes(tmp_path):
    items = [write_tile(tmp_path, 45, west) for west in (6, 7)]
    one, other = (stage(items[::step], tmp_path / f"run{step}", (6.9, 45.4, 7.1, 45.6)) for step in (1, -1))
    assert one.read_bytes() == other.read_bytes()
    assert one.with_suffix(".json").read_bytes() == other.with_suffix(".json").read_bytes()


def test_where_the_spacing_changes_the_finer_grid_is_taken_and_the_coarser_tile_is_linear_between(tmp_path):
    items = [write_tile(tmp_path, south, west) for south in (49, 50) for west in (6, 7)]
    heights, lat, lon = read(stage(items, tmp_path / "staged", (6.9, 49.9, 7.1, 50.1)))
    np.testing.assert_allclose(np.diff(lon[0]), 1 / 60)
    fine = lat < 50.001
    np.testing.assert_array_equal(heights[fine], truth(lat, lon)[fine])
    columns = np.round(lon * 60).astype(int)
    before = columns * 40 // 60
    share = (columns * 40 % 60) / 60
    linear = (1 - share) * hills(lat, before / 40).astype(float) + share * hills(lat, (before + 1) / 40)
    np.testing.assert_allclose(heights[~fine], linear[~fine], rtol=0, atol=0.002)
    own = ~fine & (share == 0)
    assert own.any()
    np.testing.assert_array_equal(heights[own], truth(lat, lon, columns=40)[own])


def truth(lat, lon, *, rows=ROWS, columns=60):
    """Heights as the tiles have them, at coordinates that floating point has moved."""
    return hills(46 - np.round((46 - lat) * rows) / rows, np.round(lon * columns) / columns)


def test_in_the_south_rows_and_columns_are_those_of_the_tiles(tmp_path):
    items = [write_tile(tmp_path, south, west) for south in (-1, 0) for west in (-1, 0)]
    heights, lat, lon = read(stage(items, tmp_path / "staged", (-0.1, -0.1, 0.1, 0.1)))
    np.testing.assert_allclose(heights, hills(lat, lon), rtol=0, atol=0.01)


# What is not there


def test_a_missing_tile_is_no_data_and_named(tmp_path, caplog):
    path = stage([write_tile(tmp_path, 45, 6)], tmp_path / "staged", (6.9, 45.4, 7.1, 45.6))
    heights, _, lon = read(path)
    assert np.isnan(heights[lon > 6.995]).all()
    assert np.isfinite(heights[lon < 6.995]).all()
    warning = next(record for record in caplog.records if record.levelname == "WARNING").getMessage()
    assert "no tile N45_00_E007_00" in warning
    assert "not sea level" in warning
    with rasterio.open(path) as dataset:
        assert dataset.tags()["missing_tiles"] == "N45_00_E007_00"
    assert json.loads(path.with_suffix(".json").read_text())["properties"]["sarcube:missing_tiles"] == [
        "N45_00_E007_00"
    ]


def test_nodata_of_a_tile_is_nan(tmp_path):
    def holed(lat, lon):
        return np.where(lon > 6.5, np.float32(-32767), hills(lat, lon))

    heights, _, lon = read(stage([write_tile(tmp_path, 45, 6, heights=holed, nodata=-32767)], tmp_path / "staged"))
    np.testing.assert_array_equal(np.isnan(heights), lon > 6.501)


def test_no_tile_at_all_is_an_error_that_names_those_expected(tmp_path):
    with pytest.raises(sc.errors.NoSceneError, match=r"the collection in memory has no tile .* N45_00_E006_00"):
        stage([write_tile(tmp_path, 44, 6)], tmp_path / "staged")
    assert not (tmp_path / "staged" / DEM).exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"off": 0.25}, "on whole fractions of a degree"), ({"crs": "EPSG:4269"}, "in EPSG:4326")],
)
def test_tiles_that_do_not_line_up_are_refused(tmp_path, fault, message):
    items = [write_tile(tmp_path, 45, 6), write_tile(tmp_path, 45, 7, **fault)]
    with pytest.raises(sc.errors.ReadError, match=message):
        stage(items, tmp_path / "staged", (6.9, 45.4, 7.1, 45.6))


def test_of_two_processings_the_newer_one_is_taken(tmp_path):
    old = write_tile(tmp_path / "old", 45, 6, heights=lambda lat, lon: hills(lat, lon) + 9)
    new = write_tile(tmp_path / "new", 45, 6)
    new.datetime = new.datetime.replace(year=2023)
    heights, lat, lon = read(stage([new, old], tmp_path / "staged"))
    np.testing.assert_array_equal(heights, truth(lat, lon))


# What it is good for


def test_a_cube_takes_its_terrain_and_geometry_from_it(tmp_path):
    items = [write_tile(tmp_path, south, west, heights=ramp) for south in (46, 47) for west in (14, 15)]
    dem = stage(items, tmp_path / "staged", (14.95, 46.95, 15.05, 47.05))
    cube = simple_cube(geobox=grid_around("EPSG:32633", 15.0, 47.0))
    cube = sc.add_geometry(sc.add_terrain(cube, dem))
    x, y = np.meshgrid(cube.x, cube.y)
    lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(cube.elevation, ramp(lat, lon), rtol=0, atol=0.01)
    assert cube.elevation.attrs["source"] == DEM
    assert np.isfinite(cube.incidence_angle.values).all()
    assert not (cube.layover_shadow == 255).any()


@pytest.mark.parametrize("zone", ["EPSG:32701", "EPSG:32760"])
def test_across_the_antimeridian_it_is_one_raster_that_a_cube_can_use(tmp_path, zone):
    items = [write_tile(tmp_path, -17, west, heights=ramp) for west in (179, -180)]
    dem = stage(items, tmp_path / "staged", (179.95, -16.55, -179.95, -16.45))
    with rasterio.open(dem) as dataset:
        assert dataset.bounds.left < 179.95 < 180.05 < dataset.bounds.right
    record = json.loads(dem.with_suffix(".json").read_text())
    assert record["geometry"]["type"] == "MultiPolygon"
    west, _, east, _ = record["bbox"]
    assert -180 < east < 0 < west < 180
    cube = sc.add_terrain(simple_cube(geobox=grid_around(zone, 180.0, -16.5)), dem)
    x, y = np.meshgrid(cube.x, cube.y)
    lon, lat = pyproj.Transformer.from_crs(zone, 4326, always_xy=True).transform(x, y)
    assert lon.min() < -179.9
    assert lon.max() > 179.9
    np.testing.assert_allclose(cube.elevation, ramp(lat, lon), rtol=0, atol=0.01)


@pytest.mark.parametrize(("west", "east"), [(179.9, 179.99), (-179.99, -179.9)])
def test_an_area_beside_the_antimeridian_has_its_margin_beyond_it(tmp_path, west, east):
    items = [write_tile(tmp_path, -17, west, heights=ramp) for west in (179, -180)]
    heights, lat, lon = read(stage(items, tmp_path / "staged", (west, -16.55, east, -16.45)))
    np.testing.assert_allclose(heights, ramp(lat, lon), rtol=0, atol=0.01)
    assert lon.min() < west < east < lon.max()


def test_a_cube_that_is_turned_against_the_meridians_is_covered(tmp_path):
    # 60° N at the edge of its zone: the corners of the cube lie 1.5 km and more outside the box.
    bbox = (11.2, 60.2, 11.8, 60.5)
    dem = stage([write_tile(tmp_path, 60, 11), write_tile(tmp_path, 60, 10)], tmp_path / "staged", bbox)
    for zone in ("EPSG:32632", "EPSG:32633"):
        to = pyproj.Transformer.from_crs(4326, zone, always_xy=True)
        left, bottom, right, top = to.transform_bounds(*bbox)
        geobox = GeoBox.from_bbox((left, bottom, right, top), zone, resolution=500)
        assert np.isfinite(sc.add_terrain(simple_cube(geobox=geobox), dem).elevation.values).all()


# Fetched once


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two tiles on a web server, and their items."""
    folder = tmp_path_factory.mktemp("archive")
    items = [write_tile(folder, 45, west, rows=300) for west in (6, 7)]  # more than a first request takes
    with serve(folder) as server:
        for item in items:
            item.assets["data"].href = f"{server.url}/{Path(item.assets['data'].href).name}"
        yield server, items


ACROSS = (6.9, 45.4, 7.1, 45.6)


def test_the_size_is_told_before_and_only_that_is_fetched(archive, tmp_path):
    server, items = archive
    server.forget()
    pieces = Pieces(tmp_path)
    plan = plan_dem(ACROSS, tmp_path, catalog=collection(items), pieces=pieces)
    assert plan.nbytes == sum(clip.nbytes for clip in plan.clips) > 0
    told = []
    path = write_dem(plan, pieces=pieces, tell=told.append)
    assert sum(told) == plan.nbytes
    heights, lat, lon = read(path)
    np.testing.assert_array_equal(heights, truth(lat, lon, rows=300, columns=300))
    assert {request.status for request in server.requests()} == {206}


def test_what_is_there_is_not_asked_for_again(archive, tmp_path):
    server, items = archive
    path = stage(items, tmp_path, ACROSS)
    server.forget()
    state = path.stat()
    plan = plan_dem(ACROSS, tmp_path, catalog="http://127.0.0.1:9/nobody", pieces=Pieces(tmp_path))
    assert plan.nbytes == 0
    assert write_dem(plan, pieces=Pieces(tmp_path), tell=[].append) == path
    assert server.requests() == []
    assert path.stat().st_mtime_ns == state.st_mtime_ns


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "no record", "broken record", "another area"])
def test_what_is_damaged_or_of_another_area_is_made_again(archive, tmp_path, harm):
    _, items = archive
    path = stage(items, tmp_path, ACROSS)
    whole, record = path.read_bytes(), path.with_suffix(".json")
    if harm == "flip":
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    elif harm == "cut":
        path.write_bytes(whole[:-9])
    elif harm == "gone":
        path.unlink()
    elif harm == "no record":
        record.unlink()
    elif harm == "broken record":
        record.write_text("[]")
    else:
        stage(items, tmp_path, (6.9, 45.4, 7.1, 45.5))
    assert stage(items, tmp_path, ACROSS).read_bytes() == whole


def test_a_part_of_a_tile_that_the_disk_spoilt_is_fetched_again(archive, tmp_path):
    _, items = archive
    whole = stage(items, tmp_path / "whole", ACROSS)
    folder = tmp_path / "spoilt"
    folder.mkdir()
    pieces = Pieces(folder)
    plan = plan_dem(ACROSS, folder, catalog=collection(items), pieces=pieces)
    for clip in plan.clips:
        fetch_clip(clip, pieces=pieces, tell=[].append)
    path = plan.tiles[0][1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(sc.errors.ReadError, match=path.name):
        stage(items, folder, ACROSS)
    assert stage(items, folder, ACROSS).read_bytes() == whole.read_bytes()


def test_a_tile_that_cannot_be_read_is_named_and_nothing_is_left_half(archive, tmp_path):
    server, items = archive
    name = Path(items[1].assets["data"].href).name
    server.fail(name, "404")
    try:
        with pytest.raises(sc.errors.ReadError, match=r"DEM tile \"Copernicus_DSM_COG_10_N45_00_E007") as caught:
            stage(items, tmp_path, ACROSS)
    finally:
        server.heal()
    assert caught.value.kind == "not_found"
    assert not (tmp_path / DEM).exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
import pystac
from sarcube.acquisition.staging import dem
from sarcube.acquisition.staging.pieces import Pieces

items, folder, moment = pystac.ItemCollection.from_file(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def told(n, seen=[]):
    seen.append(n)
    if moment == f"piece {len(seen)}":
        die()

if moment in ("fetch_clip", "write_cog", "sync_file", "write_record"):
    setattr(dem, moment, die)
if moment == "second tile":
    fetch, seen = dem.fetch_clip, []
    dem.fetch_clip = lambda *a, **k: die() if seen else (seen.append(1), fetch(*a, **k))
pieces = Pieces(folder)
plan = dem.plan_dem((6.9, 45.4, 7.1, 45.6), folder, catalog=items, pieces=pieces)
dem.write_dem(plan, pieces=pieces, tell=told)
"""


@pytest.mark.parametrize("moment", ["piece 1", "second tile", "sync_file", "write_record"])
def test_after_kill_9_a_second_call_fetches_only_what_is_missing(archive, tmp_path, moment):
    server, items = archive
    whole = stage(items, tmp_path / "whole", ACROSS)
    server.forget()
    folder = tmp_path / "killed"
    folder.mkdir()
    collection(items).save_object(tmp_path / "items.json")
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, tmp_path / "items.json", folder, moment],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    path = stage(items, folder, ACROSS)
    ranges = [(request.path, request.range) for request in server.requests()]
    assert len(ranges) == len(set(ranges))
    assert path.read_bytes() == whole.read_bytes()
    assert path.with_suffix(".json").read_bytes() == whole.with_suffix(".json").read_bytes()
    assert {file.name for file in folder.iterdir()} <= {DEM, "dem.json", ".parts"}


# Arithmetic

boxes = st.tuples(
    st.floats(-180, 179.9), st.floats(-89, 88), st.floats(0.001, 3), st.floats(0.001, 2)
).map(lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]))  # fmt: skip


@given(boxes, st.sampled_from([60, 40, 3600]))
def test_every_post_of_an_area_is_in_one_of_its_tiles(bounds, across):
    posts = posts_over(bounds, (ROWS, across))
    squares = squares_over(bounds)
    assert len(squares) == len(set(squares))
    for row in (posts.rows[0], posts.rows[1] - 1):
        for column in (posts.columns[0], posts.columns[1] - 1):
            if posts.shape[0] > 0 and posts.shape[1] > 0:
                south = -(row // ROWS) - 1  # a tile begins with the row on its northern edge
                west = (column // across + 180) % 360 - 180
                assert (south, west) in squares


@given(boxes)
def test_an_area_is_widened_by_its_margin_on_all_sides(box):
    west, south, east, north = box
    south, north = max(south, -80), min(north, 80)
    if south >= north:
        return
    bounds = widen((west, south, (east + 180) % 360 - 180, north))
    turn = 360 * round((bounds[0] - west) / 360)
    geod = pyproj.Geod(ellps="WGS84")
    for lat in (south, north):
        assert bounds[0] - turn < west < east < bounds[2] - turn
        assert geod.inv(west, lat, bounds[0], lat)[2] > 0.99 * MARGIN
        assert geod.inv(east, lat, bounds[2], lat)[2] > 0.99 * MARGIN
    assert geod.inv(west, north, west, bounds[3])[2] > 0.99 * MARGIN
    assert geod.inv(west, south, west, bounds[1])[2] > 0.99 * MARGIN


@pytest.fixture(scope="module")
def band_edge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge")
    bounds = (6.3, 49.6, 7.7, 50.4)
    items = [write_tile(folder, south, west) for south in (49, 50) for west in (6, 7)]
    return [open_tile(Path(item.assets["data"].href), owner="a test", bounds=bounds) for item in items], bounds


@given(st.lists(st.integers(1, 47), max_size=3), st.lists(st.integers(1, 84), max_size=3))
def test_blocks_give_what_the_whole_gives(band_edge, down, across):
    tiles, bounds = band_edge
    posts = posts_over(bounds, (ROWS, 60))
    whole = read_heights(tiles, posts, (0, posts.shape[0]), (0, posts.shape[1]), owner="a test")
    assert np.isfinite(whole).all()
    rows, columns = ([0, *sorted(set(cuts)), size] for cuts, size in zip((down, across), posts.shape, strict=True))
    parts = [
        [read_heights(tiles, posts, span, other, owner="a test") for other in pairwise(columns)]
        for span in pairwise(rows)
    ]
    np.testing.assert_array_equal(np.block(parts), whole)


def test_tiles_of_different_dems_are_refused(band_edge):
    tiles, bounds = band_edge
    other = open_tile(tiles[0].path, owner="a test", bounds=bounds)
    odd = type(other)(other.path, Posts((90, 60), other.posts.rows, other.posts.columns))
    with pytest.raises(sc.errors.ReadError, match="60 and 90 rows to a degree"):
        lazy_raster([*tiles, odd], bounds)


@pytest.mark.realdata
def test_real_items_are_named_and_placed_as_expected(tmp_path):
    if not ITEMS.exists():
        pytest.skip(f"no real data at {ITEMS}")
    for document in json.loads(ITEMS.read_text()):
        a, _, c, _, e, f = document["properties"]["proj:transform"]
        path = tmp_path / f"{document['id']}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=3600, width=360, count=1, dtype="float32", crs="EPSG:4326",
            transform=Affine(a, 0, c, 0, e, f), tiled=True, sparse_ok=True,
        ):  # fmt: skip
            pass
        west = round(c)
        tile = open_tile(path, owner="a test", bounds=(west, -89.5, west + 0.5, -89.2))
        assert tile.posts.per_degree == (3600, 360)
        assert tile.posts.columns == (360 * west, 360 * (west + 1))
        assert tile.posts.rows == (89 * 3600, 90 * 3600)
        assert document["id"] == f"Copernicus_DSM_COG_10_{square_name((-90, west))}_DEM"
