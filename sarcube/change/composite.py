"""What changed: composites of the dates before an event and of those after it, and their difference in dB."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from sarcube.change.dates import Dates, event_dates
from sarcube.change.layers import check_polarisations, date_attrs, event_attrs, grid_coords
from sarcube.change.levels import Plan, Statistic, change_block, count_block
from sarcube.change.median import Domain
from sarcube.change.planes import Array
from sarcube.errors import InputError, NoSceneError
from sarcube.events import BUFFERS, Event


def _blockwise(function: Callable[..., Array], powers: list[Any], plan: Plan, axes: dict[str, int], dtype: Any) -> Any:
    """Apply a function of blocks and plans to the dates (time, y, x) of each polarisation, lazily where they are.

    Of a Dask array only the chunks that hold a date of a window are read, each once; y and x keep their chunks.
    """
    lazy = next((power for power in powers if isinstance(power, da.Array)), None)
    if lazy is None:
        return function([[power] for power in powers], [plan] * len(powers), threads=None)
    blocks: list[Any] = []
    plans = []
    for number, power in enumerate(powers):
        array = power if isinstance(power, da.Array) else da.from_array(power, chunks=(-1, *lazy.chunks[1:]))
        array = array.rechunk({1: lazy.chunks[1], 2: lazy.chunks[2]})  # where they have others than the first one
        needed, held = _needed(array, plan)
        blocks += [needed, (f"time {number}", "y", "x")]
        plans.append(held)
    meta = np.empty((0,) * (len(axes) + 2), dtype)
    call = partial(_call, function=function, plans=plans)
    return da.blockwise(
        call,
        (*axes, "y", "x"),
        *blocks,
        new_axes=axes,
        concatenate=False,
        dtype=dtype,
        meta=meta,
        align_arrays=False,  # they are aligned; to look costs time, and a warning where each date is a chunk
    )


def _call(*blocks: Any, function: Callable[..., Array], plans: list[Plan]) -> Array:
    parts = [block if isinstance(block, list) else [block] for block in blocks]
    return function(parts, plans, threads=1)  # the scheduler has its own threads


def _needed(array: da.Array, plan: Plan) -> tuple[da.Array, Plan]:
    stops = np.cumsum(array.chunks[0])
    chunk_of = partial(np.searchsorted, stops, side="right")
    used = np.unique(chunk_of(np.concatenate(plan.windows)))
    if len(used) == len(stops):
        return array, plan
    starts = np.concatenate([[0], np.cumsum([array.chunks[0][chunk] for chunk in used])])
    shift = {int(chunk): int(starts[place] - stops[chunk] + array.chunks[0][chunk]) for place, chunk in enumerate(used)}
    windows = tuple(tuple(step + shift[int(chunk_of(step))] for step in window) for window in plan.windows)
    return array.blocks[used.tolist()], replace(plan, windows=windows)


def _plan(pairs: Sequence[Dates], statistic: Statistic, domain: Domain, min_valid: int) -> Plan:
    """Name every window once, however many composites share it."""
    windows: dict[tuple[int, ...], int] = {}
    places = [
        tuple(windows.setdefault(tuple(side.tolist()), len(windows)) for side in (dates.before, dates.after))
        for dates in pairs
    ]
    return Plan(tuple(windows), tuple((a, b) for a, b in places), statistic, domain, int(min_valid))


def _powers(cube: xr.Dataset, polarisations: Sequence[str]) -> list[Any]:
    return [cube[polarisation].transpose("time", "y", "x").data for polarisation in polarisations]


def composite(
    cube: xr.Dataset,
    event: Event,
    *,
    track: str | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    pre_steps: int | None = None,
    post_steps: int | None = None,
    polarisations: Sequence[str] = ("vv", "vh"),
    statistic: Statistic = "median",
    domain: Domain = "db",
    min_valid: int = 1,
) -> xr.DataArray:
    """Compare the ground before an event with the ground after it, on one track.

    Parameters
    ----------
    cube : xarray.Dataset
        Linear gamma0 power with dimensions (time, y, x) and `scene_track` along time.
    event : Event
        The windows are counted from its `pre_end` and `post_start`.
    track : str, optional
        Which track, such as "D164". May be left out where the cube holds one. Tracks are never mixed: each looks at
        a slope from another side.
    pre_days, post_days : float
        Length of the windows before and after, in days. The window before holds its far end and ends before
        `event.pre_end`; the one after begins after `event.post_start` and holds its far end.
    pre_steps, post_steps : int, optional
        Of a window's dates only so many, those nearest to the event: the 1 to 4 time steps of Boehm et al. (2022).
    polarisations : sequence of str
        Variables of the cube, in the order of the bands.
    statistic : {"median", "mean"}
        What stands for a window's dates.
    domain : {"db", "power"}
        What it is taken of. Medians differ where the number of valid dates is even: the mean of the two middle values
        in dB, as Earth Engine and so the published networks have it, or in power, which is higher by 0.26 dB for
        2 dates, 0.08 for 4 and 0.015 for 10 (gamma-distributed speckle of 4.4 looks). Means always do.
    min_valid : int
        Fewest valid dates that a window must have at a pixel; with fewer the pixel is NaN.

    Returns
    -------
    xarray.DataArray, (band, y, x), float32, dB
        Bands "vv_post", "vh_post", "vv_diff", "vh_diff" for the default polarisations; a diff is after minus before,
        so that what turned brighter is positive. NaN where a window has too few valid dates. `attrs` names the
        track, the event, the windows, the dates used and the radiometry. Lazy where the cube is, with the cube's own
        chunks of y and x; chunks without a date of the windows are not read.

    Raises
    ------
    TrackError
        If the track is not in the cube, or the cube holds several and none is named.
    NoSceneError
        If a window holds no scene of the track, or fewer than the steps asked for.
    BandError
        If a polarisation is not in the cube.
    AreaError
        If the event's box lies outside the cube.
    InputError
        If an option cannot be used as it is.

    Notes
    -----
    A date counts at a pixel where its power is finite and above zero; a polarisation that a date lacks (NaN
    throughout) does not count for that polarisation alone. How many counted, `dates_used` says. The median composite is
    that of Nava et al. (2024; 2026, GMD 19, 167, section 3), whose ten pairs of windows `composites` makes at once.
    """
    _check_options(cube, polarisations, statistic, domain, min_valid)
    windows = {"pre_days": pre_days, "post_days": post_days}
    dates = event_dates(
        cube,
        event,
        track=track,
        pre_days=pre_days,
        post_days=post_days,
        pre_steps=pre_steps,
        post_steps=post_steps,
    )
    plan = _plan([dates], statistic, domain, min_valid)
    axes = {"buffer": 1, "band": 2 * len(polarisations)}
    bands = _blockwise(change_block, _powers(cube, polarisations), plan, axes, np.float32)[0]
    attrs = {**_attrs(cube, event, polarisations, plan), **date_attrs(cube, dates), **windows}
    coords = {"band": _labels(polarisations), **grid_coords(cube)}
    return xr.DataArray(bands, dims=("band", "y", "x"), coords=coords, attrs=attrs, name="change")


def composites(
    cube: xr.Dataset,
    event: Event,
    *,
    buffers: Sequence[tuple[float, float]] = BUFFERS,
    track: str | None = None,
    polarisations: Sequence[str] = ("vv", "vh"),
    statistic: Statistic = "median",
    domain: Domain = "db",
    min_valid: int = 1,
) -> xr.DataArray:
    """Make the composites of several pairs of windows, reading each chunk of the cube once for all of them.

    Parameters
    ----------
    cube, event, track, polarisations, statistic, domain, min_valid
        As `composite` takes them.
    buffers : sequence of (float, float)
        Days before and days after the event of every pair. By default the ten of Nava et al. (2024; 2026, GMD 19,
        167, section 3), from 365 and 12 to 60 and 60.

    Returns
    -------
    xarray.DataArray, (buffer, band, y, x), float32, dB
        `buffer` is named after the days, such as "60-12": `stacks.sel(buffer="60-12")` is what `composite` returns for
        60 and 12, to the bit. Coordinates along it: `pre_days` and `post_days`, and `pre_count` and `post_count`, the
        number of dates in the windows. Lazy where the cube is.

    Raises
    ------
    NoSceneError
        If a window of a pair holds no scene of the track: which pairs, and what to leave out.
    TrackError, BandError, AreaError, InputError
        As `composite` raises them.
    """
    _check_options(cube, polarisations, statistic, domain, min_valid)
    pairs = _check_buffers(buffers)
    dates = _dates_of(cube, event, track, pairs)
    plan = _plan(list(dates.values()), statistic, domain, min_valid)
    axes = {"buffer": len(pairs), "band": 2 * len(polarisations)}
    bands = _blockwise(change_block, _powers(cube, polarisations), plan, axes, np.float32)
    along = {
        "pre_days": [pre for pre, _ in pairs.values()],
        "post_days": [post for _, post in pairs.values()],
        "pre_count": [len(used.before) for used in dates.values()],
        "post_count": [len(used.after) for used in dates.values()],
    }
    coords: dict[Hashable, Any] = {
        "buffer": list(pairs),
        **{name: ("buffer", values) for name, values in along.items()},
        "band": _labels(polarisations),
        **grid_coords(cube),
    }
    attrs = {**_attrs(cube, event, polarisations, plan), "track": next(iter(dates.values())).track}
    return xr.DataArray(bands, dims=("buffer", "band", "y", "x"), coords=coords, attrs=attrs, name="change")


def dates_used(
    cube: xr.Dataset,
    event: Event,
    *,
    track: str | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    pre_steps: int | None = None,
    post_steps: int | None = None,
    polarisations: Sequence[str] = ("vv", "vh"),
) -> xr.DataArray:
    """Count, pixel by pixel, the valid dates that a composite is made of.

    Parameters
    ----------
    cube, event, track, pre_days, post_days, pre_steps, post_steps, polarisations
        As `composite` takes them.

    Returns
    -------
    xarray.DataArray, (band, y, x), uint16
        Bands "vv_pre", "vh_pre", "vv_post", "vh_post" for the default polarisations: the dates of that window at which
        that polarisation is finite and above zero. Lazy where the cube is.

    Raises
    ------
    TrackError, NoSceneError, BandError, AreaError, InputError
        As `composite` raises them.
    """
    _check_options(cube, polarisations, "median", "db", 1)
    windows = {"pre_days": pre_days, "post_days": post_days}
    dates = event_dates(
        cube,
        event,
        track=track,
        pre_days=pre_days,
        post_days=post_days,
        pre_steps=pre_steps,
        post_steps=post_steps,
    )
    plan = _plan([dates], "median", "db", 1)
    axes = {"band": 2 * len(polarisations)}
    counts = _blockwise(count_block, _powers(cube, polarisations), plan, axes, np.uint16)
    attrs = {"long_name": "number of valid dates", "units": "1", **event_attrs(cube, event), **date_attrs(cube, dates)}
    coords = {"band": [f"{p}_{part}" for part in ("pre", "post") for p in polarisations], **grid_coords(cube)}
    return xr.DataArray(counts, dims=("band", "y", "x"), coords=coords, attrs={**attrs, **windows}, name="dates_used")


def _dates_of(
    cube: xr.Dataset, event: Event, track: str | None, pairs: dict[str, tuple[float, float]]
) -> dict[str, Dates]:
    found: dict[str, Dates] = {}
    empty: dict[str, str] = {}
    for name, (pre, post) in pairs.items():
        try:
            found[name] = event_dates(cube, event, track=track, pre_days=pre, post_days=post)
        except NoSceneError as error:
            empty[name] = str(error)
    if empty:
        raise NoSceneError(
            f"no scene for {len(empty)} of {len(pairs)} pairs of windows, {', '.join(empty)}: leave them out of "
            f"buffers=. The first: {next(iter(empty.values()))}"
        )
    return found


def _labels(polarisations: Sequence[str]) -> list[str]:
    return [f"{polarisation}_{part}" for part in ("post", "diff") for polarisation in polarisations]


def _attrs(cube: xr.Dataset, event: Event, polarisations: Sequence[str], plan: Plan) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        "long_name": "backscatter after the event, and its change",
        "units": "dB",
        **event_attrs(cube, event),
        "statistic": plan.statistic,
        "domain": plan.domain,
        "min_valid": plan.min_valid,
    }
    held = {cube[polarisation].attrs.get("radiometry") for polarisation in polarisations}
    if len(held) == 1 and None not in held:
        attrs["radiometry"] = f"{held.pop()}, dB"
    return attrs


def _check_buffers(buffers: Sequence[tuple[float, float]]) -> dict[str, tuple[float, float]]:
    try:
        pairs = {f"{pre:g}-{post:g}": (float(pre), float(post)) for pre, post in buffers}
    except (TypeError, ValueError) as error:
        raise InputError(f"buffers must be pairs of days, such as [(60, 12), (12, 12)], not {buffers!r}") from error
    if not pairs or len(pairs) != len(buffers):
        raise InputError(f"buffers must be one pair of days or more, each once, not {buffers!r}")
    return pairs


def _check_options(cube: xr.Dataset, polarisations: Sequence[str], statistic: str, domain: str, min_valid: int) -> None:
    check_polarisations(cube, polarisations)
    if statistic not in ("median", "mean"):
        raise InputError(f'statistic must be "median" or "mean", not {statistic!r}')
    if domain not in ("db", "power"):
        raise InputError(f'domain must be "db" or "power", not {domain!r}')
    if not (isinstance(min_valid, (int, np.integer)) and min_valid >= 1):
        raise InputError(f"min_valid must be a whole number of dates >= 1, not {min_valid!r}")
