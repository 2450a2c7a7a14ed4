"""Suppression of boxes that overlap a better one: greedy, exact, in time that grows with the number of boxes."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcube.detection.suppression import IOU, OWN, SMALLER, Integers, Keys, Order, Survey, sorted_by, suppress, survey
from sarcube.errors import InputError

Overlap: TypeAlias = Literal["iou", "smaller"]
Method: TypeAlias = Literal["greedy", "sar-lra"]

_FARTHEST = 2**30 - 1  # sides fit into 32 bits, areas and their sums into 64
_SIGN, _REST = np.uint32(31), np.uint32(2**31 - 1)


def nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    iou_threshold: float = 0.1,
    *,
    overlap: Overlap = "iou",
    method: Method = "greedy",
) -> NDArray[np.int64]:
    """Keep the best boxes: greedily by score, each suppressing those that overlap it by more than a threshold.

    Parameters
    ----------
    boxes : (n, 4) integer array
        y0, x0, y1, x1 in pixels; y1 and x1 are exclusive. Windows of an image, or any others.
    scores : (n,) float array
        Ties are resolved by y0, then x0, then position in the array.
    iou_threshold : float
        A box is suppressed where it overlaps a kept one by a share **above** it. 0 to 1.
    overlap : "iou" or "smaller"
        The share: intersection over union, or over the area of the smaller box, so that a box within another one is
        suppressed however small it is.
    method : "greedy" or "sar-lra"
        "sar-lra" is the rule of the SAR-LRA Tool, for comparison: it looks at no score. See the notes.

    Returns
    -------
    (m,) int64 array
        Indices of the boxes in the order in which they were kept: by descending score; of "sar-lra" from the lowest
        edge up.

    Raises
    ------
    InputError
        If the shapes do not fit, a box is empty, not of whole numbers or 2^30 pixels from the origin and more, a
        score is NaN, or an option cannot be used.

    Notes
    -----
    The result is that of the textbook's double loop, ties included. Windows of one size on a grid take time in
    proportion to their number, crowded or not; boxes of other kinds do so where their sizes are alike.

    The rule of "sar-lra" (`non_max_suppression_fast` of lorenzonava96/SAR-and-DL-for-Landslide-Rapid-Assessment, after
    Malisiewicz and Rosebrock): the box with the greatest y1 is kept, those of which it covers more than
    `iou_threshold` of *their own* area are dropped, and so on upwards. y1 and x1 count as pixels of the box, so that a
    side is one pixel longer and boxes that touch overlap. Boxes of one row share their y1; which of them goes first the
    tool leaves to NumPy's sort, which is not stable and differs between processors. Here it is the last in the array:
    what a stable sort gives, and NumPy's does for 16 boxes or fewer.
    """
    if not 0 <= iou_threshold <= 1:
        raise InputError(f"iou_threshold must be from 0 to 1, not {iou_threshold}")
    if overlap not in ("iou", "smaller"):
        raise InputError(f'overlap must be "iou" or "smaller", not {overlap!r}')
    if method not in ("greedy", "sar-lra"):
        raise InputError(f'method must be "greedy" or "sar-lra", not {method!r}')
    if method == "sar-lra" and overlap != "iou":
        raise InputError('the method "sar-lra" has an overlap of its own; leave out overlap=')
    corners, values = np.asarray(boxes), np.asarray(scores)
    if corners.size == 0 and values.size == 0:
        return np.empty(0, np.int64)
    corners = _corners(corners, values)
    seen = _checked(corners)
    if method == "sar-lra":
        corners = corners + np.array([0, 0, 1, 1])
        seen = survey(corners)
        order, measure = _from_below(corners), OWN
    else:
        order, measure = _by_score(corners, values, seen), SMALLER if overlap == "smaller" else IOU
    return suppress(corners, order, seen, measure=measure, threshold=float(iou_threshold))


def _corners(boxes: NDArray[np.generic], scores: NDArray[np.generic]) -> Integers:
    """Return the boxes as int64, of a kind and number that can be."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise InputError(f"boxes must be (n, 4) and scores (n,), not {boxes.shape} and {scores.shape}")
    if boxes.dtype.kind not in "iu":
        raise InputError(f"boxes are pixels, whole numbers (y0, x0, y1, x1), not {boxes.dtype}")
    if scores.dtype.kind not in "biuf":
        raise InputError(f"scores must be numbers, not {scores.dtype}")
    missing = int(np.isnan(scores).sum()) if scores.dtype.kind == "f" else 0
    if missing:
        raise InputError(f"{missing} scores are NaN; leave out boxes that have no score")
    if boxes.dtype == np.uint64:
        boxes = np.minimum(boxes, np.uint64(2**62))  # too far as well, and signed as large
    return np.ascontiguousarray(boxes, np.int64)


def _checked(corners: Integers) -> Survey:
    seen = survey(corners)
    if max(-seen.smallest, seen.largest) > _FARTHEST:
        raise InputError(
            f"boxes are pixels of an image, less than 2^30 from its origin, but these reach from {seen.smallest} to "
            f"{seen.largest}; give rows and columns, not coordinates of a map"
        )
    if min(seen.lowest, seen.narrowest) <= 0:
        raise InputError("boxes are y0, x0, y1, x1 with y1 > y0 and x1 > x0; some are empty or have another order")
    return seen


def _by_score(corners: Integers, scores: NDArray[np.generic], seen: Survey) -> Order:
    """Order the boxes by descending score, then y0, x0, position: the least of these is sorted by first."""
    order = np.arange(len(corners), dtype=np.uint32)
    keys: list[Keys] = []
    if not seen.in_rows:
        keys += [(corners[:, 1] - seen.left).astype(np.uint32), (corners[:, 0] - seen.top).astype(np.uint32)]
    for key in keys + _descending(scores):
        order = sorted_by(key, order)
    return order


def _descending(scores: NDArray[np.generic]) -> list[Keys]:
    """Return unsigned integers that sort as the scores do, from high to low: 32 bits, or the lower and the upper 32."""
    if scores.dtype in (np.float16, np.float32):
        bits = np.ascontiguousarray(scores, np.float32) + np.float32(0)  # which makes one zero of two
        return [_reversed(bits.view(np.uint32))]
    wide = np.ascontiguousarray(scores, np.float64) + 0.0
    halves = wide.view(np.uint32).reshape(-1, 2)
    low, high = (halves[:, 0], halves[:, 1]) if np.little_endian else (halves[:, 1], halves[:, 0])
    negative = high >> _SIGN
    return [np.where(negative, low, ~low), _reversed(high)]


def _reversed(bits: Keys) -> Keys:
    """Turn the upper bits of floats into keys: the greater a float, the smaller its key."""
    return np.where(bits >> _SIGN, bits, bits ^ _REST)


def _from_below(corners: Integers) -> Order:
    """Order the boxes by descending y1, then by descending position."""
    key = (corners[:, 2] - corners[:, 2].min()).astype(np.uint32)
    return sorted_by(key, np.arange(len(corners), dtype=np.uint32))[::-1].copy()
