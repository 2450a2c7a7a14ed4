"""Boxes around likely landslides, in the stack's coordinate reference system."""

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401  (registers .rio on xarray objects)
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from sarcube.detection.block import Precision
from sarcube.detection.filters import Layer, window_filter
from sarcube.detection.nms import Method, Overlap, nms
from sarcube.detection.scores import score_windows
from sarcube.errors import InputError

if TYPE_CHECKING:
    from sarcube.models.network import Network

SHORT_HASH = 12


def detect(
    stack: xr.DataArray,
    model: "Network",
    *,
    stride: int = 32,
    precision: Precision = "float32",
    device: str | None = None,
    score_threshold: float | None = None,
    iou_threshold: float = 0.1,
    overlap: Overlap = "iou",
    method: Method = "greedy",
    visible: Layer | None = None,
    min_visible_share: float = 0.0,
    slope: Layer | None = None,
    min_slope: float | None = None,
    water: Layer | None = None,
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
    precision, device
        As in `score_windows`. Screened scores are screened for `score_threshold`.
    score_threshold, iou_threshold, overlap, method, visible, min_visible_share, slope, min_slope, water
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
    screened_for = score_threshold if precision == "screened" else None
    scores = score_windows(
        stack, model, stride=stride, precision=precision, score_threshold=screened_for, device=device
    )
    return boxes_from_scores(
        scores,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        overlap=overlap,
        method=method,
        visible=visible,
        min_visible_share=min_visible_share,
        slope=slope,
        min_slope=min_slope,
        water=water,
    )


def boxes_from_scores(
    scores: xr.DataArray,
    *,
    score_threshold: float | None = None,
    iou_threshold: float = 0.1,
    overlap: Overlap = "iou",
    method: Method = "greedy",
    visible: Layer | None = None,
    min_visible_share: float = 0.0,
    slope: Layer | None = None,
    min_slope: float | None = None,
    water: Layer | None = None,
) -> gpd.GeoDataFrame:
    """Turn the scores of windows into boxes on the map.

    Parameters
    ----------
    scores : (window_y, window_x) DataArray
        What `score_windows` returned, lazy or computed. NaN is no detection.
    score_threshold : float, optional
        Windows at or above it are detections; by default the model's own threshold.
    iou_threshold : float
        Boxes that overlap a better one by more than this share are dropped.
    overlap, method
        Which share that is, and which of two boxes goes: as in `sarcube.detection.nms`.
    visible : (y, x) uint8 array, optional
        Layover and shadow mask of the stack's track, in OPERA's codes: `sc.select_track(cube, track).layover_shadow`.
    min_visible_share : float
        Windows of which the track sees less are left out. Needs `visible`.
    slope : (y, x) array, optional
        Degrees: ``cube["slope"]`` of a cube to which `sc.add_terrain` has added the layers of a DEM.
    min_slope : float, optional
        Windows of which less than 5 % is so steep are left out: 5 % is the share from which `sample_patches` takes
        a window for one with a landslide, so a smaller part could not hold one that counts. A pixel without a slope
        (NaN) is not steep. Needs `slope`, and `slope` needs it.
    water : (y, x) bool or uint8 array, optional
        True, or not 0, where there is water. Windows of which more than half is water are left out.

        The filters act before suppression, so that a window which is left out suppresses no other, and on scores: to
        try other limits takes no model. Layers may be lazy; they must lie on the stack's grid.

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
        If the scores are not those of `score_windows`, a layer is not on the stack's grid or of another kind, or an
        option cannot be used or lacks its layer.
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
    if scores.attrs.get("precision") == "screened" and threshold < scores.attrs["threshold"]:
        raise InputError(
            f"these scores were screened for {scores.attrs['threshold']}, and lower ones are not those of float32; for "
            f"boxes from {threshold} on, call score_windows with score_threshold={threshold}"
        )
    size, values = int(scores.attrs["window_size"]), scores.to_numpy()
    i, j = np.nonzero(values >= threshold)  # false for NaN
    corner = np.stack([scores["row"].to_numpy()[i], scores["column"].to_numpy()[j]], axis=1)
    passed, visible_share = window_filter(
        scores,
        corner,
        visible=visible,
        min_visible_share=min_visible_share,
        slope=slope,
        min_slope=min_slope,
        water=water,
    )
    corner, value, visible_share = corner[passed], values[i, j][passed], visible_share[passed]
    kept = nms(np.hstack([corner, corner + size]), value, iou_threshold=iou_threshold, overlap=overlap, method=method)
    kept = kept[np.argsort(-value[kept], kind="stable")] if method != "greedy" else kept
    corner = corner[kept]
    return gpd.GeoDataFrame(
        {
            "score": value[kept],
            "track": np.full(len(kept), scores.attrs.get("track", ""), object),
            "visible_share": visible_share[kept],
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
