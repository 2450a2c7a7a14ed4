"""Greedy suppression as it is usually written with NumPy: one box at a time, all others at once."""

import numpy as np
from numpy.typing import NDArray


def suppress_in_a_loop(
    boxes: NDArray[np.int64], scores: NDArray[np.float32], iou_threshold: float
) -> NDArray[np.int64]:
    """Return the indices of the boxes kept, by descending score; ties by row, then column.

    Done well: the corners are sorted once, so that a step reads them in order, and what is suppressed takes no part in
    later steps.
    """
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
    y0, x0, y1, x1 = np.ascontiguousarray(boxes[order].T)
    area = (y1 - y0) * (x1 - x0)
    kept = []
    while order.size:
        kept.append(order[0])
        height = np.minimum(y1[0], y1[1:]) - np.maximum(y0[0], y0[1:])
        width = np.minimum(x1[0], x1[1:]) - np.maximum(x0[0], x0[1:])
        shared = np.maximum(height, 0) * np.maximum(width, 0)
        left = shared / (area[0] + area[1:] - shared) <= iou_threshold
        order, area = order[1:][left], area[1:][left]
        y0, x0, y1, x1 = y0[1:][left], x0[1:][left], y1[1:][left], x1[1:][left]
    return np.array(kept, np.int64)
