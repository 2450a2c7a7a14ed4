"""Pictures of an event: what changed, what was found, and where the radar could not see."""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401 (gives layers their .rio)
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sarcube.errors import BandError, InputError
from sarcube.plotting.maps import (
    ABOVE,
    DPI,
    HALO,
    MASK,
    NOTHING,
    Panel,
    draw_stamp,
    extent_km,
    finite_values,
    hillshade,
    sample,
    shrink,
)
from sarcube.plotting.stacks import TALLEST, change_limit, finish_maps, heading, on_grid, outlines, track_and_dates

_WIDTH = 15.0  # inches: 2250 pixels
_KEY = 0.18  # inches: the height of the key under a map
_LABELLED = 40  # with more boxes than this their scores would cover the map
_CHANGE = "RdBu_r"  # colour-blind safe: red brighter, blue darker
# Okabe & Ito's colour-blind safe palette.
_BOX, _TRUTH = "#000000", "#0072B2"


def plot_event(
    stacks: xr.DataArray | Sequence[xr.DataArray],
    *,
    scores: xr.DataArray | Sequence[xr.DataArray] | None = None,
    detections: gpd.GeoDataFrame | None = None,
    inventory: gpd.GeoDataFrame | None = None,
    layover_shadow: xr.DataArray | None = None,
    elevation: xr.DataArray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw an event's quick look, a row of maps per track: change, probability and detections, visibility.

    Parameters
    ----------
    stacks : xarray.DataArray or sequence of them, (band, y, x), dB
        One from `sarcube.composite` for every track to show; all on one grid.
    scores : xarray.DataArray or sequence of them, (window_y, window_x), optional
        Probability of every window, from `sarcube.score_windows`, in the order of the stacks.
    detections : geopandas.GeoDataFrame, optional
        Boxes, with `score`; where there is a column `track`, a row shows its own track's.
    inventory : geopandas.GeoDataFrame, optional
        Polygons of landslides that are known.
    layover_shadow : xarray.DataArray, (y, x) or (track, y, x) uint8, optional
        OPERA's codes: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data.
    elevation : xarray.DataArray, (y, x), metres, optional
        Shaded as the background.
    title : str, optional
        By default the event's name and time, as the first stack records them.

    Returns
    -------
    matplotlib.figure.Figure
        2250 pixels wide when saved as it is. Where the stacks' `attrs` say that they are simulated, so does the
        figure. Large layers are averaged to some 1000 pixels for display.

    Raises
    ------
    InputError
        If there is no stack, or not one set of scores per stack.
    BandError
        If a stack holds no difference.
    """
    stacks = [stacks] if isinstance(stacks, xr.DataArray) else list(stacks)
    scores = [scores] if isinstance(scores, xr.DataArray) else list(scores or [])
    if not stacks:
        raise InputError("plot_event needs at least one stack, such as sc.composite returns")
    if scores and len(scores) != len(stacks):
        raise InputError(f"expected one set of scores per stack, and there are {len(scores)} for {len(stacks)}")
    shade = hillshade(elevation) if elevation is not None else _flat(stacks[0])
    found = bool(scores) or detections is not None or inventory is not None
    figure, rows = _panels(stacks, 1 + found + (layover_shadow is not None), title)
    for number, (stack, row) in enumerate(zip(stacks, rows, strict=True)):
        track = str(stack.attrs.get("track", ""))
        name = _first_diff(stack)
        change = shrink(stack.sel(band=name))
        panels = iter(row)
        _draw_change(next(panels), change, name, shade)
        if found:
            panel = next(panels)
            _draw_background(panel.map, shade, change)
            if scores:
                _draw_scores(panel, scores[number], extent_km(stack))
            said = _draw_polygons(panel.map, stack, _of_track(detections, track), inventory)
            panel.map.set_title(", ".join(said) or "probability")
        if layover_shadow is not None:
            mask = layover_shadow.sel(track=track) if "track" in layover_shadow.dims else layover_shadow
            panel = next(panels)
            _draw_background(panel.map, shade, None)
            _draw_mask(panel, mask)
        finish_maps([panel.map for panel in row], stack)
    return figure


def plot_stack(stack: xr.DataArray, *, title: str | None = None) -> Figure:
    """Draw the bands of a stack side by side.

    Parameters
    ----------
    stack : xarray.DataArray, (band, y, x), dB
        From `sarcube.composite`.
    title : str, optional
        By default the event's name and time, as the stack records them.

    Returns
    -------
    matplotlib.figure.Figure
        Backscatter in grey, between its 2nd and 98th percentile; differences in red (brighter) and blue (darker).
    """
    names = [str(name) for name in stack["band"].values]
    figure, rows = _panels([stack], len(names), title)
    for panel, name in zip(rows[0], names, strict=True):
        layer = shrink(stack.sel(band=name))
        if name.endswith("_diff"):
            _draw_change(panel, layer, name, None)
            continue
        low, high = np.percentile(finite_values(layer), (2, 98))
        image = panel.map.imshow(layer.values, cmap="gray", vmin=low, vmax=high, extent=extent_km(layer))
        panel.map.set_facecolor(NOTHING)
        panel.bar(image, f"{_band(name)} after the event (dB)", extend="both")
        panel.map.set_title(f"{_band(name)} after")
    finish_maps([panel.map for panel in rows[0]], stack)
    return figure


def _panels(stacks: list[xr.DataArray], columns: int, title: str | None) -> tuple[Figure, list[list[Panel]]]:
    """Lay out a row of panels per stack, so that maps stand in line whatever their keys need."""
    first = stacks[0]
    width = min(_WIDTH, 7.5 * columns)
    map_height = min(width / columns * max(first.sizes["y"] / first.sizes["x"], 0.3), TALLEST)
    height = len(stacks) * (map_height + 1.3) + 0.9
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.suptitle(heading(first, title), fontsize=15, weight="bold")
    if any(stack.attrs.get("simulated") for stack in stacks):
        draw_stamp(figure)
    rows = []
    for part, stack in zip(figure.subfigures(len(stacks), 1, squeeze=False)[:, 0], stacks, strict=True):
        part.suptitle(track_and_dates(stack), fontsize=12)
        axes = part.subplots(2, columns, squeeze=False, height_ratios=(map_height, _KEY))
        rows.append([Panel(axes[0, column], axes[1, column]) for column in range(columns)])
    return figure, rows


def _flat(stack: xr.DataArray) -> xr.DataArray:
    """Return the brightness of a ground without relief, on the display's grid."""
    return sample(xr.ones_like(stack.isel(band=0, drop=True))).astype(np.float32)


def _draw_background(ax: Axes, shade: xr.DataArray, change: xr.DataArray | None) -> None:
    ax.imshow(0.55 + 0.45 * shade.values, cmap="gray", vmin=0, vmax=1, extent=extent_km(shade))
    if change is not None:
        missing = np.where(np.isfinite(change.values), np.nan, 0.0)
        ax.imshow(missing, cmap=ListedColormap([NOTHING]), extent=extent_km(change), interpolation="nearest")


def _draw_change(panel: Panel, change: xr.DataArray, name: str, shade: xr.DataArray | None) -> None:
    limit = change_limit(change)
    colours = ScalarMappable(Normalize(-limit, limit), _CHANGE)
    image = colours.to_rgba(change.values)
    if shade is not None:
        image[..., :3] *= 0.45 + 0.55 * shade.values[..., None]
    image[~np.isfinite(change.values)] = to_rgba(NOTHING)
    panel.map.imshow(image, extent=extent_km(change))
    panel.bar(colours, f"{_band(name)} change (dB): red brighter, blue darker", extend="both")
    panel.map.set_title(f"{_band(name)} change")


def _draw_scores(panel: Panel, scores: xr.DataArray, extent: tuple[float, float, float, float]) -> None:
    left, right, bottom, top = extent
    x = _edges(scores["x"].values / 1000, left, right)
    y = _edges(scores["y"].values / 1000, top, bottom)
    colours = colormaps["YlOrRd"](np.linspace(0, 1, 256))
    colours[:, 3] = np.linspace(0, 0.75, 256)
    mesh = panel.map.pcolormesh(x, y, scores.values, cmap=ListedColormap(colours), vmin=0, vmax=1)
    size = scores.attrs.get("window_size")
    bar = panel.bar(mesh, "probability of a landslide" + (f" in a window of {size} × {size} pixels" if size else ""))
    threshold = scores.attrs.get("threshold")
    if threshold is not None:
        bar.ax.axvline(threshold, color="black", linewidth=2)
        bar.ax.annotate(f"threshold {threshold:.2f}", (threshold, 1), (0, 2), fontsize=9, **ABOVE)


def _draw_polygons(
    ax: Axes, stack: xr.DataArray, detections: gpd.GeoDataFrame | None, inventory: gpd.GeoDataFrame | None
) -> list[str]:
    """Draw outlines, and return what they are: a key inside the map would cover some of them."""
    said = []
    if inventory is not None:
        ax.add_collection(outlines(inventory, stack, _TRUTH))
        said.append(f"{len(inventory)} known landslides (blue)")
    if detections is not None:
        ax.add_collection(outlines(detections, stack, _BOX))
        said.insert(0, f"{len(detections)} detections (black)")
        if "score" in detections and len(detections) <= _LABELLED:
            boxes = on_grid(detections, stack).bounds / 1000
            for x0, x1, top, score in zip(boxes.minx, boxes.maxx, boxes.maxy, detections["score"], strict=True):
                ax.annotate(
                    f"{score:.2f}", ((x0 + x1) / 2, top), (0, 2), fontsize=8, path_effects=HALO, clip_on=True, **ABOVE
                )
    return said


def _draw_mask(panel: Panel, mask: xr.DataArray) -> None:
    layer = sample(mask)
    codes = layer.values
    image = np.zeros((*codes.shape, 4))
    legend = [Patch(facecolor="white", edgecolor="grey", label=f"clear {np.mean(codes == 0):.1%}")]
    for code, (colour, label) in MASK.items():
        image[codes == code] = to_rgba(colour, 0.75)
        if (codes == code).any():
            legend.append(Patch(facecolor=to_rgba(colour, 0.75), label=f"{label} {np.mean(codes == code):.1%}"))
    panel.map.imshow(image, extent=extent_km(layer), interpolation="nearest")
    panel.map.set_title("where the radar could not see")
    panel.key.axis("off")
    panel.key.legend(handles=legend, loc="upper center", ncols=2, fontsize=10, frameon=False)


def _edges(centres: NDArray[Any], first: float, last: float) -> NDArray[Any]:
    return np.concatenate([[first], (centres[:-1] + centres[1:]) / 2, [last]])


def _of_track(detections: gpd.GeoDataFrame | None, track: str) -> gpd.GeoDataFrame | None:
    if detections is None or "track" not in detections or not track:
        return detections
    return detections[detections["track"] == track]


def _first_diff(stack: xr.DataArray) -> str:
    bands = [str(band) for band in stack["band"].values]
    for band in bands:
        if band.endswith("_diff"):
            return band
    raise BandError(f"expected a stack with a difference, such as vv_diff; it holds {', '.join(bands)}")


def _band(name: str) -> str:
    return name.split("_")[0].upper()
