"""A place's backscatter over time, with the event's date."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from sarcube.acquisition.scenes import POLARISATIONS
from sarcube.change.dates import only_track, tracks_of
from sarcube.cube.geometry.ground import geobox_of
from sarcube.cube.track import select_track
from sarcube.errors import AreaError, BandError, InputError
from sarcube.events import Event
from sarcube.plotting.maps import DPI, PASSES, draw_stamp

# Okabe & Ito's colour-blind safe palette; six colours and five shapes make thirty pairs.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v")
_EVENT = "#000000"
_WIDTH, _ROW = 11.0, 2.6  # inches
_TICKS = 9  # dates on the axis at most: more would touch
_FEWEST = 4  # and at least: with five, Matplotlib finds no interval for four years, and warns


def plot_time_series(
    cube: xr.Dataset,
    *,
    point: tuple[float, float],
    radius: float = 50.0,
    track: str | None = None,
    event: Event | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the backscatter of a place over time, and when the event was.

    Parameters
    ----------
    cube : xarray.Dataset
        Linear power, one variable per polarisation (vv, vh, hh, hv), (time, y, x), with `scene_track` along time.
    point : (longitude, latitude)
        The place, degrees, WGS 84.
    radius : float
        Metres. Pixels count whose centres lie within it, and the one that holds the point.
    track : str, optional
        Such as "D164"; by default every track of the cube, each a line of its own.
    event : Event, optional
        Drawn as a line at its time, or as a span from its `pre_end` to its `post_start`.
    title : str, optional
        By default the place, and the event's name.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per polarisation: the mean power of the pixels, then dB; a line per track. A date that has no valid
        pixel there is a gap in the line. Of a lazy cube only the chunks around the place are computed. Where the
        cube's `attrs` say that it is simulated, so does the figure.

    Raises
    ------
    AreaError
        If the place is outside the cube.
    BandError
        If the cube holds no polarisation.
    TrackError
        If the track is not in the cube.
    NoSceneError
        If the cube holds no scene.
    InputError
        If the place is not on the globe, the radius is not above zero, or the cube has no grid with a CRS.

    Notes
    -----
    Powers are averaged, not decibels: the mean of dB is lower, by 0.51 dB for gamma-distributed speckle of 4.4
    looks. A pixel is valid where its power is finite and above zero.
    """
    held = [name for name in POLARISATIONS if name in cube]
    if not held:
        raise BandError(
            f"a time series needs a polarisation ({', '.join(POLARISATIONS)}), and the cube holds "
            f"{', '.join(map(str, cube)) or 'nothing'}: load it with sc.load"
        )
    tracks = tracks_of(cube) if track is None and cube.sizes["time"] else [only_track(cube, track)]
    window, inside = _around(cube, point, radius)
    shown = window["scene_track"].isin(tracks).values
    series = _mean_db(window[held].isel(time=shown), inside)

    figure = Figure(figsize=(_WIDTH, 1.6 + _ROW * len(held)), dpi=DPI, layout="constrained")
    figure.suptitle(title or _title(point, event), fontsize=14, weight="bold")
    if cube.attrs.get("simulated"):
        draw_stamp(figure)
    rows = figure.subplots(len(held), 1, sharex=True, squeeze=False)[:, 0].tolist()
    _draw_lines(rows, series, tracks)
    for ax, polarisation in zip(rows, held, strict=True):
        _finish(ax, f"{polarisation.upper()} {cube[polarisation].attrs.get('radiometry', 'backscatter')} (dB)")
        if event is not None:
            _draw_event(ax, event)
    rows[-1].set_xlabel("date (UTC)", fontsize=10)
    pixels = int(inside.sum())
    rows[0].set_title(f"mean power of {pixels} {'pixel' if pixels == 1 else 'pixels'} within {radius:g} m", fontsize=11)
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=10, frameon=False)
    return figure


def _around(cube: xr.Dataset, point: tuple[float, float], radius: float) -> tuple[xr.Dataset, NDArray[np.bool_]]:
    """Cut out the pixels around a place; return them and which of them count, (y, x)."""
    try:
        longitude, latitude = (float(value) for value in point)
    except (TypeError, ValueError) as error:
        raise InputError(f"point must be (longitude, latitude) in degrees, not {point!r}") from error
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise InputError(f"point must be (longitude, latitude) in degrees, not {point!r}: are they exchanged?")
    if not 0 < radius < np.inf:
        raise InputError(f"radius must be a number of metres > 0, not {radius!r}")
    geobox = geobox_of(cube)
    # Metres from the place, whatever the cube's CRS.
    local = CRS.from_dict({"proj": "aeqd", "lon_0": longitude, "lat_0": latitude, "datum": "WGS84", "units": "m"})
    to_cube = Transformer.from_crs(local, CRS.from_user_input(geobox.crs), always_xy=True)
    column, row = ~geobox.affine * to_cube.transform(0.0, 0.0)
    rows, columns = geobox.shape
    if not (0 <= column < columns and 0 <= row < rows):
        west, south, east, north = geobox.geographic_extent.boundingbox
        raise AreaError(
            f"the place {longitude:.4f}, {latitude:.4f} (longitude, latitude) is outside the cube, which reaches from "
            f"{west:.4f}, {south:.4f} to {east:.4f}, {north:.4f}: choose another, or load the cube with a larger bbox"
        )
    left, bottom, right, top = to_cube.transform_bounds(-radius, -radius, radius, radius)
    corners = np.array([~geobox.affine * corner for corner in ((left, top), (right, bottom))])
    ends = np.vstack([corners, (column, row)]).clip(0, (columns - 1, rows - 1))
    first, last = np.floor(ends.min(axis=0)).astype(int), np.floor(ends.max(axis=0)).astype(int) + 1
    window = cube.isel(x=slice(first[0], last[0]), y=slice(first[1], last[1]))
    x, y = np.meshgrid(window["x"].values, window["y"].values)
    east_of, north_of = to_cube.transform(x, y, direction="INVERSE")
    inside = np.hypot(east_of, north_of) <= radius
    inside[int(row) - first[1], int(column) - first[0]] = True
    return window, inside


def _mean_db(power: xr.Dataset, inside: NDArray[np.bool_]) -> xr.Dataset:
    """Average valid power over the pixels that count, (time, y, x) -> (time,), dB; NaN where none is valid."""
    computed = power.compute()  # the window alone, and before any sum, so that chunks cannot change one
    result = computed[["scene_track"]]
    for name, values in computed.data_vars.items():
        pixels = values.transpose("time", "y", "x").values[:, inside].astype(np.float64)
        valid = np.isfinite(pixels) & (pixels > 0)
        count = valid.sum(axis=1)
        total = np.where(valid, pixels, 0).sum(axis=1)
        mean = np.divide(total, count, out=np.full(count.size, np.nan), where=count > 0)
        result[name] = ("time", 10 * np.log10(mean))
    return result


def _draw_lines(rows: Sequence[Axes], series: xr.Dataset, tracks: list[str]) -> None:
    """Draw a line per track on the panel of each polarisation."""
    pairs = islice(zip(cycle(_COLOURS), cycle(_MARKERS), strict=False), len(tracks))
    for track, (colour, marker) in zip(tracks, pairs, strict=True):
        one = select_track(series, track).sortby("time")
        side = f" ({PASSES[track[0]]})" if track[:1] in PASSES else ""
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6, "linewidth": 1.2}
        for ax, values in zip(rows, one.data_vars.values(), strict=True):
            ax.plot(one["time"].values, values.values, label=f"track {track}{side}", **style)


def _title(point: tuple[float, float], event: Event | None) -> str:
    longitude, latitude = point
    sides = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    place = f"{abs(latitude):.4f}°{sides[0]}, {abs(longitude):.4f}°{sides[1]}"
    return f"{event.name} · {place}" if event is not None else place


def _draw_event(ax: Axes, event: Event) -> None:
    """Draw when the event was; its name goes into the key, where it covers no date."""
    moments = event.last_before, event.first_after
    start, end = (float(date2num(moment)) for moment in moments)  # type: ignore[no-untyped-call]
    when = " to ".join(dict.fromkeys(f"{moment:%Y-%m-%d %H:%M}" for moment in moments))
    label = f"{event.name}, {when} UTC"
    if end > start:
        ax.axvspan(start, end, color=_EVENT, alpha=0.15, linewidth=0, label=label)
    else:
        ax.axvline(start, color=_EVENT, linewidth=1.6, linestyle="--", label=label)


def _finish(ax: Axes, label: str) -> None:
    ax.xaxis.set_major_locator(AutoDateLocator(minticks=_FEWEST, maxticks=_TICKS))  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))  # type: ignore[no-untyped-call]
    ax.set_ylabel(label, fontsize=10)
    ax.tick_params(labelsize=9)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
