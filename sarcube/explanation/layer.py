"""Contributions over an area: a layer on the grid of a stack, lazily and in bounded memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from sarcube.explanation.attribution import attribute, base_value
from sarcube.gaps import MAX_GAPS, count_gaps, fill_gaps
from sarcube.model_input import grid_for
from sarcube.models.weights import model_hash
from sarcube.windows import WindowBlock, window_blocks, window_origins

if TYPE_CHECKING:
    from sarcube.models.classifier import WindowClassifier

BLOCK_PIXELS = 256
"""A task explains windows whose first pixels lie within so many pixels: some 16 windows side by side, half a second."""
_CLOSEST = 16
"""Pixels: a task has no more windows for a smaller stride than for this one."""
_KEPT = ("event", "event_time", "track", "dates_pre", "dates_post", "simulated")
"""What a layer says in the words of its stack."""


class Explainer(NamedTuple):
    """A frozen model, and the baselines it is explained against."""

    model: "WindowClassifier"
    baselines: NDArray[np.float32]


def sum_of_windows(
    image: NDArray[np.float32], rows: Sequence[int], columns: Sequence[int], explainer: Explainer
) -> NDArray[np.float64]:
    """Explain windows of an image in memory, and add what they say of each pixel.

    Parameters
    ----------
    image : (band, y, x) float32 array
        NaN where not valid.
    rows, columns : sequence of int
        First pixels of the windows along each axis.
    explainer : Explainer

    Returns
    -------
    (band + 1, y, x) float64 array
        Sums of contributions, and last the number of windows: those that can be judged and cover the pixel.
    """
    size = explainer.model.spec.window_size
    image = np.asarray(image, np.float32)
    result = np.zeros((len(image) + 1, *image.shape[1:]))
    usable = count_gaps(image, np.asarray(rows), np.asarray(columns), size) <= MAX_GAPS
    if not usable.any():
        return result
    places = [np.s_[:, rows[i] : rows[i] + size, columns[j] : columns[j] + size] for i, j in np.argwhere(usable)]
    windows = fill_gaps(np.stack([image[place] for place in places]))
    found = attribute(windows, explainer.baselines, explainer.model).contributions
    for place, contributions in zip(places, found, strict=True):
        result[:-1][place] += contributions
        result[-1:][place] += 1
    return result


def mean_of_sums(
    sums: Sequence[NDArray[np.float64]], corners: Sequence[tuple[int, int]], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Join sums of overlapping pieces into means.

    Parameters
    ----------
    sums : sequence of (band + 1, y, x) float64 arrays
        From `sum_of_windows`, in an order that is always the same.
    corners : sequence of (int, int)
        Row and column of the first pixel of each, from the first pixel of the result; may be negative.
    shape : (int, int)
        Pixels of the result.

    Returns
    -------
    (band, y, x) float32 array
        NaN where no window says anything.
    """
    total = np.zeros((len(sums[0]), *shape))
    for piece, (row, column) in zip(sums, corners, strict=True):
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + piece.shape[1], shape[0]), min(column + piece.shape[2], shape[1])
        total[:, top:bottom, left:right] += piece[:, top - row : bottom - row, left - column : right - column]
    counts = total[-1]
    means = np.full((len(total) - 1, *shape), np.nan, np.float32)
    np.divide(total[:-1], counts, out=means, where=counts > 0, casting="same_kind")
    return means


def explain_stack(
    stack: xr.DataArray, model: "WindowClassifier", *, baselines: NDArray[np.float32], stride: int
) -> xr.DataArray:
    """Wrap `sum_of_windows` for stacks: a (band, y, x) layer, lazy; `sarcube.explain` says more.

    Blocks of windows follow from the window grid alone, so that chunks only decide what is read when.
    """
    grid_for(stack, model)
    size, (height, width) = model.spec.window_size, stack.shape[1:]
    rows, columns = window_origins(height, size, stride), window_origins(width, size, stride)
    identity, per_block = model_hash(model), max(1, BLOCK_PIXELS // max(stride, _CLOSEST))
    # One task that the others refer to, so that a cluster is sent weights and baselines once.
    name = f"explainer-{identity}-{tokenize(baselines)}"
    explainer = delayed(Explainer(model, baselines), name=name, traverse=False)
    data = da.asarray(stack.data)
    vertical, horizontal = (list(window_blocks(origins, size, per_block)) for origins in (rows, columns))
    sums = {(v, h): _lazy_sums(data, rows, columns, v, h, explainer) for v in vertical for h in horizontal}
    pieces = [[_lazy_means(sums, y, x, len(data)) for x in _spans(horizontal, width)] for y in _spans(vertical, height)]
    return xr.DataArray(
        da.block(pieces),
        dims=stack.dims,
        coords={name: stack[name] for name in (*stack.dims, "spatial_ref")},
        name="contribution",
        attrs={
            "long_name": "contribution to the logit of a landslide",
            "units": "1",
            "base_value": base_value(baselines, model),
            "baselines": len(baselines),
            "window_size": size,
            "windows": len(rows) * len(columns),
            "stride": stride,
            "model": identity,
            **{key: stack.attrs[key] for key in _KEPT if key in stack.attrs},
        },
    )


def _spans(blocks: list[WindowBlock], length: int) -> list[tuple[int, int]]:
    """Cut an axis where the blocks' first windows begin: no pixel is in two spans."""
    starts = [block.start_pixel for block in blocks]
    return list(zip(starts, [*starts[1:], length], strict=True))


def _lazy_sums(
    data: da.Array,
    rows: list[int],
    columns: list[int],
    vertical: WindowBlock,
    horizontal: WindowBlock,
    explainer: Delayed,
) -> Delayed:
    pixels = data[:, vertical.start_pixel : vertical.stop_pixel, horizontal.start_pixel : horizontal.stop_pixel]
    local_rows = [row - vertical.start_pixel for row in rows[vertical.first : vertical.stop]]
    local_columns = [column - horizontal.start_pixel for column in columns[horizontal.first : horizontal.stop]]
    lazy: Delayed = delayed(sum_of_windows, pure=True)(pixels, local_rows, local_columns, explainer)
    return lazy


def _lazy_means(
    sums: dict[tuple[WindowBlock, WindowBlock], Delayed], y: tuple[int, int], x: tuple[int, int], bands: int
) -> da.Array:
    near = [(v, h) for v, h in sums if _meet(v, y) and _meet(h, x)]
    corners = [(v.start_pixel - y[0], h.start_pixel - x[0]) for v, h in near]
    shape = (y[1] - y[0], x[1] - x[0])
    lazy = delayed(mean_of_sums, pure=True)([sums[pair] for pair in near], corners, shape)
    means: da.Array = da.from_delayed(lazy, (bands, *shape), dtype=np.float32)
    return means


def _meet(block: WindowBlock, span: tuple[int, int]) -> bool:
    return block.start_pixel < span[1] and block.stop_pixel > span[0]
