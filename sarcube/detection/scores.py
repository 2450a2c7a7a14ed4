"""The probability of a landslide in every window of a stack, lazily and in bounded memory."""

from typing import TYPE_CHECKING
from uuid import uuid4

import dask.array as da
import numpy as np
import torch
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from sarcube.detection.block import PRECISIONS, Precision, Scoring, score_image
from sarcube.errors import InputError
from sarcube.model_input import grid_for
from sarcube.models.kinds import window_classifier
from sarcube.models.weights import frozen_copy, model_hash
from sarcube.windows import WindowBlock, window_blocks, window_origins

if TYPE_CHECKING:
    from sarcube.models.network import Network

BLOCK_PIXELS = 1024
"""A task scores windows whose first pixels lie within so many pixels: 17 MB of a four-band stack at a time."""


def score_windows(
    stack: xr.DataArray,
    model: "Network",
    *,
    stride: int = 32,
    precision: Precision = "float32",
    score_threshold: float | None = None,
    device: str | None = None,
) -> xr.DataArray:
    """Probability of a landslide in every window of a stack.

    Every pixel of the stack lies in a window: where the regular grid does not end at the border, a last row and
    column of windows is clamped to it. The result is the same to the bit for any chunks of the stack and any number of
    threads: what a task computes follows from the grid of windows, and it uses one thread.

    Windows overlap, and networks of the light CNN's family (`sarcube.models.cnn`, and `nava2021` with windows as they
    are) compute what overlapping windows have in common once. That is exact: a window still is convolved with zeros
    around it, and what these change is computed for each window. Other models judge window by window.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        float32 dB on a georeferenced grid, NaN where not valid, bands as the model expects. NumPy or Dask; it is read
        when the scores are computed.
    model : WindowClassifier
        A copy is taken: training it further does not change what is computed later. A model that judges pixels is
        refused.
    stride : int
        Pixels from one window to the next, 1 to the window's size.
    precision : {"float32", "bfloat16", "screened"}
        "bfloat16" is faster on processors with instructions for it and slower on others; probabilities are then off by
        some hundredths. "screened" judges all windows in bfloat16, and those near the threshold or above it again in
        float32, so that detections are those of float32.
    score_threshold : float, optional
        What windows are screened for; by default the model's own threshold. Screened scores must not be used with a
        lower one.
    device : str, optional
        Such as "cpu" or "cuda"; by default where the model is.

    Returns
    -------
    (window_y, window_x) DataArray
        float32 probability, lazy. NaN for windows with more than one pixel that is not valid in any band; a single
        one is filled with the median of the window (`sarcube.gaps`). Coordinates: `row` and `column`, the first pixel
        of a window; `y` and `x`, its centre on the map; `spatial_ref`. Attributes tell the grid and the model.

    Raises
    ------
    BandError
        If the stack's bands are not those of the model.
    InputError
        If the stack is smaller than a window, not (band, y, x), without a grid or on one that is turned against the
        axes of its CRS, or the stride cannot be used; if `attrs["radiometry"]` of the stack is another than that of the
        model. A stack that does not say it passes. If the model judges pixels, not windows. If the precision or the
        device cannot be used, or a threshold is given that is no probability or without a screening.
    """
    model = window_classifier(model)
    threshold = _screening_threshold(precision, score_threshold, model.spec.threshold)
    grid, size = grid_for(stack, model), model.spec.window_size
    rows = window_origins(stack.sizes["y"], size, stride)
    columns = window_origins(stack.sizes["x"], size, stride)
    centre = (size - 1) / 2
    to_map = grid.affine
    spec, identity = model.spec, model_hash(model)
    place = str(model.mean.device) if device is None else _usable(device)
    # One task that the others refer to, so that a cluster is sent the weights once.
    scoring = delayed(
        Scoring(frozen_copy(model).to(place), precision, threshold),
        name=f"model-{identity}-{precision}-{threshold}-{place}",
        traverse=False,
    )
    return xr.DataArray(
        _lazy_scores(_as_dask(stack.data), rows, columns, size, scoring, max(1, BLOCK_PIXELS // stride)),
        dims=("window_y", "window_x"),
        coords={
            "row": ("window_y", np.array(rows)),
            "column": ("window_x", np.array(columns)),
            "y": ("window_y", [(to_map * (0, row + centre + 0.5))[1] for row in rows]),
            "x": ("window_x", [(to_map * (column + centre + 0.5, 0))[0] for column in columns]),
            "spatial_ref": stack["spatial_ref"],
        },
        name="landslide_probability",
        attrs={
            "long_name": "probability of a landslide in the window",
            "units": "1",
            "window_size": size,
            "stride": stride,
            "threshold": spec.threshold if score_threshold is None else score_threshold,
            "precision": precision,
            "model": identity,
            "image_shape": [stack.sizes["y"], stack.sizes["x"]],
            "image_transform": list(to_map)[:6],
            "track": str(stack.attrs.get("track", "")),
            "event": str(stack.attrs.get("event", "")),
        },
    )


def _screening_threshold(precision: str, given: float | None, own: float) -> float:
    if precision not in PRECISIONS:
        raise InputError(f'the precision must be one of {", ".join(PRECISIONS)}, not "{precision}"')
    if given is None:
        return own
    if precision != "screened":
        raise InputError(f"score_threshold is what windows are screened for; with precision {precision} none are")
    if not 0 <= given <= 1:
        raise InputError(f"score_threshold must be a probability, not {given}")
    return given


def _as_dask(data: NDArray[np.float32] | da.Array) -> da.Array:
    """Return an array in memory as one chunk, of which tasks take views: Dask itself would copy and hash it."""
    if isinstance(data, da.Array):
        return data
    whole = delayed(data, name=f"stack-{uuid4().hex}", traverse=False)
    chunk: da.Array = da.from_delayed(whole, data.shape, meta=np.empty((0,) * data.ndim, data.dtype))
    return chunk


def _usable(device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # unknown, not built in, or not there
        raise InputError(f'torch cannot use the device "{device}": {error}') from error
    return device


def _lazy_scores(
    data: da.Array, rows: list[int], columns: list[int], size: int, scoring: Delayed, per_block: int
) -> da.Array:
    """Score block by block: the blocks follow from the window grid alone, so chunks only decide what is read when."""
    scores: da.Array = da.block(
        [
            [
                _score_block(data, rows, columns, vertical, horizontal, scoring)
                for horizontal in window_blocks(columns, size, per_block)
            ]
            for vertical in window_blocks(rows, size, per_block)
        ]
    )
    return scores


def _score_block(
    data: da.Array,
    rows: list[int],
    columns: list[int],
    vertical: WindowBlock,
    horizontal: WindowBlock,
    scoring: Delayed,
) -> da.Array:
    pixels = data[:, vertical.start_pixel : vertical.stop_pixel, horizontal.start_pixel : horizontal.stop_pixel]
    local_rows = np.array(rows[vertical.first : vertical.stop]) - vertical.start_pixel
    local_columns = np.array(columns[horizontal.first : horizontal.stop]) - horizontal.start_pixel
    scores: da.Array = da.map_blocks(
        score_image,
        pixels.rechunk(pixels.shape),
        local_rows,
        local_columns,
        scoring,
        name=f"score_windows-{tokenize(pixels.name, local_rows.tolist(), local_columns.tolist(), scoring.key)}",
        dtype=np.float32,
        drop_axis=0,
        chunks=((len(local_rows),), (len(local_columns),)),
        meta=np.empty((0, 0), np.float32),
    )
    return scores
