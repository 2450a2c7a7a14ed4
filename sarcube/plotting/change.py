"""A picture of change: the ground before, after, and what differs."""

from typing import Any

import geopandas as gpd
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.plotting.maps import HATCH, Panel, extent_km, finite_values, hillshade, shrink
from sarcube.plotting.stacks import (
    backscatter_limits,
    before_after_change,
    change_limit,
    finish_maps,
    outlines,
    stack_figure,
)

_WIDTH, _KEY = 15.0, 0.18  # inches: of the figure, and the height of a colour bar
_GREY, _CHANGE = "gray", "RdBu_r"  # both safe for the colour-blind
_OUTLINE = "#000000"
_DARKEST = 0.55  # brightness of the darkest background: changes must stay readable on it


def plot_change(
    stack: xr.DataArray,
    *,
    polarisation: str = "vv",
    background: xr.DataArray | None = None,
    inventory: gpd.GeoDataFrame | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the backscatter before an event, after it, and the change.

    Parameters
    ----------
    stack : xarray.DataArray, (band, y, x), dB
        From `sarcube.composite`.
    polarisation : str
        Whose `_post` and `_diff` bands are drawn.
    background : xarray.DataArray, (y, x), optional
        On the stack's grid; it shows under the change where little changed. Elevation, that is a layer of this name
        such as ``cube["elevation"]``, is drawn as shaded relief, any other layer in greys between its 2nd and 98th
        percentile.
    inventory : geopandas.GeoDataFrame, optional
        Polygons of landslides that are known, outlined in all panels.
    title : str, optional
        By default the event's name and time, as the stack records them.

    Returns
    -------
    matplotlib.figure.Figure
        Backscatter before and after in greys on one scale, from the 2nd to the 98th percentile of both; the change,
        after minus before, in red (brighter) and blue (darker). No data is hatched. Where the stack's `attrs` say
        that it is simulated, so does the figure. Large stacks are averaged, in dB, to some 1000 pixels for display.

    Raises
    ------
    BandError
        If the stack lacks the polarisation's post or diff.
    InputError
        If the background does not lie on the stack's grid.
    """
    if background is not None:
        _check_background(background, stack)
    before, after, change = before_after_change(stack, polarisation)
    figure, grid = stack_figure(stack, columns=3, width=_WIDTH, key=_KEY, title=title)
    maps = [figure.add_subplot(grid[0, column]) for column in range(3)]
    name, (low, high), limit = polarisation.upper(), backscatter_limits(before, after), change_limit(change)
    for ax, layer, side in zip(maps, (before, after), ("before", "after"), strict=False):
        grey = ax.imshow(layer.values, cmap=_GREY, vmin=low, vmax=high, extent=extent_km(layer))
        ax.set_title(f"{name} {side}")
    Panel(maps[1], figure.add_subplot(grid[1, :2])).bar(grey, f"{name} backscatter (dB)", extend="both")

    colours = ScalarMappable(Normalize(-limit, limit), _CHANGE)
    image = colours.to_rgba(change.values)
    if background is not None:
        # Multiplied, as a print over a print: white, which is no change, leaves the background as it is.
        image[..., :3] *= _DARKEST + (1 - _DARKEST) * _brightness(background)[..., None]
    image[~np.isfinite(change.values)] = 0  # transparent, alpha and all
    maps[2].imshow(image, extent=extent_km(change))
    maps[2].set_title(f"{name} change, after minus before")
    panel = Panel(maps[2], figure.add_subplot(grid[1, 2]))
    panel.bar(colours, f"{name} change (dB): red brighter, blue darker", extend="both")
    for ax in maps:
        ax.patch.set(**HATCH)
        if inventory is not None:
            ax.add_collection(outlines(inventory, stack, _OUTLINE))
    if inventory is not None:
        maps[0].set_title(f"{name} before; outlined, {len(inventory)} known landslides")
    if not np.isfinite(change.values).all():
        maps[2].legend(handles=[Patch(**HATCH, label="no data")], loc="lower right", fontsize=9)
    finish_maps(maps, stack)
    return figure


def _check_background(background: xr.DataArray, stack: xr.DataArray) -> None:
    if not isinstance(background, xr.DataArray) or set(background.dims) != {"y", "x"}:
        came = (
            f"({', '.join(map(str, background.dims))})"
            if isinstance(background, xr.DataArray)
            else type(background).__name__
        )
        raise InputError(f"background must be a DataArray with the dimensions (y, x), not {came}")
    if any(not np.array_equal(background[axis], stack[axis]) for axis in ("y", "x")):
        raise InputError("background must lie on the stack's grid: its y or x differ; reproject it to the stack first")


def _brightness(background: xr.DataArray) -> NDArray[Any]:
    """Return a background's brightness, 0 to 1, on the display's grid; 1 where it is no data."""
    if background.name == "elevation":
        return np.asarray(hillshade(background.transpose("y", "x")))
    layer = shrink(background.transpose("y", "x").astype(np.float32))  # a mask has no percentiles
    low, high = np.percentile(finite_values(layer), (2, 98))
    brightness: NDArray[Any] = (layer.values - low) / (high - low if high > low else 1)
    return np.where(np.isfinite(brightness), brightness.clip(0, 1), 1)
