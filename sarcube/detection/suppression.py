"""Kernels of suppression: what boxes are, their order, and two ways to look up what a kept box suppresses.

Boxes of one size on a grid mark the places that they suppress in a mask over that grid, so that every other box looks
at one byte. Boxes of any kind hang in lists on the cells of a hashed grid. Both give what the textbook gives.

Two boxes overlap by the share that their intersection has in their union (IOU), in the smaller of both (SMALLER), or in
the one that is to be suppressed (OWN).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Keys = NDArray[np.uint32]
Order = NDArray[np.uint32]

IOU, SMALLER, OWN = 0, 1, 2

_ROW_FACTOR = 73_856_093  # odd: rows of cells begin far apart in the table
_DIGIT = 11  # bits: the counters of one digit fit into the first-level cache
_PIXELS_PER_BOX = 64  # a longer table of the places along an axis does not pay
_PLACES_PER_BOX = 256  # nor does a larger mask; a place is a bit
_FEW_PLACES = 2**23  # a mask of 1 MiB always pays


class Survey(NamedTuple):
    """What one look at the boxes tells."""

    smallest: int
    largest: int
    """Of all numbers."""
    top: int
    left: int
    """The first y0 and x0."""
    height: int
    width: int
    """From the first y0 and x0 to the last, both counted."""
    tallest: int
    widest: int
    lowest: int
    narrowest: int
    """Of all boxes."""
    in_rows: bool
    """Sorted by y0, then x0."""


@njit(cache=True, nogil=True)
def _survey(boxes: Any) -> Any:
    top, left = boxes[0, 0], boxes[0, 1]
    bottom, right = top, left
    smallest = largest = top
    tallest, widest = boxes[0, 2] - top, boxes[0, 3] - left
    lowest, narrowest = tallest, widest
    in_rows = True
    before_y, before_x = top, left
    for i in range(boxes.shape[0]):
        y0, x0, y1, x1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        top, left, bottom, right = min(top, y0), min(left, x0), max(bottom, y0), max(right, x0)
        smallest, largest = min(smallest, y1, x1), max(largest, y1, x1)
        tallest, widest = max(tallest, y1 - y0), max(widest, x1 - x0)
        lowest, narrowest = min(lowest, y1 - y0), min(narrowest, x1 - x0)
        in_rows &= (y0 > before_y) | ((y0 == before_y) & (x0 >= before_x))
        before_y, before_x = y0, x0
    smallest, largest = min(smallest, top, left), max(largest, bottom, right)
    height, width = bottom - top + 1, right - left + 1
    return smallest, largest, top, left, height, width, tallest, widest, lowest, narrowest, in_rows


def survey(boxes: Integers) -> Survey:
    """Look at boxes (n, 4) once; n is at least 1."""
    return Survey(*_survey(boxes))


@njit(cache=True, nogil=True)
def _pack(keys: Any, order: Any, packed: Any) -> Any:
    """Put the keys, in the given order, above their indices; return the bits in which keys differ."""
    varying = np.uint32(0)
    for i in range(order.size):
        key = keys[order[i]]
        varying |= key ^ keys[0]
        packed[i] = (np.uint64(key) << np.uint64(32)) | np.uint64(order[i])
    return varying


@njit(cache=True, nogil=True)
def _sort_digit(packed: Any, result: Any, shift: Any, digit: Any) -> None:
    """Do one pass of a radix sort: by one digit, stable."""
    mask = np.uint64((1 << digit) - 1)
    places = np.zeros(1 << digit, np.int64)
    for i in range(packed.size):
        places[(packed[i] >> np.uint64(shift)) & mask] += 1
    start = 0
    for value in range(places.size):
        count = places[value]
        places[value] = start
        start += count
    for i in range(packed.size):
        value = (packed[i] >> np.uint64(shift)) & mask
        result[places[value]] = packed[i]
        places[value] += 1


def sorted_by(keys: Keys, order: Order) -> Order:
    """Sort an order (n,) of indices by their keys (n,), ascending; those of equal keys stay in the order they had."""
    packed = np.empty(order.size, np.uint64)
    varying = int(_pack(keys, order, packed))
    if varying == 0:
        return order
    first, stop = (varying & -varying).bit_length() - 1, varying.bit_length()
    passes = -(-(stop - first) // _DIGIT)
    digit = -(-(stop - first) // passes)
    other = np.empty_like(packed)
    for shift in range(32 + first, 32 + stop, digit):
        _sort_digit(packed, other, shift, digit)
        packed, other = other, packed
    return packed.astype(np.uint32)  # the lower half


@njit(cache=True, nogil=True)
def _too_much(shared: Any, area: Any, kept_area: Any, measure: Any, threshold: Any) -> Any:
    """Tell whether a box of an area shares too much with a kept one."""
    if measure == IOU:
        whole = area + kept_area - shared
    elif measure == SMALLER:
        whole = min(area, kept_area)
    else:
        whole = area
    return shared / whole > threshold


@njit(cache=True, nogil=True)
def _numbered(present: Any) -> Any:
    """Number the places that are present (1, else 0) in place; return the places."""
    places = np.empty(present.sum(), np.int64)
    count = 0
    for place in range(present.size):
        if present[place]:
            places[count] = place
            present[place] = count
            count += 1
    return places


@njit(cache=True, nogil=True)
def _ranks(boxes: Any, top: Any, left: Any, height: Any, width: Any) -> Any:
    """Number the distinct y0 and x0: (height,) rank of each y0 - top, and (rank,) these; the same along x."""
    row, column = np.zeros(height, np.int32), np.zeros(width, np.int32)
    for i in range(boxes.shape[0]):
        row[boxes[i, 0] - top] = 1
        column[boxes[i, 1] - left] = 1
    return row, _numbered(row), column, _numbered(column)


@njit(cache=True, nogil=True)
def _reach(height: Any, width: Any, rows: Any, columns: Any, measure: Any, threshold: Any) -> Any:
    """Tell for each distance in rows at how many columns apart, at most, boxes of one size are suppressed."""
    reach = np.empty(min(height, rows), np.int64)
    area = height * width
    apart = min(width, columns) - 1
    for dy in range(reach.size):
        # What two boxes share shrinks with the distance along either axis.
        while apart >= 0 and not _too_much((height - dy) * (width - apart), area, area, measure, threshold):
            apart -= 1
        if apart < 0:
            return reach[:dy]
        reach[dy] = apart
    return reach


@njit(cache=True, nogil=True)
def _mark(gone: Any, row: Any, rows: Any, low: Any, high: Any) -> None:
    """Set the bits of a row from column `low` to column `high`, both included."""
    full = ~np.uint64(0)
    word, last = (low >> 6) * rows + row, (high >> 6) * rows + row
    begin, end = full << np.uint64(low & 63), full >> np.uint64(63 - (high & 63))
    if word == last:
        gone[word] |= begin & end
        return
    gone[word] |= begin
    for between in range(word + rows, last, rows):
        gone[between] = full
    gone[last] |= end


@njit(cache=True, nogil=True)
def _suppress_on_mask(
    boxes: Any, order: Any, top: Any, left: Any, row: Any, ys: Any, column: Any, xs: Any, reach: Any
) -> Any:
    """Mark, for each box that is kept, the places of the boxes that it suppresses, itself included.

    The mask is cut into strips of 64 columns, a word wide, row after row: what one box marks lies close together.
    """
    rows = ys.size
    bit = np.empty(boxes.shape[0], np.uint32)
    for i in range(boxes.shape[0]):
        c = column[boxes[i, 1] - left]
        bit[i] = (((c >> 6) * rows + row[boxes[i, 0] - top]) << 6) + (c & 63)
    gone = np.zeros(((xs.size + 63) >> 6) * rows, np.uint64)
    places = np.empty(order.size, np.uint32)
    for i in range(order.size):
        places[i] = bit[order[i]]  # by itself, for in the loop below the next look would wait for it
    kept = np.empty(order.size, np.int64)
    count = 0
    for i in range(order.size):
        place = places[i]
        if (gone[place >> 6] >> np.uint64(place & 63)) & np.uint64(1):
            continue
        kept[count] = order[i]
        count += 1
        if reach.size == 0:
            continue
        strip = np.uint32(place >> 6) // np.uint32(rows)
        r = np.int64(place >> 6) - np.int64(strip) * rows
        c = (np.int64(strip) << 6) + np.int64(place & 63)
        leftmost = rightmost = c
        while leftmost > 0 and xs[c] - xs[leftmost - 1] <= reach[0]:
            leftmost -= 1
        while rightmost + 1 < xs.size and xs[rightmost + 1] - xs[c] <= reach[0]:
            rightmost += 1
        _mark(gone, r, rows, leftmost, rightmost)
        for step in (-1, 1):
            low, high = leftmost, rightmost
            other = r + step
            while 0 <= other < rows and abs(ys[other] - ys[r]) < reach.size:
                limit = reach[abs(ys[other] - ys[r])]
                while xs[c] - xs[low] > limit:
                    low += 1
                while xs[high] - xs[c] > limit:
                    high -= 1
                _mark(gone, other, rows, low, high)
                other += step
    return kept[:count]


@njit(cache=True, nogil=True)
def _suppress_in_cells(
    boxes: Any, order: Any, top: Any, left: Any, cell_y: Any, cell_x: Any, bits: Any, measure: Any, threshold: Any
) -> Any:
    """Hang kept boxes on the cell of their first pixel: those that suppress hang on the same or a neighbouring one."""
    mask = (1 << bits) - 1  # cells that share a list cost a comparison, no more
    head = np.full(1 << bits, -1, np.int32)
    heads = np.empty(10, np.int32)
    nodes = np.empty((order.size, 5), np.int32)  # corners of the boxes kept, and the one that follows in the list
    kept = np.empty(order.size, np.int64)
    count = 0
    for index in order:
        y0, x0, y1, x1 = boxes[index, 0] - top, boxes[index, 1] - left, boxes[index, 2] - top, boxes[index, 3] - left
        area = (y1 - y0) * (x1 - x0)
        row, column = y0 // cell_y, x0 // cell_x
        # Which cells hold a box is hard to foretell, so they are collected without a branch.
        waiting = 0
        for r in range(row - 1, row + 2):
            for c in range(column - 1, column + 2):
                heads[waiting] = head[(r * _ROW_FACTOR + c) & mask]
                waiting += heads[waiting] >= 0
        keep = True
        while keep and waiting > 0:
            waiting -= 1
            at = heads[waiting]
            while keep and at >= 0:
                v0, u0 = np.int64(nodes[at, 0]), np.int64(nodes[at, 1])
                v1, u1 = np.int64(nodes[at, 2]), np.int64(nodes[at, 3])
                height, width = min(y1, v1) - max(y0, v0), min(x1, u1) - max(x0, u0)
                if height > 0 and width > 0:
                    keep = not _too_much(height * width, area, (v1 - v0) * (u1 - u0), measure, threshold)
                at = nodes[at, 4]
        if keep:
            cell = (row * _ROW_FACTOR + column) & mask
            nodes[count, 0], nodes[count, 1], nodes[count, 2], nodes[count, 3] = y0, x0, y1, x1
            nodes[count, 4] = head[cell]
            head[cell] = count
            kept[count] = index
            count += 1
    return kept[:count]


def suppress(boxes: Integers, order: Order, seen: Survey, *, measure: int, threshold: float) -> Integers:
    """Walk through the boxes in order and keep those that no kept box overlaps too much; return the indices kept."""
    one_size = (seen.lowest, seen.narrowest) == (seen.tallest, seen.widest)
    longest = _PIXELS_PER_BOX * order.size + 65_536
    if one_size and max(seen.height, seen.width) <= longest:
        row, ys, column, xs = _ranks(boxes, seen.top, seen.left, seen.height, seen.width)
        if ys.size * (xs.size + 63) <= min(max(_PLACES_PER_BOX * order.size, _FEW_PLACES), 2**32 - 1):
            reach = _reach(seen.tallest, seen.widest, seen.height, seen.width, measure, threshold)
            windows: Integers = _suppress_on_mask(boxes, order, seen.top, seen.left, row, ys, column, xs, reach)
            return windows
    # Of two boxes that share more than t of the one, or of both, the first pixels are closer than this along an axis.
    down, across = (seen.tallest, seen.widest) if measure == IOU else (seen.lowest, seen.narrowest)
    cell_y = int(seen.tallest - threshold * down) + 1
    cell_x = int(seen.widest - threshold * across) + 1
    bits = (2 * order.size - 1).bit_length()
    others: Integers = _suppress_in_cells(boxes, order, seen.top, seen.left, cell_y, cell_x, bits, measure, threshold)
    return others
