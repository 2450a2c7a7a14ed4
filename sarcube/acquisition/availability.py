"""What there is, per track and pair of windows, before anything is read."""

import logging
import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pystac

from sarcube.acquisition.passes import Pass, in_wide_swath, passes_over, same_pass
from sarcube.acquisition.scenes import POLARISATIONS
from sarcube.errors import InputError
from sarcube.events import BUFFERS, Event

logger = logging.getLogger(__name__)

# What decides comes first: a terminal of 80 columns breaks the table behind `longest_gap`.
_COUNTS = {"before": "Int64", "after": "Int64"}
_GRD_COUNTS = {"grd_before": "Int64", "grd_after": "Int64", "only_grd": "Int64"}
_DETAILS = {
    "last_before": "datetime64[ns]",
    "first_after": "datetime64[ns]",
    "covered": "float64",
    "longest_gap": "float64",
    "first": "datetime64[ns]",
    "last": "datetime64[ns]",
    "platforms": "object",
    "polarisations": "object",
}
_NAMED = 10  # passes that one line of the log names

Days = tuple[float, float]


def availability(
    items: Iterable[pystac.Item],
    event: Event,
    *,
    buffers: Sequence[tuple[float, float]] | None = None,
    grd: Iterable[pystac.Item] | None = None,
) -> pd.DataFrame:
    """Tabulate the passes around an event: a row per track and pair of windows.

    Slices of one pass count as one, and so do two processings of one acquisition. Windows are open at the event. A pass
    counts where it imaged some of the event's box.

    Parameters
    ----------
    items : pystac.ItemCollection or iterable of pystac.Item
        What `search` found.
    event : Event
        Place and moment.
    buffers : sequence of (float, float), optional
        Pairs of days before and after the event. By default what was searched, and of the ten pairs of Nava et al.
        (2024; 2026, GMD 19, 167, section 3) those that lie within it; all ten where the items do not say what was
        searched, as those of `search` do.
    grd : pystac.ItemCollection or iterable of pystac.Item, optional
        What the same search finds in `sentinel-1-grd`: the scenes that were acquired, whether or not the archive has
        them as RTC.

    Returns
    -------
    pandas.DataFrame
        Index (`track`, `buffer`), such as ("D164", "60-12"). Columns: `before` and `after`, the number of passes;
        `last_before` and `first_after`, the dates (UTC) nearest to the event; `covered`, the share of the event's box
        inside the footprints of a pass, mean over the passes, 0 to 1; `longest_gap`, the most days from one pass to
        the next, those between the two ends of an event that lasts not counted; `first` and `last`, the outer dates;
        `platforms`; `polarisations`. With `grd`, also `grd_before` and `grd_after`, the number of passes there, and
        `only_grd`, how many of them are not among `items`; the log names them.

        A track without a pass in a pair has a row with zeros. A row of <NA> is a pair that reaches beyond what was
        searched: nobody knows what is there. A window that is not over yet counts what there was when it was searched.

    Raises
    ------
    InputError
        If an item does not say its track, or a pair of days is none.
    ReadError
        If the outline of an item cannot be read.
    """
    searched, pairs = _searched(items), _pairs(buffers, _searched(items))
    found = _by_track(passes_over(items, event.bbox))
    acquired: dict[str, list[Pass]] = {}
    grd_searched = None
    if grd is not None:
        grd_searched = _searched(grd)
        acquired = _by_track(passes_over((item for item in grd if in_wide_swath(item)), event.bbox))
    rows: list[dict[str, Any]] = []
    lost: set[Pass] = set()
    for track in sorted({*found, *acquired}):
        passes, others = found.get(track, []), acquired.get(track, [])
        for name, pair in pairs.items():
            row: dict[str, Any] = {"track": track, "buffer": name}
            row |= _row(passes, event, pair) if _within(pair, searched) else _unknown(_COUNTS | _DETAILS)
            if grd is not None:
                known = _within(pair, searched) and _within(pair, grd_searched)
                row |= _grd_row(passes, others, event, pair) if known else _unknown(_GRD_COUNTS)
                lost |= set(_missing(passes, others, event, pair)) if known else set()
            rows.append(row)
    if lost:
        _tell(lost)
    columns = _COUNTS | (_GRD_COUNTS if grd is not None else {}) | _DETAILS
    table = pd.DataFrame(rows, columns=["track", "buffer", *columns]).set_index(["track", "buffer"]).astype(columns)
    return _WholeTable(table)


class _WholeTable(pd.DataFrame):
    """A DataFrame that prints every row and column, broken to the terminal's width: pandas would leave some out."""

    def __repr__(self) -> str:
        if self.empty:
            return "no pass over the event's area"
        return str(self.to_string(line_width=shutil.get_terminal_size().columns))


def _pairs(buffers: Sequence[Days] | None, searched: Days | None) -> dict[str, Days]:
    """Name the pairs of the table after their days."""
    wanted = buffers
    if wanted is None:
        wanted = [*([searched] if searched else []), *(pair for pair in BUFFERS if _within(pair, searched))]
    try:
        pairs = {f"{pre:g}-{post:g}": (float(pre), float(post)) for pre, post in wanted}
    except (TypeError, ValueError) as error:
        raise InputError(f"buffers must be pairs of days, such as [(60, 12), (12, 12)], not {buffers!r}") from error
    if not pairs:
        raise InputError("buffers must hold one pair of days or more, such as [(60, 12)]; it is empty")
    return pairs


def _searched(items: Iterable[pystac.Item]) -> Days | None:
    """Return the days before and after the event that `search` asked for, where the items say it."""
    record = items.extra_fields.get("sarcube:search") if isinstance(items, pystac.ItemCollection) else None
    if record is None:
        return None
    try:
        return float(record["pre_days"]), float(record["post_days"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'"sarcube:search" of the items must hold pre_days and post_days as numbers, not {record!r}'
        ) from error


def _within(pair: Days, searched: Days | None) -> bool:
    return searched is None or (pair[0] <= searched[0] and pair[1] <= searched[1])


def _by_track(passes: list[Pass]) -> dict[str, list[Pass]]:
    return {track: [p for p in passes if p.track == track] for track in {p.track for p in passes}}


def _sides(passes: list[Pass], event: Event, pair: Days) -> tuple[list[Pass], list[Pass]]:
    """Return the passes in the window before and in that after the event."""
    (first, pre_end), (post_start, last) = event.pre_window(pair[0]), event.post_window(pair[1])
    return [p for p in passes if first <= p.time < pre_end], [p for p in passes if post_start < p.time <= last]


def _row(passes: list[Pass], event: Event, pair: Days) -> dict[str, Any]:
    before, after = _sides(passes, event, pair)
    both = before + after
    polarisations = {name for p in both for name in p.polarisations}
    return {
        "before": len(before),
        "after": len(after),
        "last_before": _date(before[-1:]),
        "first_after": _date(after[:1]),
        "covered": round(sum(p.covered for p in both) / len(both), 3) if both else 0.0,
        "longest_gap": _longest_gap(before, after, event),
        "first": _date(both[:1]),
        "last": _date(both[-1:]),
        "platforms": " ".join(sorted({p.platform for p in both})),
        "polarisations": " ".join(name.upper() for name in POLARISATIONS if name in polarisations),
    }


def _longest_gap(before: list[Pass], after: list[Pass], event: Event) -> float:
    """Return the days between the neighbours that lie farthest apart; NaN where there are no two."""
    # As if the event took no time: what was acquired while it lasted is in neither window.
    duration = event.first_after - event.last_before
    times: list[datetime] = [p.time for p in before] + [p.time - duration for p in after]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return round(max(gaps) / timedelta(days=1), 1) if gaps else float("nan")


def _grd_row(passes: list[Pass], acquired: list[Pass], event: Event, pair: Days) -> dict[str, Any]:
    before, after = _sides(acquired, event, pair)
    return {
        "grd_before": len(before),
        "grd_after": len(after),
        "only_grd": len(_missing(passes, acquired, event, pair)),
    }


def _missing(passes: list[Pass], acquired: list[Pass], event: Event, pair: Days) -> list[Pass]:
    before, after = _sides(acquired, event, pair)
    return [p for p in before + after if not any(same_pass(p, q) for q in passes)]


def _tell(lost: set[Pass]) -> None:
    """Name the passes that were acquired and are not there."""
    named = [f"{p.track} {p.time:%Y-%m-%d} {p.platform}" for p in sorted(lost, key=lambda p: (p.track, p.time))]
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    logger.warning(
        "%d passes were acquired (GRD) and are not among the items: %s%s",
        *(len(lost), ", ".join(named[:_NAMED]), more),
    )


def _unknown(columns: dict[str, str]) -> dict[str, Any]:
    nothing = {"Int64": pd.NA, "float64": float("nan"), "datetime64[ns]": pd.NaT, "object": pd.NA}
    return {name: nothing[kind] for name, kind in columns.items()}


def _date(passes: list[Pass]) -> Any:
    return pd.Timestamp(passes[0].time).tz_localize(None).normalize() if passes else pd.NaT
