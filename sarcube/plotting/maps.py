"""What all maps share: layers small enough to draw, shaded relief, scale and north, a panel with its key."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

_PIXELS = 1000  # longer side of a panel's image; larger layers are averaged down to it
DPI = 150
NOTHING = "#9A9A9A"
# Dark, middle and light, so that a grey print keeps them apart; blue against orange for the colour-blind.
MASK = {
    1: ("#7B3294", "shadow"),
    2: ("#E69F00", "layover"),
    3: ("#2D1030", "layover and shadow"),
    255: (NOTHING, "no data"),
}
PASSES = {"A": "ascending, looks east", "D": "descending, looks west"}  # Sentinel-1 looks to its right
HALO = [withStroke(linewidth=2.5, foreground="white")]
EDGE = [withStroke(linewidth=7, foreground="white")]
HATCH: dict[str, Any] = {"facecolor": "#E4E4E4", "edgecolor": "#A8A8A8", "hatch": "///", "linewidth": 0.0}  # no data
ALARM = "#B03A00"
ABOVE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}


class Panel(NamedTuple):
    """A map and, under it, the place of its key."""

    map: Axes
    key: Axes

    def bar(self, colours: ScalarMappable, label: str, *, extend: str = "neither") -> Colorbar:
        """Draw a colour bar in the key's place."""
        figure = self.map.get_figure()
        assert figure is not None
        bar = figure.colorbar(colours, cax=self.key, orientation="horizontal", extend=extend)
        bar.set_label(label, fontsize=10)
        self.key.tick_params(labelsize=9)
        return bar


def draw_scale(ax: Axes) -> None:
    """Draw a bar of round length in the lower left corner of a map in km."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    longest = (right - left) / 4
    unit = 10.0 ** np.floor(np.log10(longest))
    length = max(step for step in (1, 2, 5) if step * unit <= longest) * unit
    x, y = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    ax.plot([x, x + length], [y, y], color="black", linewidth=4, solid_capstyle="butt", path_effects=EDGE)
    label = f"{length:g} km" if length >= 1 else f"{1000 * length:g} m"
    ax.annotate(label, (x + length / 2, y), (0, 5), weight="bold", path_effects=HALO, **ABOVE)


def draw_north(ax: Axes) -> None:
    """Draw an arrow to grid north in the upper right corner."""
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 2.5, "path_effects": HALO}
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
    ax.annotate("N", (0.95, 0.97), (0, -34), weight="bold", path_effects=HALO, arrowprops=arrow, **place)


def draw_stamp(figure: Figure) -> None:
    """Say in the upper right corner of a figure that its data are simulated."""
    place = 0.985, 1 - 0.15 / figure.get_figheight()
    stamp = figure.text(*place, "SIMULATED DATA", ha="right", va="top", fontsize=16, weight="bold", color="white")
    stamp.set_bbox({"facecolor": ALARM, "edgecolor": "none", "boxstyle": "square,pad=0.4"})


def hillshade(elevation: xr.DataArray) -> xr.DataArray:
    """Return brightness, 0 to 1, on the display's grid: light from the north-west, 45° high, heights times 1.5."""
    layer = shrink(elevation)
    missing = ~np.isfinite(layer.values)
    if missing.all():
        return xr.ones_like(layer)
    # Holes take the nearest height, and no part in the range of brightness: their rims would be drawn as cliffs.
    row, column = distance_transform_edt(missing, return_distances=False, return_indices=True)
    dx, dy = (float(abs(layer[axis][1] - layer[axis][0])) for axis in ("x", "y"))
    southward, eastward = np.gradient(1.5 * layer.values[row, column], dy, dx)
    lit = (0.5 * eastward + 0.5 * southward + np.sqrt(0.5)) / np.sqrt(1 + eastward**2 + southward**2)
    low, high = lit[~missing].min(), lit[~missing].max()
    return layer.copy(data=np.clip((lit - low) / (high - low), 0, 1) if high > low else np.ones_like(lit))


def _blocks(layer: xr.DataArray) -> dict[str, int]:
    # Square, but in a strip: two rows or columns must be left to tell how far apart they are.
    factor = -(-max(layer.sizes["y"], layer.sizes["x"]) // _PIXELS)
    return {axis: min(factor, max(layer.sizes[axis] // 2, 1)) for axis in ("y", "x")}


def shrink(layer: xr.DataArray) -> xr.DataArray:
    """Average blocks of pixels, leaving out NaN, until the layer is small enough to draw; compute it."""
    blocks = _blocks(layer)
    if max(blocks.values()) == 1:
        return layer.compute()
    count = layer.notnull().astype(np.float32).coarsen(blocks, boundary="trim").sum()
    total = layer.fillna(0).coarsen(blocks, boundary="trim").sum()
    return (total / count.where(count > 0)).compute()


def sample(layer: xr.DataArray) -> xr.DataArray:
    """Take one pixel of every block that `shrink` averages: codes have no mean, and shares stay right."""
    chosen = {axis: slice(n // 2, layer.sizes[axis] // n * n, n) for axis, n in _blocks(layer).items()}
    return layer.isel(chosen).compute()


def finite_values(layer: xr.DataArray) -> NDArray[Any]:
    """Return the values that are no NaN, or a zero where there is none: percentiles need one."""
    finite = layer.values[np.isfinite(layer.values)]
    return finite if finite.size else np.zeros(1, np.float32)


def extent_km(layer: xr.DataArray) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of the pixels' outer edges in km."""
    x, y = layer["x"].values / 1000, layer["y"].values / 1000
    half_x, half_y = (x[-1] - x[0]) / (len(x) - 1) / 2, (y[-1] - y[0]) / (len(y) - 1) / 2
    return float(x[0] - half_x), float(x[-1] + half_x), float(y[-1] + half_y), float(y[0] - half_y)
