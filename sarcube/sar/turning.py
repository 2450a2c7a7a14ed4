"""Bring the codes of a group of look lines, (step, lane), back to the rows and columns of a mask."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Words = NDArray[np.uint64]

TILE = 64  # steps that are brought back at once

_U: Any = np.uint64  # an index that cannot be negative, and a word
_1, _2, _3, _4, _5, _6, _7, _8 = (_U(i) for i in range(1, 9))
_BYTES, _PAIRS, _FOURS = _U(0x00FF00FF00FF00FF), _U(0x0000FFFF0000FFFF), _U(0x00000000FFFFFFFF)


@njit(nogil=True, cache=True)
def _swap(a: int, b: int, shift: int, field: int) -> tuple[int, int]:
    """Exchange the high fields of one word with the low ones of another."""
    both = ((a >> shift) ^ b) & field
    return a ^ (both << shift), b ^ both


@njit(nogil=True, cache=True)
def _turn_eight(source: Words, row: int, word: int, target: Words, to_row: int, to_word: int) -> None:
    """Transpose 8 × 8 bytes by three exchanges between words (Warren 2012, Hacker's Delight, 7-3)."""
    a, b, c, d = source[row, word], source[row + _1, word], source[row + _2, word], source[row + _3, word]
    e, f, g, h = source[row + _4, word], source[row + _5, word], source[row + _6, word], source[row + _7, word]
    a, e = _swap(a, e, _U(32), _FOURS)
    b, f = _swap(b, f, _U(32), _FOURS)
    c, g = _swap(c, g, _U(32), _FOURS)
    d, h = _swap(d, h, _U(32), _FOURS)
    a, c = _swap(a, c, _U(16), _PAIRS)
    b, d = _swap(b, d, _U(16), _PAIRS)
    e, g = _swap(e, g, _U(16), _PAIRS)
    f, h = _swap(f, h, _U(16), _PAIRS)
    a, b = _swap(a, b, _8, _BYTES)
    c, d = _swap(c, d, _8, _BYTES)
    e, f = _swap(e, f, _8, _BYTES)
    g, h = _swap(g, h, _8, _BYTES)
    target[to_row, to_word], target[to_row + _1, to_word] = a, b
    target[to_row + _2, to_word], target[to_row + _3, to_word] = c, d
    target[to_row + _4, to_word], target[to_row + _5, to_word] = e, f
    target[to_row + _6, to_word], target[to_row + _7, to_word] = g, h


@njit(nogil=True, cache=True)
def turn_back(
    codes: Mask,
    drift: NDArray[np.int64],
    first: int,
    turned: bool,
    core: tuple[int, int, int, int],
    straight: Mask,
    upright: Mask,
    mask: Mask,
) -> None:
    """Write what falls into the core of a grid, steps [0, 1) and lanes [2, 3), to its mask.

    codes (step, line), `first` is the lane of the first line without drift, which is less than 1.5 lanes a step;
    straight (TILE, lines + 3 TILE / 2) and upright (lines + 3 TILE / 2, TILE) are room to work in; mask is (step, lane)
    where turned, else (lane, step), of the core.
    """
    lines = codes.shape[1]
    step0, step1, lane0, lane1 = core
    words, to_words = straight.view(np.uint64), upright.view(np.uint64)
    for begin in range(step0, step1, TILE):
        end = min(begin + TILE, step1)
        steps, at = end - begin, _U(begin)
        starts = drift[begin] + first, drift[end - 1] + first
        bottom, top = min(starts), max(starts) + lines
        low, high = max(lane0, bottom), min(lane1, top)
        if low >= high:
            continue
        if turned:
            for s in range(_U(steps)):
                start = drift[at + s] + first
                a, b = max(low, start), min(high, start + lines)
                if a < b:
                    row, column, source = _U(begin - step0) + s, _U(a - lane0), _U(a - start)
                    for i in range(_U(b - a)):
                        mask[row, column + i] = codes[at + s, source + i]
            continue
        for s in range(_U(steps)):
            shift = _U(drift[at + s] + first - bottom)
            for i in range(_U(lines)):
                straight[s, shift + i] = codes[at + s, i]
        for word in range(_U((top - bottom + 7) // 8)):
            for eight in range(_U(TILE // 8)):
                _turn_eight(words, eight * _8, word, to_words, word * _8, eight)
        # Drift only grows, or only shrinks: the steps [a, b) at which the group holds a row move with the row.
        growing = starts[1] >= starts[0]
        a = b = 0 if growing else steps
        for lane in range(low, high):
            line = lane - first
            if growing:
                while a < steps and drift[begin + a] + lines <= line:
                    a += 1
                while b < steps and drift[begin + b] <= line:
                    b += 1
            else:
                while a > 0 and drift[begin + a - 1] <= line:
                    a -= 1
                while b > 0 and drift[begin + b - 1] + lines <= line:
                    b -= 1
            row, column, source, from_step = _U(lane - lane0), _U(begin - step0 + a), _U(lane - bottom), _U(a)
            for s in range(_U(b - a)):
                mask[row, column + s] = upright[source, from_step + s]
