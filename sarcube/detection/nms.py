"""Suppression of boxes that overlap a better one: greedy, exact, with a grid to look up neighbours."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError


@njit(cache=True, nogil=True)
def _suppress(boxes: Any, order: Any, iou_threshold: float, cell_y: int, cell_x: int, rows: int, columns: int) -> Any:
    """Walk through the boxes in order and keep those that no kept box overlaps too much.

    Kept boxes hang in lists on the grid cell of their first pixel. No box is larger than a cell, so that those which
    can overlap hang on the same cell or on one of its eight neighbours.
    """
    head = np.full((rows + 2, columns + 2), -1, np.int64)  # a margin of one cell spares tests at the border
    following = np.full(boxes.shape[0], -1, np.int64)
    kept = np.empty(boxes.shape[0], np.int64)
    count = 0
    for index in order:
        y0, x0, y1, x1 = boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3]
        area = (y1 - y0) * (x1 - x0)
        row, column = y0 // cell_y + 1, x0 // cell_x + 1
        keep = True
        for r in range(row - 1, row + 2):
            for c in range(column - 1, column + 2):
                other = head[r, c]
                while keep and other >= 0:
                    height = min(y1, boxes[other, 2]) - max(y0, boxes[other, 0])
                    width = min(x1, boxes[other, 3]) - max(x0, boxes[other, 1])
                    if height > 0 and width > 0:
                        shared = height * width
                        other_area = (boxes[other, 2] - boxes[other, 0]) * (boxes[other, 3] - boxes[other, 1])
                        keep = not shared / (area + other_area - shared) > iou_threshold
                    other = following[other]
        if keep:
            following[index] = head[row, column]
            head[row, column] = index
            kept[count] = index
            count += 1
    return kept[:count]


def nms(boxes: ArrayLike, scores: ArrayLike, iou_threshold: float = 0.1) -> NDArray[np.int64]:
    """Keep the best boxes: greedily by score, each suppressing those that overlap it by more than a threshold.

    Parameters
    ----------
    boxes : (n, 4) integer array
        y0, x0, y1, x1 in pixels; y1 and x1 are exclusive.
    scores : (n,) float array
        Ties are resolved by y0, then x0, then position in the array.
    iou_threshold : float
        A box is suppressed where its intersection over union with a kept one is **above** it. 0 to 1.

    Returns
    -------
    (m,) int64 array
        Indices of the boxes kept, by descending score.

    Raises
    ------
    InputError
        If the shapes do not fit, a box is empty or not of whole numbers, or a score is NaN.
    """
    corners, values = np.asarray(boxes), np.asarray(scores)
    if not 0 <= iou_threshold <= 1:
        raise InputError(f"iou_threshold must be from 0 to 1, not {iou_threshold}")
    if corners.size == 0 and values.size == 0:
        return np.empty(0, np.int64)
    if corners.ndim != 2 or corners.shape[1] != 4 or values.shape != corners.shape[:1]:
        raise InputError(f"boxes must be (n, 4) and scores (n,), not {corners.shape} and {values.shape}")
    if corners.dtype.kind not in "iu":
        raise InputError(f"boxes are pixels, whole numbers (y0, x0, y1, x1), not {corners.dtype}")
    if np.isnan(values).any():
        raise InputError(f"{int(np.isnan(values).sum())} scores are NaN; leave out boxes that have no score")
    corners = corners.astype(np.int64)
    sides = corners[:, 2:] - corners[:, :2]
    if (sides <= 0).any():
        raise InputError("boxes are y0, x0, y1, x1 with y1 > y0 and x1 > x0; some are empty or have another order")

    corners -= np.tile(corners[:, :2].min(axis=0), 2)
    extent = corners[:, :2].max(axis=0) + 1
    # Far-flung boxes must not ask for a huge grid: larger cells are as right, only with longer lists.
    cell = np.maximum(sides.max(axis=0), np.ceil(extent / np.sqrt(4 * len(corners))).astype(np.int64))
    rows, columns = -(-extent // cell)
    order = np.lexsort((corners[:, 1], corners[:, 0], -values.astype(np.float64)))
    kept: NDArray[np.int64] = _suppress(corners, order, float(iou_threshold), cell[0], cell[1], rows, columns)
    return kept
