"""What there is per track and pair of windows: passes, not files."""

import json
import logging
from datetime import UTC, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtc_scenes import LEFT, TOP, scene
from shapely.geometry import box, mapping, shape

import sarcube as sc
from sarcube.acquisition.availability import availability
from sarcube.acquisition.catalogs.areas import footprint
from sarcube.errors import InputError
from sarcube.events import BUFFERS

REAL_ITEMS = Path(__file__).parents[2] / "shared" / "data" / "planetary-computer-items" / "sentinel-1-rtc-pc.json"
EVENT = sc.Event("test", bbox=(99.899, 0.901, 99.902, 0.903), time="2022-02-14T00:00Z")
TEN = [f"{pre}-{post}" for pre, post in BUFFERS]


def item(name, time, *, area=None, track=164, platform="SENTINEL-1A", seconds=25.0, polarisations=("vv", "vh"), **more):
    """Make an item without files: availability reads none."""
    start = pd.Timestamp(time).to_pydatetime().replace(tzinfo=UTC)
    area = box(99.8, 0.8, 100.0, 1.0) if area is None else area
    made = pystac.Item(
        id=name,
        geometry=mapping(area),
        bbox=list(area.bounds),
        datetime=start,
        properties={
            "start_datetime": start.isoformat(),
            "end_datetime": (start + timedelta(seconds=seconds)).isoformat(),
            "platform": platform,
            "sat:orbit_state": "descending",
            "sat:relative_orbit": track,
            **more,
        },
    )
    for polarisation in polarisations:
        made.add_asset(polarisation, pystac.Asset(f"{name}-{polarisation}.tiff"))
    return made


def searched(items, pre_days, post_days):
    """Return items as `search` returns them: with what was searched."""
    record = {"pre_days": pre_days, "post_days": post_days}
    return pystac.ItemCollection(items, clone_items=False, extra_fields={"sarcube:search": record})


def dates(*days):
    """Return items of one track at days before (below 0) and after the event."""
    moment = EVENT.last_before
    return [item(f"S{day}", (moment + timedelta(days=day)).replace(tzinfo=None)) for day in days]


def test_passes_are_counted_not_files(tmp_path):
    items = [
        scene(tmp_path, "A", time="2022-01-20T11:30:00"),
        scene(tmp_path, "A_next_slice", time="2022-01-20T11:30:25", top=TOP - 300),
        scene(tmp_path, "A_again", time="2022-01-20T11:30:00", processed="2023-01-01T00:00:00Z"),
        scene(tmp_path, "B", time="2022-02-01T11:30:00", polarisations=("vv",)),
        scene(tmp_path, "C", time="2022-02-20T11:30:00", platform="SENTINEL-1B"),
        scene(tmp_path, "D", time="2022-02-25T23:59:00", orbit_state="ascending", relative_orbit=62),
    ]
    table = availability(searched(items, 60, 12), EVENT)
    assert table.index.names == ["track", "buffer"]
    assert list(table.index) == [("A062", "60-12"), ("A062", "12-12"), ("D164", "60-12"), ("D164", "12-12")]
    row = table.loc["D164", "60-12"]
    assert (row["before"], row["after"]) == (2, 1)
    days = ["2022-01-20", "2022-02-01", "2022-02-20", "2022-02-20"]
    assert row[["first", "last_before", "first_after", "last"]].tolist() == [pd.Timestamp(day) for day in days]
    assert (row["platforms"], row["polarisations"]) == ("S1A S1B", "VV VH")
    assert (row["covered"], row["longest_gap"]) == (1, 19)
    assert table.loc[("A062", "60-12"), ["before", "after"]].tolist() == [0, 1]
    assert table["covered"].tolist() == [1, 1, 1, 1]


def test_of_two_processings_the_newest_counts():
    """As in a cube: what only the older one has is not there."""
    old = item("old", "2022-02-01T11:30:00", **{"processing:datetime": "2022-02-02T00:00:00Z"})
    new = item("new", "2022-02-01T11:30:00", polarisations=("vv",), **{"processing:datetime": "2023-01-01T00:00:00Z"})
    assert availability([old, new], EVENT).loc[("D164", "60-12"), ["before", "polarisations"]].tolist() == [1, "VV"]


def test_a_pair_without_a_pass_is_a_row_of_zeros():
    row = availability(searched(dates(-50, 20), 60, 24), EVENT).loc["D164", "12-12"]
    assert (row["before"], row["after"], row["covered"], row["platforms"], row["polarisations"]) == (0, 0, 0, "", "")
    assert row[["first", "last_before", "first_after", "last", "longest_gap"]].isna().all()


def test_the_pairs_are_those_within_what_was_searched():
    items = dates(-30, 10)
    assert list(availability(searched(items, 60, 24), EVENT).loc["D164"].index) == ["60-24", "60-12", "12-12", "24-24"]
    assert list(availability(searched(items, 45, 10), EVENT).loc["D164"].index) == ["45-10"]
    assert list(availability(searched(items, 365, 60), EVENT).loc["D164"].index) == ["365-60", *TEN]
    assert list(availability(items, EVENT).loc["D164"].index) == TEN  # they do not say what was searched


def test_what_was_not_searched_is_unknown_not_zero():
    items = searched(dates(-30, 10), 60, 12)
    table = availability(items, EVENT, buffers=[(60, 12), (365, 12), (12, 24)]).loc["D164"]
    assert table.loc["60-12", ["before", "after"]].tolist() == [1, 1]
    assert table.loc[["365-12", "12-24"]].isna().all(axis=None)
    assert not (table["before"] == 0).any()


def test_what_was_searched_must_make_sense():
    with pytest.raises(InputError, match='"sarcube:search" of the items must hold pre_days and post_days'):
        availability(searched(dates(-1), "many", 12), EVENT)


@pytest.mark.parametrize("buffers", [[60, 12], [(60, 12, 1)], [["sixty", 12]], [], [(0, 12)], [(60, -1)]])
def test_pairs_that_are_none_are_refused(buffers):
    with pytest.raises(InputError, match=r"pairs? of days|must be a number of days > 0"):
        availability(dates(-1), EVENT, buffers=buffers)


def test_windows_are_open_at_the_event():
    edge = EVENT.last_before.replace(tzinfo=None)
    items = [item("at", edge), item("far before", edge - timedelta(days=12)), item("far", edge + timedelta(days=24))]
    row = availability(items, EVENT, buffers=[(12, 24)]).loc["D164", "12-24"]
    assert (row["before"], row["after"]) == (1, 1)  # both far ends, and not the moment itself
    row = availability(items, EVENT, buffers=[(11.9, 23.9)]).loc["D164", "11.9-23.9"]
    assert (row["before"], row["after"]) == (0, 0)


def test_scenes_inside_a_long_event_count_for_neither_side():
    storm = sc.Event("storm", bbox=EVENT.bbox, pre_end="2022-02-01", post_start="2022-02-10")
    items = [item(day, f"2022-{day}T11:30:00") for day in ("01-20", "01-30", "02-05", "02-12")]
    row = availability(items, storm, buffers=[(60, 12)]).loc["D164", "60-12"]
    assert (row["before"], row["after"]) == (2, 1)
    assert row["longest_gap"] == 10  # from January 30 to February 12 are 13 days, 9 of them the storm's own
    only = availability([item("in", "2022-02-05T11:30:00")], storm, buffers=[(60, 12)]).loc["D164", "60-12"]
    assert (only["before"], only["after"]) == (0, 0)


def test_a_missing_pass_is_a_gap():
    assert availability(dates(-40, -28, -16, -4, 8), EVENT).loc[("D164", "60-12"), "longest_gap"] == 12
    assert availability(dates(-40, -28, -4, 8), EVENT).loc[("D164", "60-12"), "longest_gap"] == 24
    assert availability(dates(-40, -28, -16, 8), EVENT).loc[("D164", "60-12"), "longest_gap"] == 24
    assert pd.isna(availability(dates(-4), EVENT).loc[("D164", "60-12"), "longest_gap"])


def test_coverage_is_the_mean_share_of_the_box(tmp_path):
    whole = scene(tmp_path, "whole", time="2022-01-20T11:30:00")
    west, south, east, north = footprint(whole).bounds
    half_east = scene(tmp_path, "half", time="2022-02-01T11:30:00", left=LEFT + 250)
    event = sc.Event("all of it", bbox=(west, south, east, north), time="2022-02-14")
    one = ("D164", "60-12")
    assert availability([whole], event).loc[one, "covered"] == 1
    assert availability([half_east], event).loc[one, "covered"] == pytest.approx(0.5, abs=0.01)
    assert availability([whole, half_east], event).loc[one, "covered"] == pytest.approx(0.75, abs=0.01)


def test_a_scene_beside_the_box_is_no_pass_of_it():
    away = item("away", "2022-02-10T11:30:00", area=box(101, 0.8, 101.2, 1.0))
    assert availability([away], EVENT).empty


def test_an_area_across_the_antimeridian():
    fiji = sc.Event("Taveuni", bbox=(179.9, -17.1, -179.9, -16.9), time="2022-02-14")
    east = item("east", "2022-02-01T06:00:00", area=box(-180, -18, -178, -16))
    west = item("west", "2022-02-01T06:00:20", area=box(178, -18, 180, -16))
    both = box(178, -18, 180, -16).union(box(-180, -18, -178, -16))
    assert availability([east, west], fiji).loc[("D164", "60-12"), ["before", "covered"]].tolist() == [1, 1]
    assert availability([east], fiji).loc[("D164", "60-12"), "covered"] == 0.5
    one = item("both", "2022-02-01T06:00:00", area=both)
    assert availability([one], fiji).loc[("D164", "60-12"), "covered"] == 1


def test_no_items_give_an_empty_table():
    table = availability([], EVENT)
    assert table.empty
    assert table.index.names == ["track", "buffer"]
    assert str(table) == "no pass over the event's area"


def test_an_item_without_a_track_is_an_error(tmp_path):
    item = scene(tmp_path, "A")
    del item.properties["sat:orbit_state"]
    with pytest.raises(InputError, match='item "A": sat:orbit_state'):
        availability([item], EVENT)


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_prints_whole(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    items = dates(-30, 10) + [item(f"T{n}", "2022-02-10T11:30:00", track=n) for n in range(1, 8)]
    table = availability(items, EVENT, grd=items)
    text = str(table)
    assert "..." not in text
    assert all(column in text for column in table.columns)
    assert text.count("60-48") == 8 * (3 if width == 80 else 1)
    assert all(len(line) <= width for line in text.splitlines())


class TestGrd:
    """The scenes that were acquired, beside those that the archive holds as RTC."""

    def test_passes_that_are_missing_as_rtc_are_counted_and_named(self, caplog):
        acquired = dates(-40, -28, -16, -4, 8)
        # The GRD is cut into other slices: the pass begins 20 seconds earlier there.
        for one in acquired:
            one.datetime -= timedelta(seconds=20)
        with caplog.at_level(logging.WARNING, logger="sarcube"):
            table = availability(searched(dates(-40, -16, 8), 60, 12), EVENT, grd=searched(acquired, 60, 12))
        row = table.loc["D164", "60-12"]
        assert row[["before", "after", "grd_before", "grd_after", "only_grd"]].tolist() == [2, 1, 4, 1, 2]
        assert table.loc[("D164", "12-12"), ["grd_before", "grd_after", "only_grd"]].tolist() == [1, 1, 1]
        assert "2 passes were acquired (GRD)" in caplog.text
        assert "D164 2022-01-16 S1A, D164 2022-02-09 S1A" in caplog.text

    def test_platform_and_track_must_match_too(self):
        day = "2022-02-10T11:30:00"
        rtc = [item("A", day), item("B", day, track=62)]
        acquired = [item("A", day, platform="SENTINEL-1B"), item("C", day, track=35)]
        table = availability(rtc, EVENT, grd=acquired, buffers=[(60, 12)])
        columns = ["before", "grd_before", "only_grd"]
        assert table.loc[("D062", "60-12"), columns].tolist() == [1, 0, 0]
        assert table.loc[("D164", "60-12"), columns].tolist() == [1, 1, 1]
        assert table.loc[("D035", "60-12"), columns].tolist() == [0, 1, 1]  # a track of which there is no RTC at all

    def test_only_wide_swath_scenes_can_be_rtc(self):
        acquired = dates(-10, -4)
        acquired[0].properties["sar:instrument_mode"] = "EW"
        acquired[1].properties["sar:instrument_mode"] = "IW"
        row = availability(dates(-4), EVENT, grd=acquired).loc["D164", "60-12"]
        assert row[["grd_before", "only_grd"]].tolist() == [1, 0]

    def test_a_shorter_search_for_grd_leaves_its_columns_unknown(self):
        table = availability(searched(dates(-30, 10), 60, 12), EVENT, grd=searched(dates(-10), 12, 12)).loc["D164"]
        assert table.loc["60-12", ["before", "after"]].tolist() == [1, 1]
        assert table.loc["60-12", ["grd_before", "grd_after", "only_grd"]].isna().all()
        assert table.loc["12-12", ["grd_before", "grd_after", "only_grd"]].tolist() == [1, 0, 1]

    def test_a_longer_search_for_grd_accuses_no_archive(self, caplog):
        """What lies before the first scene that was asked for is not missing."""
        table = availability(
            searched(dates(-10), 12, 12), EVENT, grd=searched(dates(-40, -10), 60, 12), buffers=[(60, 12)]
        )
        assert table.loc["D164", "60-12"].isna().all()
        assert not caplog.records

    def test_nothing_is_missing_of_itself(self, caplog):
        items = dates(-30, -18, 6)
        assert availability(items, EVENT, grd=items)["only_grd"].sum() == 0
        assert not caplog.records


DAYS = st.lists(st.integers(-400 * 24, 70 * 24), max_size=25, unique=True)


@given(DAYS, st.integers(0, 20 * 24))
def test_every_row_counts_what_its_windows_hold(hours, duration):
    """Against a count that knows no tables, for any dates, and events that take hours or weeks."""
    storm = sc.Event(
        "storm", bbox=EVENT.bbox, pre_end=EVENT.last_before, post_start=EVENT.last_before + timedelta(hours=duration)
    )
    start = EVENT.last_before.replace(tzinfo=None)
    items = [item(f"S{hour}", start + timedelta(hours=hour)) for hour in hours]
    table = availability(items, storm)
    assert len(table) == (10 if items else 0)
    for (pre, post), (_, row) in zip(BUFFERS, table.iterrows(), strict=False):
        before = sorted(hour for hour in hours if -24 * pre <= hour < 0)
        after = sorted(hour - duration for hour in hours if 0 < hour - duration <= 24 * post)
        assert (row["before"], row["after"]) == (len(before), len(after))
        gaps = [b - a for a, b in pairwise(before + after)]
        if gaps:
            assert row["longest_gap"] == round(max(gaps) / 24, 1)
        else:
            assert pd.isna(row["longest_gap"])
        for name, ends in {"first": before + after, "last_before": before[::-1]}.items():
            if before:
                assert row[name] == pd.Timestamp(start + timedelta(hours=ends[0])).normalize()


@pytest.mark.realdata
@pytest.mark.skipif(not REAL_ITEMS.is_file(), reason=f"the real data is not at {REAL_ITEMS}")
def test_real_slices_are_one_pass():
    items = [pystac.Item.from_dict(document) for document in json.loads(REAL_ITEMS.read_text())]
    event = sc.Event("Libya", bbox=(15.3, 32.1, 15.5, 32.4), time="2024-04-15")
    found = sc.search(event, catalog=pystac.ItemCollection(items))
    assert len(found) == 2
    table = availability(found, event)
    row = table.loc["D051", "60-12"]
    assert set(table.index.get_level_values("track")) == {"D051"}
    assert (row["before"], row["after"]) == (0, 1)
    # Between the outlines of two slices is a gap of a few metres.
    assert 0.99 < row["covered"] <= 1
    cube = sc.load(found, bbox=event.bbox)
    assert cube.sizes["time"] == 1
    assert cube.rio.crs.to_epsg() == 32633
    # A multiple of the pixel size, as all the items' grids: nothing is resampled.
    assert (cube.odc.geobox.affine.c % 10, cube.odc.geobox.affine.f % 10) == (0, 0)


@pytest.mark.realdata
@pytest.mark.skipif(not REAL_ITEMS.is_file(), reason=f"the real data is not at {REAL_ITEMS}")
def test_a_real_grd_item_is_a_pass():
    document = json.loads((REAL_ITEMS.parent / "sentinel-1-grd-item-raw.json").read_text())
    grd = pystac.Item.from_dict(document)
    west, south, east, north = shape(grd.geometry).representative_point().buffer(0.05).bounds
    event = sc.Event("Kimberley", bbox=(west, south, east, north), time="2023-07-01")
    row = availability([], event, grd=[grd]).loc["D119", "60-12"]
    assert row[["before", "grd_before", "only_grd"]].tolist() == [0, 1, 1]
