"""Strips of a row: how compiled loops over rows hand pixels to the routines in vector instructions."""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from sarcube.change.lanes.median import Median, buffer_values
from sarcube.change.lanes.routines import median_routine
from sarcube.vectors.compiled import call_routine
from sarcube.vectors.instructions import lanes_of

STRIP = 512  # pixels at most: what is made of them stays in the processor's nearest cache


def routine_addresses(medians: Sequence[Median]) -> Any:
    """Return the addresses of the routines that take these medians, int64."""
    return np.array([median_routine(median) for median in medians], np.int64)


def strip_buffers(dates: int, dtype: Any) -> tuple[Any, ...]:
    """Return what `median_strip` works in for windows of up to so many dates: a set for every thread."""
    buffer = np.empty(buffer_values(dates, dtype, STRIP), dtype)
    return np.empty(dates, np.int64), buffer, np.int64(lanes_of(dtype)), np.int64(STRIP)


@numba.njit(nogil=True, cache=True)
def strip_at(start, length, lead, buffers):  # type: ignore[no-untyped-def]
    """Return the first pixel and the width of the strip at `start`, and where the next one starts.

    Widths are multiples of the lanes: what is left at a row's end is taken with the pixels before it, and the `lead` at
    its beginning (see `lead_of`) with those behind them.
    """
    # Not STRIP itself: loops that numba holds on the disk would keep the old one, and write behind new buffers.
    _, _, lanes, most = buffers
    if start == 0 and lead > 0:
        return start, lanes, lead
    whole = min(most, length - start) // lanes * lanes
    return (start, whole, start + whole) if whole else (length - lanes, lanes, length)


@numba.njit(nogil=True, cache=True)
def lead_of(table, y, itemsize, buffers):  # type: ignore[no-untyped-def]
    """Return how many pixels of the first date's row `y` lie before the first whole vector of memory.

    Vectors that begin there lie each in one line of the cache; others would be read from two.
    """
    lanes = buffers[2]
    return (-(table[0, 0] + table[0, 1] * y) % (lanes * itemsize)) // itemsize


@numba.njit(nogil=True, cache=True)
def median_strip(routine, table, y, x0, width, buffers, min_valid, out):  # type: ignore[no-untyped-def]
    """Write the medians of the dates in `table` of `width` pixels from (y, x0) to `out`, in its dtype.

    Fewer valid dates than `min_valid` make NaN.
    """
    lines, buffer, lanes, _ = buffers
    dates = table.shape[0]
    for t in range(dates):
        lines[t] = table[t, 0] + table[t, 1] * y + out.itemsize * x0
    vectors, most = np.int64(width // lanes), np.int64(max(dates - min_valid, -1))
    places = np.int64(lines.ctypes.data), np.int64(out.ctypes.data), np.int64(buffer.ctypes.data)
    call_routine(routine, (places[0], vectors, most, places[1], places[2]))


@numba.njit(nogil=True, cache=True)
def decibel_strip(routine, power, width, buffers):  # type: ignore[no-untyped-def]
    """Turn `width` float32 powers into dB in place; NaN stays."""
    lines, _, lanes, _ = buffers
    place = np.int64(power.ctypes.data)
    lines[0] = place
    nothing = np.int64(0)
    call_routine(routine, (np.int64(lines.ctypes.data), np.int64(width // lanes), nothing, place, nothing))
