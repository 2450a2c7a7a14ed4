"""The probability of a landslide in every window of a stack, lazily and in bounded memory."""

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from sarcube.gaps import MAX_GAPS, count_gaps, fill_gaps
from sarcube.model_input import grid_for
from sarcube.models.kinds import window_classifier
from sarcube.models.weights import frozen_copy, model_hash
from sarcube.windows import WindowBlock, window_blocks, window_origins

if TYPE_CHECKING:
    from sarcube.models.classifier import WindowClassifier
    from sarcube.models.network import Network

BLOCK_PIXELS = 1024
"""A task scores windows whose first pixels lie within so many pixels: 17 MB of a four-band stack at a time."""
GROUP = 64
"""Windows that are cut out at once within a task."""


def score_image(
    image: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64], model: "WindowClassifier"
) -> NDArray[np.float32]:
    """Score windows of an image in memory, one by one.

    Parameters
    ----------
    image : (band, y, x) float32 array
        NaN where not valid.
    rows, columns : int arrays
        First pixels of the windows along each axis.
    model : WindowClassifier

    Returns
    -------
    (len(rows), len(columns)) float32 array
        NaN for windows with more than one pixel that is not valid.
    """
    size = model.spec.window_size
    image = np.asarray(image, np.float32)
    scores = np.full((len(rows), len(columns)), np.nan, np.float32)
    y, x = np.nonzero(count_gaps(image, rows, columns, size) <= MAX_GAPS)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    for start in range(0, len(y), GROUP):
        i, j = y[start : start + GROUP], x[start : start + GROUP]
        group = np.ascontiguousarray(windows[:, rows[i], columns[j]].swapaxes(0, 1))
        scores[i, j] = model.probabilities(fill_gaps(group))
    return scores


def score_windows(stack: xr.DataArray, model: "Network", *, stride: int = 32) -> xr.DataArray:
    """Probability of a landslide in every window of a stack.

    Every pixel of the stack lies in a window: where the regular grid does not end at the border, a last row and
    column of windows is clamped to it. The result is the same to the bit for any chunks of the stack, as a window's
    probability depends on nothing but its own pixels.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        float32 dB on a georeferenced grid, NaN where not valid, bands as the model expects. NumPy or Dask.
    model : WindowClassifier
        A copy is taken: training it further does not change what is computed later. A model that judges pixels is
        refused.
    stride : int
        Pixels from one window to the next, 1 to the window's size.

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
        model. A stack that does not say it passes. If the model judges pixels, not windows.
    """
    model = window_classifier(model)
    grid, size = grid_for(stack, model), model.spec.window_size
    rows = window_origins(stack.sizes["y"], size, stride)
    columns = window_origins(stack.sizes["x"], size, stride)
    centre = (size - 1) / 2
    to_map = grid.affine
    spec, identity = model.spec, model_hash(model)
    # One task that the others refer to, so that a cluster is sent the weights once.
    shared_model = delayed(frozen_copy(model), name=f"model-{identity}", traverse=False)
    data = da.asarray(stack.data)
    return xr.DataArray(
        _lazy_scores(data, rows, columns, size, shared_model, max(1, BLOCK_PIXELS // stride)),
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
            "threshold": spec.threshold,
            "model": identity,
            "image_shape": [stack.sizes["y"], stack.sizes["x"]],
            "image_transform": list(to_map)[:6],
            "track": str(stack.attrs.get("track", "")),
            "event": str(stack.attrs.get("event", "")),
        },
    )


def _lazy_scores(
    data: da.Array, rows: list[int], columns: list[int], size: int, model: Delayed, per_block: int
) -> da.Array:
    """Score block by block: the blocks follow from the window grid alone, so chunks only decide what is read when."""
    scores: da.Array = da.block(
        [
            [
                _score_block(data, rows, columns, vertical, horizontal, model)
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
    model: Delayed,
) -> da.Array:
    pixels = data[:, vertical.start_pixel : vertical.stop_pixel, horizontal.start_pixel : horizontal.stop_pixel]
    local_rows = np.array(rows[vertical.first : vertical.stop]) - vertical.start_pixel
    local_columns = np.array(columns[horizontal.first : horizontal.stop]) - horizontal.start_pixel
    scores: da.Array = da.map_blocks(
        score_image,
        pixels.rechunk(pixels.shape),
        local_rows,
        local_columns,
        model,
        name=f"score_windows-{tokenize(pixels.name, local_rows.tolist(), local_columns.tolist(), model.key)}",
        dtype=np.float32,
        drop_axis=0,
        chunks=((len(local_rows),), (len(local_columns),)),
        meta=np.empty((0, 0), np.float32),
    )
    return scores
