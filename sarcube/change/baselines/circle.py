"""Share of flagged pixels in a circle around each pixel."""

from typing import Any

import dask.array as da
import numba
import numpy as np
from numpy.typing import NDArray

_OUTSIDE = np.uint8(255)


@numba.njit(nogil=True, cache=True)
def _circle_share(flags, radius, out):  # type: ignore[no-untyped-def]
    # (y + 2 radius, x + 2 radius) of 0, 1 and 255 (outside the area) -> (y, x) share of 1 among the pixels of the
    # area no further than radius. Counts are integers along running sums, so that chunks cannot change a result.
    height, length = flags.shape
    ones = np.zeros((height, length + 1), np.int32)
    inside = np.zeros((height, length + 1), np.int32)
    for y in range(height):
        for x in range(length):
            ones[y, x + 1] = ones[y, x] + (flags[y, x] == 1)
            inside[y, x + 1] = inside[y, x] + (flags[y, x] != 255)
    hits = np.empty(out.shape[1], np.int32)
    pixels = np.empty(out.shape[1], np.int32)
    for y in range(out.shape[0]):
        hits[:] = 0
        pixels[:] = 0
        for dy in range(-radius, radius + 1):
            reach = int(np.sqrt(radius * radius - dy * dy))
            row = y + radius + dy
            for x in range(out.shape[1]):
                start, stop = x + radius - reach, x + radius + reach + 1
                hits[x] += ones[row, stop] - ones[row, start]
                pixels[x] += inside[row, stop] - inside[row, start]
        for x in range(out.shape[1]):
            out[y, x] = np.float32(hits[x]) / np.float32(pixels[x])


def _share_block(flags: NDArray[Any], radius: int) -> NDArray[Any]:
    out = np.empty((flags.shape[0] - 2 * radius, flags.shape[1] - 2 * radius), np.float32)
    _circle_share(flags, radius, out)
    return out


def _share_whole(flags: NDArray[Any], radius: int) -> NDArray[Any]:
    return _share_block(np.pad(flags, radius, constant_values=_OUTSIDE), radius)


def circle_share(flags: Any, radius: int) -> Any:
    """Share of ones among the pixels within `radius` of each pixel: (y, x) uint8 0 or 1 -> float32, lazy or not.

    Pixels outside the area do not count.
    """
    if not isinstance(flags, da.Array):
        return _share_whole(flags, radius)
    meta = np.empty((0, 0), np.float32)
    if min(flags.shape) < radius:  # Dask has no overlap wider than the area
        return flags.rechunk(-1).map_blocks(_share_whole, radius, dtype=np.float32, meta=meta)
    wide = da.overlap.overlap(flags, depth=radius, boundary=_OUTSIDE)
    chunks = tuple(tuple(size - 2 * radius for size in axis) for axis in wide.chunks)
    return wide.map_blocks(_share_block, radius, chunks=chunks, dtype=np.float32, meta=meta)
