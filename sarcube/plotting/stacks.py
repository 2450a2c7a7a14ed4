"""What pictures of a stack share: its three layers, the words around it, its maps in km, outlines on its grid."""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401 (gives layers their .rio)
import shapely
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray
from pyproj import Transformer

from sarcube.errors import BandError, InputError
from sarcube.plotting.maps import (
    DPI,
    HALO,
    PASSES,
    draw_north,
    draw_scale,
    draw_stamp,
    extent_km,
    finite_values,
    shrink,
)

TALLEST = 12.0  # inches: the height of a map at most
_LINE = 1.2  # points


def before_after_change(stack: xr.DataArray, polarisation: str) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return a polarisation's backscatter before and after, and the change, each (y, x) in dB and fit to be drawn.

    Before is after minus the change; where the change is not known, neither is it. A lazy stack is computed once.

    Raises
    ------
    InputError
        If the stack is not (band, y, x), has a single row or column, or lies on a grid in degrees.
    BandError
        If the stack lacks the polarisation's post or diff.
    """
    _check_stack(stack)
    held = [str(name) for name in stack["band"].values]
    needed = [f"{polarisation}_{part}" for part in ("post", "diff")]
    if not set(needed) <= set(held):
        raise BandError(
            f"the picture needs the bands {' and '.join(needed)}, and the stack holds {', '.join(held) or 'none'}: "
            f'pass another polarisation=, or make the stack with sc.composite(..., polarisations=("{polarisation}",))'
        )
    after, change = (stack.sel(band=name, drop=True) for name in needed)
    layers = shrink(xr.concat([after - change, after, change], dim="layer", coords="minimal", compat="override"))
    return layers[0], layers[1], layers[2]


def _check_stack(stack: xr.DataArray) -> None:
    if not isinstance(stack, xr.DataArray) or set(stack.dims) != {"band", "y", "x"}:
        came = stack.dims if isinstance(stack, xr.DataArray) else type(stack).__name__
        raise InputError(
            f"the picture needs a stack (band, y, x) from sc.composite, not {came}; of composites choose one: "
            '.sel(buffer="60-12")'
        )
    if min(stack.sizes["y"], stack.sizes["x"]) < 2:
        raise InputError("the picture needs two rows and two columns at least: one tells no size of a pixel")
    if stack.rio.crs is not None and not stack.rio.crs.is_projected:
        raise InputError(
            f"the picture needs a stack in a projected CRS such as UTM, not {stack.rio.crs.to_string()}: load the cube "
            "with crs="
        )


def backscatter_limits(before: xr.DataArray, after: xr.DataArray) -> tuple[float, float]:
    """Return the 2nd and 98th percentile of both layers together, dB, at least 1 dB apart."""
    values = np.concatenate([finite_values(before), finite_values(after)])
    low, high = (float(value) for value in np.percentile(values, (2, 98)))
    return low, max(high, low + 1)


def change_limit(change: xr.DataArray) -> float:
    """Return the end of a symmetric scale: the magnitude's 98th percentile, whole dB, from 3 to 10."""
    return float(np.clip(np.ceil(np.percentile(np.abs(finite_values(change)), 98)), 3, 10))


def stack_figure(
    stack: xr.DataArray, *, columns: int, width: float, key: float, title: str | None
) -> tuple[Figure, GridSpec]:
    """Open a figure with the stack's titles; return it and a grid of two rows, for maps and for keys `key` inches high.

    Where the stack's `attrs` say that it is simulated, so does the figure.
    """
    map_height = min(width / columns * max(stack.sizes["y"] / stack.sizes["x"], 0.3), TALLEST)
    figure = Figure(figsize=(width, map_height + key + 2.0), dpi=DPI, layout="constrained")
    figure.suptitle(heading(stack, title), fontsize=15, weight="bold")
    if stack.attrs.get("simulated"):
        draw_stamp(figure)
    part = figure.subfigures(1, 1, squeeze=False)[0, 0]
    part.suptitle(track_and_dates(stack, separator="\n" if columns == 1 else " · "), fontsize=12)
    grid: GridSpec = part.add_gridspec(2, columns, height_ratios=(map_height, key))
    return figure, grid


def finish_maps(maps: Sequence[Axes], stack: xr.DataArray) -> None:
    """Give maps of a stack their axes in km, and the first of them a scale bar and an arrow to the north."""
    left, right, bottom, top = extent_km(stack)
    for number, ax in enumerate(maps):
        ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.tick_params(labelsize=9, labelleft=number == 0)
        ax.locator_params(nbins=5)
        ax.ticklabel_format(useOffset=False, style="plain")
        ax.set_xlabel("easting (km)", fontsize=9)
    maps[0].set_ylabel("northing (km)", fontsize=9)
    draw_scale(maps[0])
    draw_north(maps[0])


def on_grid(table: gpd.GeoDataFrame, stack: xr.DataArray) -> gpd.GeoDataFrame:
    """Return a table of polygons in the stack's CRS."""
    return table if table.crs is None or stack.rio.crs is None else table.to_crs(stack.rio.crs)


def outlines(table: gpd.GeoDataFrame, stack: xr.DataArray, colour: str) -> LineCollection:
    """Return the outer rings of all polygons, in km on the stack's grid, with a halo."""
    rings = shapely.get_exterior_ring(shapely.get_parts(on_grid(table, stack).geometry.values))
    lines: list[NDArray[Any]] = [shapely.get_coordinates(ring) / 1000 for ring in rings if ring is not None]
    return LineCollection(lines, colors=colour, linewidths=_LINE, path_effects=HALO)


def heading(stack: xr.DataArray, title: str | None) -> str:
    """Return a title, by default the event's name and time, and under it the place."""
    event, time = str(stack.attrs.get("event", "")), str(stack.attrs.get("event_time", ""))
    named = title or " · ".join(part for part in (event, time.replace("T", " ").replace(":00Z", " UTC")) if part)
    return "\n".join(part for part in (named, _place(stack)) if part)


def _place(stack: xr.DataArray) -> str:
    if stack.rio.crs is None:
        return ""
    left, right, bottom, top = extent_km(stack)
    to_degrees = Transformer.from_crs(stack.rio.crs, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(500 * (left + right), 500 * (bottom + top))
    sides = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return (
        f"{abs(latitude):.3f}°{sides[0]}, {abs(longitude):.3f}°{sides[1]} · {right - left:.1f} × {top - bottom:.1f} km"
    )


def track_and_dates(stack: xr.DataArray, *, separator: str = " · ") -> str:
    """Name the track, then say how many dates lie before and after and when."""
    track = str(stack.attrs.get("track", ""))
    name = f"track {track}" + (f" ({PASSES[track[0]]})" if track[0] in PASSES else "") if track else ""
    windows = []
    for key, side in (("dates_pre", "before"), ("dates_post", "after")):
        dates = [str(date) for date in np.atleast_1d(stack.attrs.get(key, []))]
        if dates:
            span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
            windows.append(f"{len(dates)} {'date' if len(dates) == 1 else 'dates'} {side} ({span})")
    return separator.join(part for part in (name, " · ".join(windows)) if part)
