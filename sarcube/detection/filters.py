"""Which windows lie where a landslide can be and be seen: their shares of steep, wet, visible ground.

Shares are counted with summed-area tables over a few rows of the scene at a time, so that layers of a whole scene may
stay on disk or lazy.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (registers .rio on xarray objects)
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.gaps import window_sums
from sarcube.sar.look_codes import CLEAR

Layer: TypeAlias = xr.DataArray | NDArray[Any]
Values: TypeAlias = NDArray[Any] | da.Array

STEEP_SHARE = 0.05
"""A window is steep if so much of it is: what `sample_patches` asks of a landslide to count."""
WET_SHARE = 0.5
"""A window of which more is water is left out."""

_HELD_PIXELS = 2**26  # flags that are in memory at a time, a byte each
_TABLE_PIXELS = 2**22  # of which a table takes 8 bytes each
_TOLERANCE = 0.01  # pixels by which coordinates may differ that mean the same


class WindowFilter(NamedTuple):
    """What `window_filter` found: each (n,), n windows."""

    passed: NDArray[np.bool_]
    visible_share: NDArray[np.float64]
    """NaN without a mask."""


def window_filter(
    scores: xr.DataArray,
    corners: NDArray[np.int64],
    *,
    visible: Layer | None = None,
    min_visible_share: float = 0.0,
    slope: Layer | None = None,
    min_slope: float | None = None,
    water: Layer | None = None,
) -> WindowFilter:
    """Tell which windows pass the filters of `sarcube.detect`.

    Parameters
    ----------
    scores : (window_y, window_x) DataArray
        From `score_windows`: its attributes tell the grid and the size of the windows.
    corners : (n, 2) int64 array
        First row and column of each window, sorted by rows.
    visible, min_visible_share, slope, min_slope, water
        As in `boxes_from_scores`.

    Returns
    -------
    WindowFilter

    Raises
    ------
    InputError
        If a layer lies on another grid or is of another kind, or an option cannot be used or lacks its layer.
    """
    if not 0 <= min_visible_share <= 1:
        raise InputError(f"min_visible_share must be from 0 to 1, not {min_visible_share}")
    if min_visible_share > 0 and visible is None:
        raise InputError("min_visible_share needs visible=, the track's layover_shadow (sc.add_geometry, select_track)")
    if (slope is None) != (min_slope is None):
        raise InputError(
            'min_slope, in degrees, and slope go together: slope=cube["slope"] of a cube to which sc.add_terrain '
            "has added the layers of a DEM"
        )
    if min_slope is not None and not 0 <= min_slope < 90:
        raise InputError(f"min_slope must be a slope in degrees from 0 to below 90, not {min_slope}")
    size = int(scores.attrs["window_size"])
    # All layers are looked at before anything is computed.
    masks = {
        name: _on_grid(layer, scores, name, kinds=kinds, wanted=wanted)
        for name, layer, kinds, wanted in (
            ("visible", visible, "ui", "uint8, OPERA's codes of layover and shadow"),
            ("slope", slope, "fui", "degrees"),
            ("water", water, "bui", "bool or uint8"),
        )
        if layer is not None
    }
    passed = np.ones(len(corners), bool)
    visible_share = np.full(len(corners), np.nan)
    if "visible" in masks:
        visible_share = window_shares(masks["visible"], lambda codes: codes == CLEAR, corners, size)
        if min_visible_share > 0:
            passed = visible_share >= min_visible_share
    if min_slope is not None:
        steep = window_shares(masks["slope"], lambda degrees: degrees >= min_slope, corners[passed], size)
        passed[passed] = steep >= STEEP_SHARE
    if "water" in masks:
        wet = window_shares(masks["water"], lambda flags: flags != 0, corners[passed], size)
        passed[passed] = wet <= WET_SHARE
    return WindowFilter(passed, visible_share)


def window_shares(
    values: Values, flag: Callable[[Any], Any], corners: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """Count, exactly, which share of the pixels of square windows is flagged.

    Parameters
    ----------
    values : (y, x) array, NumPy or Dask
        Some rows at a time are flagged and, if they are lazy, computed.
    flag : function
        From values to bool.
    corners : (n, 2) int64 array
        First row and column of each window, sorted by rows.
    size : int
        Pixels along a side of a window.

    Returns
    -------
    (n,) float64 array
    """
    counts = np.empty(len(corners), np.int64)
    rows, columns, width = corners[:, 0], corners[:, 1], values.shape[1]
    for outer in _blocks(rows, size, _HELD_PIXELS // width):
        top = rows[outer][0]
        held = np.asarray(flag(values[top : rows[outer][-1] + size]))
        for inner in _blocks(rows[outer], size, _TABLE_PIXELS // width):
            here = slice(outer.start + inner.start, outer.start + inner.stop)
            y, i = np.unique(rows[here], return_inverse=True)
            x, j = np.unique(columns[here], return_inverse=True)
            part = held[y[0] - top : y[-1] + size - top, x[0] : x[-1] + size]
            counts[here] = window_sums(part, y - y[0], x - x[0], size)[i, j]
    return counts / size**2


def _blocks(rows: NDArray[np.int64], size: int, height: int) -> Iterator[slice]:
    """Cut windows, sorted by their first rows, where they would cover more rows than a height; one row fits always."""
    first = 0
    while first < len(rows):
        stop = int(np.searchsorted(rows, rows[first] + max(0, height - size), side="right"))
        yield slice(first, stop)
        first = stop


def _on_grid(
    layer: Layer, scores: xr.DataArray, name: str, *, kinds: str, wanted: str
) -> NDArray[np.generic] | da.Array:
    """Return the values of a layer that lies on the grid of the stack that was scored."""
    shape = tuple(scores.attrs["image_shape"])
    if layer.dtype.kind not in kinds:
        raise InputError(f"{name} must be of {wanted}, not {layer.dtype}")
    if not isinstance(layer, xr.DataArray):
        if layer.shape != shape:
            raise InputError(f"{name} has the shape {layer.shape}, but the stack has {shape}")
        return layer
    if set(layer.dims) != {"y", "x"}:
        raise InputError(
            f"{name} must be a layer (y, x), not {layer.dims}; of layers per track choose one with sc.select_track"
        )
    layer = layer.transpose("y", "x")
    if layer.shape != shape:
        raise InputError(f"{name} has the shape {layer.shape}, but the stack has {shape}")
    to_map = Affine(*scores.attrs["image_transform"])
    for axis, start, step in (("y", to_map.f, to_map.e), ("x", to_map.c, to_map.a)):
        if axis not in layer.coords:
            raise InputError(f"{name} has no coordinates {axis}; give a plain array if it lies on the stack's grid")
        expected = start + step * (np.arange(layer.sizes[axis]) + 0.5)
        if np.abs(layer[axis].to_numpy() - expected).max() > abs(step) * _TOLERANCE:
            raise InputError(f"{name} lies on another grid than the stack: its {axis} differ; reproject it first")
    if layer.rio.crs is not None and layer.rio.crs != scores.rio.crs:
        raise InputError(f"{name} is in {layer.rio.crs}, but the stack in {scores.rio.crs}; reproject it first")
    values: Values = layer.data
    return values
