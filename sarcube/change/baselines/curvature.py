"""Curvature of the ground, which tells hilltops from hollows."""

from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SMOOTHING = 30.0  # metres, sigma of the Gaussian before the curvature; cut at twice that


def _reach(resolution: float) -> int:
    return int(np.ceil(2 * _SMOOTHING / resolution))


def _curvature_block(elevation: NDArray[Any], resolution: float) -> NDArray[Any]:
    smooth = ndimage.gaussian_filter(
        elevation.astype(np.float64), _SMOOTHING / resolution, mode="nearest", radius=_reach(resolution)
    )
    rows = np.gradient(np.gradient(smooth, resolution, axis=0), resolution, axis=0)
    columns = np.gradient(np.gradient(smooth, resolution, axis=1), resolution, axis=1)
    curvature: NDArray[np.float32] = (rows + columns).astype(np.float32)
    return curvature


def smoothed_curvature(elevation: Any, resolution: float) -> Any:
    """Sum of the second derivatives after a Gaussian of 30 m: (y, x) metres -> 1/m, float32, lazy or not.

    Negative on hilltops and ridges. `resolution` is the size of a pixel in metres. Source: the scripts published with
    Handwerger et al. (2022).
    """
    if not isinstance(elevation, da.Array):
        return _curvature_block(elevation, resolution)
    depth = _reach(resolution) + 2  # two more for the two gradients
    if min(elevation.shape) < depth:  # Dask has no overlap wider than the area
        elevation = elevation.rechunk(-1)
        depth = 0
    return da.map_overlap(
        _curvature_block,
        elevation,
        resolution=resolution,
        depth=depth,
        boundary="none",
        dtype=np.float32,
        meta=elevation._meta,
    )
