"""When, on which direction and on which track the steps of a published landslide cube were taken."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from sarcube.acquisition.scenes import track_name
from sarcube.errors import InputError

logger = logging.getLogger(__name__)

Times = NDArray[np.datetime64]

_STATES = {"a": "ascending", "d": "descending", "ascending": "ascending", "descending": "descending"}
# A track comes again after 12 days, with two satellites after 6, to within seconds. Other tracks of the same direction
# come on other days; six tracks on, where only the far north sees both, 50 minutes later.
_REPEAT = np.timedelta64(6, "D")
_SAME_TRACK = np.timedelta64(15, "m")
_SAME_PASS = np.timedelta64(5, "m")
# Sentinel-1 has 175 relative orbits. From here on are groups of passes whose orbit nobody knows.
_UNKNOWN_ORBIT = 901


@dataclass(frozen=True)
class Passes:
    """The steps by time: `order` is where they are in the file; `known`, whether the orbits are relative orbits."""

    order: NDArray[np.intp]
    times: Times
    states: list[str]
    orbits: list[int]
    known: bool

    @property
    def tracks(self) -> list[str]:
        """Name of each step's track, such as "D164"; from "D901" on, groups of passes of an unknown orbit."""
        return [track_name(state, orbit) for state, orbit in zip(self.states, self.orbits, strict=True)]


def read_passes(
    published: xr.Dataset,
    *,
    orbit_state: str | Sequence[str] | None,
    relative_orbit: int | Sequence[int] | None,
    name: str,
) -> Passes:
    """Read the passes of a published cube from its coordinates along `timestep`, and from what the caller knows.

    Parameters
    ----------
    published : xarray.Dataset
    orbit_state, relative_orbit : optional
        Of all steps, or of each in the file's order.
    name : str
        The file's, for messages.

    Raises
    ------
    InputError
        If times or directions are missing, or what is given contradicts the file.
    """
    times = _times(published, name)
    order = np.argsort(times, kind="stable")
    times, published = times[order], published.isel(timestep=order)
    states = _states(published, orbit_state, name, order)
    orbits, known = _orbits(published, relative_orbit, times, states, name, order)
    passes = Passes(order, times, states, orbits, known)
    _warn_of_slices(passes)
    return passes


def _times(published: xr.Dataset, name: str) -> Times:
    if "timestep" not in published.coords or not published.sizes["timestep"]:
        raise InputError(f"{name} has no times along timestep")
    values = published["timestep"].to_numpy()
    try:
        if not np.issubdtype(values.dtype, np.datetime64):
            if values.dtype.kind in "biuf":
                raise InputError(f"{name} counts its time steps, {values[0]} and on, and says no times")
            values = (
                pd.DatetimeIndex(pd.to_datetime(values.astype(str), utc=True, format="ISO8601"))
                .tz_localize(None)
                .to_numpy()
            )
    except (pd.errors.ParserError, ValueError) as error:
        raise InputError(f"{name} has times that are none: {error}") from error
    times = values.astype("M8[ns]")
    if np.isnat(times).any():
        raise InputError(f"{name} has time steps without a time")
    return np.asarray(times)


def _per_step(given: Any, size: int, order: NDArray[np.intp], what: str) -> list[Any]:
    values = [given] * size if isinstance(given, str | int | np.integer) else list(given)
    if len(values) != size:
        raise InputError(f"{what} has {len(values)} values; expected one, or one for each of {size} time steps")
    # A sequence is in the file's order.
    return values if isinstance(given, str | int | np.integer) else [values[i] for i in order]


def _states(published: xr.Dataset, given: str | Sequence[str] | None, name: str, order: NDArray[np.intp]) -> list[str]:
    size = published.sizes["timestep"]
    found = published.get("sat:orbit_state")
    if found is None and given is None:
        raise InputError(
            f'{name} does not say "sat:orbit_state"; give orbit_state="ascending" or "descending", or one per time step'
        )
    states = None if given is None else [_state(v, name) for v in _per_step(given, size, order, "orbit_state")]
    if found is not None:
        said = [_state(value, name) for value in np.broadcast_to(found.values, size)]
        if states is not None and states != said:
            raise InputError(f"orbit_state= contradicts {name}, which says {', '.join(said)}")
        states = said
    assert states is not None
    return states


def _state(value: Any, name: str) -> str:
    text = (value.decode() if isinstance(value, bytes) else str(value)).strip().lower()
    if text not in _STATES:
        raise InputError(f'"{value}" is no pass direction, in {name}; expected "ascending", "descending", "a" or "d"')
    return _STATES[text]


def _orbits(
    published: xr.Dataset,
    given: int | Sequence[int] | None,
    times: Times,
    states: Sequence[str],
    name: str,
    order: NDArray[np.intp],
) -> tuple[list[int], bool]:
    """Return the relative orbit of each step and whether it is one: else a group of passes of the same track."""
    size = published.sizes["timestep"]
    found = published.get("sat:relative_orbit")
    if given is None and found is None:
        return _groups(times, states), False
    values = _per_step(given, size, order, "relative_orbit") if given is not None else None
    if found is not None:
        said = [int(value) for value in np.broadcast_to(found.values, size)]
        if values is not None and values != said:
            raise InputError(f"relative_orbit= contradicts {name}, which says {', '.join(map(str, said))}")
        values = said
    assert values is not None
    if not all(1 <= int(value) <= 175 for value in values):
        raise InputError(f"relative orbits of Sentinel-1 are 1 to 175, not {values}")
    return [int(value) for value in values], True


def _groups(times: Times, states: Sequence[str]) -> list[int]:
    """Number the passes of each direction that come again after whole multiples of six days, from 901."""
    groups: dict[str, list[np.datetime64]] = {state: [] for state in states}
    numbers = []
    for time, state in zip(times, states, strict=True):
        firsts = groups[state]
        beside = [(time - first) % _REPEAT for first in firsts]
        known = [number for number, gap in enumerate(beside) if min(gap, _REPEAT - gap) <= _SAME_TRACK]
        if not known:
            known = [len(firsts)]
            firsts.append(time)
        numbers.append(_UNKNOWN_ORBIT + known[0])
    return numbers


def _warn_of_slices(passes: Passes) -> None:
    times, tracks = passes.times, passes.tracks
    for track in sorted(set(tracks)):
        here = times[np.array(tracks) == track]
        for before, after in pairwise(here):
            if after - before <= _SAME_PASS:
                logger.warning("%s and %s on track %s are one pass, counted as two dates", before, after, track)
