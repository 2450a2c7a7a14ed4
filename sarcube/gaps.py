"""What a window with pixels that are not valid is worth: one rule for training and for detection.

A pixel is a gap where any band is not finite. A window with more than one gap is given up, as in Nava et al. 2026
(GMD 19, 167); a single gap is filled, in the bands where it is one, with the median of the window's finite pixels of
that band. The rule looks at nothing outside the window, so it cannot depend on how an image is cut into chunks.
"""

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sarcube.errors import InputError

Floats: TypeAlias = NDArray[np.float32]

MAX_GAPS = 1


def count_gaps(image: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Count the gaps of every window of an image.

    Parameters
    ----------
    image : (band, y, x) float array
    rows, columns : int arrays
        First pixels of the windows along each axis.
    size : int
        Pixels along a side of a window.

    Returns
    -------
    (len(rows), len(columns)) int64 array
    """
    return window_sums(_gaps(np.asarray(image)), rows, columns, size)


def window_sums(
    counts: NDArray[np.bool_] | NDArray[np.integer], rows: NDArray[np.int64], columns: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Sum an integer or boolean image (y, x) over every window, exactly, with a summed-area table.

    Raises
    ------
    InputError
        If the image is not of whole numbers: floats would not sum exactly.
    """
    if counts.dtype.kind not in "bui":
        raise InputError(f"window sums need an integer or boolean image, not {counts.dtype}")
    rows, columns = np.asarray(rows), np.asarray(columns)
    small = counts.dtype.kind == "b" and counts.size < np.iinfo(np.int32).max
    table = np.zeros((counts.shape[0] + 1, counts.shape[1] + 1), np.int32 if small else np.int64)
    _add_up(counts, table)
    above, below = table[rows], table[rows + size]
    right = columns + size
    sums = below[:, right] - below[:, columns] - above[:, right] + above[:, columns]
    return sums.astype(np.int64, copy=False)


@njit(cache=True, nogil=True)
def _gaps(image: Any) -> Any:
    """Return the pixels (y, x) where any band is not finite."""
    gaps = np.empty(image.shape[1:], np.bool_)
    line = np.empty(image.shape[2], image.dtype)
    for y in range(gaps.shape[0]):
        line[:] = 0
        for band in range(image.shape[0]):
            row = image[band, y]
            for x in range(row.size):
                line[x] += row[x] - row[x]  # 0, or NaN from what is not finite: vectors take that, not a question
        for x in range(line.size):
            gaps[y, x] = line[x] != 0
    return gaps


@njit(cache=True, nogil=True)
def _add_up(counts: Any, table: Any) -> None:
    """Sum what is above and to the left of each corner of pixels, into a table whose first row and column are 0."""
    for y in range(counts.shape[0]):
        row = table[0, 0]
        for x in range(counts.shape[1]):
            row += counts[y, x]
            table[y + 1, x + 1] = table[y, x + 1] + row


def fill_gaps(windows: Floats) -> Floats:
    """Fill the single gap of windows that have one; windows without a gap are returned unchanged.

    Parameters
    ----------
    windows : (n, band, size, size) float32 array
        Windows with at most one gap each. Filled in place.

    Returns
    -------
    (n, band, size, size) float32 array
        The same array.

    Raises
    ------
    InputError
        If a window has more than one gap.
    """
    missing = ~np.isfinite(windows)
    if not missing.any():
        return windows
    gaps = missing.any(axis=1).sum(axis=(1, 2))
    if gaps.max() > MAX_GAPS:
        raise InputError(
            f"a window with {gaps.max()} pixels that are not valid cannot be filled; at most {MAX_GAPS} can"
        )
    for n, band, y, x in np.argwhere(missing):
        plane = windows[n, band]
        plane[y, x] = np.median(plane[~missing[n, band]])
    return windows
