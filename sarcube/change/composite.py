"""What changed: the median of the dates before an event, the median of those after it, and their difference in dB.

One kernel goes over a chunk once. For a strip of pixels it decides which dates are valid, takes both medians, turns
them into dB and writes the bands; nothing but the bands is ever as large as the chunk.
"""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

import dask.array as da
import numba
import numpy as np
import rioxarray  # noqa: F401 (gives cubes their .rio)
import xarray as xr
from pyproj import Transformer

from sarcube.change.median import STRIP, Array, median_network, order_strip
from sarcube.cube.track import select_track
from sarcube.errors import AreaError, BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

Domain: TypeAlias = Literal["db", "power"]

_NEAREST = 3  # dates named in the message when a window is empty

# Cephes logf (S. Moshier): ln(1 + x) - x + x²/2 = x³ · P(x) for sqrt(1/2) <= 1 + x < sqrt(2), highest power first.
_LOG_SERIES = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8 = (np.float32(p) for p in _LOG_SERIES)
_ONE, _HALF, _SQRT2 = np.float32(1.0), np.float32(0.5), np.float32(np.sqrt(2.0))
_DB_PER_NEPER, _DB_PER_OCTAVE = np.float32(10.0 / np.log(10.0)), np.float32(10.0 * np.log10(2.0))
_TINY = np.finfo(np.float32).tiny
_INFINITY, _ZERO, _MISSING = np.float32(np.inf), np.float32(0.0), np.float32(np.nan)


@numba.njit(nogil=True, cache=True)
def _decibel_strip(power, bits, octaves, width):  # type: ignore[no-untyped-def]
    # 10 log10 in place, to 1e-6 of the value, written so that the processor does many pixels at once: its own log10
    # is called pixel by pixel. `bits` is the same memory as `power`. NaN passes through. Powers under 1.2e-38, which
    # no radar measures, count as 1.2e-38.
    for x in range(width):
        power[x] = _TINY if power[x] < _TINY else power[x]
    for x in range(width):
        octaves[x] = np.float32((bits[x] >> 23) - 127)
    for x in range(width):
        missing = power[x] != power[x]
        bits[x] = bits[x] if missing else (bits[x] & 0x007FFFFF) | 0x3F800000
    for x in range(width):
        mantissa = power[x]
        large = mantissa > _SQRT2
        m = (mantissa * _HALF if large else mantissa) - _ONE
        octave = octaves[x] + _ONE if large else octaves[x]
        series = _P0
        series = series * m + _P1
        series = series * m + _P2
        series = series * m + _P3
        series = series * m + _P4
        series = series * m + _P5
        series = series * m + _P6
        series = series * m + _P7
        series = series * m + _P8
        square = m * m
        neper = m + (series * m * square - _HALF * square)
        power[x] = _DB_PER_NEPER * neper + _DB_PER_OCTAVE * octave


@numba.njit(nogil=True, cache=True)
def _middle_strip(values, y, x0, width, network, geometric, min_valid, buffer, absent, middle):  # type: ignore[no-untyped-def]
    # As in median.py, with validity decided while loading. Logarithms keep the order, so dates are put in order as
    # power. The mean of two middle dB values is the dB of their geometric mean: one logarithm either way.
    dates = values.shape[0]
    absent[:] = 0
    for t in range(dates):
        row = values[t, y, x0 : x0 + width]
        target = buffer[t]
        for x in range(width):
            value = row[x]
            n = absent[x]
            valid = (value > _ZERO) & (value < _INFINITY)
            fill = _INFINITY if n & 1 == 0 else -_INFINITY
            target[x] = value if valid else fill
            absent[x] = n if valid else n + 1
    ordered = buffer[:dates]
    order_strip(ordered, network, width)
    lower = ordered[max(dates // 2 - 1, 0)]
    upper = ordered[dates // 2]
    for x in range(width):
        n = absent[x]
        one = upper[x] if dates & 1 else lower[x]
        two = np.sqrt(lower[x]) * np.sqrt(upper[x]) if geometric else _HALF * lower[x] + _HALF * upper[x]
        value = one if (dates - n) & 1 else two
        middle[x] = value if dates - n >= min_valid else _MISSING


@numba.njit(nogil=True, cache=True)
def _change_rows(before, after, networks, geometric, min_valid, post, diff):  # type: ignore[no-untyped-def]
    # (date, y, x) power before and after -> (y, x) dB after, and dB after minus before.
    _, height, length = before.shape
    buffer = np.empty((max(before.shape[0], after.shape[0]), STRIP), np.float32)
    absent = np.empty(STRIP, np.int32)
    octaves = np.empty(STRIP, np.float32)
    old = np.empty(STRIP, np.float32)
    new = np.empty(STRIP, np.float32)
    old_bits = old.view(np.int32)
    new_bits = new.view(np.int32)
    for y in range(height):
        for x0 in range(0, length, STRIP):
            width = min(STRIP, length - x0)
            _middle_strip(before, y, x0, width, networks[0], geometric, min_valid, buffer, absent, old)
            _middle_strip(after, y, x0, width, networks[1], geometric, min_valid, buffer, absent, new)
            _decibel_strip(old, old_bits, octaves, width)
            _decibel_strip(new, new_bits, octaves, width)
            post_row = post[y, x0 : x0 + width]
            diff_row = diff[y, x0 : x0 + width]
            for x in range(width):
                post_row[x] = new[x]
            for x in range(width):
                diff_row[x] = new[x] - old[x]


def _change_block(*powers: Array, dates_before: int, domain: Domain, min_valid: int) -> Array:
    # Each (date, y, x), those before the event first; -> (band, y, x): all post bands, then all diff bands.
    count, dates = len(powers), powers[0].shape[0]
    out = np.empty((2 * count, *powers[0].shape[1:]), np.float32)
    networks = median_network(dates_before), median_network(dates - dates_before)
    for i, power in enumerate(powers):
        values = power.astype(np.float32, copy=False)
        before, after = values[:dates_before], values[dates_before:]
        _change_rows(before, after, networks, domain == "db", min_valid, out[i], out[count + i])
    return out


def _change(powers: list[Any], **settings: Any) -> Any:
    if not any(isinstance(power, da.Array) for power in powers):
        return _change_block(*powers, **settings)
    # `concatenate` joins the chunks of one column of time inside the task, so that y and x keep their chunks.
    blocks = [argument for power in powers for argument in (power, "tyx")]
    return da.blockwise(
        _change_block,
        "byx",
        *blocks,
        new_axes={"b": 2 * len(powers)},
        concatenate=True,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
        **settings,
    )


def composite(
    cube: xr.Dataset,
    event: Event,
    *,
    track: str | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    polarisations: Sequence[str] = ("vv", "vh"),
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
        Length of the windows before and after, in days. 60 and 12 are the widest of the source papers' pairs.
    polarisations : sequence of str
        Variables of the cube, in the order of the bands.
    domain : {"db", "power"}
        What the median is taken of. They differ where the number of valid dates is even: the mean of the two middle
        values in dB, as Earth Engine and so the published networks have it, or in power, which is higher by
        0.26 dB for 2 dates, 0.08 for 4 and 0.015 for 10 (gamma-distributed speckle of 4.4 looks).
    min_valid : int
        Fewest valid dates that a window must have at a pixel; with fewer the pixel is NaN.

    Returns
    -------
    xarray.DataArray, (band, y, x), float32, dB
        Bands "vv_post", "vh_post", "vv_diff", "vh_diff" for the default polarisations; a diff is after minus before,
        so that what turned brighter is positive. NaN where a window has too few valid dates. `attrs` names the
        track, the event, the windows, the dates used and the radiometry. Lazy where the cube is, with the cube's own
        chunks of y and x; dates outside the windows are not read.

    Raises
    ------
    TrackError
        If the track is not in the cube, or the cube holds several and none is named.
    NoSceneError
        If a window holds no scene of the track.
    BandError
        If a polarisation is not in the cube.
    AreaError
        If the event's box lies outside the cube.
    InputError
        If an option cannot be used as it is.

    Notes
    -----
    A date counts at a pixel where its power is finite and above zero; a polarisation that a date lacks (NaN
    throughout) does not count for that polarisation alone.
    """
    _check_options(cube, polarisations, domain, min_valid)
    _check_area(cube, event)
    name = _only_track(cube) if track is None else track
    scenes = select_track(cube[list(polarisations)], name)
    before, after = _windows(scenes, name, event, pre_days, post_days)
    used = scenes.isel(time=np.concatenate([before, after])).transpose("time", "y", "x")
    bands = _change(
        [used[p].data for p in polarisations], dates_before=len(before), domain=domain, min_valid=int(min_valid)
    )
    labels = [f"{p}_{part}" for part in ("post", "diff") for p in polarisations]
    times = scenes["time"].values
    attrs: dict[str, Any] = {
        "long_name": "backscatter after the event, and its change",
        "units": "dB",
        "track": name,
        "event": event.name,
        "event_time": f"{event.last_before:%Y-%m-%dT%H:%M:%SZ}",
        "pre_days": pre_days,
        "post_days": post_days,
        "dates_pre": [_day(t) for t in np.sort(times[before])],
        "dates_post": [_day(t) for t in np.sort(times[after])],
        "domain": domain,
    }
    held = {cube[p].attrs.get("radiometry") for p in polarisations}
    if len(held) == 1 and None not in held:
        attrs["radiometry"] = f"{held.pop()}, dB"
    if "simulated" in cube.attrs:
        attrs["simulated"] = cube.attrs["simulated"]
    coords = {"band": labels, **_grid(cube)}
    return xr.DataArray(bands, dims=("band", "y", "x"), coords=coords, attrs=attrs, name="change")


def _check_area(cube: xr.Dataset, event: Event) -> None:
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


def tracks_of(cube: xr.Dataset) -> list[str]:
    """Return the tracks of a cube's scenes, sorted."""
    return sorted({str(track) for track in cube["scene_track"].values})


def _only_track(cube: xr.Dataset) -> str:
    held = tracks_of(cube)
    if not held:
        raise NoSceneError("the cube holds no scene")
    if len(held) > 1:
        raise TrackError(f'the cube holds several tracks, {", ".join(held)}; name one, such as track="{held[0]}"')
    return held[0]


def _windows(scenes: xr.Dataset, track: str, event: Event, pre_days: float, post_days: float) -> tuple[Array, Array]:
    times = scenes["time"].values
    start, end = (_naive(t) for t in event.pre_window(pre_days))
    before = np.flatnonzero((times >= start) & (times < end))
    if before.size == 0:
        raise _no_scene(times, track, f"in the {pre_days:g} days before", event, (start, end), "pre_days")
    start, end = (_naive(t) for t in event.post_window(post_days))
    after = np.flatnonzero((times > start) & (times <= end))
    if after.size == 0:
        raise _no_scene(times, track, f"in the {post_days:g} days after", event, (start, end), "post_days")
    return before, after


def _no_scene(
    times: Array, track: str, which: str, event: Event, window: tuple[np.datetime64, np.datetime64], option: str
) -> NoSceneError:
    away = np.maximum(window[0] - times, times - window[1])
    nearest = ", ".join(_day(t) for t in np.sort(times[np.argsort(away, kind="stable")[:_NEAREST]]))
    return NoSceneError(
        f'track {track} has no scene {which} "{event.name}" ({_day(window[0])} to {_day(window[1])}); '
        f"the nearest dates of this track in the cube are {nearest}: widen {option}, or choose another track"
    )


def _check_options(cube: xr.Dataset, polarisations: Sequence[str], domain: str, min_valid: int) -> None:
    if isinstance(polarisations, str) or not polarisations:
        raise InputError(f'polarisations must be a sequence such as ("vv", "vh") or ("vv",), not {polarisations!r}')
    if domain not in ("db", "power"):
        raise InputError(f'domain must be "db" or "power", not {domain!r}')
    if not min_valid >= 1:
        raise InputError(f"min_valid must be a number of dates >= 1, not {min_valid!r}")
    held = [str(name) for name, values in cube.data_vars.items() if set(values.dims) == {"time", "y", "x"}]
    for polarisation in polarisations:
        if polarisation not in held:
            raise BandError(
                f'polarisation "{polarisation}" is not in this cube; it holds {", ".join(held) or "none"}'
                + (f": pass polarisations={tuple(held)!r}" if held else "")
            )


def _grid(cube: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    names = ("y", "x", cube.rio.grid_mapping)
    return {name: cube[name] for name in names if name in cube.coords}


def _naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")  # both are UTC; NumPy's times carry no zone


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))


def _box(box: tuple[float, float, float, float]) -> str:
    return ", ".join(f"{v:.4f}" for v in box)
