"""Scenes copied once and whole: the same cube as from their sources, nothing fetched twice, nothing trusted unseen."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from range_server import serve
from rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, write_rtc

import sarcube as sc
from sarcube.acquisition.files import ranges
from sarcube.acquisition.staging.names import names_for
from sarcube.acquisition.staging.stage import stage
from sarcube.errors import AreaError, InputError, NoSceneError, ReadError, StoreError

SHAPE = (300, 400)
EVENT_TIME = "2022-02-20T00:00Z"


def box_of(rows, columns, *, crs=CRS, left=LEFT, top=TOP):
    """Return the box in degrees around some pixels of 10 m."""
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    x, y = ([start + step * 10 * n for n in at] for start, step, at in ((left, 1, columns), (top, -1, rows)))
    return to_degrees.transform_bounds(min(x), min(y), max(x), max(y))


BOX = box_of((130, 150), (180, 220))


def shown_at(crs, left=LEFT, top=TOP, source=CRS):
    """Return the upper left corner of the same ground in another zone, on multiples of 10 m."""
    x, y = pyproj.Transformer.from_crs(source, crs, always_xy=True).transform(left, top)
    return round(x, -1), round(y, -1)


def with_flaws(values):
    """Return values with an oblique edge of nodata across the area, a fringe along it, zeros, and a lake of NaN."""
    rows, columns = np.indices(values.shape)
    inward = columns - 150 - 0.3 * rows
    values = np.where((inward > 0) & (inward < 6), values / 300, values)
    values = np.where(inward <= 0, np.float32(-32768), values)
    values[135:140, 210:240] = 0
    values[142, 205] = np.nan
    return values.astype(np.float32)


def flawed_items(folder):
    """Write scenes on several grids with what an archive holds."""
    zone = dict(zip(("left", "top"), shown_at("EPSG:32648"), strict=True), crs="EPSG:32648")
    items = [
        scene(folder, "aligned", seed=1, shape=SHAPE, time="2022-01-01T11:30:00", processed="2022-03-02T00:00:00Z"),
        scene(folder, "older", seed=2, shape=SHAPE, time="2022-01-01T11:30:00", processed="2022-03-01T00:00:00Z"),
        scene(folder, "offset", seed=3, shape=SHAPE, time="2022-01-13T11:30:00", left=LEFT + 3.4, top=TOP - 2.9),
        scene(folder, "zone", seed=4, shape=SHAPE, time="2022-01-25T11:30:00", **zone),
        scene(folder, "first", seed=5, shape=(142, 400), time="2022-02-06T11:30:00"),
        scene(folder, "second", seed=6, shape=(170, 400), time="2022-02-06T11:30:25", top=TOP - 1300),
        scene(folder, "single", seed=7, shape=SHAPE, time="2022-02-18T11:30:00", polarisations=("vv",)),
        scene(folder, "fine", seed=8, shape=(900, 1200), time="2022-03-02T11:30:00", resolution=10 / 3),
        scene(folder, "north", seed=9, shape=SHAPE, time="2022-03-02T11:31:00", top=TOP + 20_000),  # beside the area
    ]
    files = {
        name: write_rtc(folder / "flawed" / f"iw-{name}.rtc.tiff", with_flaws(speckle(10 + n, SHAPE)))
        for n, name in enumerate(("vv", "vh"))
    }
    near = speckle(30, SHAPE)
    near[88:121, 170:230] = -32768  # erodes the first row of the area, 128 here, and is cut by too small a margin
    files_near = {"vv": write_rtc(folder / "near" / "iw-vv.rtc.tiff", near, top=TOP - 10)}
    return [
        *items,
        make_item("near", files_near, time="2022-03-14T11:30:00"),
        make_item("flawed", files, time="2022-03-26T11:30:00"),
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    with serve(folder) as running:
        running.folder = folder
        running.items = flawed_items(folder)
        yield running


@pytest.fixture(autouse=True)
def patience(server, monkeypatch):
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, attempts=2, first_pause=0.01))
    yield
    server.heal()
    server.forget()


def on_server(items, server, query=""):
    """Return the items with the addresses of their files on a server."""
    found = []
    for item in items:
        item = item.clone()
        for asset in item.assets.values():
            asset.href = f"{server.url}/{Path(asset.href).relative_to(server.folder)}{query}"
        found.append(item)
    return found


def some(server, *names):
    return [item for item in on_server(server.items, server) if item.id in names]


def wanted(items):
    """Return those that are to be staged."""
    return [item for item in items if item.id not in ("older", "north")]


def files_of(folder):
    """Return what a folder holds, byte for byte; folders too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def assert_same_cube(a, b):
    """Bit for bit: values, the reasons of holes, coordinates, and what the cubes say of themselves."""
    a, b = a.compute(), b.compute()
    xr.testing.assert_identical(a, b)
    for band in a.data_vars:
        np.testing.assert_array_equal(a[band].values.view("u4"), b[band].values.view("u4"))


@pytest.mark.parametrize("place", ["server", "disk"])
def test_the_cube_is_that_of_the_sources(server, tmp_path, place):
    items = on_server(server.items, server) if place == "server" else server.items
    staged = stage(items, tmp_path / "out", bbox=BOX)
    cube = sc.load(staged, bbox=BOX)
    assert_same_cube(cube, sc.load(wanted(items), bbox=BOX))
    assert cube.sizes["time"] == 8
    holes = np.isnan(cube.vv.isel(time=-1).values)  # the edge, its fringe, zeros and NaN are in the area
    assert 0.2 < holes.mean() < 0.8


def test_the_cube_is_that_of_the_sources_where_zones_are_turned_against_each_other(tmp_path):
    """At 66° N the next zone is turned by 5.5°: corners of the cube lie 97 of its pixels outside the box."""
    left, top = shown_at("EPSG:32634", 21.0, 66.0, source="EPSG:4326")
    here = {"left": left, "top": top, "crs": "EPSG:32634", "polarisations": ("vv",)}
    x, y = shown_at("EPSG:32635", left, top, source="EPSG:32634")
    there = {"left": x - 1500, "top": y + 1500, "crs": "EPSG:32635", "polarisations": ("vv",)}
    items = [
        scene(tmp_path, "A", seed=1, shape=(1300, 1300), **here, time="2022-01-01T11:30:00"),
        scene(tmp_path, "B", seed=2, shape=(1300, 1300), **here, time="2022-01-13T11:30:00"),
        scene(tmp_path, "C", seed=3, shape=(1700, 1700), **there, time="2022-01-25T11:30:00"),
    ]
    box = box_of((150, 1150), (150, 1150), crs="EPSG:32634", left=left, top=top)
    staged = stage(items, tmp_path / "out", bbox=box)
    assert_same_cube(sc.load(staged, bbox=box), sc.load(items, bbox=box))
    assert_same_cube(sc.load(staged, bbox=box, crs="EPSG:32635"), sc.load(items, bbox=box, crs="EPSG:32635"))


def test_the_catalogue(server, tmp_path):
    item = some(server, "aligned")[0]
    item.add_link(pystac.Link("derived_from", "https://example.com/collections/sentinel-1-grd/items/G"))
    item.add_link(pystac.Link("preview", "https://example.com/map"))
    item.set_self_href("https://example.com/collections/sentinel-1-rtc/items/aligned")
    item.add_asset("tilejson", pystac.Asset("https://example.com/tilejson.json"))
    item.add_asset("rendered_preview", pystac.Asset("https://example.com/preview.png"))
    item.properties["sat:absolute_orbit"] = 4711
    out = tmp_path / "out"
    stage([item, *some(server, "single")], out, bbox=BOX)
    assert sorted(files_of(out)) == [
        "catalog.json",
        "sentinel-1-rtc",
        "sentinel-1-rtc/aligned",
        "sentinel-1-rtc/aligned/aligned.json",
        "sentinel-1-rtc/aligned/iw-vh.rtc.tiff",
        "sentinel-1-rtc/aligned/iw-vv.rtc.tiff",
        "sentinel-1-rtc/collection.json",
        "sentinel-1-rtc/single",
        "sentinel-1-rtc/single/iw-vv.rtc.tiff",
        "sentinel-1-rtc/single/single.json",
    ]
    document = json.loads((out / "sentinel-1-rtc/aligned/aligned.json").read_text())
    assert set(document["assets"]) == {"vv", "vh"}
    asset, path = document["assets"]["vv"], out / "sentinel-1-rtc/aligned/iw-vv.rtc.tiff"
    source = server.folder / "aligned/iw-vv.rtc.tiff"
    assert asset["href"] == "./iw-vv.rtc.tiff"
    assert asset["file:size"] == path.stat().st_size
    assert asset["file:checksum"] == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert asset["sarcube:source"].pop("etag").startswith('"')
    assert asset["sarcube:source"] == {
        "href": f"{server.url}/aligned/iw-vv.rtc.tiff",
        "size": source.stat().st_size,
        "window": [64, 112, 160, 176],
    }
    with rasterio.open(path) as dataset:
        assert document["properties"]["proj:shape"] == list(dataset.shape) == [160, 176]
        assert document["properties"]["proj:transform"] == list(dataset.transform)
        assert document["properties"]["proj:bbox"] == list(dataset.bounds)
    assert document["properties"]["sat:absolute_orbit"] == 4711
    links = {link["rel"]: link["href"] for link in document["links"]}
    assert links == {
        "root": "../../catalog.json",
        "parent": "../collection.json",
        "collection": "../collection.json",
        "derived_from": "https://example.com/collections/sentinel-1-grd/items/G",
        "canonical": "https://example.com/collections/sentinel-1-rtc/items/aligned",
    }
    west, south, east, north = document["bbox"]
    assert west < BOX[0] < BOX[2] < east
    assert south < BOX[1] < BOX[3] < north
    assert (east - west) * 111 < 2.5  # km: the clip's outline, not the scene's
    text = "".join(path.read_text() for path in out.rglob("*.json"))
    assert str(tmp_path) not in text
    assert "sarcube:simulated" not in text
    catalog = pystac.Catalog.from_file(str(out / "catalog.json"))
    assert {item.id for item in catalog.get_items(recursive=True)} == {"aligned", "single"}


def test_a_search_in_the_folder_finds_what_was_returned(server, tmp_path):
    staged = stage(on_server(server.items, server), tmp_path / "out", bbox=BOX)
    event = sc.Event("e", bbox=BOX, time=EVENT_TIME)
    found = sc.search(event, catalog=tmp_path / "out", pre_days=100, post_days=100)
    assert [item.to_dict() for item in found] == [item.to_dict() for item in staged]
    assert all(Path(asset.href).is_absolute() for item in staged for asset in item.assets.values())
    shutil.move(tmp_path / "out", tmp_path / "moved")
    moved = sc.search(event, catalog=tmp_path / "moved", pre_days=100, post_days=100)
    assert_same_cube(sc.load(moved, bbox=BOX), sc.load(wanted(server.items), bbox=BOX))


def test_what_the_search_said_goes_along(server, tmp_path):
    items = pystac.ItemCollection(some(server, "aligned"), extra_fields={"sarcube:search": {"pre_days": 60}})
    staged = stage(items, tmp_path / "out", bbox=BOX)
    assert staged.extra_fields == {"sarcube:search": {"pre_days": 60}, "sarcube:unstaged": []}


def test_simulated_scenes_say_so_everywhere(server, tmp_path):
    item = some(server, "aligned")[0]
    item.properties["sarcube:simulated"] = True
    out = tmp_path / "out"
    staged = stage([item, *some(server, "single")], out, bbox=BOX)
    assert staged[0].properties["sarcube:simulated"]
    for name in ("catalog.json", "sentinel-1-rtc/collection.json"):
        assert json.loads((out / name).read_text())["sarcube:simulated"]


def test_a_second_call_asks_nobody_and_changes_nothing(server, tmp_path):
    out, told = tmp_path / "out", []
    first = stage(on_server(server.items, server), out, bbox=BOX)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    server.forget()
    second = stage(on_server(server.items, server), out, bbox=BOX, progress=lambda *step: told.append(step))
    assert [entry for entry in server.requests() if "north" not in entry.path] == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert [item.to_dict() for item in first] == [item.to_dict() for item in second]
    assert told == [("planned", 0, 0)]


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "document cut", "document gone", "folder"])
def test_what_was_damaged_is_fetched_again_and_nothing_else(server, tmp_path, harm):
    out, items = tmp_path / "out", some(server, "aligned", "offset")
    stage(items, out, bbox=BOX)
    before = files_of(out)
    home = out / "sentinel-1-rtc/offset"
    path = home / ("offset.json" if "document" in harm else "iw-vh.rtc.tiff")
    whole = path.read_bytes()
    if harm == "folder":
        shutil.rmtree(home)
    elif "gone" in harm:
        path.unlink()
    else:
        path.write_bytes(whole[:-9] if "cut" in harm else whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    server.forget()
    stage(items, out, bbox=BOX)
    assert files_of(out) == before
    asked = {Path(entry.path).as_posix() for entry in server.requests()}
    both = {"/offset/iw-vv.rtc.tiff", "/offset/iw-vh.rtc.tiff"}
    assert asked == (both if "document" in harm or harm == "folder" else {"/offset/iw-vh.rtc.tiff"})


def test_more_items_are_added(server, tmp_path):
    stage(some(server, "aligned", "offset", "zone"), tmp_path / "whole", bbox=BOX)
    out = tmp_path / "out"
    stage(some(server, "offset"), out, bbox=BOX)
    server.forget()
    staged = stage(some(server, "aligned", "zone", "offset"), out, bbox=BOX)
    assert [item.id for item in staged] == ["aligned", "offset", "zone"]
    assert not any("offset" in entry.path for entry in server.requests())
    assert files_of(out) == files_of(tmp_path / "whole")
    again = stage(some(server, "zone"), out, bbox=BOX)
    assert [item.id for item in again] == ["zone"]
    assert files_of(out) == files_of(tmp_path / "whole")


def test_another_area_is_refused_and_says_which_the_folder_holds(server, tmp_path):
    out = tmp_path / "out"
    stage(some(server, "aligned"), out, bbox=BOX)
    before = files_of(out)
    with pytest.raises(InputError, match=rf"holds scenes for the area \({BOX[0]}.*choose another folder"):
        stage(some(server, "aligned"), out, bbox=(*BOX[:3], BOX[3] + 0.01))
    assert files_of(out) == before


def test_a_folder_with_another_catalogue_is_left_as_it_is(server, tmp_path):
    (tmp_path / "catalog.json").write_text('{"type": "Catalog", "id": "mine", "links": []}')
    with pytest.raises(InputError, match="holds another catalogue"):
        stage(some(server, "aligned"), tmp_path, bbox=BOX)
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.json"]
    (tmp_path / "catalog.json").write_text("{")
    with pytest.raises(ReadError, match=r"cannot read .*catalog\.json of the staged scenes"):
        stage(some(server, "aligned"), tmp_path, bbox=BOX)


def test_the_size_is_told_before_the_download_and_bytes_as_they_come(server, tmp_path, caplog):
    told = []

    def progress(what, done, total):
        if what == "planned":  # nothing but headers so far
            assert all(int(entry.range.rpartition("-")[2]) >= 2**16 - 1 for entry in server.requests())
            told.append(len(server.requests()))
        told.append((what, done, total))

    with caplog.at_level(logging.INFO):
        stage(some(server, "aligned", "offset"), tmp_path / "out", bbox=BOX, progress=progress)
    headers, planned, *steps = told
    total = planned[2]
    assert headers == 8  # two a file: these have their directories at the end
    assert planned == ("planned", 0, total)
    assert [what for what, _, _ in steps] == ["staging"] * 4
    done = [n for _, n, _ in steps]
    assert done == sorted(done)
    assert done[-1] == total
    assert f"4 files to stage, {total / 1e6:.1f} MB to fetch" in caplog.text


def test_few_connections(server, tmp_path):
    for item in server.items:
        for name in item.assets:
            server.fail(f"{item.id}/iw-{name}.rtc.tiff", "stall", seconds=0.05)
    stage(on_server(server.items, server), tmp_path / "out", bbox=BOX)
    assert 2 <= server.most_at_once() <= 8


def test_items_beside_the_area_are_left_out_without_a_request(server, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        staged = stage(some(server, "aligned", "north"), tmp_path / "out", bbox=BOX)
    assert [item.id for item in staged] == ["aligned"]
    assert 'left out item "north": no pixel of it is in the area' in caplog.text
    assert not any("north" in entry.path for entry in server.requests())
    with pytest.raises(AreaError, match="none of 1 items touches the area"):
        stage(some(server, "north"), tmp_path / "other", bbox=BOX)


def test_an_item_that_says_nothing_of_its_grid_is_placed_by_its_header(server, tmp_path):
    items = some(server, "aligned", "north")
    for item in items:
        for name in ("proj:epsg", "proj:transform", "proj:shape"):
            del item.properties[name]
    staged = stage(items, tmp_path / "out", bbox=BOX)
    assert [item.id for item in staged] == ["aligned"]
    assert_same_cube(sc.load(staged, bbox=BOX), sc.load(some(server, "aligned"), bbox=BOX))


@pytest.mark.parametrize("geometry", [None, {"type": "Polygon", "coordinates": "?"}])
def test_an_item_without_an_outline_gets_that_of_its_files(server, tmp_path, geometry):
    items = some(server, "single")
    items[0].geometry = items[0].bbox = None
    if geometry is not None:
        items[0].geometry, items[0].bbox = geometry, [0, 0, 1, 1]
    west, south, east, north = stage(items, tmp_path / "out", bbox=BOX)[0].bbox
    assert west < BOX[0] < BOX[2] < east < west + 0.1
    assert south < BOX[1] < BOX[3] < north < south + 0.1


def test_of_duplicates_the_newest_is_staged_and_the_others_are_named(server, tmp_path, caplog):
    out = tmp_path / "out"
    staged = stage(some(server, "aligned", "older"), out, bbox=BOX)
    assert [item.id for item in staged] == ["aligned"]
    assert 'left out item "older": "aligned" is another processing' in caplog.text
    assert json.loads((out / "catalog.json").read_text())["sarcube:duplicates"] == [
        {"item": "older", "kept": "aligned"}
    ]
    assert not any("older" in entry.path for entry in server.requests())


def test_what_cannot_be_read_is_skipped_and_listed_and_staged_by_a_later_call(server, tmp_path, caplog):
    items = some(server, "aligned", "offset", "single")
    whole = stage(items, tmp_path / "whole", bbox=BOX)
    out = tmp_path / "out"
    server.fail("aligned/iw-vh.rtc.tiff", "404")
    server.fail("single/iw-vv.rtc.tiff", "500", after=2)
    staged = stage(items, out, bbox=BOX, on_error="skip")
    assert [(item.id, sorted(item.assets)) for item in staged] == [("aligned", ["vv"]), ("offset", ["vh", "vv"])]
    listed = staged.extra_fields["sarcube:unstaged"]
    assert [(entry["item"], entry["asset"], entry["kind"]) for entry in listed] == [
        ("aligned", "vh", "not_found"),
        ("single", "vv", "no_connection"),
    ]
    assert "404" in listed[0]["message"]
    assert listed == json.loads((out / "catalog.json").read_text())["sarcube:unstaged"]
    assert "left out: cannot read" in caplog.text
    assert (out / ".parts").exists()  # the line may come back: what was fetched of it waits
    server.heal()
    server.forget()
    again = stage(items, out, bbox=BOX, on_error="skip")
    assert [item.to_dict()["assets"].keys() for item in again] == [item.to_dict()["assets"].keys() for item in whole]
    assert files_of(out) == files_of(tmp_path / "whole")
    assert not any("offset" in entry.path or "aligned/iw-vv" in entry.path for entry in server.requests())


def test_if_nothing_can_be_read_it_is_an_error_all_the_same(server, tmp_path):
    server.fail("single/iw-vv.rtc.tiff", "404")
    with pytest.raises(ReadError, match="404"):
        stage(some(server, "single"), tmp_path / "out", bbox=BOX, on_error="skip")


def test_after_an_error_what_is_finished_stays(server, tmp_path):
    items = some(server, "aligned", "offset", "zone")
    stage(items, tmp_path / "whole", bbox=BOX)
    out = tmp_path / "out"
    server.fail("zone/iw-vh.rtc.tiff", "403", after=2)
    server.forget()
    with pytest.raises(ReadError, match=r'zone/iw-vh.rtc.tiff of item "zone" \(vh\)') as caught:
        stage(items, out, bbox=BOX)
    assert caught.value.kind == "forbidden"
    assert not (out / "catalog.json").exists()
    before = [(entry.path, entry.range) for entry in server.requests() if entry.status == 206]
    server.heal()
    server.forget()
    stage(items, out, bbox=BOX)
    after = [(entry.path, entry.range) for entry in server.requests()]
    assert not set(before) & set(after)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_an_error_stops_the_other_files(server, tmp_path):
    told = []

    def progress(what, done, total):
        told.append(what)
        if what == "staging":
            raise KeyboardInterrupt

    for path in ("offset/iw-vv.rtc.tiff", "offset/iw-vh.rtc.tiff", "zone/iw-vv.rtc.tiff"):
        server.fail(path, "stall", seconds=1, after=2)
    with pytest.raises(KeyboardInterrupt):
        stage(some(server, "single", "offset", "zone"), tmp_path / "out", bbox=BOX, progress=progress)
    assert told == ["planned", "staging"]


@pytest.mark.parametrize(("change", "kind", "words"), [(+5, "damaged", "cut off"), (-5, "stale", "replaced")])
def test_a_source_of_another_size_than_its_item_says_is_an_error(server, tmp_path, change, kind, words):
    size = (server.folder / "single/iw-vv.rtc.tiff").stat().st_size
    for items in (some(server, "single"), [item.clone() for item in server.items if item.id == "single"]):
        items[0].assets["vv"].extra_fields["file:size"] = size + change
        with pytest.raises(
            ReadError, match=f"has {size} bytes, its item says {size + change}: it was {words}"
        ) as caught:
            stage(items, tmp_path / "out", bbox=BOX)
        assert caught.value.kind == kind
        items[0].assets["vv"].extra_fields["file:size"] = size
        stage(items, tmp_path / "out", bbox=BOX)


def test_a_source_that_lies_elsewhere_than_its_item_says_is_an_error(server, tmp_path):
    items = some(server, "single")
    items[0].properties["proj:transform"][2] += 10
    with pytest.raises(ReadError, match=r"is not where .* puts it: the item says") as caught:
        stage(items, tmp_path / "out", bbox=BOX)
    assert caught.value.kind == "stale"


def checksums(path):
    content = path.read_bytes()
    return {
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "sha256": "1220" + hashlib.sha256(content).hexdigest(),
        "sha1": "1114" + hashlib.sha1(content, usedforsecurity=False).hexdigest(),
    }


@pytest.mark.parametrize("name", ["md5", "sha256", "sha1"])
@pytest.mark.parametrize("place", ["server", "disk"])
def test_the_checksum_of_a_source_is_verified_where_all_of_it_is_read(server, tmp_path, name, place):
    # Small enough to come with its header.
    item = scene(server.folder, "tiny", shape=(60, 60), polarisations=("vv",))
    box = box_of((20, 40), (20, 40))
    asset = item.assets["vv"]
    asset.extra_fields["file:checksum"] = checksums(Path(asset.href))[name]
    items = [item] if place == "disk" else on_server([item], server)
    stage(items, tmp_path / "good", bbox=box)
    right = items[0].assets["vv"].extra_fields["file:checksum"]
    items[0].assets["vv"].extra_fields["file:checksum"] = right[:-1] + ("0" if right[-1] != "0" else "1")
    with pytest.raises(ReadError, match="does not fit the checksum that its item gives") as caught:
        stage(items, tmp_path / "bad", bbox=box)
    assert caught.value.kind == "damaged"
    assert not list((tmp_path / "bad").rglob("*.tiff"))


def test_the_checksum_of_a_large_source_of_which_a_part_is_fetched_is_not(server, tmp_path):
    items = some(server, "aligned")
    items[0].assets["vv"].extra_fields["file:checksum"] = "0" * 32
    assert len(stage(items, tmp_path / "out", bbox=BOX)) == 1


@pytest.fixture
def replaceable(server):
    item = scene(server.folder, "replaceable", seed=21, shape=SHAPE, polarisations=("vv",))
    other = scene(server.folder, "other", seed=22, shape=SHAPE, polarisations=("vv",))
    return on_server([item], server), Path(other.assets["vv"].href), Path(item.assets["vv"].href)


def test_a_source_that_is_replaced_before_its_pixels_are_fetched_is_fetched_anew(server, tmp_path, replaceable, caplog):
    items, other, path = replaceable

    def progress(what, done, total):
        if what == "planned":
            shutil.copy(other, path.with_name("new"))
            path.with_name("new").replace(path)

    staged = stage(items, tmp_path / "out", bbox=BOX, progress=progress)
    assert "its new content is fetched" in caplog.text
    assert_same_cube(sc.load(staged, bbox=BOX), sc.load(items, bbox=BOX))
    with rasterio.open(staged[0].assets["vv"].href) as dataset:
        np.testing.assert_array_equal(dataset.read(1), speckle(220, SHAPE)[64:224, 112:288])


def test_a_source_that_is_replaced_between_two_calls_is_fetched_anew(server, tmp_path, replaceable):
    items, other, path = replaceable
    server.fail("replaceable/iw-vv.rtc.tiff", "404", after=2)
    with pytest.raises(ReadError):
        stage(items, tmp_path / "out", bbox=BOX)
    assert list((tmp_path / "out/.parts").rglob("0-*"))
    server.heal()
    shutil.copy(other, path.with_name("new"))
    path.with_name("new").replace(path)
    staged = stage(items, tmp_path / "out", bbox=BOX)
    with rasterio.open(staged[0].assets["vv"].href) as dataset:
        np.testing.assert_array_equal(dataset.read(1), speckle(220, SHAPE)[64:224, 112:288])


def test_a_local_source_that_was_written_anew_is_staged_anew(tmp_path, caplog):
    item = scene(tmp_path, "mine", seed=1, shape=SHAPE, polarisations=("vv",))
    path = Path(item.assets["vv"].href)
    stage([item], tmp_path / "out", bbox=BOX)
    write_rtc(path, speckle(7, SHAPE))
    staged = stage([item], tmp_path / "out", bbox=BOX)
    assert "comes from another source now; it is staged again" in caplog.text
    assert_same_cube(sc.load(staged, bbox=BOX), sc.load([item], bbox=BOX))
    path.unlink()  # the archive's disk is not there any more
    assert stage([item], tmp_path / "out", bbox=BOX)[0].to_dict() == staged[0].to_dict()


def test_a_staged_folder_can_be_staged_from_and_mends_itself_from_where_it_came(server, tmp_path):
    out = tmp_path / "out"
    stage(some(server, "aligned", "offset"), out, bbox=BOX)
    event = sc.Event("e", bbox=BOX, time=EVENT_TIME)
    before = files_of(out)
    server.forget()
    found = sc.search(event, catalog=out, pre_days=100, post_days=100)
    stage(found, out, bbox=BOX)
    assert server.requests() == []
    assert files_of(out) == before
    (out / "sentinel-1-rtc/offset/iw-vv.rtc.tiff").unlink()
    stage(found, out, bbox=BOX)
    assert {entry.path for entry in server.requests()} == {"/offset/iw-vv.rtc.tiff"}
    assert files_of(out) == before
    copy = stage(found, tmp_path / "copy", bbox=BOX)
    assert_same_cube(sc.load(copy, bbox=BOX), sc.load(found, bbox=BOX))
    local = stage(copy, tmp_path / "copy", bbox=BOX)
    assert_same_cube(sc.load(local, bbox=BOX), sc.load(found, bbox=BOX))
    (tmp_path / "copy/sentinel-1-rtc/offset/iw-vv.rtc.tiff").unlink()
    with pytest.raises(ReadError, match="is its own source; stage the item from where it came"):
        stage(copy, tmp_path / "copy", bbox=BOX)


def test_signatures_and_passwords_are_stored_and_said_nowhere(server, tmp_path, caplog):
    items = on_server(server.items[:1], server, query="?sv=2021-08-06&sr=c&sig=SECRET%3D&se=2099-01-01T00%3A00%3A00Z")
    for asset in items[0].assets.values():
        asset.href = asset.href.replace("http://", "http://user:SECRET@")
    server.fail("aligned/iw-vh.rtc.tiff", "404", after=2)
    with caplog.at_level(logging.DEBUG, "sarcube"):
        with pytest.raises(ReadError) as caught:
            stage(items, tmp_path / "out", bbox=BOX)
        half = files_of(tmp_path / "out")
        server.heal()
        stage(items, tmp_path / "out", bbox=BOX)
    everything = repr(half) + repr(files_of(tmp_path / "out")) + caplog.text + str(caught.value)
    assert "SECRET" not in everything
    document = json.loads((tmp_path / "out/sentinel-1-rtc/aligned/aligned.json").read_text())
    assert document["assets"]["vv"]["sarcube:source"]["href"] == f"{server.url}/aligned/iw-vv.rtc.tiff"


@pytest.mark.parametrize("href", ["file:///etc/passwd", "s3://x/vv.tif", "/vsicurl/http://x/y.tif", "ftp://x", ""])
def test_addresses_that_may_not_be_opened(server, tmp_path, href):
    items = some(server, "single")
    items[0].assets["vv"].href = href
    with pytest.raises(InputError, match="has an address that is not opened"):
        stage(items, tmp_path / "out", bbox=BOX)


def test_ids_are_no_paths(server, tmp_path):
    names = ["../../up", "a/b", "a-b", "", "..", "Case", "case", "con\nrol", "x" * 400]
    items = []
    for number, name in enumerate(names):
        (item,) = some(server, "single")
        item.id = name
        item.properties |= {"start_datetime": f"2022-02-{number + 1:02d}T00:00:00Z", "end_datetime": None}
        items.append(item)
    out = tmp_path / "deep/er/out"
    staged = stage(items, out, bbox=BOX)
    assert {item.id for item in staged} == set(names)
    found = {path.parent for path in tmp_path.rglob("*.tiff")}
    assert len(found) == len(names)
    assert {path.parent for path in found} == {out / "sentinel-1-rtc"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep"]
    before = files_of(out)
    stage(items[:3], out, bbox=BOX)
    assert files_of(out) == before


IDS = st.one_of(st.text(max_size=300), st.sampled_from(["a", "A", "a-", ".a", "catalog.json"]))


@given(ids=st.sets(IDS, max_size=8))
def test_names_are_safe_and_never_one(ids):
    names = names_for(ids, taken={})
    assert set(names) == ids
    assert len({name.casefold() for name in names.values()}) == len(ids)
    for name in names.values():
        assert 0 < len(name) <= 128
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert name[0] != "."
        assert name.casefold() not in ("catalog.json", "collection.json")
    assert names_for(sorted(ids, reverse=True), taken={}) == names
    # Names that are taken stay, and hashed names are taken into account.
    more = names_for([*ids, *names.values()], taken=names)
    assert len({name.casefold() for name in more.values()}) == len(more)
    assert {one: more[one] for one in ids} == names


def test_usual_ids_are_names_as_they_are():
    name = "S1A_IW_GRDH_1SDV_20240419T045904_20240419T045916_053498_067DF2_rtc"
    assert names_for([name], taken={}) == {name: name}


def test_two_items_of_one_name(server, tmp_path):
    items = [*some(server, "aligned"), *some(server, "aligned")]
    assert len(stage(items, tmp_path / "out", bbox=BOX)) == 1
    items[1].assets["vv"].href = f"{server.url}/offset/iw-vv.rtc.tiff"
    with pytest.raises(InputError, match='two items are "aligned"'):
        stage(items, tmp_path / "out", bbox=BOX)


def test_two_items_of_one_file(server, tmp_path):
    first, second = *some(server, "single"), *some(server, "single")
    second.id = "twin"
    second.properties |= {"start_datetime": "2022-02-25T00:00:00Z", "end_datetime": "2022-02-25T00:00:25Z"}
    staged = stage([first, second], tmp_path / "out", bbox=BOX)
    a, b = (Path(item.assets["vv"].href).read_bytes() for item in staged)
    assert a == b


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"bbox": (0, 0, 0, 1)}, InputError, "bbox must be"),
        ({"bbox": (0, 1, 1)}, InputError, "bbox must be four numbers"),
        ({"on_error": "ignore"}, InputError, 'on_error must be "raise" or "skip"'),
        ({"items": []}, NoSceneError, "there are no items to stage"),
    ],
)
def test_arguments_that_cannot_be_used(server, tmp_path, change, error, match):
    arguments = {"items": some(server, "single"), "folder": tmp_path / "out", "bbox": BOX, **change}
    with pytest.raises(error, match=match):
        stage(arguments.pop("items"), arguments.pop("folder"), **arguments)
    assert not (tmp_path / "out").exists()


def test_only_one_at_a_time(server, tmp_path):
    def progress(what, done, total):
        if what == "planned":
            with pytest.raises(StoreError, match="is being written by process"):
                stage(some(server, "aligned"), tmp_path / "out", bbox=BOX)

    stage(some(server, "single"), tmp_path / "out", bbox=BOX, progress=progress)
    stage(some(server, "aligned"), tmp_path / "out", bbox=BOX)


def test_a_call_that_was_given_up_leaves_nothing_of_another_area(server, tmp_path):
    """Nothing was catalogued, so the area is free; files of the first area do not stay, and its pieces still help."""

    def enough(what, done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(some(server, "aligned", "offset"), tmp_path / "out", bbox=BOX, progress=enough)
    box = box_of((100, 200), (180, 220))
    stage(some(server, "offset"), tmp_path / "whole", bbox=box)
    stage(some(server, "offset"), tmp_path / "out", bbox=box)
    left = {name for name, content in files_of(tmp_path / "out").items() if content is not None}
    assert left == {name for name, content in files_of(tmp_path / "whole").items() if content is not None}


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a disk of some kB."""
    mounted = []

    def mount(kilobytes):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk, and not everywhere")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_too_small_is_an_error_before_anything_is_fetched(server, tmp_path, small_disk):
    disk = small_disk(700)
    with pytest.raises(StoreError, match=r"staging needs about \d+ MB in .*, \d+ MB are free"):
        stage(some(server, "aligned", "offset"), disk / "out", bbox=BOX)
    assert len(server.requests()) == 8  # headers


def test_a_disk_that_fills_up_meanwhile_is_an_error_and_what_is_there_stays(server, tmp_path, small_disk):
    disk = small_disk(8000)
    items = some(server, "aligned", "offset", "single")
    stage(items, tmp_path / "whole", bbox=BOX)

    def progress(what, done, total):
        if what == "planned":  # somebody else takes the room
            free = shutil.disk_usage(disk).free
            (disk / "ballast").write_bytes(bytes(free - 250_000))

    with pytest.raises(StoreError, match=r"No space left|is the disk full|what is there is kept"):
        stage(items, disk / "out", bbox=BOX, progress=progress)
    (disk / "ballast").unlink()
    stage(items, disk / "out", bbox=BOX)
    assert files_of(disk / "out") == files_of(tmp_path / "whole")


OPERA = Path(__file__).parents[2] / "shared" / "data" / "opera-rtc-california"


@pytest.mark.realdata
@pytest.mark.skipif(not OPERA.is_dir(), reason=f"the real data is not at {OPERA}")
def test_real_bursts_of_ragged_extents(tmp_path):
    items = sc.items_from_folder(OPERA)
    burst = [item for item in items if item.properties["s1:burst_id"] == "T137-292319-IW2"]
    west, south, east, north = burst[0].bbox
    box = (west + 0.4 * (east - west), south + 0.4 * (north - south), east, north)
    staged = stage(items, tmp_path / "out", bbox=box)
    assert 20 < len(staged) < len(items)  # some crops are too small to reach into the box
    assert_same_cube(sc.load(staged, bbox=box, resolution=30), sc.load(items, bbox=box, resolution=30))
    found = sc.search(sc.Event("e", bbox=box, time="2023-06-01"), catalog=tmp_path / "out", pre_days=600, post_days=600)
    assert len(found) == len(staged)
