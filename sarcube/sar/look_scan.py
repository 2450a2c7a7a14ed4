"""Walk along look lines and tell where their order is lost: the kernel of the exact layover and shadow test.

Lines are taken in groups of neighbours, one lane each, and in blocks of a few steps that are turned so that lanes lie
side by side in memory: the processor judges many lines at once. The walk away from the sensor finds shadow and the
ground that comes back before what lies nearer, the walk back the ground that comes back after what lies farther.

What a line sees hangs on its place in the whole grid alone: a block of a grid with enough ground around it is judged
to the bit as in the whole.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sarcube.sar.line_tables import LineTables, PixelAngles
from sarcube.sar.look_codes import CLEAR, LAYOVER, NO_DATA, SHADOW
from sarcube.sar.look_lines import LookLines, drift_of_steps
from sarcube.sar.turning import TILE, turn_back

Mask = NDArray[np.uint8]
Floats = NDArray[np.floating]
Floats64 = NDArray[np.float64]
Integers = NDArray[np.int64]

LANES = 128  # lines of a group
# Neighbouring lines that share what changes across the look: at 10 m and a look 10 degrees off the rows their incidence
# differs from their middle's by 0.004 degrees at most, at 45 degrees by 0.015.
_STRIP = 64
_STEPS = 16  # of a block: float32 heights of a cache line
_WIDTH = LANES + 2 * _STEPS + 3  # of a block: lines drift less than one and a half lanes a step, and look aside
_NOTHING = np.empty((0, 0))

_U: Any = np.uint64  # an index that cannot be negative: the compiler need not ask, and does many lanes at once
_0, _1, _2, _3, _4, _5 = (_U(i) for i in range(6))


@njit(nogil=True, cache=True)
def _turn(values: Floats, turned: bool, begin: int, end: int, lane: int, width: int, ahead: int, panel: Floats) -> None:
    """Copy steps [begin, end) and `width` lanes from `lane` on to a panel (step, lane), NaN where the array ends."""
    lanes = values.shape[1] if turned else values.shape[0]
    low = min(max(0, -lane), width)
    high = max(low, min(width, lanes - lane))
    if high - low < width:
        panel[:] = np.nan
    if high == low:
        return
    steps, count = _U(end - begin), _U(high - low)
    step0, lane0, at = _U(begin), _U(lane + low), _U(low)
    if turned:
        for s in range(steps):
            for i in range(count):
                panel[s, at + i] = values[step0 + s, lane0 + i]
        return
    for i in range(count):
        for s in range(steps):
            panel[s, at + i] = values[lane0 + i, step0 + s]
    # Ask now for what the next block holds: its rows lie far apart in memory, and no processor foresees that.
    step = _U(min(max(ahead, 0), values.shape[1] - 1))
    asked = values[lane0, step]
    for i in range(count):
        asked = min(asked, values[lane0 + i, step])
    panel[_0, _U(_WIDTH - 1)] = asked  # beyond all lanes: only there so that the question is asked


@njit(nogil=True, cache=True)
def _out_by_tables(
    panel: Floats,
    row: int,
    own: int,
    beside: int,
    share: float,
    along: Floats64,
    across: Floats64,
    offset: float,
    step: int,
    most: Floats64,
    slant: Floats64,
    codes: Mask,
) -> None:
    """One step away from the sensor. Rows of `most`: greatest R and p so far."""
    for strip in range(0, LANES, _STRIP):
        line = offset + strip
        flat_slant = along[_0, step] + line * across[_0, step]
        fall = along[_1, step] + line * across[_1, step]
        bend = along[_2, step] + line * across[_2, step]
        flat_look = along[_3, step] + line * across[_3, step]
        rise = along[_4, step] + line * across[_4, step]
        swell = along[_5, step] + line * across[_5, step]
        for i in range(_U(strip), _U(strip + _STRIP)):
            here = np.float64(panel[row, own + i])
            climb = np.float64(panel[row, beside + i]) - here
            h = here + share * (0.0 if math.isnan(climb) else climb)
            r = flat_slant - h * (fall - bend * h)
            p = flat_look + h * (rise + swell * h)
            behind = np.uint8(LAYOVER) if r <= most[_0, i] else np.uint8(CLEAR)
            below = np.uint8(SHADOW) if p <= most[_1, i] else np.uint8(CLEAR)
            slant[step, i] = r
            codes[step, i] = behind | below
            most[_0, i] = r if r > most[_0, i] else most[_0, i]
            most[_1, i] = p if p > most[_1, i] else most[_1, i]


@njit(nogil=True, cache=True)
def _out_by_angles(
    panel: Floats,
    row: int,
    own: int,
    beside: int,
    share: float,
    sines: Floats64,
    cosines: Floats64,
    length: float,
    walked: Floats64,
    step: int,
    most: Floats64,
    slant: Floats64,
    codes: Mask,
) -> None:
    """As `_out_by_tables` where each pixel has its own angle: the flat parts of R and p are summed on the way.

    Rows of `walked`: flat parts of R and p, sine and cosine where they were known last, metres since.
    """
    for i in range(_U(LANES)):
        here = np.float64(panel[row, own + i])
        climb = np.float64(panel[row, beside + i]) - here
        h = here + share * (0.0 if math.isnan(climb) else climb)
        s, k = sines[row, own + i], cosines[row, own + i]
        gap = walked[_4, i] + length
        known = not (math.isnan(h) or math.isnan(s))
        begun = known and not math.isnan(walked[_2, i])
        walked[_0, i] += 0.5 * (s + walked[_2, i]) * gap if begun else 0.0
        walked[_1, i] += 0.5 * (k + walked[_3, i]) * gap if begun else 0.0
        walked[_2, i] = s if known else walked[_2, i]
        walked[_3, i] = k if known else walked[_3, i]
        walked[_4, i] = 0.0 if known else gap
        r, p = walked[_0, i] - h * k, walked[_1, i] + h * s
        behind = np.uint8(LAYOVER) if r <= most[_0, i] else np.uint8(CLEAR)
        below = np.uint8(SHADOW) if p <= most[_1, i] else np.uint8(CLEAR)
        slant[step, i] = r
        codes[step, i] = behind | below
        most[_0, i] = r if r > most[_0, i] else most[_0, i]
        most[_1, i] = p if p > most[_1, i] else most[_1, i]


@njit(nogil=True, cache=True)
def _back(slant: Floats64, step: int, least: Floats64, codes: Mask) -> None:
    """One step back to the sensor, against the least R beyond; what has no height is no data."""
    for i in range(_U(LANES)):
        r = slant[step, i]
        after = np.uint8(LAYOVER) if r >= least[i] else np.uint8(CLEAR)
        codes[step, i] = np.uint8(NO_DATA) if math.isnan(r) else codes[step, i] | after
        least[i] = r if r < least[i] else least[i]


@njit(nogil=True, cache=True)
def _steps_on(drift: Integers, first: int, low: int, high: int) -> tuple[int, int]:
    """Steps [begin, end) at which a group of lines lies on some of the lanes [low, high)."""
    begin, end = 0, drift.size
    while begin < end and not (drift[begin] + first < high and drift[begin] + first + LANES > low):
        begin += 1
    while end > begin and not (drift[end - 1] + first < high and drift[end - 1] + first + LANES > low):
        end -= 1
    return begin, end


@njit(nogil=True, cache=True)
def _scan(
    groups: Integers,
    elevation: Floats,
    turned: bool,
    backwards: bool,
    drift: Integers,
    aside: Floats64,
    lane: int,
    along: Floats64,
    across: Floats64,
    centre: float,
    sine: Floats64,
    cosine: Floats64,
    length: float,
    core: tuple[int, int, int, int],
    reach: tuple[int, int],
    mask: Mask,
) -> None:
    """Judge groups of lines, each given by its first; `lane` is the whole grid's lane of the array's first."""
    steps = drift.size
    lanes = elevation.shape[1] if turned else elevation.shape[0]
    by_angles = sine.size > 0
    # Fresh memory for every group would cost more than the arithmetic.
    slant, codes = np.empty((steps, LANES)), np.empty((steps, LANES), np.uint8)
    panel = np.empty((_STEPS, _WIDTH), elevation.dtype)
    sines, cosines = np.empty((_STEPS, _WIDTH)), np.empty((_STEPS, _WIDTH))
    room = LANES + 3 * TILE // 2
    straight, upright = np.empty((TILE, room), np.uint8), np.empty((room, TILE), np.uint8)
    most, least, walked = np.empty((2, LANES)), np.empty(LANES), np.empty((5, LANES))
    for group in groups:
        first = group - lane
        offset = group + (_STRIP - 1) / 2 - centre
        most[:], least[:], walked[:2], walked[2:4], walked[4] = -np.inf, np.inf, 0.0, np.nan, 0.0
        # Walk where the group crosses the core and as far beyond as it can matter, but not off the array.
        wanted, seen = _steps_on(drift, first, core[2], core[3]), _steps_on(drift, first, 0, lanes)
        start = max(max(wanted[0], core[0]) - reach[0], seen[0])
        stop = min(min(wanted[1], core[1]) + reach[1], seen[1])
        for paced in range(0, stop - start, _STEPS):
            begin = max(start, stop - paced - _STEPS) if backwards else start + paced
            end = stop - paced if backwards else min(stop, start + paced + _STEPS)
            ahead = begin - 1 if backwards else end
            low = min(drift[begin], drift[end - 1]) + first - 1
            width = LANES + 2 + abs(drift[end - 1] - drift[begin])
            _turn(elevation, turned, begin, end, low, width, ahead, panel)
            if by_angles:
                _turn(sine, turned, begin, end, low, width, ahead, sines)
                _turn(cosine, turned, begin, end, low, width, ahead, cosines)
            for n in range(end - begin):
                step = _U(end - 1 - n if backwards else begin + n)
                row, own = step - _U(begin), _U(drift[step] + first - low)
                beside = own + _1 if aside[step] > 0 else own - _1
                share = abs(aside[step])
                if by_angles:
                    _out_by_angles(
                        panel, row, own, beside, share, sines, cosines, length, walked, step, most, slant, codes
                    )
                else:
                    _out_by_tables(panel, row, own, beside, share, along, across, offset, step, most, slant, codes)
        for n in range(stop - start):
            _back(slant, _U(start + n if backwards else stop - 1 - n), least, codes)
        turn_back(codes, drift, first, turned, core, straight, upright, mask)


def scan(
    elevation: Floats,
    lines: LookLines,
    look: LineTables | PixelAngles,
    *,
    first: tuple[int, int] = (0, 0),
    core: tuple[slice, slice] | None = None,
    reach: tuple[int, int] | None = None,
    threads: int = 1,
) -> Mask:
    """Judge the pixels of a block along their look lines, passive and active distortion (GEOMETRY 3).

    Parameters
    ----------
    elevation : numpy.ndarray, float32 or float64
        (y, x), metres, NaN where there is none: the block with the ground around it that can hide or cover it.
    lines : LookLines
        How look lines run over the whole grid.
    look : LineTables or PixelAngles
        What the radar's order of arrival hangs on: by tables for the block's steps, or by angles for its pixels.
    first : (row, column)
        Where the block's first pixel lies in the whole grid.
    core : (slice, slice), optional
        Rows and columns of the block to judge; default all.
    reach : (int, int), optional
        Steps before and after the core's that its pixels' fate can hang on; default all of the block's.
    threads : int
        To share the work.

    Returns
    -------
    numpy.ndarray of uint8
        (y, x) of the core: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data.
    """
    assert abs(lines.shear) < 1.5, "the kernel's rooms hold no steeper lines"
    rows, columns = (slice(0, n) for n in elevation.shape) if core is None else core
    mask = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    lane_axis, step_axis = (1, 0) if lines.turned else (0, 1)
    lanes, steps = (columns, rows) if lines.turned else (rows, columns)
    lane = first[lane_axis]
    index = np.arange(first[step_axis], first[step_axis] + elevation.shape[step_axis])
    drift, aside = drift_of_steps(lines.shear, index)
    mine = drift[steps]
    low, high = lane + lanes.start - mine.max(), lane + lanes.stop - 1 - mine.min()
    groups = np.arange(low // LANES, high // LANES + 1) * LANES
    if isinstance(look, LineTables):
        tables, angles = look, PixelAngles(_NOTHING, _NOTHING, 0.0)
    else:
        tables, angles = LineTables(_NOTHING, _NOTHING, 0.0), look
    bounds = (steps.start, steps.stop, lanes.start, lanes.stop)

    def work(part: Integers) -> None:
        _scan(
            part,
            elevation,
            lines.turned,
            lines.backwards,
            drift,
            aside,
            lane,
            tables.along,
            tables.across,
            tables.centre,
            angles.sine,
            angles.cosine,
            angles.length,
            bounds,
            reach if reach is not None else (index.size, index.size),
            mask,
        )

    if threads == 1:
        work(groups)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, [groups[n::threads] for n in range(threads)]))
    return mask
