"""A simulated event as a folder: what is in it, its flaws, and that a seed fixes every byte."""

import hashlib
import json
from statistics import median

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

import sarcube as sc
from sarcube.sar import look_geometry
from sarcube.synthetic import training_set
from sarcube.synthetic.archive import FLAWS, NODATA

SETTINGS = {"seed": 21, "size_km": 2.5, "pre_dates": 7, "post_dates": 2}


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    return sc.simulate(tmp_path_factory.mktemp("simulated") / "flawed", flaws=FLAWS, **SETTINGS)


def _items(simulation):
    return [json.loads(p.read_text()) for p in sorted(simulation.folder.glob("sentinel-1-rtc/*/*_rtc.json"))]


def _hashes(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_seed_same_bytes(tmp_path):
    small = {"size_km": 2.0, "pre_dates": 2, "post_dates": 1}
    first = sc.simulate(tmp_path / "a", seed=4, **small)
    again = sc.simulate(tmp_path / "b", seed=4, **small)
    other = sc.simulate(tmp_path / "c", seed=5, **small)
    assert _hashes(first.folder) == _hashes(again.folder)
    assert set(_hashes(first.folder).values()).isdisjoint(set(_hashes(other.folder).values()))


def test_items_look_like_planetary_computers(flawed):
    for item in _items(flawed):
        properties = item["properties"]
        assert item["collection"] == "sentinel-1-rtc"
        assert properties["sarcube:simulated"] is True
        assert properties["sat:orbit_state"] in ("ascending", "descending")
        assert {"proj:epsg", "proj:shape", "proj:transform", "sat:relative_orbit", "platform"} <= set(properties)
        for asset in item["assets"].values():
            path = flawed.folder / "sentinel-1-rtc" / item["id"] / asset["href"]
            with rasterio.open(path) as source:
                assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert source.nodata == NODATA
                assert list(source.shape) == properties["proj:shape"]
                assert list(source.transform) == properties["proj:transform"]
                assert source.tags()["SIMULATED"].startswith("yes")


def test_tracks_look_at_the_place(flawed):
    west, south, east, north = flawed.event.bbox
    for item in _items(flawed):
        theta, azimuth = look_geometry(
            (south + north) / 2,
            (west + east) / 2,
            relative_orbit=item["properties"]["sat:relative_orbit"],
            orbit_state=item["properties"]["sat:orbit_state"],
        )
        assert 28 < theta < 47
        side = 270 if item["properties"]["sat:orbit_state"] == "ascending" else 90
        assert abs(azimuth - side) < 35


def test_every_flaw_occurs_once_per_track(flawed):
    for track in ("ascending", "descending"):
        items = [i for i in _items(flawed) if i["properties"]["sat:orbit_state"] == track]
        assert len(items) == 7 + 2 + 2  # a second slice, a second processing
        assert sum("vh" not in i["assets"] for i in items) == 1
        epsg = [i["properties"]["proj:epsg"] for i in items]
        assert len(set(epsg)) == 2
        starts = [i["properties"]["start_datetime"] for i in items]
        assert len(starts) - len(set(starts)) == 1  # the duplicate
        phases = {
            round(i["properties"]["proj:transform"][2] % 10, 3)
            for i in items
            if i["properties"]["proj:epsg"] == median(epsg)
        }
        assert len(phases) == 2
        values = [_read(flawed, i) for i in items]
        assert sum((v == 0).any() for v in values) == 1
        # Swath edge, displaced date, and the turned square in the other zone.
        assert sum((v == NODATA).any() for v in values) == 3


def _read(simulation, item):
    with rasterio.open(simulation.folder / "sentinel-1-rtc" / item["id"] / item["assets"]["vv"]["href"]) as source:
        return source.read(1)


def test_inventory_dem_and_event_are_there(flawed):
    inventory = gpd.read_file(flawed.inventory)
    assert len(inventory) == flawed.slides > 0
    assert inventory.crs.to_epsg() == median(i["properties"]["proj:epsg"] for i in _items(flawed))
    assert inventory.simulated.all()
    assert np.allclose(inventory.area, inventory.area_m2, atol=0.2)
    with rasterio.open(flawed.dem) as dem:
        assert dem.crs.to_epsg() == 4326
        west, south, east, north = flawed.event.bbox
        assert dem.bounds.left < west < east < dem.bounds.right
        assert dem.bounds.bottom < south < north < dem.bounds.top
        assert np.isfinite(dem.read(1)[5:-5, 5:-5]).mean() > 0.9
    assert "SIMULATED" in (flawed.folder / "event.toml").read_text()


def test_event_without_slides(tmp_path):
    quiet = sc.simulate(tmp_path / "quiet", seed=4, size_km=2.0, pre_dates=1, post_dates=1, landslides=False, flaws=())
    assert quiet.slides == 0
    assert gpd.read_file(quiet.inventory).empty
    assert len(_items(quiet)) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size_km": 1}, "size_km must be 2 to 60"),
        ({"pre_dates": 36}, "pre_dates must be 1 to 35"),
        ({"post_dates": 0}, "post_dates must be 1 to 6"),
        ({"seed": -1}, "seed must be an integer"),
        ({"flaws": ("rust",)}, "unknown flaws rust"),
    ],
)
def test_bad_settings_are_refused(tmp_path, wrong, message):
    with pytest.raises(sc.SarcubeError, match=message):
        sc.simulate(tmp_path / "new", **wrong)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(sc.SarcubeError, match="already holds something"):
        sc.simulate(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_patches_of_an_event_are_kept_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(training_set, "SIZE_KM", 3.0)
    first = training_set.event_patches(9, tmp_path, stride=64)
    assert 0 < first.labels.sum() < len(first)
    assert [p.name for p in tmp_path.iterdir()] == ["event-9-stride-64.npz"]
    again = training_set.event_patches(9, tmp_path, stride=64)
    np.testing.assert_array_equal(first.images, again.images)
    assert first.bands == again.bands
    assert first.radiometry == again.radiometry == "gamma0 RTC, dB"
    pd.testing.assert_frame_equal(first.table, again.table)
    seeds = {*training_set.TRAINING_SEEDS} | {*training_set.VALIDATION_SEEDS}
    assert len(seeds) == len(training_set.TRAINING_SEEDS) + len(training_set.VALIDATION_SEEDS)
    assert max(seeds) < training_set.FRESH_SEEDS_FROM
