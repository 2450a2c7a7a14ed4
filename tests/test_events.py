from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcube.errors import InputError
from sarcube.events import Event, read_event

BOX = (99.94, 0.03, 100.07, 0.14)


def test_a_moment_stands_for_both_ends():
    event = Event("sumatra-2022", bbox=BOX, time="2022-02-25T01:39Z")
    moment = datetime(2022, 2, 25, 1, 39, tzinfo=UTC)
    assert event.time == event.pre_end == event.post_start == event.last_before == event.first_after == moment


def test_ends_may_differ_from_the_moment():
    event = Event("lombok", bbox=BOX, pre_end="2018-07-28", post_start="2018-08-20")
    assert event.time is None
    assert event.last_before == datetime(2018, 7, 28, tzinfo=UTC)
    assert event.first_after == datetime(2018, 8, 20, tzinfo=UTC)
    late = Event("haiti", bbox=BOX, time="2021-08-14T12:29Z", post_start="2021-08-17")
    assert late.last_before == datetime(2021, 8, 14, 12, 29, tzinfo=UTC)
    assert late.first_after == datetime(2021, 8, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        "2022-02-25T01:39",
        "2022-02-25T01:39Z",
        "2022-02-25T08:39+07:00",
        datetime(2022, 2, 25, 1, 39),
        datetime(2022, 2, 25, 8, 39, tzinfo=timezone(timedelta(hours=7))),
    ],
)
def test_every_way_to_write_a_moment_is_utc(moment):
    event = Event("e", bbox=BOX, time=moment)
    assert event.last_before == datetime(2022, 2, 25, 1, 39, tzinfo=UTC)
    assert event.last_before.utcoffset() == timedelta(0)


@given(st.floats(0.01, 3650), st.floats(0.01, 3650))
def test_windows_meet_at_the_event(pre, post):
    event = Event("e", bbox=BOX, time="2022-02-25T01:39Z")
    start, end = event.pre_window(pre)
    assert end == event.last_before
    assert end - start == timedelta(days=pre)
    start, end = event.post_window(post)
    assert start == event.first_after
    assert end - start == timedelta(days=post)


@pytest.mark.parametrize("days", [0, -1, float("nan")])
def test_a_window_has_a_length(days):
    event = Event("e", bbox=BOX, time="2022-02-25")
    with pytest.raises(InputError, match="pre_days"):
        event.pre_window(days)
    with pytest.raises(InputError, match="post_days"):
        event.post_window(days)


@pytest.mark.parametrize(
    "bbox",
    [
        (0.03, 99.94, 0.14, 100.07),  # latitude and longitude exchanged
        (10, 20, 30),
        (10, 21, 11, 20),
        (10, 20, 10, 21),
        (-181, 20, 11, 21),
        (10, float("nan"), 11, 21),
        ("a", 20, 11, 21),
        None,
    ],
)
def test_a_box_is_on_the_globe(bbox):
    with pytest.raises(InputError, match="bbox must be"):
        Event("e", bbox=bbox, time="2022-02-25")


def test_a_box_may_cross_the_antimeridian():
    assert Event("fiji", bbox=(179, -18, -179, -17), time="2022-02-25").bbox == (179.0, -18.0, -179.0, -17.0)


def test_a_box_becomes_a_tuple_of_floats():
    event = Event("e", bbox=[10, 20, 11, 21], time="2022-02-25")
    assert event.bbox == (10.0, 20.0, 11.0, 21.0)
    assert all(type(v) is float for v in event.bbox)
    assert hash(event) == hash(Event("e", bbox=(10, 20, 11, 21), time="2022-02-25"))


@pytest.mark.parametrize("times", [{}, {"pre_end": "2022-02-25"}, {"post_start": "2022-02-25"}])
def test_both_ends_are_needed(times):
    with pytest.raises(InputError, match="needs time=, or both"):
        Event("e", bbox=BOX, **times)


def test_after_is_not_before_before():
    with pytest.raises(InputError, match=r"pre_end \(2022-03-01 00:00\) must not be later"):
        Event("e", bbox=BOX, pre_end="2022-03-01", post_start="2022-02-25")


@pytest.mark.parametrize("moment", ["yesterday", "2022-13-01", ""])
def test_a_time_is_iso(moment):
    with pytest.raises(InputError, match=r"ISO 8601|needs time"):
        Event("e", bbox=BOX, time=moment)


def test_a_time_is_a_string_or_a_datetime():
    with pytest.raises(InputError, match="ISO 8601"):
        Event("e", bbox=BOX, time=20220225)
    assert Event("e", bbox=BOX, time="2022-02-25").pre_window(1)[0] == datetime(2022, 2, 24, tzinfo=UTC)


def test_an_event_does_not_change():
    event = Event("e", bbox=BOX, time="2022-02-25")
    with pytest.raises(AttributeError):
        event.name = "other"


def test_a_day_of_toml_is_its_midnight(tmp_path):
    (tmp_path / "event.toml").write_text('name = "a"\nbbox = [1, 2, 3, 4]\ntime = 2021-06-14\n')
    assert read_event(tmp_path / "event.toml") == Event("a", (1, 2, 3, 4), time="2021-06-14")


def test_a_name_is_text(tmp_path):
    (tmp_path / "event.toml").write_text("name = 5\nbbox = [1, 2, 3, 4]\ntime = 2021-06-14\n")
    with pytest.raises(InputError, match="name must be text, not 5"):
        read_event(tmp_path / "event.toml")
