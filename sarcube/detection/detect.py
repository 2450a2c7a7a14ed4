"""Boxes around likely landslides, in the stack's coordinate reference system."""

from typing import TYPE_CHECKING, TypeAlias

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401  (registers .rio on xarray objects)
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from sarcube.detection.nms import nms
from sarcube.detection.scores import score_windows
from sarcube.errors import InputError

if TYPE_CHECKING:
    from sarcube.models.network import Network

CLEAR = 0
"""OPERA's code of a pixel in neither shadow nor layover; 1 shadow, 2 layover, 3 both, 255 no data."""
SHORT_HASH = 12

Mask: TypeAlias = xr.DataArray | NDArray[np.uint8]


def detect(
    stack: xr.DataArray,
    model: "Network",
    *,
    stride: int = 32,
    score_threshold: float | None = None,
    iou_threshold: float = 0.1,
    visible: Mask | None = None,
) -> gpd.GeoDataFrame:
    """Find likely landslides: score every window, keep those above a threshold, suppress what overlaps a better one.

    To keep the scores as well, call `score_windows`, compute, and hand them to `boxes_from_scores`: this function is
    no more than that.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        float32 dB on a georeferenced grid, bands as the model expects.
    model : WindowClassifier
    stride : int
        Pixels from one window to the next.
    score_threshold, iou_threshold, visible
        As in `boxes_from_scores`.

    Returns
    -------
    GeoDataFrame
        As from `boxes_from_scores`.

    Raises
    ------
    BandError
        If the stack's bands are not those of the model.
    InputError
        If the stack is smaller than a window or without a grid, or an option cannot be used.
    """
    scores = score_windows(stack, model, stride=stride)
    return boxes_from_scores(scores, score_threshold=score_threshold, iou_threshold=iou_threshold, visible=visible)


def boxes_from_scores(
    scores: xr.DataArray,
    *,
    score_threshold: float | None = None,
    iou_threshold: float = 0.1,
    visible: Mask | None = None,
) -> gpd.GeoDataFrame:
    """Turn the scores of windows into boxes on the map.

    Parameters
    ----------
    scores : (window_y, window_x) DataArray
        What `score_windows` returned, lazy or computed. NaN is no detection.
    score_threshold : float, optional
        Windows at or above it are detections; by default the model's own threshold.
    iou_threshold : float
        Boxes that overlap a better one by more than this intersection over union are dropped.
    visible : (y, x) uint8 array, optional
        Layover and shadow mask of the stack's track and grid, in OPERA's codes.

    Returns
    -------
    GeoDataFrame
        By descending score, in the stack's CRS. Columns: geometry (the window's square), score, track, visible_share
        (share of the window's pixels that lie in neither layover nor shadow; NaN without a mask), row and column (first
        pixel of the window), model (the first characters of its hash). Empty, with the same columns, if nothing is
        found.

    Raises
    ------
    InputError
        If the scores are not those of `score_windows`, the mask has another shape than the stack, or an option cannot
        be used.
    """
    missing = {"window_size", "threshold", "image_shape", "image_transform", "model"} - set(scores.attrs)
    if scores.dims != ("window_y", "window_x") or missing:
        raise InputError(
            f"scores must come from score_windows; these have the dimensions {scores.dims} and lack the attributes "
            f"{', '.join(sorted(missing)) or 'of none'}"
        )
    threshold = scores.attrs["threshold"] if score_threshold is None else score_threshold
    if not 0 <= threshold <= 1:
        raise InputError(f"score_threshold must be a probability, not {threshold}")
    size, values = int(scores.attrs["window_size"]), scores.to_numpy()
    i, j = np.nonzero(values >= threshold)  # false for NaN
    corner = np.stack([scores["row"].to_numpy()[i], scores["column"].to_numpy()[j]], axis=1)
    kept = nms(np.hstack([corner, corner + size]), values[i, j], iou_threshold=iou_threshold)
    corner = corner[kept]
    return gpd.GeoDataFrame(
        {
            "score": values[i, j][kept],
            "track": np.full(len(kept), scores.attrs.get("track", ""), object),
            "visible_share": _visible_share(visible, corner, size, tuple(scores.attrs["image_shape"])),
            "row": corner[:, 0],
            "column": corner[:, 1],
            "model": np.full(len(kept), scores.attrs["model"][:SHORT_HASH], object),
        },
        geometry=_squares(corner, size, Affine(*scores.attrs["image_transform"])),
        crs=scores.rio.crs,
    )


def _squares(corner: NDArray[np.int64], size: int, to_map: Affine) -> NDArray[np.object_]:
    x = to_map.c + to_map.a * np.stack([corner[:, 1], corner[:, 1] + size])
    y = to_map.f + to_map.e * np.stack([corner[:, 0], corner[:, 0] + size])
    return np.asarray(shapely.box(x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)))


def _visible_share(
    mask: Mask | None, corner: NDArray[np.int64], size: int, image_shape: tuple[int, ...]
) -> NDArray[np.float64]:
    if mask is None:
        return np.full(len(corner), np.nan)
    if mask.shape != image_shape:
        raise InputError(f"the layover and shadow mask has the shape {mask.shape}, but the stack has {image_shape}")
    codes = np.asarray(mask)
    return np.array([(codes[y : y + size, x : x + size] == CLEAR).mean() for y, x in corner], np.float64)
