"""Sums over a moving window, the same to the last bit however the area is cut into chunks."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numba
import numpy as np
from numpy.typing import NDArray

from sarcube.errors import InputError


@numba.njit(nogil=True, cache=True)
def sum_window(rows, top, bottom, left, right, column, total):  # type: ignore[no-untyped-def]
    """Sum rows `top` to `bottom` - 1 of a ring of rows over columns x + `left` to x + `right`, into total[x].

    `rows` is (row, x): row y lies at y modulo its length. What lies outside does not count. Every window is summed
    anew, in one order: a running sum would depend on where its chunk begins. `column` is room to work in, as long
    as a row and the window.
    """
    size, length = rows.shape
    column[:] = 0.0  # of x + left at x, so that no window begins before it
    for y in range(top, bottom):
        row = rows[y % size]
        for x in range(length):
            column[x - left] += row[x]
    # By sums of 1, 2, 4 ... columns: 21 of them in seven passes. The order depends on the width of the window alone.
    total[:] = 0.0
    offset, width, rest = 0, 1, right - left + 1
    while rest > 0:
        if rest & 1:
            for x in range(length):
                total[x] += column[x + offset]
            offset += width
        rest >>= 1
        if rest > 0:
            for x in range(column.size - width):
                column[x] += column[x + width]
            width *= 2


def check_window(window: int, *, least: int, usual: int) -> None:
    """Refuse what is not the side of a square around a pixel: InputError."""
    if not (isinstance(window, (int, np.integer)) and window >= least and window % 2 == 1):
        raise InputError(f"window must be an odd number of pixels >= {least}, such as {usual}, not {window!r}")


def over_window(block: Callable[..., NDArray[np.float32]], powers: list[Any], half: int, **settings: Any) -> Any:
    """Call `block` on whole arrays, or chunk by chunk with `half` pixels of the neighbours around each chunk.

    Parameters
    ----------
    block : callable
        (time, y, x) arrays -> (y - 2 margins[0], x - 2 margins[1]) float32. It is told `half`, and by `margins` how
        many of the outer rows and columns are there only to be looked at.
    powers : list of numpy.ndarray or dask.array.Array, (time, y, x), float
        On one grid.
    half : int
        How far the window reaches from its centre, in pixels.
    **settings
        Passed on to `block`.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (y, x), float32
        Lazy where a power is, with the chunks of y and x of the first. The chunks of one column of time are joined
        inside the task; chunks smaller than `half` are joined to their neighbours until the sums are made.
    """
    if not any(isinstance(power, da.Array) for power in powers):
        return block(*powers, half=half, margins=(0, 0), **settings)
    lazy = [da.asarray(power) for power in powers]
    # An axis that is one chunk has no neighbours; one that the window covers is made one chunk.
    grid = tuple((sum(c),) if sum(c) <= half else c for c in lazy[0].chunks[1:])
    margins = tuple(half if len(c) > 1 else 0 for c in grid)
    depth, boundary = dict(enumerate((0, *margins))), {0: "none", 1: np.nan, 2: np.nan}
    wide = [da.overlap.overlap(a.rechunk((a.chunks[0], *grid)), depth=depth, boundary=boundary) for a in lazy]
    windows = da.blockwise(
        block,
        "yx",
        *(argument for array in wide for argument in (array, "tyx")),
        adjust_chunks={"y": lambda size: size - 2 * margins[0], "x": lambda size: size - 2 * margins[1]},
        concatenate=True,
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
        half=half,
        margins=margins,
        **settings,
    )
    return windows.rechunk(lazy[0].chunks[1:])
