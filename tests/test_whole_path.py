"""From search to an open cube against real servers, on a SIMULATED event.

With tokens that live two seconds, and then with no network at all.
"""

import logging
import os
import shutil
import subprocess
import sys
from math import floor

import numpy as np
import pystac
import pytest
import xarray as xr
from dem_tiles import write_tile

import sarcube as sc

POSTS = 240  # of the DEM, to a degree
RATE = 300_000  # bytes per second of each answer: so slow that tokens end while a build is at work
CUT_OFF = ["unshare", "--net"]  # a network namespace without a network

OFFLINE = """
import socket, sys
from pathlib import Path
import sarcube as sc

try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), 5)
    raise SystemExit("there is a network")
except OSError:
    pass
staged, work = Path(sys.argv[1]), Path(sys.argv[3])
event = sc.read_event(staged / "event.toml")
items = sc.search(event, catalog=staged)
print(sc.availability(items, event))
cube = sc.add_geometry(sc.add_terrain(sc.load(items, bbox=event.bbox), staged / "dem.tif"))
cube = sc.open_cube(sc.write_cube(cube, work / "cube.zarr"))
sc.quality(cube)
track = str(cube["scene_track"].values[0])
stack = sc.composite(cube, event, track=track)
density = sc.landslide_density(cube, event)
boxes = sc.detect(stack, sc.load_model("cnn-vv-vh"), stride=32)
sc.write_detections(boxes, work / "boxes.gpkg")
print(sc.next_passes(event.bbox, items=items, after=event.first_after))
sc.write_cog(density, work / "density.tif")
sc.plot_change(stack).savefig(work / "change.png")
print(sc.build_cube(event, staged, work / "again.zarr", catalog=staged))
"""


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    """Two tracks, three dates before the event and one after it, with the archive's usual flaws."""
    return sc.simulate(tmp_path_factory.mktemp("archive") / "event", seed=31, size_km=2, pre_dates=3, post_dates=1)


@pytest.fixture(scope="module")
def tiles(simulation, tmp_path_factory):
    """The tiles of a DEM around the event, as the archive has them but coarser."""
    folder = tmp_path_factory.mktemp("dem")
    west, south, east, north = simulation.event.bbox
    squares = {(floor(y), floor(x)) for y in (south - 0.1, north + 0.1) for x in (west - 0.1, east + 0.1)}
    return [write_tile(folder, *square, rows=POSTS) for square in sorted(squares)]


@pytest.fixture(scope="module")
def expected(simulation, tiles, tmp_path_factory):
    """The cube as the same script makes it of local files, staged and not."""
    folder = tmp_path_factory.mktemp("local")
    items = sc.search(simulation.event, catalog=simulation.folder)
    sc.stage(items, folder / "staged", bbox=simulation.event.bbox, dem=True, catalog=pystac.ItemCollection(tiles))
    return write(items, simulation.event, folder / "staged" / "dem.tif", folder / "cube.zarr")


@pytest.fixture
def published(simulation, tiles, archive, monkeypatch):
    """The archive with the event's scenes and the tiles of the DEM."""
    local = list(sc.search(simulation.event, catalog=simulation.folder))
    archive.publish_items(local)
    archive.publish_items(tiles, collection="cop-dem-glo-30", account="elevationeuwest", container="copernicus-dem")
    archive.environment(monkeypatch)
    archive.forget()
    return archive


def write(items, event, dem, path):
    cube = sc.load(items, bbox=event.bbox, resolution=10)
    cube = sc.add_geometry(sc.add_terrain(cube, dem))
    sc.write_cube(cube, path, keep_bits=None)
    return sc.open_cube(path)


def assert_same(cube, expected):
    """Every bit of every layer, also why a pixel is a hole."""
    xr.testing.assert_identical(cube.drop_attrs().compute(), expected.drop_attrs().compute())
    for band in ("vv", "vh"):
        np.testing.assert_array_equal(cube[band].values.view(np.uint32), expected[band].values.view(np.uint32))


def containers(archive):
    return [(asked.account, asked.container) for asked in archive.tokens_asked()]


def test_the_whole_path_with_tokens_that_live_two_seconds(published, simulation, expected, tmp_path):
    event, folder = simulation.event, tmp_path / "staged"
    published.token_seconds = 2
    published.fail("*", "slow", rate=RATE)

    items = sc.search(event, catalog=published.api_url)
    assert [item.id for item in items] == [item.id for item in sc.search(event, catalog=simulation.folder)]
    assert sc.availability(items, event)["before"].sum() > 0
    staged = sc.stage(items, folder, bbox=event.bbox, dem=True)
    cube = write(staged, event, folder / "dem.tif", tmp_path / "cube.zarr")

    assert_same(cube, expected)
    asked = containers(published)
    assert asked.count(("sentinel1euwestrtc", "sentinel1-grd-rtc")) >= 2, "no token ended during the run"
    assert ("elevationeuwest", "copernicus-dem") in asked
    assert {entry.status for entry in published.requests()} <= {200, 206, 403}
    for file in (*folder.rglob("*.json"), *tmp_path.rglob("zarr.json")):
        assert "sig=" not in file.read_text(), f"{file} holds a signature"


def test_a_cube_straight_from_the_archive_outlives_its_tokens(published, simulation, expected, tmp_path):
    published.token_seconds = 2
    published.fail("*", "slow", rate=RATE)
    items = sc.search(simulation.event, catalog=published.api_url)
    cube = sc.open_cube(
        sc.write_cube(sc.load(items, bbox=simulation.event.bbox), tmp_path / "cube.zarr", keep_bits=None)
    )
    for band in ("vv", "vh"):
        np.testing.assert_array_equal(cube[band].values.view(np.uint32), expected[band].values.view(np.uint32))
    assert len(containers(published)) >= 2, "no token ended during the build"


def test_nothing_is_fetched_twice_and_a_second_call_asks_for_no_file(published, simulation, tmp_path):
    items = sc.search(simulation.event, catalog=published.api_url)
    sc.stage(items, tmp_path / "staged", bbox=simulation.event.bbox, dem=True)
    fetched = [(entry.path, entry.range) for entry in published.requests() if entry.status == 206]
    assert len(fetched) == len(set(fetched))
    published.forget()
    sc.stage(items, tmp_path / "staged", bbox=simulation.event.bbox, dem=True)
    assert published.requests() == []


def test_build_cube_is_the_same_in_one_call(published, simulation, expected, tmp_path):
    path = sc.build_cube(
        simulation.event, tmp_path / "staged", tmp_path / "cube.zarr", catalog=published.api_url, keep_bits=None
    )
    assert_same(sc.open_cube(path), expected)


def test_all_works_with_the_network_cut_off(published, simulation, expected, tmp_path):
    if shutil.which(CUT_OFF[0]) is None or subprocess.run([*CUT_OFF, "true"], check=False).returncode:
        pytest.skip("no network namespace can be made here: that needs unshare, and to be root")
    staged = tmp_path / "staged"
    items = sc.search(simulation.event, catalog=published.api_url)
    sc.stage(items, staged, bbox=simulation.event.bbox, dem=True)
    shutil.copy(simulation.folder / "event.toml", staged / "event.toml")
    port = published.api_url.rstrip("/").rpartition(":")[2]
    ran = subprocess.run(
        [*CUT_OFF, sys.executable, "-c", OFFLINE, str(staged), port, str(tmp_path)],
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    for name in ("change.png", "density.tif", "boxes.gpkg"):
        assert (tmp_path / name).stat().st_size > 0
    for name in ("cube.zarr", "again.zarr"):
        cube = sc.open_cube(tmp_path / name)
        np.testing.assert_allclose(cube["vv"], expected["vv"], rtol=2**-9)
        assert set(cube.data_vars) == set(expected.data_vars)


def test_the_log_of_the_whole_path_shows_no_signature(published, simulation, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        items = sc.search(simulation.event, catalog=published.api_url)
        published.fail(items[0].assets["vv"].href, "503", times=2)
        sc.stage(items, tmp_path / "staged", bbox=simulation.event.bbox)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("sarcube")]
    assert said
    assert not [line for line in said if "sig=" in line]
