"""A picture of why: the bands that a model saw, what each pixel of them contributed, and the known landslides."""

from typing import Any

import geopandas as gpd
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch

from sarcube.errors import InputError
from sarcube.plotting.maps import DPI, HATCH, Panel, draw_stamp, extent_km, finite_values, shrink
from sarcube.plotting.stacks import (
    TALLEST,
    change_limit,
    finish_maps,
    heading,
    on_grid,
    outlines,
    track_and_dates,
)

_COLUMN, _KEY = 3.4, 0.14  # inches: the width of a map, the height of a colour bar
_GREY, _CHANGE, _OTHER = "gray", "RdBu_r", "cividis"
_CONTRIBUTION = "PuOr_r"  # safe for the colour-blind, and not the colours of change
_OUTLINE, _LANDSLIDE = "#000000", "#4D4D4D"
_LINE = 0.6  # points
_BLOCKS = 160  # along the longer side: contributions of single pixels, some of them large, are lost on a larger map
_OUTLINED = 2  # pixels along a block's side: on a larger map outlines would hide the contributions within
_SHARE = 99.5  # percent of the magnitudes within the scale: a few pixels far beyond would leave the others pale


def plot_explanation(
    stack: xr.DataArray,
    contributions: xr.DataArray,
    *,
    inventory: gpd.GeoDataFrame | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the bands of a stack, and under each what its pixels contributed to the logit of a landslide.

    Parameters
    ----------
    stack : xarray.DataArray, (band, y, x), dB
        What was explained: an area, or a single window such as ``stack.isel(y=slice(64, 128), x=slice(0, 64))``.
    contributions : xarray.DataArray, (band, y, x)
        What `sarcube.explain` made of it.
    inventory : geopandas.GeoDataFrame, optional
        Polygons of landslides that are known: a panel of their own, and outlines: in all other panels
        for up to 320 pixels along a side, and above alone for more.
    title : str, optional
        By default the event's name and time, as the stack records them.

    Returns
    -------
    matplotlib.figure.Figure
        Above the bands: backscatter in greys from its 2nd to its 98th percentile, changes in red (brighter) and blue
        (darker), and the inventory. Below the contributions of each band, on one scale for all, and their mean over
        the bands, on its own: orange speaks for a landslide, purple against. No data is hatched. Where the stack's
        `attrs` say that it is simulated, so does the figure. For display, bands of large areas are averaged to some
        1000 pixels along the longer side, and contributions to 160: the key says of how many pixels.

    Raises
    ------
    InputError
        If the contributions are not of this stack: their bands or grid differ; or there is a single row or column.
    """
    _check(stack, contributions)
    bands = [str(name) for name in stack["band"].values]
    seen, (parts, block) = shrink(stack), _averaged(contributions)
    mean = parts.mean("band")
    figure, grid = _figure(stack, contributions, columns=len(bands) + 1, title=title)
    above = [figure.add_subplot(grid[0, column]) for column in range(len(bands))]
    below = [figure.add_subplot(grid[2, column]) for column in range(len(bands) + 1)]
    for column, (ax, name) in enumerate(zip(above, bands, strict=True)):
        _draw_band(Panel(ax, figure.add_subplot(grid[1, column])), seen.isel(band=column, drop=True), name)
    limit = _limit(parts)
    for ax, layer in zip(below, (*parts, mean), strict=True):
        edge = _limit(mean) if layer is mean else limit
        image = ax.imshow(layer.values, cmap=_CONTRIBUTION, vmin=-edge, vmax=edge, extent=extent_km(layer))
        ax.set_title("mean over the bands" if layer is mean else f"contribution of {layer['band'].item()}")
        if ax is below[0]:
            pixels = "of a pixel" if block == 1 else f"of a pixel, mean of {block} × {block}"
            label = f"contribution {pixels}, to the logit: orange for a landslide, purple against"
            Panel(ax, figure.add_subplot(grid[3, :-1])).bar(image, label, extend="both")
    Panel(below[-1], figure.add_subplot(grid[3, -1])).bar(image, "mean contribution", extend="both").ax.locator_params(
        nbins=4
    )
    maps = [*above, *below]
    for ax in maps:
        ax.patch.set(**HATCH)
        if inventory is not None and (ax in above or block <= _OUTLINED):
            lines = outlines(inventory, stack, _OUTLINE)
            lines.set_linewidth(_LINE)
            ax.add_collection(lines)
    if not np.isfinite(parts.values).all():
        below[-1].legend(handles=[Patch(**HATCH, label="no data")], loc="lower right", fontsize=9)
    if inventory is not None:
        maps.append(_draw_inventory(figure.add_subplot(grid[0, -1]), inventory, stack))
    finish_maps(maps, stack)
    below[0].tick_params(labelleft=True)
    below[0].set_ylabel("northing (km)", fontsize=9)
    return figure


def _check(stack: xr.DataArray, contributions: xr.DataArray) -> None:
    if stack.dims != ("band", "y", "x") or contributions.dims != stack.dims:
        raise InputError(
            f"the picture needs a stack and its contributions (band, y, x), not {stack.dims} and {contributions.dims}"
        )
    if any(not np.array_equal(contributions[axis], stack[axis]) for axis in stack.dims):
        raise InputError(
            "the contributions are not of this stack: their bands, y or x differ; cut both alike, as with .isel"
        )
    if min(stack.sizes["y"], stack.sizes["x"]) < 2:
        raise InputError("the picture needs two rows and two columns at least: one tells no size of a pixel")


def _averaged(contributions: xr.DataArray) -> tuple[xr.DataArray, int]:
    """Average contributions in square blocks, and return the pixels along a block's side too."""
    longer, shorter = max(contributions.shape[1:]), min(contributions.shape[1:])
    block = min(-(-longer // _BLOCKS), shorter // 2)  # two rows or columns must be left to tell how far apart they are
    layer = contributions.compute()
    return (layer if block == 1 else layer.coarsen(y=block, x=block, boundary="trim").mean()), block


def _figure(
    stack: xr.DataArray, contributions: xr.DataArray, *, columns: int, title: str | None
) -> tuple[Figure, GridSpec]:
    """Open a figure with its titles, and a grid of four rows: maps and their keys, twice."""
    height = min(_COLUMN * max(stack.sizes["y"] / stack.sizes["x"], 0.3), TALLEST)
    size = (columns * _COLUMN + 0.5, 2 * (height + _KEY + 1.0) + 1.2)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(heading(stack, title), fontsize=15, weight="bold")
    if stack.attrs.get("simulated"):
        draw_stamp(figure)
    part: Any = figure.subfigures(1, 1, squeeze=False)[0, 0]
    said = (track_and_dates(stack), _sums(contributions))
    part.suptitle("\n".join(text for text in said if text), fontsize=12)
    return figure, part.add_gridspec(4, columns, height_ratios=(height, _KEY, height, _KEY))


def _sums(contributions: xr.DataArray) -> str:
    """Say what contributions are counted from, and for a single window what they add up to."""
    attrs, shape = contributions.attrs, (contributions.sizes["y"], contributions.sizes["x"])
    # A part of a layer of many windows, even one of a window's size, adds up to no logit.
    one = attrs.get("windows") == 1 and shape == (attrs["window_size"],) * 2
    if "base_value" not in attrs:
        return ""
    base, total = attrs["base_value"], float(contributions.astype(np.float64).sum())
    if not one or not np.isfinite(contributions.values).all():
        said = f"contributions are counted from the mean logit of {attrs['baselines']} baselines, {base:.2f}"
    else:
        said = (
            f"logit of the window {base + total:.2f} = {base:.2f}, mean logit of {attrs['baselines']} baselines, "
            f"{'+' if total >= 0 else '-'} {abs(total):.2f}, sum of all contributions"
        )
    return said.replace("-", "−")


def _draw_band(panel: Panel, layer: xr.DataArray, name: str) -> None:
    if name.endswith("_diff"):
        edge = change_limit(layer)
        colours, low, high, label = _CHANGE, -edge, edge, "change (dB): red brighter"
    else:
        low, high = (float(value) for value in np.percentile(finite_values(layer), (2, 98)))
        radar = name.endswith(("_pre", "_post"))
        colours, label = (_GREY, "backscatter (dB)") if radar else (_OTHER, name)
        high = high if high > low else low + 1
    image = panel.map.imshow(layer.values, cmap=colours, vmin=low, vmax=high, extent=extent_km(layer))
    panel.map.set_title(name)
    panel.bar(image, label, extend="both")


def _limit(layer: xr.DataArray) -> float:
    """Return the end of a symmetric scale."""
    return float(np.percentile(np.abs(finite_values(layer)), _SHARE)) or 1.0


def _draw_inventory(ax: Axes, inventory: gpd.GeoDataFrame, stack: xr.DataArray) -> Axes:
    shapes = on_grid(inventory, stack).geometry.explode()
    rings = [np.asarray(shape.exterior.coords)[:, :2] / 1000 for shape in shapes if shape is not None]
    ax.add_collection(PolyCollection(rings, facecolors=_LANDSLIDE, edgecolors=_OUTLINE, linewidths=0.8))
    ax.set_title("known landslides")
    return ax
