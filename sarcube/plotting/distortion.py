"""Maps of layover and shadow: one track's mask over shaded relief, or two masks and where they differ."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.plotting.maps import (
    DPI,
    HALO,
    HATCH,
    MASK,
    PASSES,
    Panel,
    draw_north,
    draw_scale,
    extent_km,
    hillshade,
    sample,
)
from sarcube.plotting.track import layers_of, look_azimuth
from sarcube.sar.look_codes import CLEAR, NO_DATA

Codes: TypeAlias = NDArray[np.uint8]

_NEEDED = {
    "elevation": "sc.add_terrain(cube, dem)",
    "layover_shadow": "sc.add_geometry(cube)",
    "sensor_azimuth": "sc.add_geometry(cube)",
    "incidence_angle": "sc.add_geometry(cube)",
}
_STRENGTH = 0.8  # of a mask's colour over the relief
# Dark, middle, light: apart in a grey print and for the colour-blind.
_BOTH, _FIRST, _SECOND = "#00406B", "#E8602C", "#F0E442"
_CLEAR = "#D9D9D9"  # in the keys; on the maps it is the relief
_CODES = {0: (_CLEAR, "clear"), **{code: MASK[code] for code in (2, 1, 3)}}
_PANEL, _ALONE, _KEY = 6.5, 9.0, 0.9  # inches: width of a map among others and alone, height of its key


def plot_distortion(
    cubes: xr.Dataset | Mapping[str, xr.Dataset], *, track: str | None = None, title: str | None = None
) -> Figure:
    """Draw where a track's radar could not see: layover and shadow over shaded relief.

    Parameters
    ----------
    cubes : xarray.Dataset, or two of them by name
        With elevation (y, x), and layover_shadow, incidence_angle and sensor_azimuth (track, y, x), in a projected CRS.
        Two cubes on one grid, such as ``{"exact": cube, "local": other}``, are drawn side by side, and beside them
        where one or both see layover or shadow.
    track : str, optional
        Such as "D168"; may be left out where the cube has one track.
    title : str, optional
        By default the track and its range of incidence angles.

    Returns
    -------
    matplotlib.figure.Figure
        Shares in the keys are of the pixels that have data. No data is hatched, never drawn as clear. Masks of more
        than some 1000 pixels are thinned for display.

    Raises
    ------
    InputError
        If there are not one or two cubes, two are not on one grid, or the grid is not projected.
    BandError
        If a layer is missing.
    TrackError
        If the track is not in the cube, or several are and none was named.
    """
    named = {"layover and shadow": cubes} if isinstance(cubes, xr.Dataset) else dict(cubes)
    if len(named) not in (1, 2):
        raise InputError(f"plot_distortion draws one cube or compares two, not {len(named)}")
    parts = [layers_of(cube, track, needed=_NEEDED) for cube in named.values()]
    first = parts[0][1]
    if any(not (first.x.equals(other.x) and first.y.equals(other.y)) for _, other in parts):
        raise InputError("the two cubes must lie on one grid to be compared: their x or y differ")
    masks = [sample(layers["layover_shadow"]) for _, layers in parts]
    shade = hillshade(first["elevation"])
    figure, panels = _panels(len(masks) if len(masks) == 1 else 3, first)
    figure.suptitle(title or _title(parts[0][0], first), fontsize=14, weight="bold")
    for panel, name, mask in zip(panels, named, masks, strict=False):
        _draw_codes(panel, mask.values, shade, _CODES)
        panel.map.set_title(name, fontsize=13)
    if len(masks) == 2:
        one, other = named
        colours = {0: (_CLEAR, "none"), 1: (_FIRST, f"{one} only"), 2: (_SECOND, f"{other} only"), 3: (_BOTH, "both")}
        _draw_codes(panels[2], _compared(masks[0].values, masks[1].values), shade, colours)
        panels[2].map.set_title("layover or shadow, found by", fontsize=13)
    direction = look_azimuth(first, float(first.x.mean()), float(first.y.mean()))
    for number, panel in enumerate(panels):
        _finish(panel.map, first["layover_shadow"], number == 0)
        _draw_look(panel.map, direction)
    return figure


def _compared(first: Codes, second: Codes) -> Codes:
    """Code who sees layover or shadow: 0 none, 1 the first mask only, 2 the second only, 3 both; 255 no data in one."""
    either: Codes = ((first != CLEAR) * 1 + (second != CLEAR) * 2).astype(np.uint8)
    either[(first == NO_DATA) | (second == NO_DATA)] = NO_DATA
    return either


def _panels(columns: int, layers: xr.Dataset) -> tuple[Figure, list[Panel]]:
    width = _PANEL if columns > 1 else _ALONE
    height = width * min(max(layers.sizes["y"] / layers.sizes["x"], 0.3), 1.5)
    figure = Figure(figsize=(width * columns, height + _KEY + 1.3), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False, height_ratios=(height, _KEY))
    return figure, [Panel(axes[0, column], axes[1, column]) for column in range(columns)]


def _draw_codes(panel: Panel, codes: Codes, shade: xr.DataArray, colours: dict[int, tuple[str, str]]) -> None:
    """Draw codes over relief: 0 stays relief, 255 is left out so that the hatched ground of the panel shows."""
    relief = 0.5 + 0.42 * shade.values  # never white: that would look like a hole
    image = np.dstack([relief, relief, relief, codes != NO_DATA])
    for code, (colour, _) in colours.items():
        here = (codes == code) & (code != CLEAR)
        image[here, :3] = (1 - _STRENGTH) * image[here, :3] + _STRENGTH * np.array(to_rgba(colour)[:3])
    panel.map.imshow(image, extent=extent_km(shade), interpolation="nearest")
    panel.map.patch.set(**HATCH)
    known = max(int((codes != NO_DATA).sum()), 1)
    handles = [
        Patch(facecolor=colour, edgecolor="grey", alpha=0.9, label=f"{label} {share:.1%}")
        for code, (colour, label) in colours.items()
        if (share := float((codes == code).sum()) / known) or code == CLEAR
    ]
    if (codes == NO_DATA).any():
        handles.append(Patch(**HATCH, label="no data"))
    panel.key.axis("off")
    panel.key.legend(handles=handles, loc="upper center", ncols=3, fontsize=11, frameon=False)


def _finish(ax: Axes, layer: xr.DataArray, first: bool) -> None:
    left, right, bottom, top = extent_km(layer)
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.tick_params(labelsize=9, labelleft=first)
    ax.locator_params(nbins=5)
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.set_xlabel("easting (km)", fontsize=10)
    if first:
        ax.set_ylabel("northing (km)", fontsize=10)
    draw_scale(ax)
    draw_north(ax)


def _draw_look(ax: Axes, azimuth: float) -> None:
    """Draw the ground direction of the look, degrees from grid north, in the lower right corner."""
    east, north = np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
    figure = ax.get_figure()
    assert figure is not None
    # In points from the corner, so that it stands the same in wide maps and tall ones.
    corner = ax.transAxes + ScaledTranslation(-0.75, 0.38, figure.dpi_scale_trans)
    place: dict[str, Any] = {"xycoords": corner, "textcoords": "offset points", "annotation_clip": False}
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 2.5, "mutation_scale": 18, "path_effects": HALO}
    ax.annotate("", (1, 0), (-32 * east, -32 * north), arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}, **place)
    label: dict[str, Any] = {"ha": "center", "va": "top", "weight": "bold", "path_effects": HALO}
    ax.annotate("radar looks", (1, 0), (0, -9), **label, **place)


def _title(track: str, layers: xr.Dataset) -> str:
    angles = sample(layers["incidence_angle"])
    low, high = float(angles.min()), float(angles.max())
    side = f" ({PASSES[track[0]]})" if track[:1] in PASSES else ""
    return f"Where the radar could not see\ntrack {track}{side}, incidence {low:.1f}° to {high:.1f}°"
