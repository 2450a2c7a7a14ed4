"""The median over time, without the missing dates: one pass over the cube, no copy of it."""

from functools import partial
from typing import Literal, TypeAlias, overload

import dask.array as da
import numba
import numpy as np

from sarcube.change.lanes.median import Median, Middle
from sarcube.change.over_time import check_dates, over_time
from sarcube.change.planes import Array, Blocks, empty_beside, in_bands, padded_width, plane_table
from sarcube.change.strips import lead_of, median_strip, routine_addresses, strip_at, strip_buffers
from sarcube.errors import InputError

Domain: TypeAlias = Literal["power", "db"]


@numba.njit(nogil=True, cache=True)
def _median_rows(routine, table, first, stop, buffers, out):  # type: ignore[no-untyped-def]
    length = out.shape[1]
    for y in range(first, stop):
        end, lead = 0, lead_of(table, y, out.itemsize, buffers)
        while end < length:
            x0, width, end = strip_at(end, length, lead, buffers)
            median_strip(routine, table, y, x0, width, buffers, 1, out[y, x0 : x0 + width])


def _median_block(blocks: Blocks, *, threads: int | None, domain: Domain) -> Array:
    _, height, width = blocks[0].shape
    dtype = blocks[0].dtype
    table, kept = plane_table(blocks, dtype)
    in_db = domain == "db"
    middle: Middle = "geometric" if in_db else "arithmetic"
    (routine,) = routine_addresses([Median(len(table), dtype.name, power=in_db, middle=middle, decibel=False)])
    out = empty_beside(table, (height, padded_width(width, dtype)), dtype, is_block=threads is not None)

    def work(first: int, stop: int) -> None:
        _median_rows(routine, table, first, stop, strip_buffers(len(table), dtype), out)

    in_bands(work, (len(table), height, width), threads=threads)
    del kept  # the table's addresses are those of its arrays until here
    return out[:, :width]


@numba.njit(nogil=True, cache=True)
def _add_valid(values, first, stop, out):  # type: ignore[no-untyped-def]
    for y in range(first, stop):
        target = out[y]
        for t in range(values.shape[0]):
            row = values[t, y]
            for x in range(row.size):
                target[x] += row[x] == row[x]


def _count_block(blocks: Blocks, *, threads: int | None) -> Array:
    out = np.zeros(blocks[0].shape[1:], np.uint16)

    def work(first: int, stop: int) -> None:
        for block in blocks:
            _add_valid(block, first, stop, out)

    in_bands(work, blocks[0].shape, threads=threads)
    return out


@overload
def nanmedian(values: Array, *, domain: Domain = ...) -> Array: ...
@overload
def nanmedian(values: da.Array, *, domain: Domain = ...) -> da.Array: ...
def nanmedian(values: Array | da.Array, *, domain: Domain = "power") -> Array | da.Array:
    """Take the median over time of every pixel, leaving out NaN.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array, (time, y, x), float32 or float64
        NaN is missing. A Dask array may have time in one chunk or in many: the chunks of y and x are kept, nothing is
        rechunked, and the chunks along time are read where they lie by the task that takes their median.
    domain : {"power", "db"}
        "power": of the values as they are. "db": the median of the dB of powers, given as power: where an even number
        of dates is valid it is the geometric mean of the two middle ones, and what is not finite and above zero is
        missing, for it has no dB.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x)
        Of the same dtype and kind as `values`: by default bit for bit what `numpy.nanmedian(values, axis=0)` returns,
        the mean of the two middle values where the number of valid dates is even. (But for the sign of a zero, and for
        values above half the largest of the dtype, of which NumPy's mean is infinite.) NaN, without a warning, where no
        date is valid. A Dask array stays lazy.

    Raises
    ------
    InputError
        If `values` is not a float array with three dimensions and at least one date, or `domain` is another.
    """
    check_dates(values)
    if domain not in ("power", "db"):
        raise InputError(f'domain must be "power" or "db", not {domain!r}')
    median: Array | da.Array = over_time(partial(_median_block, domain=domain), values, values.dtype)
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
    check_dates(values)
    count: Array | da.Array = over_time(_count_block, values, np.uint16)
    return count
