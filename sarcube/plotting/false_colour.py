"""The false-colour picture by which radar people read change: before, after and their ratio as red, green, blue."""

from typing import TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sarcube.plotting.maps import HATCH, extent_km
from sarcube.plotting.stacks import (
    backscatter_limits,
    before_after_change,
    change_limit,
    finish_maps,
    stack_figure,
)

Floats: TypeAlias = NDArray[np.floating]

_WIDTH, _KEY = 10.0, 1.3  # inches: of the figure, and the height of its key
_CELLS = 200  # of the key, each way


def plot_rgb(stack: xr.DataArray, *, polarisation: str = "vv", title: str | None = None) -> Figure:
    """Draw red = before, green = after, blue = ratio of after to before.

    Parameters
    ----------
    stack : xarray.DataArray, (band, y, x), dB
        From `sarcube.composite`.
    polarisation : str
        Whose `_post` and `_diff` bands are drawn.
    title : str, optional
        By default the event's name and time, as the stack records them.

    Returns
    -------
    matplotlib.figure.Figure
        What turned darker is red to orange, what turned brighter blue to cyan; what did not change runs from navy
        (dark ground) over grey to pale yellow (bright ground). The key is coloured by the same rule as the map. No
        data is hatched. Where the stack's `attrs` say that it is simulated, so does the figure. Large stacks are
        averaged, in dB, to some 1000 pixels for display.

    Raises
    ------
    BandError
        If the stack lacks the polarisation's post or diff.

    Notes
    -----
    All three channels are linear in dB. Red and green share one range, from the 2nd to the 98th percentile of before
    and after together; blue runs over a range symmetric about no change, the 98th percentile of its magnitude in
    whole dB, from 3 to 10. The caption states both.

    Red against green alone is lost on many of the colour-blind. The ratio in blue tells darker from brighter for them
    too: at medium backscatter, colours 6 dB apart either way keep a difference (CIEDE2000) of over 40 in the
    simulation of protanopia and deuteranopia by Machado, Oliveira and Fernandes (2009). Subtle tints still do not
    reach every reader: `plot_change`, with one quantity to a panel, is the safer picture to publish.
    """
    before, after, change = before_after_change(stack, polarisation)
    low, high = limits = backscatter_limits(before, after)
    limit, name = change_limit(change), polarisation.upper()
    figure, grid = stack_figure(stack, columns=1, width=_WIDTH, key=_KEY, title=title)
    ax, key = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    image = _channels(before.values, after.values, limits, limit)
    missing = ~np.isfinite(change.values)
    ax.imshow(np.dstack([np.where(missing[..., None], 0, image), ~missing]), extent=extent_km(change))
    ax.patch.set(**HATCH)
    caption = (
        f"red: {name} before, green: {name} after, both {low:.1f} to {high:.1f} dB (2nd to 98th percentile)\n"
        f"blue: ratio {name} after / {name} before, {-limit:g} to {limit:g} dB"
    )
    ax.set_title(caption.replace("-", "−"), fontsize=10)  # a minus, as on the axes
    _draw_key(key, name, limits, limit)
    if missing.any():
        ax.legend(handles=[Patch(**HATCH, label="no data")], loc="lower right", fontsize=9)
    finish_maps([ax], stack)
    return figure


def _channels(before: Floats, after: Floats, limits: tuple[float, float], limit: float) -> Floats:
    """Turn backscatter before and after, dB, into (..., 3) red, green and blue from 0 to 1; NaN stays NaN."""
    low, high = limits
    red, green = (before - low) / (high - low), (after - low) / (high - low)
    return np.clip(np.stack([red, green, 0.5 + (after - before) / (2 * limit)], axis=-1), 0, 1)


def _draw_key(key: Axes, name: str, limits: tuple[float, float], limit: float) -> None:
    """Draw the colour of every change, across, on ground of every backscatter, up."""
    change = np.linspace(-limit, limit, _CELLS)
    mean = np.linspace(*limits, _CELLS)[:, None]
    colours = _channels(mean - change / 2, mean + change / 2, limits, limit)
    key.imshow(colours, extent=(-limit, limit, *limits), origin="lower", aspect="auto")
    key.set_xlabel(f"{name} change, after minus before (dB)", fontsize=10)
    key.set_ylabel(f"{name}, mean of\nboth (dB)", fontsize=9)
    key.tick_params(labelsize=9)
    for place, words in ((0.0, "turned darker"), (0.5, "did not change"), (1.0, "turned brighter")):
        align = {0.0: "left", 0.5: "center", 1.0: "right"}[place]
        key.annotate(words, (place, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha=align)
