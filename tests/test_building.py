"""From an event to its cube in one run, on a SIMULATED event: whatever interrupts it, the same cube in the end."""

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pystac
import pytest
import stac_server
import xarray as xr
from dem_tiles import write_tile
from range_server import serve

import sarcube as sc
from sarcube.acquisition.catalogs import asking
from sarcube.acquisition.staging.posts import squares_over, widen
from sarcube.building.build import build_cube, stage_event
from sarcube.errors import InputError, ReadError, StoreError

BANDS = ("vv", "vh")
STATIC = ("elevation", "slope", "aspect", "curvature", "incidence_angle", "sensor_azimuth", "layover_shadow")


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    """Two tracks, two dates before the event and one after it, with the archive's usual flaws."""
    return sc.simulate(tmp_path_factory.mktemp("archive") / "event", seed=31, size_km=2, pre_dates=2, post_dates=1)


@pytest.fixture
def build(simulation, tmp_path):
    """Build the event's cube with the simulated DEM into tmp_path/staged and tmp_path/cube.zarr."""

    def call(**settings):
        defaults = {"catalog": simulation.folder, "dem": simulation.dem}
        return build_cube(simulation.event, tmp_path / "staged", tmp_path / "cube.zarr", **{**defaults, **settings})

    return call


def straight(simulation, path, items):
    """The cube as a script builds it from the sources themselves."""
    cube = sc.add_geometry(sc.add_terrain(sc.load(items, bbox=simulation.event.bbox), simulation.dem))
    return sc.open_cube(sc.write_cube(cube, path)).load()


@pytest.fixture(scope="module")
def expected(simulation, tmp_path_factory):
    """What all scenes make."""
    items = sc.search(simulation.event, catalog=simulation.folder)
    return straight(simulation, tmp_path_factory.mktemp("straight") / "cube.zarr", items)


def assert_same(cube, expected):
    """Every bit of every layer, also why a pixel is a hole."""
    xr.testing.assert_identical(cube.drop_attrs().compute(), expected.drop_attrs().compute())
    for band in BANDS:
        np.testing.assert_array_equal(cube[band].values.view(np.uint32), expected[band].values.view(np.uint32))
    assert set(cube.data_vars) == set(expected.data_vars)
    assert sorted(cube.attrs["items"]) == sorted(expected.attrs["items"])
    assert cube.attrs["simulated"]


def state_of(*folders):
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes())
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.parent.name != "searches"  # when the catalogue was last asked
    }


def on_the_web(simulation, server, items=None, *, without=()):
    """The items with hrefs on a server, as a collection in memory."""
    found = sc.search(simulation.event, catalog=simulation.folder) if items is None else items
    items = [item for item in found if item.id not in without]
    for item in items:
        for asset in item.assets.values():
            asset.href = f"{server.url}/{asset.href.removeprefix(f'{simulation.folder.resolve()}/')}"
    return pystac.ItemCollection(items)


def answer_in(folder):
    (path,) = (folder / "searches").iterdir()
    return path


def test_the_cube_is_that_of_the_sources(build, expected, tmp_path):
    path = build()
    assert path == tmp_path / "cube.zarr"
    cube = sc.open_cube(path)
    assert set(STATIC) <= set(cube.data_vars)
    assert_same(cube, expected)
    assert sc.verify_cube(path) == []


def test_a_second_run_changes_nothing(build, tmp_path):
    build(dem=False)
    before = state_of(tmp_path / "staged", tmp_path / "cube.zarr")
    build(dem=False)
    assert state_of(tmp_path / "staged", tmp_path / "cube.zarr") == before


def test_a_second_run_fetches_nothing(simulation, build, expected, tmp_path):
    with serve(simulation.folder) as server:
        catalog = on_the_web(simulation, server)
        build(catalog=catalog)
        before = state_of(tmp_path / "staged", tmp_path / "cube.zarr")
        assert_same(sc.open_cube(tmp_path / "cube.zarr"), expected)
        server.forget()
        build(catalog=catalog)
        assert server.requests() == []
    assert state_of(tmp_path / "staged", tmp_path / "cube.zarr") == before
    shutil.rmtree(tmp_path / "cube.zarr")
    build(catalog=catalog)  # the server is gone as well
    assert_same(sc.open_cube(tmp_path / "cube.zarr"), expected)


def test_a_catalogue_that_is_gone_is_said_and_not_needed(simulation, build, expected, tmp_path, caplog):
    moved = shutil.copytree(simulation.folder, tmp_path / "disk")
    stage_event(simulation.event, tmp_path / "staged", catalog=moved, dem=False)
    shutil.rmtree(moved)
    with caplog.at_level(logging.WARNING):
        build(catalog=moved)
    assert "Going on with its answer of" in caplog.text
    assert "newer scenes are not in it" in caplog.text
    assert_same(sc.open_cube(tmp_path / "cube.zarr"), expected)
    with pytest.raises(InputError, match=r"keeps no answer to this very search either; .*\(catalog="):
        build(catalog=moved, pre_days=30)
    build(catalog=tmp_path / "staged", pre_days=30)


def test_without_an_answer_nothing_is_built(build, tmp_path):
    with pytest.raises(InputError, match=r"no STAC catalogue at .* keeps no answer to this very search either"):
        build(catalog=tmp_path / "nowhere")
    assert not (tmp_path / "cube.zarr").exists()


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"type": "FeatureCollection", "features": []}', b"\xff"])
def test_an_answer_that_is_damaged_is_none(build, simulation, tmp_path, content):
    moved = shutil.copytree(simulation.folder, tmp_path / "disk")
    stage_event(simulation.event, tmp_path / "staged", catalog=moved, dem=False)
    shutil.rmtree(moved)
    answer_in(tmp_path / "staged").write_bytes(content)
    with pytest.raises(InputError, match="keeps no readable answer"):
        build(catalog=moved)


def test_a_scene_that_comes_later_is_added(simulation, build, expected, tmp_path):
    """To the folder and to the cube; what is there is neither fetched nor written again."""
    found = sc.search(simulation.event, catalog=simulation.folder)
    last = found[-1].id
    with serve(simulation.folder) as server:
        build(catalog=on_the_web(simulation, server, without=[last]))
        assert last not in str(sc.open_cube(tmp_path / "cube.zarr").attrs["items"])
        before = state_of(tmp_path / "cube.zarr" / "vv" / "c", tmp_path / "cube.zarr" / "elevation" / "c")
        server.forget()
        build(catalog=on_the_web(simulation, server))
        assert {last} == {entry.path.split("/")[2] for entry in server.requests()}
    after = state_of(tmp_path / "cube.zarr" / "vv" / "c", tmp_path / "cube.zarr" / "elevation" / "c")
    assert {name: after[name] for name in before} == before
    assert_same(sc.open_cube(tmp_path / "cube.zarr"), expected)


def test_what_cannot_be_fetched(simulation, build, expected, tmp_path, caplog):
    """It stops the run, or is listed in the cube's own record until it has been fetched: a scene, a polarisation."""
    *_, half, bad = sc.search(simulation.event, catalog=simulation.folder)
    with serve(simulation.folder) as server:
        catalog = on_the_web(simulation, server)
        for asset in (*bad.assets.values(), half.assets["vh"]):
            server.fail(asset.href.removeprefix(f"{simulation.folder.resolve()}/"), "404")
        with pytest.raises(ReadError, match=rf"{bad.id}|{half.id}"):
            build(catalog=catalog)
        assert not (tmp_path / "cube.zarr").exists()
        build(catalog=catalog, on_error="skip")
        cube = sc.open_cube(tmp_path / "cube.zarr")
        assert cube.attrs["not_staged"] == [f"{half.id}: vh", f"{bad.id}: vh", f"{bad.id}: vv"]
        without = [item for item in sc.search(simulation.event, catalog=simulation.folder) if item.id != bad.id]
        del next(item for item in without if item.id == half.id).assets["vh"]
        assert_same(cube, straight(simulation, tmp_path / "less.zarr", without))
        before = state_of(tmp_path / "cube.zarr")
        build(catalog=catalog, on_error="skip")
        assert state_of(tmp_path / "cube.zarr") == before
        server.heal()
        caplog.clear()
        build(catalog=catalog, on_error="skip")
    assert "is written anew" in caplog.text
    cube = sc.open_cube(tmp_path / "cube.zarr")
    assert "not_staged" not in cube.attrs
    assert_same(cube, expected)


def test_a_folder_that_was_moved(build, simulation, tmp_path, caplog):
    """It is whole where it is now; the cube, whose record names its files by their paths, is written anew, once."""
    build(dem=False)
    cube = sc.open_cube(tmp_path / "cube.zarr").load()
    (tmp_path / "staged").rename(tmp_path / "moved")
    settings = {"catalog": tmp_path / "moved", "dem": False}
    build_cube(simulation.event, tmp_path / "moved", tmp_path / "cube.zarr", **settings)
    assert "is written anew, and the old one stays until that is done: v" in caplog.text
    assert_same(sc.open_cube(tmp_path / "cube.zarr"), cube)
    before = state_of(tmp_path / "moved", tmp_path / "cube.zarr")
    build_cube(simulation.event, tmp_path / "moved", tmp_path / "cube.zarr", **settings)
    assert state_of(tmp_path / "moved", tmp_path / "cube.zarr") == before


def test_another_area_or_resolution_is_refused(simulation, build, tmp_path):
    build(dem=False)
    with pytest.raises(StoreError, match="of another area or resolution"):
        build(dem=False, resolution=20)
    build(dem=False, resolution=20, overwrite=True)
    assert float(np.diff(sc.open_cube(tmp_path / "cube.zarr").x.values[:2])[0]) == 20
    west, south, east, north = simulation.event.bbox
    moved = sc.Event("other", bbox=(west, south, east - 0.005, north), time=simulation.event.time)
    with pytest.raises(InputError, match="area"):
        build_cube(moved, tmp_path / "staged", tmp_path / "other.zarr", catalog=simulation.folder, dem=False)


def test_without_heights_and_with_every_bit(simulation, build, tmp_path):
    cube = sc.open_cube(build(dem=False, keep_bits=None))
    assert set(cube.data_vars) == set(BANDS)
    loaded = sc.load(sc.search(simulation.event, catalog=simulation.folder), bbox=simulation.event.bbox).compute()
    for band in BANDS:
        np.testing.assert_array_equal(cube[band].values.view(np.uint32), loaded[band].values.view(np.uint32))
    with pytest.raises(StoreError, match="elevation is not in the cube there"):
        build(keep_bits=None)


def test_arguments_that_make_no_sense_stop_the_run_before_it_begins(build, tmp_path):
    with pytest.raises(InputError, match="give look geometry its orbits"):
        build(dem=False, annotation=True)
    with pytest.raises(ReadError, match="there is no DEM at"):
        build(dem=tmp_path / "nowhere.tif")
    assert not (tmp_path / "staged").exists()


def test_a_cube_that_cannot_be_written_is_one_error(simulation, tmp_path):
    path = tmp_path / ("x" * 250)  # the lock beside it has a longer name than systems allow
    with pytest.raises(StoreError, match=r"cannot write .*: File name too long; what is staged is kept"):
        build_cube(simulation.event, tmp_path / "staged", path, catalog=simulation.folder, dem=False)


def test_a_track_alone(simulation, build, tmp_path):
    track = simulation.tracks[0]
    state = {"A": "ascending", "D": "descending"}[track[0]]
    cube = sc.open_cube(build(dem=False, orbit_state=state, relative_orbit=int(track[1:])))
    assert set(cube.scene_track.values) == {track}
    with pytest.raises(StoreError, match=r"holds . dates that this search and the folder do not"):
        build(dem=False, orbit_state={"ascending": "descending", "descending": "ascending"}[state])


def test_the_answer_that_is_kept_holds_no_secret(simulation, build, tmp_path):
    with serve(simulation.folder) as server:
        catalog = on_the_web(simulation, server)
        for item in catalog:
            for asset in item.assets.values():
                asset.href += "?sv=2024-01-01&se=2999-01-01T00%3A00%3A00Z&sr=c&sp=rl&sig=abcdefgh%3D"
        stage_event(simulation.event, tmp_path / "staged", catalog=catalog, dem=False)
    text = answer_in(tmp_path / "staged").read_text()
    assert "sig=" not in text
    assert json.loads(text)["sarcube:search"]["answered"]


@pytest.fixture(scope="module")
def files(simulation):
    """The archive's files on a server; DEM tiles will lie beside the scenes."""
    with serve(simulation.folder) as server:
        yield server


@pytest.fixture
def api(simulation, files, tmp_path, monkeypatch):
    """A STAC API of scenes and DEM tiles whose files are on that server."""
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(asking, "SETTINGS", replace(asking.SETTINGS, attempts=2, first_pause=0.01, longest_pause=0.05))
    tiles = [
        write_tile(simulation.folder / "tiles", *square, rows=600)
        for square in squares_over(widen(simulation.event.bbox))
    ]
    items = [*sc.search(simulation.event, catalog=simulation.folder), *tiles]
    files.heal()
    files.forget()
    with stac_server.serve(on_the_web(simulation, files, items), page=3) as server:
        yield server


def test_the_whole_run_from_an_api(simulation, api, files, build, tmp_path, caplog):
    """Search, scenes and DEM; then, with the API gone and nothing in the cache, the same from the folder alone."""
    cube = sc.open_cube(build(catalog=api.url, dem=True))
    items = sc.search(simulation.event, catalog=simulation.folder)
    assert (tmp_path / "staged" / "dem.tif").exists()
    terrain = sc.add_terrain(sc.load(items, bbox=simulation.event.bbox), tmp_path / "staged" / "dem.tif")
    assert_same(cube, sc.open_cube(sc.write_cube(sc.add_geometry(terrain), tmp_path / "straight.zarr")))
    before = state_of(tmp_path / "staged", tmp_path / "cube.zarr")
    files.forget()
    for page in range(4):
        api.fail(page, "503")
    shutil.rmtree(tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        build(catalog=api.url, dem=True)
    assert "Going on with its answer of" in caplog.text
    assert state_of(tmp_path / "staged", tmp_path / "cube.zarr") == before
    assert files.requests() == []


def test_an_api_that_goes_down_in_the_middle_is_not_needed(simulation, api, files, build, expected, tmp_path):
    """The answer is kept before the first scene is fetched."""
    last = sc.search(simulation.event, catalog=simulation.folder)[-1]
    files.fail(last.assets["vh"].href.removeprefix(f"{simulation.folder.resolve()}/"), "404")
    with pytest.raises(ReadError, match=last.id):
        build(catalog=api.url)
    shutil.rmtree(tmp_path / "cache")
    for page in range(4):
        api.fail(page, "close")
    files.heal()
    fetched = {(entry.path, entry.range) for entry in files.requests() if entry.status in (200, 206)}
    files.forget()
    assert_same(sc.open_cube(build(catalog=api.url)), expected)
    assert not fetched & {(entry.path, entry.range) for entry in files.requests()}


def test_an_api_that_never_answered_stops_the_run(api, build, tmp_path):
    api.fail(0, "429")
    with pytest.raises(ReadError, match="keeps no answer to this very search either") as raised:
        build(catalog=api.url)
    assert raised.value.kind == "throttled"
    assert not (tmp_path / "staged").exists()


def test_the_page_runs_as_it_stands(simulation, tmp_path, monkeypatch):
    """Of docs/building.md."""
    page = (Path(__file__).parents[1] / "docs" / "building.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    shutil.copytree(simulation.folder, tmp_path / "sumatra")
    monkeypatch.chdir(tmp_path)
    said = {}
    exec(compile(script, "building.md", "exec"), said)
    assert {"vv", "vh", "layover_shadow"} <= set(said["cube"].data_vars)
