"""A cut through the ground along one look line: why there is layover and shadow, and where."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from numpy.typing import NDArray

from sarcube.cube.geometry.ground import geobox_of, pixel_size
from sarcube.errors import AreaError, InputError
from sarcube.plotting.maps import DPI, PASSES
from sarcube.plotting.track import layers_of, look_azimuth
from sarcube.sar.look_codes import NO_DATA

Floats = NDArray[np.float64]
Flags = NDArray[np.uint8]

_NEEDED = {
    "elevation": "sc.add_terrain(cube, dem)",
    "distortion_parts": "sc.add_geometry(cube, split=True)",
    "incidence_angle": "sc.add_geometry(cube, split=True)",
    "sensor_azimuth": "sc.add_geometry(cube, split=True)",
}
_ACTIVE_SHADOW, _ACTIVE_LAYOVER, _PASSIVE_SHADOW, _PASSIVE_LAYOVER = 1, 2, 4, 8
_LAYOVER = {
    _ACTIVE_LAYOVER: ("#C25E00", "layover, active: rises more steeply than the wavefront"),
    _PASSIVE_LAYOVER: ("#F7C873", "layover, passive: as far from the radar as other ground"),
}
_SHADOW = {
    _ACTIVE_SHADOW: ("#4B1A63", "shadow, active: falls more steeply than the beam"),
    _PASSIVE_SHADOW: ("#B48CC8", "shadow, passive: behind what hides it"),
}
_GROUND, _UNLIT, _BEAM, _FRONT = "#DDD8CE", "#5A5A66", "#0072B2", "#000000"
_DASHES = (0, (5, 2))
_BEAMS = 9
_WIDTH, _LEFT, _RIGHT = 11.0, 0.8, 0.25  # inches: of the figure, and left free beside the picture
_TITLE, _LABEL, _KEY = 0.55, 0.6, 1.35  # inches: above the picture, for its axis, for the key


class _Profile(NamedTuple):
    """Ground along a look line, away from the sensor: arrays (sample,), angles in radians."""

    distance: Floats  # metres from the first sample
    height: Floats  # metres
    parts: Flags
    incidence: float

    @property
    def slant(self) -> Floats:
        """Distance from the radar up to a constant, metres: the order of arrival."""
        slant: Floats = self.distance * np.sin(self.incidence) - self.height * np.cos(self.incidence)
        return slant

    @property
    def look(self) -> Floats:
        """Place across the beam, metres: the order of look angles."""
        look: Floats = self.distance * np.cos(self.incidence) + self.height * np.sin(self.incidence)
        return look


def plot_cross_section(
    cube: xr.Dataset,
    *,
    at: tuple[float, float],
    track: str | None = None,
    length: float = 2000.0,
    title: str | None = None,
) -> Figure:
    """Draw the ground along the look line through a place: beams, wavefronts, layover and shadow.

    Parameters
    ----------
    cube : xarray.Dataset
        With elevation (y, x), and incidence_angle, sensor_azimuth and distortion_parts (track, y, x), in a projected
        CRS.
    at : (x, y)
        A place on the line, in the cube's CRS.
    track : str, optional
        Such as "D168"; may be left out where the cube has one track.
    length : float
        Metres of ground at most, half of it on each side of the place; holes in the DEM end the line sooner.
    title : str, optional
        By default the track, its incidence angle and the direction of the look.

    Returns
    -------
    matplotlib.figure.Figure
        Height and distance at one scale, so that angles are true. Layover and shadow are the cube's own, read at the
        nearest pixel; heights are interpolated linearly. Beams and wavefronts are straight, at the line's mean
        incidence angle; R and p as in `sarcube.sar.layover_shadow_mask`.

    Raises
    ------
    AreaError
        If the place is outside the cube, or its elevation is no data.
    BandError
        If a layer is missing.
    TrackError
        If the track is not in the cube, or several are and none was named.
    InputError
        If the cube's grid is not projected with square pixels, or the length is less than four pixels.
    """
    track, layers = layers_of(cube, track, needed=_NEEDED)
    near = _around(layers, at, length)
    azimuth = look_azimuth(near, *at)
    profile = _profile(near, at, azimuth, length)
    low, high, span = float(profile.height.min()), float(profile.height.max()), float(profile.distance[-1])
    floor, ceiling = low - 0.1 * span, high + 0.12 * span
    height = (_WIDTH - _LEFT - _RIGHT) * (ceiling - floor) / span
    whole = height + _KEY + _LABEL + _TITLE
    figure = Figure(figsize=(_WIDTH, whole), dpi=DPI)
    side = f" ({PASSES[track[0]]})" if track[:1] in PASSES else ""
    figure.suptitle(title or f"Layover and shadow along one look line, track {track}{side}", fontsize=14, weight="bold")
    # Placed by hand: with equal scales a layout engine leaves the picture small, or cuts its labels off.
    wide = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    ax = figure.add_axes((_LEFT / _WIDTH, (_KEY + _LABEL) / whole, wide, height / whole))
    key = figure.add_axes((_LEFT / _WIDTH, 0, wide, _KEY / whole))
    ax.set(xlim=(0, span), ylim=(floor, ceiling), aspect="equal")
    _draw_beams(ax, profile, ceiling)
    _draw_unlit(ax, profile)
    ax.fill_between(profile.distance, floor, profile.height, color=_GROUND, linewidth=0, zorder=2)
    _draw_stretches(ax, profile, 0.024 * span, floor)
    ax.plot(profile.distance, profile.height, color="black", linewidth=1.2, zorder=4)
    _draw_wavefront(ax, profile)
    ax.set_xlabel(f"ground distance away from the radar (m), toward {azimuth:.0f}° from grid north", fontsize=10)
    ax.set_ylabel("height (m)", fontsize=10)
    _draw_key(key, profile)
    return figure


def _around(layers: xr.Dataset, at: tuple[float, float], length: float) -> xr.Dataset:
    """Cut out what a line of some length through a place can cross: nothing else is read."""
    step = pixel_size(geobox_of(layers))
    if length < 4 * step:
        raise InputError(f"a line of {length:g} m is too short to draw: length must be at least {4 * step:g} m")
    columns, rows = (
        np.flatnonzero(abs(layers[axis] - place) <= length / 2 + step) for axis, place in zip("xy", at, strict=True)
    )
    near = layers.isel(x=columns, y=rows)
    if near.sizes["x"] < 2 or near.sizes["y"] < 2:
        raise AreaError(f"the place {at[0]:.0f}, {at[1]:.0f} is not in the cube")
    return near


def _profile(near: xr.Dataset, at: tuple[float, float], azimuth: float, length: float) -> _Profile:
    """Sample the line through a place, a pixel apart, as far as heights are known without a gap."""
    step = pixel_size(geobox_of(near))
    count = int(length / 2 / step)
    along = step * np.arange(-count, count + 1)
    x = xr.DataArray(at[0] + along * np.sin(np.radians(azimuth)), dims="sample")
    y = xr.DataArray(at[1] + along * np.cos(np.radians(azimuth)), dims="sample")
    height = near["elevation"].interp(x=x, y=y).values.astype(float)
    unknown = np.flatnonzero(np.isnan(height))
    first = int(max(unknown[unknown < count], default=-1)) + 1
    last = int(min(unknown[unknown > count], default=height.size))
    if count in unknown or last - first < 2:
        raise AreaError(f"the cube has no elevation at {at[0]:.0f}, {at[1]:.0f}: choose a place inside the DEM")
    known = slice(first, last)
    line = {"x": x[known], "y": y[known]}
    parts = near["distortion_parts"].sel(line, method="nearest").values
    incidence = float(near["incidence_angle"].sel(line, method="nearest").mean())
    return _Profile(along[known] - along[first], height[known], parts, float(np.radians(incidence)))


def _draw_beams(ax: Axes, profile: _Profile, ceiling: float) -> None:
    """Draw beams, evenly apart, from the top of the picture to the first ground that they meet."""
    sine, cosine = np.sin(profile.incidence), np.cos(profile.incidence)
    highest = np.maximum.accumulate(profile.look)
    for beam in np.linspace(highest[0], highest[-1], _BEAMS + 2)[1:-1]:
        hit = int(np.searchsorted(highest, beam))
        x, z = profile.distance[hit], profile.height[hit]
        back = min((ceiling - z) / cosine, x / sine)  # to the picture's top or left edge
        start = (x - back * sine, z + back * cosine)
        head: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 12, "shrinkA": 0, "shrinkB": 0}
        ax.add_patch(FancyArrowPatch(start, (x, z), color=_BEAM, linewidth=1.1, zorder=5, **head))
    label = ax.text(0.012, 0.98, "↖ to the radar", transform=ax.transAxes, va="top", color=_BEAM, fontsize=12)
    label.set(weight="bold", zorder=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})


def _draw_unlit(ax: Axes, profile: _Profile) -> None:
    """Shade the air between the ground in shadow and the beam that grazes what casts it."""
    sine, cosine = np.sin(profile.incidence), np.cos(profile.incidence)
    highest = np.maximum.accumulate(profile.look)
    grazing = (highest - profile.distance * cosine) / sine
    ax.fill_between(
        profile.distance, profile.height, grazing, where=grazing > profile.height, color=_UNLIT, alpha=0.35, zorder=1
    )


def _draw_stretches(ax: Axes, profile: _Profile, thickness: float, floor: float) -> None:
    """Colour the ground under the profile: a band for layover, under it a band for shadow."""
    # Ten points to a pixel, so that a stretch reaches half-way to the next one's pixel and one pixel alone is seen.
    fine = np.linspace(0, profile.distance.size - 1, 10 * profile.distance.size)
    samples = np.arange(profile.distance.size)
    distance, height = (np.interp(fine, samples, line) for line in (profile.distance, profile.height))
    nearest = np.rint(fine).astype(np.intp)
    for number, colours in enumerate((_LAYOVER, _SHADOW)):
        top = height - number * thickness
        bottom = np.maximum(top - thickness, floor)
        for flag, (colour, _) in reversed(colours.items()):  # active over passive
            here = _flagged(profile, flag)[nearest]
            ax.fill_between(distance, bottom, top, where=here, color=colour, linewidth=0, zorder=3)


def _draw_wavefront(ax: Axes, profile: _Profile) -> None:
    """Draw one instant of the pulse and the places where it meets the ground."""
    x, z = _instant(profile)
    if x.size == 0:
        return
    margin = 0.08 * profile.distance[-1]
    ends = np.array([x[0] - margin, x[-1] + margin])
    heights = z[0] + (ends - x[0]) * np.tan(profile.incidence)
    ax.plot(ends, heights, color=_FRONT, linewidth=1.8, linestyle=_DASHES, zorder=6)
    ax.plot(x, z, "o", color="white", markeredgecolor=_FRONT, markeredgewidth=1.6, markersize=8, zorder=7)


def _instant(profile: _Profile) -> tuple[Floats, Floats]:
    """Distances and heights where one wavefront meets the ground; none where no wavefront meets it three times.

    The one is chosen that spans the longest stretch, meets lit ground only and keeps its places apart in the picture.
    """
    slant = profile.slant
    dark = _flagged(profile, _ACTIVE_SHADOW | _PASSIVE_SHADOW)
    apart = 0.015 * profile.distance[-1]
    longest, best = 0.0, (np.empty(0), np.empty(0))
    for value in np.linspace(slant.min(), slant.max(), 301)[1:-1]:
        at = np.flatnonzero((slant[:-1] < value) != (slant[1:] < value))
        if at.size != 3 or dark[at].any() or dark[at + 1].any():
            continue
        share = (value - slant[at]) / (slant[at + 1] - slant[at])
        x, z = (line[at] + share * (line[at + 1] - line[at]) for line in (profile.distance, profile.height))
        if np.diff(x).min() > apart and x[-1] - x[0] > longest:
            longest, best = float(x[-1] - x[0]), (x, z)
    return best


def _draw_key(ax: Axes, profile: _Profile) -> None:
    handles: list[Line2D | Patch] = [
        Patch(color=colour, label=label)
        for colours in (_LAYOVER, _SHADOW)
        for flag, (colour, label) in colours.items()
        if _flagged(profile, flag).any()
    ]
    marker: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markeredgewidth": 1.6}
    handles += [
        Line2D([], [], color=_BEAM, label=f"radar beams, {np.degrees(profile.incidence):.1f}° from the vertical"),
        Line2D([], [], color=_FRONT, linestyle=_DASHES, label="wavefront: equally far from the radar", **marker),
        Patch(color=_UNLIT, alpha=0.35, label="air that no beam crosses"),
        Patch(color=_GROUND, label="ground; clear where no band is under it"),
    ]
    ax.axis("off")
    ax.legend(handles=handles, loc="upper center", ncols=2, fontsize=10.5, handlelength=3.2, frameon=False)


def _flagged(profile: _Profile, flag: int) -> NDArray[np.bool_]:
    flagged: NDArray[np.bool_] = (profile.parts != NO_DATA) & ((profile.parts & flag) > 0)
    return flagged
