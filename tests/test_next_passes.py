"""When a place is imaged again: 12 days after it was, by those that still fly."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pystac
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rtc_scenes import scene, write_catalogue
from shapely.geometry import box, mapping
from stac_server import serve
from typer.testing import CliRunner

import sarcube as sc
from sarcube.acquisition.next_passes import next_passes
from sarcube.cli.passes import passes
from sarcube.errors import InputError, NoSceneError, SarcubeError, TrackError

REAL = Path(__file__).parents[2] / "shared" / "data"
HERE = (99.899, 0.901, 99.902, 0.903)
NOW = datetime(2022, 2, 25, 1, 39, tzinfo=UTC)
CYCLE = timedelta(days=12)


def item(time, *, name=None, area=None, state="descending", orbit=164, platform="SENTINEL-1A", **properties):
    """Make an item without files: nothing is read of them."""
    area = box(99.8, 0.8, 100.0, 1.0) if area is None else area
    made = {"platform": platform, "sat:orbit_state": state, "sat:relative_orbit": orbit, **properties}
    return pystac.Item(name or f"{platform}-{time}", mapping(area), list(area.bounds), time, made)


def series(last, *, cycles=(0, 1, 2), **settings):
    """Return the items of one platform and track: its last date and those so many cycles earlier."""
    return [item(last - n * CYCLE, **settings) for n in cycles]


def at(time):
    """Return a moment as the table says it."""
    return pd.Timestamp(time).tz_localize(None).round("min")


def test_each_platform_comes_back_after_twelve_days():
    descending, ascending = NOW - timedelta(days=3, seconds=14), NOW - timedelta(days=9, hours=7)
    items = series(descending) + series(ascending, state="ascending", orbit=54, platform="SENTINEL-1B", cycles=(0, 2))
    table = next_passes(HERE, after=NOW, items=items)
    assert list(table.columns) == ["time", "track", "platform", "last_seen", "regular", "covered"]
    assert table[["track", "platform", "regular", "covered"]].to_numpy().tolist() == [
        ["A054", "S1B", 2, 1],
        ["D164", "S1A", 3, 1],
        ["A054", "S1B", 2, 1],
        ["D164", "S1A", 3, 1],
    ]
    nexts = [ascending + CYCLE, descending + CYCLE, ascending + 2 * CYCLE, descending + 2 * CYCLE]
    assert table["time"].tolist() == [at(time) for time in nexts]
    assert table["last_seen"].tolist() == [at(ascending), at(descending)] * 2
    assert len(next_passes(HERE, after=NOW, items=items, cycles=5)) == 10


def test_two_platforms_on_a_track_each_have_their_own_days():
    items = series(NOW - timedelta(days=2)) + series(NOW - timedelta(days=8), platform="SENTINEL-1C")
    table = next_passes(HERE, after=NOW, items=items, cycles=1)
    assert table[["platform", "time"]].to_numpy().tolist() == [
        ["S1C", at(NOW + timedelta(days=4))],
        ["S1A", at(NOW + timedelta(days=10))],
    ]


def test_a_missed_date_is_skipped_not_waited_for():
    table = next_passes(HERE, after=NOW, items=[item(NOW - timedelta(days=31))], cycles=1)
    assert table["time"].tolist() == [at(NOW + timedelta(days=5))]
    assert table["regular"].tolist() == [1]
    assert table["last_seen"].tolist() == [at(NOW - timedelta(days=31))]


def test_a_pass_at_the_very_moment_is_past():
    table = next_passes(HERE, after=NOW, items=[item(NOW)], cycles=1)
    assert table["time"].tolist() == [at(NOW + CYCLE)]


def test_what_comes_later_is_not_known_yet():
    items = series(NOW - timedelta(days=2), cycles=(0, 1, 2, -1, -2))
    assert next_passes(HERE, after=NOW, items=items).equals(next_passes(HERE, after=NOW, items=items[:3]))


def test_a_platform_that_failed_is_not_foretold_and_the_log_says_why(caplog):
    gone = datetime(2021, 12, 20, 22, 40, tzinfo=UTC)
    items = series(NOW - timedelta(days=2)) + series(gone, platform="SENTINEL-1B")
    with caplog.at_level(logging.WARNING, logger="sarcube"):
        table = next_passes(HERE, after=NOW, items=items)
    assert set(table["platform"]) == {"S1A"}
    assert "S1B on D164 is not foretold: it was last there on 2021-12-20, more than 36 days before" in caplog.text


def test_slices_are_one_pass_and_the_shares_are_of_the_box():
    _, south, _, north = HERE
    lower = box(99.8, 0.8, 100.0, (south + north) / 2)
    upper = box(99.8, (south + north) / 2, 100.0, 1.0)
    time = NOW - timedelta(days=2)
    slices = [
        item(time, area=upper, name="first"),
        item(time + timedelta(seconds=25), area=lower, name="second"),
        item(time - CYCLE, area=lower, name="before"),
        item(time, area=box(101, 0.8, 101.2, 1.0), orbit=62, name="beside"),
    ]
    table = next_passes(HERE, after=NOW, items=slices, cycles=1)
    assert table[["time", "regular", "covered"]].to_numpy().tolist() == [[at(time + CYCLE), 2, 0.75]]


def test_other_modes_than_the_archives_are_not_foretold():
    items = [item(NOW - timedelta(days=2)), item(NOW - timedelta(days=3), orbit=62, **{"sar:instrument_mode": "EW"})]
    assert set(next_passes(HERE, after=NOW, items=items)["track"]) == {"D164"}


def test_a_place_across_the_antimeridian():
    fiji = (179.9, -17.1, -179.9, -16.9)
    items = [item(NOW - timedelta(days=2), area=box(-180, -18, -178, -16))]
    assert next_passes(fiji, after=NOW, items=items)["covered"].tolist() == [0.5, 0.5]


def test_tracks_restrict():
    items = series(NOW - timedelta(days=2)) + series(NOW - timedelta(days=3), orbit=62)
    assert set(next_passes(HERE, after=NOW, items=items)["track"]) == {"D062", "D164"}
    assert set(next_passes(HERE, after=NOW, items=items, tracks=["D062"])["track"]) == {"D062"}
    assert set(next_passes(HERE, after=NOW, items=items, tracks="D062")["track"]) == {"D062"}
    with pytest.raises(TrackError, match=r'track "D163" did not image this place in the 36 days .*; D062, D164 did'):
        next_passes(HERE, after=NOW, items=items, tracks=["D164", "D163"])


def test_nothing_to_foretell_from_is_an_error():
    with pytest.raises(NoSceneError, match="nothing imaged this place in the 36 days before 2022-02-25 01:39 UTC"):
        next_passes(HERE, after=NOW, items=[])
    with pytest.raises(NoSceneError, match=r"\(D164 did longer ago\); for a time in the past give after="):
        next_passes(HERE, after=NOW, items=[item(NOW - timedelta(days=37))])


def test_arguments_that_make_no_sense():
    items = series(NOW - timedelta(days=2))
    with pytest.raises(InputError, match="cycles must be"):
        next_passes(HERE, after=NOW, items=items, cycles=0)
    with pytest.raises(InputError, match="cycles must be a number of passes, 1 to 300, not '1e9'"):
        next_passes(HERE, after=NOW, items=items, cycles="1e9")
    with pytest.raises(InputError, match="tracks must hold one track or more"):
        next_passes(HERE, after=NOW, items=items, tracks=[])
    for year in ("0001-01-01", "9999-12-31"):
        with pytest.raises(InputError, match="after must be a moment in 2014 to 2199"):
            next_passes(HERE, after=year, items=items)
    with pytest.raises(InputError, match="items= or catalog=, not both"):
        next_passes(HERE, after=NOW, items=items, catalog=".")
    with pytest.raises(InputError, match="are latitude and longitude exchanged"):
        next_passes((10, 95, 11, 96), after=NOW, items=items)
    with pytest.raises(InputError, match="a time must be ISO 8601"):
        next_passes(HERE, after="tomorrow", items=items)


def test_by_default_from_now_on():
    """The clock that a responder has: what was seen two days ago comes in ten."""
    now = datetime.now(UTC)
    (time,) = next_passes(HERE, items=[item(now - timedelta(days=2))], cycles=1)["time"]
    assert abs(time.tz_localize("UTC") - (now + timedelta(days=10))) <= timedelta(minutes=1)


LANES = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ABC"), st.integers(0, 60 * 24)), min_size=1, max_size=20)


@given(LANES, st.integers(1, 4))
def test_all_that_is_foretold_lies_whole_cycles_after_the_last(lanes, cycles):
    """For any passes, so many hours ago: what is foretold is sorted and of all that came in the last 36 days."""
    items = [
        item(NOW - timedelta(hours=ago), name=str(n), orbit=orbit, platform=f"SENTINEL-1{letter}")
        for n, (orbit, letter, ago) in enumerate(lanes)
    ]
    fresh = {}
    for orbit, letter, ago in lanes:
        if ago < 36 * 24:
            key = f"D{orbit:03d}", f"S1{letter}"
            fresh[key] = min(fresh.get(key, ago), ago)
    if not fresh:
        with pytest.raises(NoSceneError):
            next_passes(HERE, after=NOW, items=items, cycles=cycles)
        return
    table = next_passes(HERE, after=NOW, items=items, cycles=cycles)
    assert table["time"].is_monotonic_increasing
    assert len(table) == cycles * len(fresh)
    for lane, rows in table.groupby(["track", "platform"]):
        assert (rows["last_seen"] == at(NOW - timedelta(hours=fresh[lane]))).all()
        ahead = (rows["time"] - at(NOW)).dt.total_seconds() / 3600
        first = 12 * 24 - fresh[lane] % (12 * 24)
        assert ahead.tolist() == [first + 12 * 24 * n for n in range(cycles)]
        assert rows["regular"].between(1, 3).all()


class TestCatalogue:
    """Where no items are given, a catalogue is asked for the last 36 days."""

    @pytest.fixture
    def folder(self, tmp_path):
        times = ["2022-01-20T11:30:00", "2022-02-01T11:30:00", "2022-02-13T11:30:00", "2022-02-25T11:30:00"]
        write_catalogue(tmp_path, [scene(tmp_path, f"S{n}", time=time) for n, time in enumerate(times)])
        return tmp_path

    def test_a_folder_is_searched(self, folder):
        table = next_passes(HERE, after=NOW, catalog=folder)
        assert [f"{time:%Y-%m-%d %H:%M}" for time in table["time"]] == ["2022-02-25 11:30", "2022-03-09 11:30"]
        assert table["regular"].tolist() == [3, 3]

    def test_an_api_is_asked_for_whole_days_once(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path))
        times = [NOW - timedelta(days=days) for days in (50, 35, 23, 11)] + [NOW + timedelta(hours=2)]
        items = [item(time, name=f"S{n}") for n, time in enumerate(times)]
        for one in items:
            one.collection_id = "sentinel-1-rtc"
        with serve(items) as api:
            table = next_passes(HERE, after=NOW, catalog=api.url)
            assert table["time"].tolist() == [at(NOW + timedelta(days=days)) for days in (1, 13)]
            assert table["regular"].tolist() == [3, 3]
            asked = len(api.asked())
            # Later on the same day the kept answer does: a bad line is not asked twice. One more has come by then.
            later = next_passes(HERE, after=NOW + timedelta(hours=3), catalog=api.url)
            assert len(api.asked()) == asked
        assert later["last_seen"].tolist() == [at(NOW + timedelta(hours=2))] * 2

    def test_the_command_prints_the_table_and_a_sentence(self, folder):
        result = run("--bbox", *map(str, HERE), "--after", "2022-02-25T01:39Z", "--catalog", str(folder))
        assert result.exit_code == 0
        assert result.output.splitlines()[1].split() == (
            ["2022-02-25", "11:30", "D164", "S1A", "2022-02-13", "11:30", "3", "1.0"]
        )
        assert (
            "The first pass after 2022-02-25 01:39 UTC is S1A's on D164, at 2022-02-25 11:30 UTC, in 0 days and 10 "
            "hours; it came at 3 of its last 3 dates and covers 100% of the area." in result.output
        )

    def test_the_command_takes_an_event(self, folder):
        event = folder / "event.toml"
        event.write_text(f'name = "test"\nbbox = {list(HERE)}\ntime = "2022-02-20T00:00:00Z"\n')
        settings = ("--after", "2022-02-25", "--catalog", str(folder), "--track", "D164", "--cycles", "1")
        result = run(str(event), *settings)
        assert result.exit_code == 0
        assert len(result.output.splitlines()) == 3
        assert "2022-02-25 11:30" in result.output

    def test_the_command_takes_what_an_event_takes_for_a_time(self, folder):
        for moment in ("2022-W08-5", "2022-02-25T02:00+02:00", "20220225"):
            result = run("--bbox", *map(str, HERE), "--after", moment, "--catalog", str(folder))
            assert "The first pass after 2022-02-25 00:00 UTC is S1A's" in result.output, result.exception

    def test_the_command_wants_one_place(self, folder):
        for arguments in ([], [str(folder / "event.toml"), "--bbox", *map(str, HERE)]):
            result = run(*arguments)
            assert isinstance(result.exception, InputError)
            assert "either EVENT.toml or --bbox W S E N" in str(result.exception)

    def test_a_moment_in_words_is_an_error_of_usage(self, folder):
        result = run("--bbox", *map(str, HERE), "--after", "tomorrow", "--catalog", str(folder))
        assert isinstance(result.exception, SarcubeError)
        assert result.exception.exit_code == 2


def run(*arguments):
    """Run the command; errors come back as they are, for `sarcube.cli.main` to say."""
    app = typer.Typer()
    app.command()(passes)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
class TestRealPasses:
    """What was foretold from early dates, against what came."""

    @pytest.fixture(scope="class")
    def items(self):
        items = sc.items_from_folder(REAL / "opera-rtc-california")
        return [one for one in items if one.properties["s1:burst_id"] == "T137-292319-IW2"]

    def test_three_years_over_california(self, items):
        came = [one.datetime for one in items]
        here = tuple(items[0].bbox)
        hits = 0
        for time in came:
            table = next_passes(here, after=time + timedelta(hours=1), items=items, cycles=30)
            for foretold in table["time"].dt.tz_localize("UTC"):
                near = [abs(other - foretold) for other in came if abs(other - foretold) < timedelta(days=1)]
                assert all(error <= timedelta(minutes=1) for error in near)
                hits += len(near)
        assert hits > 500

    def test_sentinel_1b_is_not_foretold_after_it_failed(self, items):
        before, after = (
            next_passes(tuple(items[0].bbox), after=day, items=items) for day in ("2021-12-20", "2022-11-20")
        )
        assert set(before["platform"]) == {"S1A", "S1B"}
        assert set(after["platform"]) == {"S1A"}

    def test_items_of_the_planetary_computer(self):
        documents = json.loads((REAL / "planetary-computer-items" / "sentinel-1-rtc-pc.json").read_text())
        items = [pystac.Item.from_dict(document) for document in documents]
        table = next_passes((15.3, 32.1, 15.5, 32.4), after="2024-04-20", items=items, cycles=1)
        row = table.iloc[0]
        assert (row["track"], row["platform"], row["regular"]) == ("D051", "S1A", 1)
        assert row["time"] == pd.Timestamp("2024-05-01T04:58")
        assert row["covered"] > 0.99
