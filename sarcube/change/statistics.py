"""Mean, spread and percentiles over time, without the missing dates."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

import dask.array as da
import numba
import numpy as np
from numba import carray  # type: ignore[attr-defined]

from sarcube.change.network import sorting_network
from sarcube.change.over_time import check_dates, over_time
from sarcube.change.planes import Array, Blocks, in_bands, padded_width, pixels_at, plane_table
from sarcube.errors import InputError

_STRIP = 64  # pixels: 200 dates of them stay in a near cache
_Kernel = Callable[..., None]


@numba.njit(nogil=True, cache=True)
def _sum_row(table, y, dates, total, number, like):  # type: ignore[no-untyped-def]
    # In float64: what its rounding leaves is nothing beside that of a float32 result.
    total[:] = 0.0
    number[:] = 0
    for t in range(dates):
        row = carray(pixels_at(table[t, 0] + table[t, 1] * y, like), total.shape)
        for x in range(total.size):
            valid = row[x] == row[x]
            total[x] += np.float64(row[x]) if valid else 0.0
            number[x] += valid


@numba.njit(nogil=True, cache=True)
def _mean_rows(table, first, stop, out):  # type: ignore[no-untyped-def]
    total = np.empty(out.shape[1], np.float64)
    number = np.empty(out.shape[1], np.int64)
    for y in range(first, stop):
        _sum_row(table, y, len(table), total, number, out)
        target = out[y]
        for x in range(total.size):
            target[x] = total[x] / number[x] if number[x] else np.nan


@numba.njit(nogil=True, cache=True)
def _std_rows(table, first, stop, out):  # type: ignore[no-untyped-def]
    total = np.empty(out.shape[1], np.float64)
    number = np.empty(out.shape[1], np.int64)
    squares = np.empty(out.shape[1], np.float64)
    for y in range(first, stop):
        _sum_row(table, y, len(table), total, number, out)
        for x in range(total.size):
            total[x] /= max(number[x], 1)
        squares[:] = 0.0
        for t in range(len(table)):
            row = carray(pixels_at(table[t, 0] + table[t, 1] * y, out), total.shape)
            for x in range(total.size):
                away = np.float64(row[x]) - total[x]
                squares[x] += away * away if row[x] == row[x] else 0.0
        target = out[y]
        for x in range(total.size):
            target[x] = np.sqrt(squares[x] / number[x]) if number[x] else np.nan


@numba.njit(nogil=True, cache=True)
def _percentile_rows(table, network, quantiles, first, stop, out):  # type: ignore[no-untyped-def]
    # Missing dates go to the end as +inf; out: (percentile, y, x). Between two dates as NumPy's `linear` has it.
    dates, width = len(table), out.shape[2]
    ordered = np.empty((dates, _STRIP), out.dtype)
    number = np.empty(_STRIP, np.int64)
    for y in range(first, stop):
        for x0 in range(0, width, _STRIP):
            count = min(_STRIP, width - x0)
            number[:] = 0
            for t in range(dates):
                row = carray(pixels_at(table[t, 0] + table[t, 1] * y + out.itemsize * x0, out), (count,))
                target = ordered[t]
                for x in range(count):
                    valid = row[x] == row[x]
                    target[x] = row[x] if valid else np.inf
                    number[x] += valid
            for c in range(len(network)):
                low, high = ordered[network[c, 0]], ordered[network[c, 1]]
                for x in range(_STRIP):
                    a, b = low[x], high[x]
                    low[x] = a if a < b else b
                    high[x] = a if a > b else b
            for q in range(len(quantiles)):
                for x in range(count):
                    place = np.float64(number[x] - 1) * quantiles[q]
                    below = int(np.floor(place))
                    if number[x] == 0:
                        out[q, y, x0 + x] = np.nan
                    else:
                        a = np.float64(ordered[below, x])
                        b = np.float64(ordered[min(below + 1, number[x] - 1), x])
                        part = place - below
                        out[q, y, x0 + x] = b - (b - a) * (1.0 - part) if part >= 0.5 else a + (b - a) * part


def _statistic_block(blocks: Blocks, *, threads: int | None, kernel: _Kernel) -> Array:
    _, height, width = blocks[0].shape
    table, kept = plane_table(blocks, blocks[0].dtype)
    out = np.empty((height, padded_width(width, blocks[0].dtype)), blocks[0].dtype)
    in_bands(lambda first, stop: kernel(table, first, stop, out), (len(table), height, width), threads=threads)
    del kept  # the table's addresses are those of its arrays until here
    return out[:, :width]


# By name, not as partials of kernels: Dask names a graph after what its functions hold, and numba's names change.
def _mean_block(blocks: Blocks, *, threads: int | None) -> Array:
    return _statistic_block(blocks, threads=threads, kernel=_mean_rows)


def _std_block(blocks: Blocks, *, threads: int | None) -> Array:
    return _statistic_block(blocks, threads=threads, kernel=_std_rows)


def _percentile_block(blocks: Blocks, *, threads: int | None, quantiles: Array) -> Array:
    _, height, width = blocks[0].shape
    table, kept = plane_table(blocks, blocks[0].dtype)
    out = np.empty((len(quantiles), height, padded_width(width, blocks[0].dtype)), blocks[0].dtype)
    network = sorting_network(len(table))

    def work(first: int, stop: int) -> None:
        _percentile_rows(table, network, quantiles, first, stop, out)

    in_bands(work, (len(table), height, width), threads=threads)
    del kept  # the table's addresses are those of its arrays until here
    return out[..., :width]


@overload
def nanmean(values: Array) -> Array: ...
@overload
def nanmean(values: da.Array) -> da.Array: ...
def nanmean(values: Array | da.Array) -> Array | da.Array:
    """Take the mean over time of every pixel, leaving out NaN.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array, (time, y, x), float32 or float64
        NaN is missing.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x)
        Of the same dtype and kind as `values`, from sums in float64; NaN, without a warning, where no date is valid.

    Raises
    ------
    InputError
        If `values` is not a float array with three dimensions and at least one date.
    """
    check_dates(values)
    mean: Array | da.Array = over_time(_mean_block, values, values.dtype)
    return mean


@overload
def nanstd(values: Array) -> Array: ...
@overload
def nanstd(values: da.Array) -> da.Array: ...
def nanstd(values: Array | da.Array) -> Array | da.Array:
    """Take the standard deviation over time of every pixel, leaving out NaN.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array, (time, y, x), float32 or float64
        NaN is missing.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x)
        As `numpy.nanstd(values, axis=0)`: the root of the mean square deviation from the mean, from sums in float64; of
        the same dtype and kind as `values`. NaN, without a warning, where no date is valid.

    Raises
    ------
    InputError
        If `values` is not a float array with three dimensions and at least one date.
    """
    check_dates(values)
    spread: Array | da.Array = over_time(_std_block, values, values.dtype)
    return spread


@overload
def nanpercentile(values: Array, percentiles: float | Sequence[float]) -> Array: ...
@overload
def nanpercentile(values: da.Array, percentiles: float | Sequence[float]) -> da.Array: ...
def nanpercentile(values: Array | da.Array, percentiles: float | Sequence[float]) -> Array | da.Array:
    """Take percentiles over time of every pixel, leaving out NaN.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array, (time, y, x), float32 or float64
        NaN is missing.
    percentiles : float or sequence of float
        0 to 100.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x), or (percentile, y, x) for a sequence
        Linear between the two nearest dates: for finite values what `numpy.nanpercentile(values, percentiles, axis=0)`
        returns in float64, bit for bit but for the sign of a zero, rounded to the dtype of `values`. NaN, without a
        warning, where no date is valid.

    Raises
    ------
    InputError
        If `values` is not a float array with three dimensions and at least one date, or a percentile is not between
        0 and 100.
    """
    check_dates(values)
    wanted = np.atleast_1d(np.asarray(percentiles, np.float64))
    if wanted.ndim != 1 or not wanted.size or not ((wanted >= 0) & (wanted <= 100)).all():
        raise InputError(f"percentiles must be numbers from 0 to 100, one or several, not {percentiles!r}")
    block = partial(_percentile_block, quantiles=wanted / 100)
    result: Any = over_time(block, values, values.dtype, leading=len(wanted))
    return result if np.ndim(percentiles) else result[0]  # type: ignore[no-any-return]
