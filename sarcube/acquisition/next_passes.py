"""When each track images a place again."""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pystac

from sarcube.acquisition.catalogs.find import PLANETARY_COMPUTER, find
from sarcube.acquisition.passes import Pass, in_wide_swath, is_near, passes_over
from sarcube.errors import InputError, NoSceneError, TrackError
from sarcube.events import Event, Moment

logger = logging.getLogger(__name__)

_CYCLE = timedelta(days=12)
_CYCLES_BACK = 3  # a platform that missed more of them has failed, or its plan has changed
_COLLECTION = "sentinel-1-rtc"
_MOST_CYCLES = 300  # ten years
_YEARS = range(2014, 2200)  # from the first launch to what times in nanoseconds can hold, ten years after


def next_passes(
    bbox: tuple[float, float, float, float],
    *,
    after: Moment | None = None,
    items: Iterable[pystac.Item] | None = None,
    tracks: Sequence[str] | None = None,
    catalog: str | Path | pystac.ItemCollection | None = None,
    cycles: int = 2,
) -> pd.DataFrame:
    """Foretell when each track images a place again: what was acquired in the last 36 days, 12 days later.

    Parameters
    ----------
    bbox : tuple of float
        The place: west, south, east, north in degrees; west greater than east crosses the antimeridian.
    after : str or datetime, optional
        Passes after this moment (UTC) are foretold from those up to it. Default: now.
    items : pystac.ItemCollection or iterable of pystac.Item, optional
        What is known of the passes up to `after`; no network is used then. They should reach 36 days back, else
        `regular` counts too few.
    tracks : sequence of str, optional
        Only these, such as ["D164"].
    catalog : str, Path or pystac.ItemCollection, optional
        What is searched where no items are given, as `search` takes it. Default: the Planetary Computer. If it does
        not answer, what it answered earlier on the same day (UTC) is used, with a warning.
    cycles : int
        How many passes of each platform on each track are foretold, 1 to 300.

    Returns
    -------
    pandas.DataFrame
        Sorted by time. Columns: `time` (UTC, rounded to the minute); `track`; `platform`; `last_seen`, when it last
        imaged the place; `regular`, at how many of its last 3 dates it did, 0 to 3; `covered`, the share of the place
        inside the footprints of a pass, mean over these dates, 0 to 1.

    Raises
    ------
    NoSceneError
        If nothing imaged the place in the 36 days before `after`.
    TrackError
        If a track did not; says which did.
    InputError
        If the box is not on the globe, the moment is none, or both `items` and `catalog` are given.
    ReadError
        If the catalogue does not answer, or the outline of an item cannot be read.

    Notes
    -----
    A Sentinel-1 satellite flies 175 orbits in 12 days and then repeats its ground track (ESA, Sentinel-1 SAR user
    guide, "Revisit and coverage"). The orbit is held so closely that a pass comes back within seconds; the time of an
    item moves with the ends of its slice, by some tens of seconds. So a time is right to a minute, if the pass is
    acquired at all: that is for ESA's acquisition plan to say, which changes, most of all after a disaster, and
    satellites fail: Sentinel-1B did on 2021-12-23. What a platform did not image in the last 36 days is not foretold;
    the log says so of those that imaged the place before. A new satellite shows up with its first scene.
    """
    place = Event("the place", bbox=bbox, time=datetime.now(UTC) if after is None else after)
    if place.first_after.year not in _YEARS:
        raise InputError(f"after must be a moment in {_YEARS[0]} to {_YEARS[-1]}, not {place.first_after}")
    moment, since = place.first_after, place.first_after - _CYCLES_BACK * _CYCLE
    if cycles not in range(1, _MOST_CYCLES + 1):
        raise InputError(f"cycles must be a number of passes, 1 to {_MOST_CYCLES}, not {cycles!r}")
    if tracks is not None and not tracks:
        raise InputError('tracks must hold one track or more, such as ["D164"]; it is empty')
    if items is not None and catalog is not None:
        raise InputError("give items= or catalog=, not both: where items are given nothing is searched")
    if items is None:
        source = PLANETARY_COMPUTER if catalog is None else catalog
        # Whole days: the same question for a day, whose answer is kept. What came later is sorted out below.
        span = _midnight(since), _midnight(moment) + timedelta(days=1)
        items, _ = find(source, collection=_COLLECTION, bbox=place.bbox, spans=[span])

    known = passes_over((item for item in items if in_wide_swath(item)), place.bbox)
    seen: dict[tuple[str, str], list[Pass]] = {}
    for one in known:
        if one.time <= moment:
            seen.setdefault((one.track, one.platform), []).append(one)
    lanes = {lane: passes for lane, passes in seen.items() if passes[-1].time > since}
    wanted = _wanted(tracks, {track for track, _ in lanes}, seen, moment)
    for (track, platform), passes in seen.items():
        if (track, platform) not in lanes and (tracks is None or track in wanted):
            logger.warning(
                "%s on %s is not foretold: it was last there on %s, more than %d days before %s",
                *(platform, track, f"{passes[-1].time:%Y-%m-%d}", (moment - since).days, f"{moment:%Y-%m-%d}"),
            )
    rows = [row for lane in lanes if lane[0] in wanted for row in _foretell(lanes[lane], moment, since, cycles)]
    rows.sort(key=lambda row: (row["time"], row["track"], row["platform"]))
    return pd.DataFrame(rows)


def _foretell(passes: list[Pass], moment: datetime, since: datetime, cycles: int) -> list[dict[str, Any]]:
    """Return a row per coming pass of one platform on one track, whose passes up to now are sorted by time."""
    last, recent = passes[-1], [one for one in passes if one.time > since]
    coming = last.time + ((moment - last.time) // _CYCLE + 1) * _CYCLE
    due = [coming - n * _CYCLE for n in range(1, _CYCLES_BACK + 1)]
    about = {
        "track": last.track,
        "platform": last.platform,
        "last_seen": _minute(last.time),
        "regular": sum(any(is_near(one.time, time) for one in passes) for time in due),
        "covered": round(sum(one.covered for one in recent) / len(recent), 3),
    }
    return [{"time": _minute(coming + n * _CYCLE), **about} for n in range(cycles)]


def _wanted(
    tracks: Sequence[str] | None, there: set[str], seen: Iterable[tuple[str, str]], moment: datetime
) -> set[str]:
    """Return the tracks to foretell; an error says what there is instead."""
    until = f"in the {(_CYCLES_BACK * _CYCLE).days} days before {moment:%Y-%m-%d %H:%M} UTC"
    if not there:
        earlier = ", ".join(sorted({track for track, _ in seen}))
        raise NoSceneError(
            f"nothing imaged this place {until}, as far as the items say, so no pass can be foretold"
            + (f" ({earlier} did longer ago)" if earlier else "")
            + "; for a time in the past give after=, a moment soon after a scene that is there"
        )
    asked = there if tracks is None else {tracks} if isinstance(tracks, str) else set(tracks)
    unknown = ", ".join(f'"{track}"' for track in sorted(asked - there))
    if unknown:
        raise TrackError(f"track {unknown} did not image this place {until}; {', '.join(sorted(there))} did")
    return asked


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _minute(time: datetime) -> pd.Timestamp:
    return pd.Timestamp(time).tz_localize(None).round("min")
