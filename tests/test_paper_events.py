from dataclasses import replace

import pandas as pd
import pytest

from sarcube.events import Event
from sarcube.paper_events import HELD_OUT, SOURCES, TRAINED_ON, Number, PaperEvent, paper_events, paper_events_table

EVENTS = {event.name: event for event in paper_events()}


def _with_role(role):
    return {name for name, event in EVENTS.items() if role in [word.value for word in event.roles]}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_every_value_has_a_source(event):
    assert event.times
    assert event.roles
    assert {stated.source for stated in event.stated} <= set(SOURCES)
    fields = set(vars(event)) - {"name", "country"}
    in_stated = sum(
        1 if hasattr(getattr(event, name), "source") else len(getattr(event, name) or ()) for name in fields
    )
    assert len(event.stated) == in_stated  # nothing is said beside what the line above looked at


def test_no_source_is_idle():
    assert {stated.source for event in EVENTS.values() for stated in event.stated} == set(SOURCES)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_times_are_those_of_an_event(event):
    for when in event.times:
        parsed = Event(event.name, (10, 20, 11, 21), pre_end=when.pre_end, post_start=when.post_start)
        assert parsed.last_before.year == int(event.name.rsplit("-", 1)[1])
        assert (parsed.first_after - parsed.last_before).days <= 14  # Lombok's two weeks


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_numbers_are_possible(event):
    for number in (*event.magnitude, *event.landslides):
        assert number.high is None or number.low <= number.high
    assert all(5 < number.low < 9 for number in event.magnitude)
    assert all(number.low >= 100 for number in event.landslides)


def test_roles_are_those_of_the_model_card():
    both = {name for name, event in EVENTS.items() if event.polarisations and event.polarisations.value == "VV and VH"}
    assert {name.rsplit("-", 1)[0] for name in both} == {
        "papua-new-guinea",
        "lombok",
        "hokkaido",
        "mesetas",
        "milin",
        "luding",
    }
    assert _with_role(TRAINED_ON) - both == {"capellades-2016", "kaikoura-2016", "gorkha-2015"}
    assert _with_role(HELD_OUT) == {"sumatra-2022", "haiti-2021"}
    assert all(EVENTS[name].polarisations is None for name in _with_role(HELD_OUT))
    assert len(_with_role(TRAINED_ON) | _with_role(HELD_OUT)) == 11
    assert _with_role("Boehm 2022 cube") == {"hokkaido-2018", "kaikoura-2016", "sumatra-2022", "puerto-rico-2017"}


def test_both_dates_of_mesetas_are_kept():
    times = EVENTS["mesetas-2019"].times
    assert {when.pre_end for when in times if when.source == "nava-table"} == {"2019-08-05", "2019-12-24"}
    assert times[0].pre_end.startswith("2019-12-24")


def test_the_table_says_the_same():
    table = paper_events_table()
    assert list(table.index) == list(EVENTS)
    assert table.loc["hokkaido-2018", "pre_end"] == pd.Timestamp("2018-09-06T03:08+09:00")
    assert table.loc["haiti-2021", "post_start"] == pd.Timestamp("2021-08-18T00:00Z")
    assert table.loc["hokkaido-2018", ["landslides_min", "landslides_max"]].tolist() == [5_800, 8_000]
    assert table.loc["luding-2022", "landslides_min"] == 6_233
    assert pd.isna(table.loc["luding-2022", "landslides_max"])  # "over 16 000" has no end
    assert table.loc["capellades-2016", ["landslides_min", "landslides_max"]].isna().all()
    assert "2019-08-05 (nava-table)" in table.loc["mesetas-2019", "other_times"]
    assert table.loc["gorkha-2015", "sources"] == "card, M, xu, martha"


def test_events_do_not_change():
    event = EVENTS["milin-2017"]
    assert isinstance(replace(event, landslides=(Number(1, 2, "M"),)), PaperEvent)
    with pytest.raises(AttributeError):
        event.name = "other"
