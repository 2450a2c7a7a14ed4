"""The events of the papers that sarcube follows: when they were, how many landslides are mapped, who used them.

Each value carries its source, a key of `SOURCES`. Where sources disagree both are kept, the one to use first. The
tables of events in the papers themselves were not at hand, so no value is taken from them but the two dates of Mesetas;
what was not looked up is left out. Boxes are left out too: `sarcube.Event` wants the one that is searched.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

SOURCES = MappingProxyType(
    {
        "M": "remembered, of earthquakes as the origin time and magnitude that the USGS gives; not verified",
        "card": "model card of SAR-LRA, MODEL_CARD.md of lorenzonava96/SAR-and-DL-for-Landslide-Rapid-Assessment",
        "boehm": "Boehm et al. 2022, arXiv:2211.02869, and the names of the cubes in doi:10.5281/zenodo.7248056",
        "nava-2021": "abstract of Nava et al. 2021, IEEE GRSL, doi:10.1109/LGRS.2021.3127073",
        "nava-2022": "abstract of Nava et al. 2022, Remote Sens. 14, 1449, doi:10.3390/rs14061449",
        "nava-table": "Table 1 of Nava et al., of which there are two versions, as notes of this project cite them",
        "notes": "notes of this project: PHYSICS.md and the design",
        "dellow": "abstract of Dellow et al. 2017, Proc. 20th NZGS Geotechnical Symposium",
        "havenith": "abstract of Havenith et al. 2022, NHESS 22, 3361",
        "luding-2023": "abstract of Remote Sens. 2023, 15, 1323",
        "luding-2024": "abstract of Remote Sens. 2024, 16, 2861",
        "martha": "abstract of Martha et al. 2017, Landslides 14, 697, doi:10.1007/s10346-016-0763-x",
        "mesetas-press": "press reports of the earthquakes of 24 December 2019",
        "haiti-press": "reports of the days after: ReliefWeb, Washington Post, 16 and 17 August 2021",
        "tanyas": "abstract of Tanyaş et al. 2022, Eng. Geol., doi:10.1016/j.enggeo.2021.106504",
        "usgs-haiti": "abstract of the U.S. Geological Survey's Open-File Report 2021-1112",
        "xu": "abstract of Xu et al. 2018, Seismology and Geology 40, 1115",
        "zhao-lombok": "abstract of Zhao et al. 2021, CATENA, doi:10.1016/j.catena.2021.105676",
        "zhao-milin": "abstract of Zhao et al. 2021, CATENA, doi:10.1016/j.catena.2021.105467",
    }
)

TRAINED_ON, HELD_OUT = "trained on in Nava 2026", "held out in Nava 2026"
NAVA_2021, BOEHM_CUBE = "Nava 2021", "Boehm 2022 cube"


class Times(NamedTuple):
    """When an event was, UTC: `pre_end` and `post_start` of `sarcube.Event`; a day alone is its midnight."""

    pre_end: str
    post_start: str
    source: str
    note: str = ""


class Number(NamedTuple):
    """A magnitude (`low` and `high` the same unless it is a range) or a number of landslides; None is open."""

    low: float
    high: float | None
    source: str
    note: str = ""


class Word(NamedTuple):
    """A word and who says so."""

    value: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class PaperEvent:
    """An event of the papers.

    Attributes
    ----------
    name, country : str
    trigger : Word
        What set the landslides off.
    times : tuple of Times
        The first are to be used; more than one where sources disagree.
    magnitude : tuple of Number
        Of the main shocks, Mw where the note does not say otherwise.
    landslides : tuple of Number
        How many were mapped; empty if that was not looked up.
    roles : tuple of Word
        What the papers used it for.
    polarisations : Word or None
        What the models of Nava 2026 were trained with here: "VV and VH", or "VV" alone. None if not trained on.
    """

    name: str
    country: str
    trigger: Word
    times: tuple[Times, ...]
    magnitude: tuple[Number, ...]
    landslides: tuple[Number, ...]
    roles: tuple[Word, ...]
    polarisations: Word | None = None

    @property
    def stated(self) -> tuple[Times | Number | Word, ...]:
        """All that is said about the event, each with its source."""
        trained = () if self.polarisations is None else (self.polarisations,)
        return (self.trigger, *self.times, *self.magnitude, *self.landslides, *self.roles, *trained)


_TRAINED, _HELD_OUT, _CUBE = Word(TRAINED_ON, "card"), Word(HELD_OUT, "card"), Word(BOEHM_CUBE, "boehm")
_BOTH, _VV = Word("VV and VH", "card"), Word("VV", "card")
_EARTHQUAKE = Word("earthquake", "card")


def _at(moment: str, source: str, note: str = "") -> Times:
    return Times(moment, moment, source, note)


def _about(value: float, source: str, note: str = "") -> Number:
    return Number(value, value, source, note)


_EVENTS = (
    PaperEvent(
        "papua-new-guinea-2018",
        "Papua New Guinea",
        _EARTHQUAKE,
        (_at("2018-02-25T17:44Z", "M", "the day is in tanyas"),),
        (_about(7.5, "tanyas"),),
        (Number(10_000, 11_500, "tanyas", "about 11 500 mapped, more than 10 000 by the main shock; 145 km²"),),
        (_TRAINED,),
        _BOTH,
    ),
    PaperEvent(
        "lombok-2018",
        "Indonesia",
        _EARTHQUAKE,
        (
            Times(
                "2018-08-05T11:46Z",
                "2018-08-19T14:56Z",
                "M",
                "two main shocks, 5 and 19 August (days in zhao-lombok, with one of Mw 6.4 on 28 July)",
            ),
        ),
        (_about(6.9, "zhao-lombok", "5 August"), _about(6.9, "zhao-lombok", "19 August")),
        (_about(10_521, "zhao-lombok", "all shocks together; 28.0 km²"),),
        (_TRAINED,),
        _BOTH,
    ),
    PaperEvent(
        "hokkaido-2018",
        "Japan",
        _EARTHQUAKE,
        (
            _at("2018-09-05T18:08Z", "nava-2021", "6 September, 03:08 in Japan"),
            _at("2018-09-05T18:08Z", "nava-2022", "the same"),
        ),
        (_about(6.6, "nava-2021"),),
        (
            _about(8_000, "nava-2021", "about"),
            _about(8_000, "nava-2022", "about"),
            Number(5_800, 6_100, "notes", "mean 7 160 m²"),
        ),
        (_TRAINED, Word(NAVA_2021, "nava-2021"), _CUBE),
        _BOTH,
    ),
    PaperEvent(
        "mesetas-2019",
        "Colombia",
        _EARTHQUAKE,
        (
            Times("2019-12-24T19:03Z", "2019-12-24T19:19Z", "mesetas-press", "two shocks"),
            Times("2019-12-24", "2019-12-25", "nava-table", "one version of the table"),
            Times("2019-08-05", "2019-08-06", "nava-table", "the other; no earthquake of that day was found reported"),
        ),
        (Number(6.0, 6.2, "mesetas-press", "reports differ, and name no scale"),),
        (),
        (_TRAINED,),
        _BOTH,
    ),
    PaperEvent(
        "milin-2017",
        "China",
        _EARTHQUAKE,
        (_at("2017-11-17T22:34Z", "M", "18 November in China, as zhao-milin has it"),),
        (_about(6.4, "zhao-milin"),),
        (Number(1_816, None, "zhao-milin", "at least; 32.7 km²"),),
        (_TRAINED,),
        _BOTH,
    ),
    PaperEvent(
        "luding-2022",
        "China",
        _EARTHQUAKE,
        (_at("2022-09-05T04:52Z", "M", "the day is in luding-2023"),),
        (_about(6.6, "luding-2023"),),
        (_about(6_233, "luding-2023", "32.4 km²"), Number(16_000, None, "luding-2024", "over")),
        (_TRAINED,),
        _BOTH,
    ),
    PaperEvent(
        "capellades-2016",
        "Costa Rica",
        _EARTHQUAKE,
        (_at("2016-12-01T00:25Z", "M"),),
        (_about(5.5, "M"),),
        (),
        (_TRAINED,),
        _VV,
    ),
    PaperEvent(
        "kaikoura-2016",
        "New Zealand",
        _EARTHQUAKE,
        (_at("2016-11-13T11:03Z", "dellow"), _at("2016-11-13T11:02Z", "M")),
        (_about(7.8, "dellow"),),
        (Number(10_000, None, "dellow", "tens of thousands"),),
        (_TRAINED, _CUBE),
        _VV,
    ),
    PaperEvent(
        "gorkha-2015",
        "Nepal",
        _EARTHQUAKE,
        (_at("2015-04-25T06:11Z", "M", "the day is in xu"),),
        (_about(7.8, "xu"),),
        (
            Number(47_200, None, "xu", "at least; 110 km²"),
            _about(15_551, "martha", "with those of the Mw 7.3 Dolakha earthquake; 90.2 km²"),
        ),
        (_TRAINED,),
        _VV,
    ),
    PaperEvent(
        "sumatra-2022",
        "Indonesia",
        _EARTHQUAKE,
        (_at("2022-02-25T01:39Z", "M"),),
        (_about(6.1, "M"),),
        (),
        (_HELD_OUT, Word(BOEHM_CUBE, "boehm", "the cube is called Talakmau; that it is this event is remembered")),
    ),
    PaperEvent(
        "haiti-2021",
        "Haiti",
        _EARTHQUAKE,
        (
            Times(
                "2021-08-14T12:29Z",
                "2021-08-18",
                "haiti-press",
                "08:29 in Haiti; what comes after starts behind tropical storm Grace, 16 and 17 August",
            ),
        ),
        (_about(7.2, "havenith"),),
        (
            _about(7_091, "havenith", "more than 80 km²"),
            Number(4_893, None, "usgs-haiti", "at least; by earthquake and storm"),
        ),
        (_HELD_OUT,),
    ),
    PaperEvent(
        "puerto-rico-2017",
        "Puerto Rico",
        Word("hurricane", "M", "Maria; the cube's own dates were not looked at"),
        (Times("2017-09-20", "2017-09-21", "M", "the day of the landfall"),),
        (),
        (),
        (_CUBE,),
    ),
)


def paper_events() -> tuple[PaperEvent, ...]:
    """Return the events of Nava et al. 2021 and 2026 (GMD 19, 167) and of the cubes of Boehm et al. 2022.

    Returns
    -------
    tuple of PaperEvent
        The eleven of Nava 2026, about 73 000 landslides (model card of SAR-LRA), and Puerto Rico.

    Examples
    --------
    >>> luding = {event.name: event for event in paper_events()}["luding-2022"]
    >>> when = luding.times[0]
    >>> event = sc.Event(luding.name, bbox=(102.0, 29.4, 102.3, 29.8), pre_end=when.pre_end, post_start=when.post_start)
    """
    return _EVENTS


def paper_events_table() -> pd.DataFrame:
    """Return `paper_events` as a table, one row per event.

    Returns
    -------
    pandas.DataFrame
        By name: country, trigger, pre_end and post_start (UTC, of the times to use), other_times (text), magnitude (the
        least said), landslides_min and landslides_max (Int64, over all sources; missing where not looked up, the
        greatest as well where a source leaves it open), polarisations, roles and sources (text).
    """
    rows = []
    for event in _EVENTS:
        first, *others = event.times
        least = [number.low for number in event.landslides]
        greatest = [number.high for number in event.landslides]
        known = [value for value in greatest if value is not None]
        rows.append(
            {
                "name": event.name,
                "country": event.country,
                "trigger": event.trigger.value,
                "pre_end": pd.Timestamp(first.pre_end),
                "post_start": pd.Timestamp(first.post_start),
                "other_times": "; ".join(f"{when.pre_end} ({when.source})" for when in others),
                "magnitude": min((number.low for number in event.magnitude), default=float("nan")),
                "landslides_min": min(least, default=None),
                "landslides_max": max(known) if known and len(known) == len(greatest) else None,
                "polarisations": "" if event.polarisations is None else event.polarisations.value,
                "roles": ", ".join(role.value for role in event.roles),
                "sources": ", ".join(dict.fromkeys(stated.source for stated in event.stated)),
            }
        )
    table = pd.DataFrame(rows).set_index("name")
    counts = ["landslides_min", "landslides_max"]
    times = ["pre_end", "post_start"]
    table[counts] = table[counts].astype("Int64")
    for name in times:
        table[name] = [time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC") for time in table[name]]
    return table
