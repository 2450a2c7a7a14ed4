"""Cells side by side as a convolution or a product reads them: with zeros beyond a window, and what its border changes.

Compiled on the CPU, as the copies are many and small; elsewhere torch makes them.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from sarcube.detection.shared.cells import Axis, Cells
from sarcube.detection.shared.registers import in_lines

INSIDE, BEYOND = -1, -2
"""Where a cell comes from, if not from a changed side, which 0 or 1 stands for: from the map, or it is zero."""


def beside_columns(cells: Cells, wanted: list[range], start: int) -> Tensor:
    """Cells of every column of windows, from `start` along y.

    Parameters
    ----------
    cells : Cells
    wanted : list of range
        As many as places: which cells of a window, one beside the other. They may lie beyond the window.
    start : int

    Returns
    -------
    (place, n_x, y, cell, feature) Tensor
    """
    inside, axis = cells.inside, cells.columns
    out = _empty(inside, len(wanted), len(axis.first), inside.shape[0] - start, len(wanted[0]), inside.shape[2])
    for place, of_place in enumerate(wanted):
        sources = _sources(axis, of_place)
        if inside.is_cpu:
            _copy_columns(*(*_numbers(inside, cells.at_column, out[place], axis.first), sources, start))
            continue
        for x, (cell, source) in enumerate(sources):
            if source == INSIDE:
                out[place, :, :, x] = inside[start:, axis.first + cell].transpose(0, 1)
            else:
                out[place, :, :, x] = 0 if source == BEYOND else cells.at_column[source, :, start:]
    return out


def beside_rows(cells: Cells, wanted: list[range], start: int) -> Tensor:
    """Cells of every row of windows, from `start` along x: (place, n_y, cell, x, feature). See `beside_columns`."""
    inside, axis = cells.inside, cells.rows
    out = _empty(inside, len(wanted), len(axis.first), len(wanted[0]), inside.shape[1] - start, inside.shape[2])
    for place, of_place in enumerate(wanted):
        sources = _sources(axis, of_place)
        if inside.is_cpu:
            _copy_rows(*(*_numbers(inside, cells.at_row, out[place], axis.first), sources, start))
            continue
        for y, (cell, source) in enumerate(sources):
            if source == INSIDE:
                out[place, :, y] = inside[axis.first + cell, start:]
            else:
                out[place, :, y] = 0 if source == BEYOND else cells.at_row[source, :, start:]
    return out


def patches(cells: Cells, wanted_y: range, wanted_x: range) -> Tensor:
    """Cells of every window, (n_y, n_x, y, x, feature)."""
    inside, rows, columns = cells.inside, cells.rows, cells.columns
    out = _empty(inside, len(rows.first), len(columns.first), len(wanted_y), len(wanted_x), inside.shape[2])
    sources_y, sources_x = _sources(rows, wanted_y), _sources(columns, wanted_x)
    if inside.is_cpu:
        maps = _numbers(inside, cells.at_column, cells.at_row, cells.at_corner, out, rows.first, columns.first)
        _copy_patches(*(*maps, sources_y, sources_x))
        return out
    for y, of_y in enumerate(sources_y):
        for x, of_x in enumerate(sources_x):
            out[:, :, y, x] = _cell(cells, *of_y, *of_x)
    return out


def _empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor that is not filled, in memory that is used again where pages would otherwise be fresh."""
    if like.is_cpu and like.dtype == torch.float32:
        return torch.from_numpy(in_lines(shape))
    return like.new_empty(shape)


def _sources(axis: Axis, wanted: range) -> NDArray[np.int64]:
    """For each cell that is wanted its number and where it comes from, (cell, 2)."""
    changed = {cell: place for place, cell in enumerate(axis.changed_cells)}
    return np.array([(c, changed.get(c, INSIDE) if 0 <= c < axis.size else BEYOND) for c in wanted], np.int64)


def _numbers(*tensors: Tensor) -> Any:
    """The tensors as arrays of the same memory. numpy knows no bfloat16; what is only copied may be called int16."""
    return [(t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy() for t in tensors]


def _cell(cells: Cells, row: int, source_y: int, column: int, source_x: int) -> Tensor | int:
    y, x = cells.rows.first + row, cells.columns.first + column
    if BEYOND in (source_y, source_x):
        return 0
    if source_y == INSIDE and source_x == INSIDE:
        return cells.inside[y[:, None], x]
    if source_y == INSIDE:
        return cells.at_column[source_x][:, y].transpose(0, 1)
    if source_x == INSIDE:
        return cells.at_row[source_y][:, x]
    return cells.at_corner[source_y, source_x]


@njit(cache=True, nogil=True)
def _copy_columns(inside: Any, at: Any, out: Any, first: Any, sources: Any, start: Any) -> None:
    for j in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                cell, source = sources[x]
                if source == BEYOND:
                    out[j, y, x] = 0
                elif source == INSIDE:
                    _copy(inside[start + y, first[j] + cell], out[j, y, x])
                else:
                    _copy(at[source, j, start + y], out[j, y, x])


@njit(cache=True, nogil=True)
def _copy_rows(inside: Any, at: Any, out: Any, first: Any, sources: Any, start: Any) -> None:
    for i in range(out.shape[0]):
        for y in range(out.shape[1]):
            cell, source = sources[y]
            for x in range(out.shape[2]):
                if source == BEYOND:
                    out[i, y, x] = 0
                elif source == INSIDE:
                    _copy(inside[first[i] + cell, start + x], out[i, y, x])
                else:
                    _copy(at[source, i, start + x], out[i, y, x])


@njit(cache=True, nogil=True)
def _copy_patches(
    inside: Any,
    at_column: Any,
    at_row: Any,
    at_corner: Any,
    out: Any,
    first_y: Any,
    first_x: Any,
    sources_y: Any,
    sources_x: Any,
) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for y in range(out.shape[2]):
                row, source_y = sources_y[y]
                for x in range(out.shape[3]):
                    column, source_x = sources_x[x]
                    if source_y == BEYOND or source_x == BEYOND:
                        out[i, j, y, x] = 0
                    elif source_y == INSIDE and source_x == INSIDE:
                        _copy(inside[first_y[i] + row, first_x[j] + column], out[i, j, y, x])
                    elif source_y == INSIDE:
                        _copy(at_column[source_x, j, first_y[i] + row], out[i, j, y, x])
                    elif source_x == INSIDE:
                        _copy(at_row[source_y, i, first_x[j] + column], out[i, j, y, x])
                    else:
                        _copy(at_corner[source_y, source_x, i, j], out[i, j, y, x])


@njit(cache=True, nogil=True)
def _copy(values: Any, out: Any) -> None:
    for f in range(out.size):
        out[f] = values[f]
