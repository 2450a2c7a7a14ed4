"""Which dates of a track lie before an event, and which after it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import rioxarray  # noqa: F401 (gives cubes their .rio)
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer

from sarcube.errors import AreaError, InputError, NoSceneError, TrackError
from sarcube.events import Event

Steps: TypeAlias = NDArray[np.intp]

_NEAREST = 3  # dates named in the message when a window is empty


@dataclass(frozen=True)
class Dates:
    """The dates of one track around an event.

    Attributes
    ----------
    track : str
        Such as "D164".
    before, after : ndarray of intp
        Places along the cube's `time` of the dates in the window before the event and in the one after it, from the
        earliest to the latest; one at least in each.
    """

    track: str
    before: Steps
    after: Steps


def tracks_of(cube: xr.Dataset) -> list[str]:
    """Return the tracks of a cube's scenes, sorted."""
    return sorted({str(track) for track in cube["scene_track"].values})


def only_track(cube: xr.Dataset, track: str | None) -> str:
    """Return the track that was named, or the only one that the cube holds.

    Raises
    ------
    TrackError
        If the track is not in the cube, or several are and none was named.
    NoSceneError
        If the cube holds no scene.
    """
    held = tracks_of(cube)
    if track is None:
        if not held:
            raise NoSceneError("the cube holds no scene")
        if len(held) > 1:
            raise TrackError(f'the cube holds several tracks, {", ".join(held)}; name one, such as track="{held[0]}"')
        return held[0]
    if track not in held:
        raise TrackError(f'track "{track}" is not in this cube; it holds {", ".join(held) or "none"}')
    return track


def event_dates(
    cube: xr.Dataset,
    event: Event,
    *,
    track: str | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    pre_steps: int | None = None,
    post_steps: int | None = None,
) -> Dates:
    """Choose the dates of a track in the windows before and after an event.

    Parameters
    ----------
    cube : xarray.Dataset
        With `scene_track` along time.
    event : Event
    track : str, optional
        May be left out where the cube holds one.
    pre_days, post_days : float
        Lengths of the windows. The one before holds its far end and not `event.pre_end`, the one after not
        `event.post_start` and its far end.
    pre_steps, post_steps : int, optional
        Of a window's dates only so many, those nearest to the event.

    Returns
    -------
    Dates

    Raises
    ------
    TrackError
        If the track is not in the cube, or several are and none was named.
    NoSceneError
        If a window holds no date of the track, or fewer than the steps asked for.
    AreaError
        If the event's box lies outside the cube.
    InputError
        If a length is not above zero, or a number of steps not a whole one above zero.
    """
    check_area(cube, event)
    name = only_track(cube, track)
    steps = np.flatnonzero(cube["scene_track"].values.astype(str) == name)
    steps = steps[np.argsort(cube["time"].values[steps], kind="stable")]
    times = cube["time"].values[steps]

    def chosen(inside: NDArray[np.bool_], side: str, days: float, window: Any, wanted: int | None) -> Steps:
        found = steps[inside]
        if wanted is not None and not (isinstance(wanted, (int, np.integer)) and wanted >= 1):
            raise InputError(f"{side}_steps must be a whole number of dates >= 1, not {wanted!r}")
        if found.size < (wanted or 1):
            raise _too_few(times, name, side, days, event, window, found.size, wanted or 1)
        if wanted is None:
            return found
        return found[-wanted:] if side == "pre" else found[:wanted]

    start, end = window = tuple(naive_utc(t) for t in event.pre_window(pre_days))
    before = chosen((times >= start) & (times < end), "pre", pre_days, window, pre_steps)
    start, end = window = tuple(naive_utc(t) for t in event.post_window(post_days))
    after = chosen((times > start) & (times <= end), "post", post_days, window, post_steps)
    return Dates(name, before, after)


def _too_few(
    times: Any, track: str, side: str, days: float, event: Event, window: Any, found: int, wanted: int
) -> NoSceneError:
    away = np.maximum(window[0] - times, times - window[1])
    nearest = ", ".join(day(t) for t in np.sort(times[np.argsort(away, kind="stable")[:_NEAREST]]))
    which = f"in the {days:g} days {'before' if side == 'pre' else 'after'}"
    held = "no scene" if not found else f"{found} of the {wanted} scenes asked for"
    return NoSceneError(
        f'track {track} has {held} {which} "{event.name}" ({day(window[0])} to {day(window[1])}); '
        f"the nearest dates of this track in the cube are {nearest}: widen {side}_days, or choose another track"
    )


def check_area(cube: xr.Dataset, event: Event) -> None:
    """Refuse an event whose box lies outside the cube: AreaError."""
    x, y = cube["x"].values, cube["y"].values
    to_degrees = Transformer.from_crs(cube.rio.crs, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(x.min(), y.min(), x.max(), y.max())
    box_west, box_south, box_east, box_north = event.bbox
    # Either box may cross the antimeridian: one western edge must lie within the other's extent, going east.
    beside = (box_west - west) % 360 > (east - west) % 360 and (west - box_west) % 360 > (box_east - box_west) % 360
    if beside or box_south > north or box_north < south:
        raise AreaError(
            f'event "{event.name}" (west, south, east, north {_box(event.bbox)}) lies outside the cube '
            f"({_box((west, south, east, north))}); load the cube with bbox=event.bbox"
        )


def day(moment: np.datetime64) -> str:
    """Return a moment's date, such as 2022-02-25."""
    return str(moment.astype("datetime64[D]"))


def naive_utc(moment: datetime) -> np.datetime64:
    """Return a moment as the times of a cube have it: UTC, without saying so."""
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _box(box: tuple[float, float, float, float]) -> str:
    return ", ".join(f"{v:.4f}" for v in box)
