"""Composites of a block: the level of backscatter in each window of dates, and its change, in one pass over the block.

Strip by strip of a row, every window's dates are put in order or averaged where they lie, turned into dB and combined.
Nothing but the bands is ever as large as the block, however many windows share its dates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numba
import numpy as np
from numba import carray  # type: ignore[attr-defined]

from sarcube.change.lanes.median import Median, Middle
from sarcube.change.lanes.routines import decibel_routine
from sarcube.change.median import Domain
from sarcube.change.planes import Array, Blocks, empty_beside, in_bands, padded_width, pixels_at, plane_table
from sarcube.change.strips import (
    STRIP,
    decibel_strip,
    lead_of,
    median_strip,
    routine_addresses,
    strip_at,
    strip_buffers,
)

Statistic: TypeAlias = Literal["median", "mean"]
_Tables: TypeAlias = tuple[Array, Array, list[Array]]


@dataclass(frozen=True)
class Plan:
    """What to make of a block's dates.

    Attributes
    ----------
    windows : tuple of tuple of int
        The dates of each window, as places along the block's time.
    pairs : tuple of (int, int)
        Which window is before and which after, for every composite.
    statistic, domain, min_valid
        As `sarcube.composite` takes them.
    """

    windows: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...]
    statistic: Statistic
    domain: Domain
    min_valid: int


@numba.njit(nogil=True, cache=True)
def _mean_strip(to_decibel, table, y, x0, width, buffers, strips, in_decibel, min_valid, out):  # type: ignore[no-untyped-def]
    # Sums in float64: what their rounding leaves is nothing beside that of the result.
    total, number, value = strips
    total[:width] = 0.0
    number[:width] = 0
    for t in range(table.shape[0]):
        line = carray(pixels_at(table[t, 0] + table[t, 1] * y + 4 * x0, out), (width,))
        for x in range(np.uint64(width)):
            valid = (line[x] > np.float32(0.0)) & (line[x] < np.float32(np.inf))
            value[x] = line[x] if valid else np.float32(np.nan)
            number[x] += valid
        if in_decibel:
            decibel_strip(to_decibel, value, width, buffers)
        for x in range(np.uint64(width)):
            total[x] += np.float64(value[x]) if value[x] == value[x] else 0.0
    for x in range(np.uint64(width)):
        mean = np.float32(total[x] / np.float64(max(number[x], 1)))
        out[x] = mean if number[x] >= min_valid else np.float32(np.nan)
    if not in_decibel:
        decibel_strip(to_decibel, out, width, buffers)


@numba.njit(nogil=True, cache=True)
def _change_rows(  # type: ignore[no-untyped-def]
    tables, windows, routines, pairs, average, in_decibel, min_valid, first, stop, buffers, strips, bands, out
):
    # Window w has the dates tables[windows[w, 0] : windows[w, 1]]. Out: (pair, band, y, x), whole: of a part of the
    # bands the compiler does not know that pixels are neighbours, and takes them one by one. `bands`: post and diff.
    length = out.shape[3]
    levels = np.empty((len(windows), buffers[3]), np.float32)
    for y in range(first, stop):
        end, lead = 0, lead_of(tables, y, out.itemsize, buffers)
        while end < length:
            x0, width, end = strip_at(end, length, lead, buffers)
            for w in range(len(windows)):
                table = tables[windows[w, 0] : windows[w, 1]]
                level = levels[w]
                if average:
                    _mean_strip(routines[w], table, y, x0, width, buffers, strips, in_decibel, min_valid, level)
                else:
                    median_strip(routines[w], table, y, x0, width, buffers, min_valid, level)
            for p in range(len(pairs)):
                old, new = levels[pairs[p, 0]], levels[pairs[p, 1]]
                post, diff = out[p, bands[0], y, x0 : x0 + width], out[p, bands[1], y, x0 : x0 + width]
                for x in range(np.uint64(width)):
                    post[x] = new[x]
                for x in range(np.uint64(width)):
                    diff[x] = new[x] - old[x]


def change_block(blocks: Sequence[Blocks], plans: Sequence[Plan], *, threads: int | None) -> Array:
    """Composite one block.

    Parameters
    ----------
    blocks : sequence, per polarisation, of sequences of ndarray, (time, y, x)
        The parts of the block along time: linear power.
    plans : sequence of Plan
        Per polarisation; places along time count through its own parts. All have the same pairs.
    threads : int, optional
        How many to use; by default as many as numba does.

    Returns
    -------
    ndarray of float32, (pair, band, y, x)
        In dB: after the event for every polarisation, then after minus before for every polarisation.
    """
    _, height, width = blocks[0][0].shape
    count = len(blocks)
    shape = (len(plans[0].pairs), 2 * count, height, padded_width(width, np.float32))
    tables = [_tables(parts, plan) for parts, plan in zip(blocks, plans, strict=True)]
    out = empty_beside(tables[0][0], shape, np.float32, is_block=threads is not None)
    for number, (found, plan) in enumerate(zip(tables, plans, strict=True)):
        _write_bands(found, plan, (number, count + number), out, threads)
    return out[..., :width]


def _write_bands(found: _Tables, plan: Plan, bands: tuple[int, int], out: Array, threads: int | None) -> None:
    tables, windows, _ = found  # its arrays are those of the tables' addresses: the caller holds them
    pairs = np.array(plan.pairs, np.int64)
    average, in_db = plan.statistic == "mean", plan.domain == "db"
    sizes = [len(window) for window in plan.windows]
    routines = np.full(len(sizes), decibel_routine()) if average else _median_routines(sizes, plan.domain)

    def work(first: int, stop: int) -> None:
        buffers = strip_buffers(max(sizes), np.float32)
        strips = np.empty(STRIP), np.empty(STRIP, np.int32), np.empty(STRIP, np.float32)
        settings = average, in_db, plan.min_valid
        _change_rows(tables, windows, routines, pairs, *settings, first, stop, buffers, strips, bands, out)

    in_bands(work, (len(tables), *out.shape[2:]), threads=threads)


def _median_routines(sizes: Sequence[int], domain: Domain) -> Array:
    middle: Middle = "geometric" if domain == "db" else "arithmetic"
    medians = [Median(dates, "float32", power=True, middle=middle, decibel=True) for dates in sizes]
    addresses: Array = routine_addresses(medians)
    return addresses


@numba.njit(nogil=True, cache=True)
def _count_rows(tables, windows, first, stop, like, strip, out):  # type: ignore[no-untyped-def]
    # Out: (window, y, x). `like` says what the pixels are.
    length = out.shape[2]
    for y in range(first, stop):
        for w in range(len(windows)):
            for x0 in range(0, length, strip.size):
                width = min(strip.size, length - x0)
                strip[:width] = 0
                for t in range(windows[w, 0], windows[w, 1]):
                    line = carray(pixels_at(tables[t, 0] + tables[t, 1] * y + 4 * x0, like), (width,))
                    for x in range(np.uint64(width)):
                        strip[x] += (line[x] > np.float32(0.0)) & (line[x] < np.float32(np.inf))
                target = out[w, y, x0 : x0 + width]
                for x in range(np.uint64(width)):
                    target[x] = strip[x]


def count_block(blocks: Sequence[Blocks], plans: Sequence[Plan], *, threads: int | None) -> Array:
    """Count the valid dates of every window, for every polarisation in turn: (window × polarisation, y, x), uint16.

    Parameters are those of `change_block`; windows come first to last, each with all polarisations.
    """
    _, height, width = blocks[0][0].shape
    out = np.empty((len(plans[0].windows) * len(blocks), height, padded_width(width, np.float32)), np.uint16)
    for number, (parts, plan) in enumerate(zip(blocks, plans, strict=True)):
        _write_counts(parts, plan, out[number :: len(blocks)], threads)
    return out[..., :width]


def _write_counts(parts: Blocks, plan: Plan, counts: Array, threads: int | None) -> None:
    tables, windows, kept = _tables(parts, plan)

    def work(first: int, stop: int) -> None:
        _count_rows(tables, windows, first, stop, np.empty(0, np.float32), np.empty(STRIP, np.int32), counts)

    in_bands(work, (len(tables), *counts.shape[1:]), threads=threads)
    del kept  # the tables' addresses are those of its arrays until here


def _tables(parts: Blocks, plan: Plan) -> _Tables:
    """Return the tables of all windows' dates, one behind the other, and where each begins and ends."""
    # Date by date: where a copy must be made, none is made of a date that no window has.
    dates = [part[step : step + 1] for part in parts for step in range(len(part))]
    used, places = np.unique(np.concatenate(plan.windows), return_inverse=True)
    table, kept = plane_table([dates[step] for step in used], np.float32)
    stops = np.cumsum([len(window) for window in plan.windows])
    starts = np.concatenate([[0], stops[:-1]])
    return table[places], np.stack([starts, stops], axis=1), kept
