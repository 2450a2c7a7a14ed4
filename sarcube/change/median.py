"""The median over time, without the missing dates: one pass over the cube, no copy of it.

Pixels are taken in strips along x. A strip's dates are copied into a small buffer that stays in the processor's cache
and put in order there by a sorting network: the same few comparisons for every pixel, so that the processor does many
pixels at once. Of the network only what the middle depends on is kept.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias, overload

import dask.array as da
import numba
import numpy as np

from sarcube.errors import InputError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

STRIP = 128  # pixels: enough for the processor's widest instructions, and 30 dates of them stay in its nearest cache
_SERIAL_VALUES = 1 << 20  # below this many values threads cost more than they bring


@lru_cache(maxsize=256)
def median_network(dates: int) -> Array:
    """Return the comparators that put the middle of `dates` values into its place.

    Parameters
    ----------
    dates : int
        Number of values, 1 or more.

    Returns
    -------
    ndarray of int64, (comparator, 2)
        Pairs (i, j), i < j, in order: the smaller value goes to i, the larger to j. Afterwards places
        `dates // 2 - 1` and `dates // 2` hold what a full sort would put there.

    Notes
    -----
    Batcher's merge exchange sort (Knuth, The Art of Computer Programming 3, algorithm 5.2.2 M), less every
    comparator that the two middle places do not depend on.
    """
    comparators: list[tuple[int, int]] = []
    top = 1 << max(dates - 1, 0).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            comparators += [(i, i + d) for i in range(dates - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    needed = {max(dates // 2 - 1, 0), dates // 2}
    kept: list[tuple[int, int]] = []
    for i, j in reversed(comparators):
        if i in needed or j in needed:
            needed |= {i, j}
            kept.append((i, j))
    network = np.array(kept[::-1], dtype=np.int64).reshape(-1, 2)
    network.setflags(write=False)
    return network


@numba.njit(nogil=True, cache=True)
def order_strip(buffer, network, width):  # type: ignore[no-untyped-def]
    """Apply the network to `width` columns of the buffer (date, column), in place."""
    for c in range(network.shape[0]):
        low = buffer[network[c, 0]]
        high = buffer[network[c, 1]]
        for x in range(width):
            a = low[x]
            b = high[x]
            low[x] = a if a < b else b
            high[x] = b if a < b else a


@numba.njit(nogil=True, cache=True)
def _median_rows(values, network, out):  # type: ignore[no-untyped-def]
    # Missing dates become +inf and -inf in turn. So the middle of all dates stays, to within one place, the middle
    # of the valid ones, and pixels with different numbers of valid dates share one network.
    dates, height, length = values.shape
    buffer = np.empty((dates, STRIP), values.dtype)
    absent = np.empty(STRIP, np.int32)
    infinity = values.dtype.type(np.inf)
    missing = values.dtype.type(np.nan)
    half = values.dtype.type(0.5)
    lower = buffer[max(dates // 2 - 1, 0)]
    upper = buffer[dates // 2]
    for y in range(height):
        for x0 in range(0, length, STRIP):
            width = min(STRIP, length - x0)
            absent[:] = 0
            for t in range(dates):
                row = values[t, y, x0 : x0 + width]
                target = buffer[t]
                for x in range(width):
                    value = row[x]
                    n = absent[x]
                    fill = infinity if n & 1 == 0 else -infinity
                    target[x] = value if value == value else fill
                    absent[x] = n if value == value else n + 1
            order_strip(buffer, network, width)
            target = out[y, x0 : x0 + width]
            for x in range(width):
                n = absent[x]
                middle = upper[x] if dates & 1 else lower[x]
                mean = (lower[x] + upper[x]) * half
                median = middle if (dates - n) & 1 else mean
                target[x] = median if n < dates else missing


@numba.njit(nogil=True, cache=True)
def _count_rows(values, out):  # type: ignore[no-untyped-def]
    dates, height, length = values.shape
    for y in range(height):
        target = out[y]
        target[:] = 0
        for t in range(dates):
            row = values[t, y]
            for x in range(length):
                target[x] += row[x] == row[x]


def _median_into(values: Array, out: Array) -> None:
    _median_rows(values, median_network(values.shape[0]), out)


def _over_time(kernel: Callable[[Array, Array], None], values: Any, dtype: Any) -> Any:
    def block(values: Array) -> Array:
        out = np.empty(values.shape[1:], dtype)
        kernel(values, out)
        return out

    if isinstance(values, da.Array):
        # The chunks of one column of time are joined inside the task that needs them: y and x keep their chunks,
        # and no more than one such column per thread is in memory.
        meta = np.empty((0, 0), dtype)
        return da.blockwise(block, "yx", values, "tyx", concatenate=True, dtype=dtype, meta=meta)
    if values.size < _SERIAL_VALUES:
        return block(values)
    out = np.empty(values.shape[1:], dtype)
    edges = np.linspace(0, values.shape[1], numba.get_num_threads() + 1).astype(int)
    with ThreadPoolExecutor(len(edges) - 1) as threads:
        parts = [threads.submit(kernel, values[:, a:b], out[a:b]) for a, b in pairwise(edges)]
        for part in parts:
            part.result()
    return out


def _check(values: Any) -> None:
    if not isinstance(values, (np.ndarray, da.Array)):
        raise InputError(f"expected a NumPy or Dask array (time, y, x), not {type(values).__name__}; pass its .data")
    if values.ndim != 3 or values.shape[0] == 0:
        raise InputError(f"expected an array (time, y, x) with at least one date, not one of shape {values.shape}")
    if values.dtype not in (np.float32, np.float64):
        raise InputError(f"expected float32 or float64, where NaN is missing, not {values.dtype}; convert with astype")


@overload
def nanmedian(values: Array) -> Array: ...
@overload
def nanmedian(values: da.Array) -> da.Array: ...
def nanmedian(values: Array | da.Array) -> Array | da.Array:
    """Take the median over time of every pixel, leaving out NaN.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array, (time, y, x), float32 or float64
        NaN is missing. A Dask array may have time in one chunk or in many: the chunks of y and x are kept, and those
        along time are joined block by block, inside the task that takes their median.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x)
        Of the same dtype and kind as `values`: bit for bit what `numpy.nanmedian(values, axis=0)` returns, the
        mean of the two middle values where the number of valid dates is even. NaN, without a warning, where no
        date is valid. A Dask array stays lazy.

    Raises
    ------
    InputError
        If `values` is not a float array with three dimensions and at least one date.
    """
    _check(values)
    median: Array | da.Array = _over_time(_median_into, values, values.dtype)
    return median


@overload
def valid_count(values: Array) -> Array: ...
@overload
def valid_count(values: da.Array) -> da.Array: ...
def valid_count(values: Array | da.Array) -> Array | da.Array:
    """Count the dates of every pixel that are not NaN.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array, (time, y, x), float32 or float64
        NaN is missing.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x), uint16
        Lazy where `values` is.

    Raises
    ------
    InputError
        If `values` is not a float array with three dimensions and at least one date.
    """
    _check(values)
    count: Array | da.Array = _over_time(_count_rows, values, np.uint16)
    return count
