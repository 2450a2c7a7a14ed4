"""The DEM and the annotations that are staged with the scenes: one call, one folder, interrupted or not."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pyproj
import pystac
import pytest
import stac_server
from dem_tiles import write_tile
from range_server import serve
from rtc_scenes import speckle, write_rtc
from test_stage import files_of
from test_stage_annotation import GRD_ID, LAT, LON, grd_item, make_item, write_product

import sarcube as sc
from sarcube.acquisition.files import ranges
from sarcube.acquisition.staging.stage import stage
from sarcube.errors import NoSceneError, ReadError

CRS = "EPSG:32631"
BOX = (LON - 0.002, LAT - 0.002, LON + 0.002, LAT + 0.002)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A scene, the product it was made from and a tile of the DEM on a web server; a catalogue of the last two."""
    folder = tmp_path_factory.mktemp("archive")
    x, y = pyproj.Transformer.from_crs(4326, CRS, always_xy=True).transform(LON, LAT)
    scene = make_item()
    with serve(folder) as server:
        for number, band in enumerate(("vv", "vh")):
            write_rtc(folder / f"{band}.tif", speckle(number, (300, 300)), left=x - 1500, top=y + 1500, crs=CRS)
            scene.add_asset(band, pystac.Asset(f"{server.url}/{band}.tif"))
        write_product(folder)
        tile = write_tile(folder, 45, 1)
        tile.assets["data"].href = f"{server.url}/{Path(tile.assets['data'].href).name}"
        server.items, server.catalog = [scene], pystac.ItemCollection([grd_item(server.url), tile])
        server.tile = Path(tile.assets["data"].href).name
        yield server


@pytest.fixture(autouse=True)
def patience(archive, monkeypatch):
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, attempts=2, first_pause=0.01))
    yield
    archive.heal()
    archive.forget()


def everything(archive, folder, **options):
    return stage(archive.items, folder, bbox=BOX, dem=True, annotation=True, catalog=archive.catalog, **options)


def test_heights_and_annotations_come_along(archive, tmp_path, caplog):
    out, told = tmp_path / "out", []
    with caplog.at_level(logging.INFO):
        staged = everything(archive, out, progress=lambda *step: told.append(step))
    name = f"{GRD_ID}_rtc"
    assert {path for path, content in files_of(out).items() if content is not None} == {
        "catalog.json",
        "dem.json",
        "dem.tif",
        f"annotations/{name}.xml",
        "sentinel-1-rtc/collection.json",
        f"sentinel-1-rtc/{name}/{name}.json",
        f"sentinel-1-rtc/{name}/iw-vv.rtc.tiff",
        f"sentinel-1-rtc/{name}/iw-vh.rtc.tiff",
    }
    document = json.loads((out / f"sentinel-1-rtc/{name}/{name}.json").read_text())
    annotation = document["assets"]["annotation"]
    assert annotation["href"] == f"../../annotations/{name}.xml"
    assert annotation["file:size"] == (out / f"annotations/{name}.xml").stat().st_size
    assert Path(staged[0].assets["annotation"].href) == (out / f"annotations/{name}.xml").resolve()
    assert told[0][:2] == ("planned", 0)
    assert told[-1][1] == told[-1][2]
    cube = sc.add_terrain(sc.load(staged, bbox=BOX), out / "dem.tif")
    cube = sc.add_geometry(cube, orbit_files=[staged[0].assets["annotation"].href])
    assert float(cube.elevation.min()) > 0
    archive.forget()
    before = files_of(out)
    (out / ".dem-left").mkdir()
    (out / ".new-left").write_bytes(b"half")  # of a call that was killed
    everything(archive, out)
    assert files_of(out) == before
    assert archive.requests() == []
    stage(archive.items, out, bbox=BOX)  # what is not asked for again stays
    assert files_of(out) == before


@pytest.mark.parametrize(("path", "after"), [("vh.tif", 2), (f"{GRD_ID}_DCEC/annotation/iw-vv.xml", 0)])
def test_an_interrupted_call_goes_on(archive, tmp_path, path, after):
    everything(archive, tmp_path / "whole")
    archive.forget()
    archive.fail(path, "500", after=after)
    with pytest.raises(ReadError, match="500"):
        everything(archive, tmp_path / "out")
    done = {(entry.path, entry.range) for entry in archive.requests() if entry.status == 206}
    archive.heal()
    archive.forget()
    everything(archive, tmp_path / "out")
    assert not done & {(entry.path, entry.range) for entry in archive.requests()}
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_heights_that_cannot_be_read_do_not_keep_scenes_from_being_staged(archive, tmp_path):
    everything(archive, tmp_path / "whole")
    out = tmp_path / "out"
    archive.fail(archive.tile, "404")
    staged = everything(archive, out, on_error="skip")
    (listed,) = staged.extra_fields["sarcube:unstaged"]
    assert (listed["item"], listed["asset"], listed["kind"]) == (None, "dem", "not_found")
    assert json.loads((out / "catalog.json").read_text())["sarcube:unstaged"] == [listed]
    assert not (out / "dem.tif").exists()
    archive.heal()
    everything(archive, out)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_annotations_that_cannot_be_read_do_not_keep_scenes_from_being_staged(archive, tmp_path):
    everything(archive, tmp_path / "whole")
    out = tmp_path / "out"
    archive.fail(f"{GRD_ID}_DCEC/annotation/iw-vv.xml", "503", retry_after=0)
    staged = everything(archive, out, on_error="skip")
    (listed,) = staged.extra_fields["sarcube:unstaged"]
    assert (listed["item"], listed["asset"], listed["kind"]) == (f"{GRD_ID}_rtc", "annotation", "throttled")
    assert json.loads((out / "catalog.json").read_text())["sarcube:unstaged"] == [listed]
    archive.heal()
    assert everything(archive, out).extra_fields["sarcube:unstaged"] == []
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_folder_whose_scene_has_no_annotation_needs_no_api(archive, tmp_path):
    """The catalogue does not know the product, so the API that the item came from is asked; then that is down."""
    scene = archive.items[0].clone()
    scene.add_link(pystac.Link("derived_from", f"{archive.url}/gone"))
    heights = pystac.ItemCollection([item for item in archive.catalog if item.collection_id == "cop-dem-glo-30"])
    stage([scene], tmp_path / "out", bbox=BOX, dem=True, annotation=True, catalog=heights)
    archive.fail("gone", "503", retry_after=0)
    staged = stage([scene], tmp_path / "out", bbox=BOX, dem=True, annotation=True, catalog=heights)
    assert len(staged) == 1
    assert staged.extra_fields["sarcube:unstaged"] == []
    with pytest.raises(ReadError, match="gone"):
        stage([scene], tmp_path / "new", bbox=BOX, annotation=True, catalog=heights)


def test_where_the_catalogue_has_no_tile_the_api_of_the_items_is_asked(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path / "cache"))
    scenes = tmp_path / "items.json"
    with stac_server.serve([item for item in archive.catalog if item.collection_id == "cop-dem-glo-30"]) as api:
        scene = archive.items[0].clone()
        scene.add_link(pystac.Link("root", api.url))
        pystac.ItemCollection([scene]).save_object(str(scenes))
        stage([scene], tmp_path / "out", bbox=BOX, dem=True, catalog=scenes)
    everything(archive, tmp_path / "whole")
    assert (tmp_path / "out" / "dem.tif").read_bytes() == (tmp_path / "whole" / "dem.tif").read_bytes()


def test_without_a_tile_nothing_is_fetched(archive, tmp_path):
    with pytest.raises(NoSceneError, match=r"has no tile of cop-dem-glo-30.*dem=False; `sarcube build --no-dem`"):
        stage(
            archive.items, tmp_path / "out", bbox=BOX, dem=True, catalog=pystac.ItemCollection([grd_item(archive.url)])
        )
    assert not any(entry.path == archive.tile for entry in archive.requests())
    assert not list(tmp_path.rglob("*.tiff"))
