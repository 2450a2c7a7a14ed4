"""What there is per track: passes, not files."""

import json
from pathlib import Path

import pandas as pd
import pystac
import pytest
from rtc_scenes import LEFT, TOP, scene

import sarcube as sc
from sarcube.acquisition.catalog import footprint
from sarcube.errors import InputError

REAL_ITEMS = Path(__file__).parents[2] / "shared" / "data" / "planetary-computer-items" / "sentinel-1-rtc-pc.json"
EVENT = sc.Event("test", bbox=(99.899, 0.901, 99.902, 0.903), time="2022-02-14T00:00Z")


def test_passes_are_counted_not_files(tmp_path):
    items = [
        scene(tmp_path, "A", time="2022-01-20T11:30:00"),
        scene(tmp_path, "A_next_slice", time="2022-01-20T11:30:25", top=TOP - 300),
        scene(tmp_path, "A_again", time="2022-01-20T11:30:00", processed="2023-01-01T00:00:00Z"),
        scene(tmp_path, "B", time="2022-02-01T11:30:00", polarisations=("vv",)),
        scene(tmp_path, "C", time="2022-02-20T11:30:00", platform="SENTINEL-1B"),
        scene(tmp_path, "D", time="2022-02-25T23:59:00", orbit_state="ascending", relative_orbit=62),
    ]
    table = sc.availability(items, EVENT)
    assert list(table.index) == ["A062", "D164"]
    row = table.loc["D164"]
    assert (row["before"], row["after"]) == (2, 1)
    assert (row["first"], row["last"]) == (pd.Timestamp("2022-01-20"), pd.Timestamp("2022-02-20"))
    assert (row["platforms"], row["polarisations"]) == ("S1A S1B", "VV VH")
    assert (table.loc["A062", "before"], table.loc["A062", "after"]) == (0, 1)
    assert table["covered"].tolist() == [1, 1]
    assert all(len(line) <= 80 for line in str(table).splitlines())


def test_scenes_inside_a_long_event_count_for_neither_side(tmp_path):
    storm = sc.Event("storm", bbox=EVENT.bbox, pre_end="2022-02-01", post_start="2022-02-10")
    table = sc.availability([scene(tmp_path, "A", time="2022-02-05T11:30:00")], storm)
    assert table.loc["D164", ["before", "after"]].tolist() == [0, 0]


def test_coverage_is_the_mean_share_of_the_box(tmp_path):
    whole = scene(tmp_path, "whole", time="2022-01-20T11:30:00")
    west, south, east, north = footprint(whole).bounds
    half_east = scene(tmp_path, "half", time="2022-02-01T11:30:00", left=LEFT + 250)
    event = sc.Event("all of it", bbox=(west, south, east, north), time="2022-02-14")
    assert sc.availability([whole], event).loc["D164", "covered"] == 1
    assert sc.availability([half_east], event).loc["D164", "covered"] == pytest.approx(0.5, abs=0.01)
    assert sc.availability([whole, half_east], event).loc["D164", "covered"] == pytest.approx(0.75, abs=0.01)


def test_no_items_give_an_empty_table():
    assert sc.availability([], EVENT).empty


def test_an_item_without_a_track_is_an_error(tmp_path):
    item = scene(tmp_path, "A")
    del item.properties["sat:orbit_state"]
    with pytest.raises(InputError, match='item "A": sat:orbit_state'):
        sc.availability([item], EVENT)


@pytest.mark.realdata
@pytest.mark.skipif(not REAL_ITEMS.is_file(), reason=f"the real data is not at {REAL_ITEMS}")
def test_real_slices_are_one_pass():
    items = [pystac.Item.from_dict(document) for document in json.loads(REAL_ITEMS.read_text())]
    event = sc.Event("Libya", bbox=(15.3, 32.1, 15.5, 32.4), time="2024-04-15")
    found = sc.search(event, catalog=pystac.ItemCollection(items))
    assert len(found) == 2
    table = sc.availability(found, event)
    assert list(table.index) == ["D051"]
    assert table.loc["D051", ["before", "after"]].tolist() == [0, 1]
    # Between the outlines of two slices is a gap of a few metres.
    assert 0.99 < table.loc["D051", "covered"] <= 1
    cube = sc.load(found, bbox=event.bbox)
    assert cube.sizes["time"] == 1
    assert cube.rio.crs.to_epsg() == 32633
    # A multiple of the pixel size, as all the items' grids: nothing is resampled.
    assert (cube.odc.geobox.affine.c % 10, cube.odc.geobox.affine.f % 10) == (0, 0)
