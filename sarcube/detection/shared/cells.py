"""The cells of all windows of one grid, with those apart that a window's border changes.

A window is convolved with zeros around it, so that its outermost cell on each side differs from the same cell of the
map of the whole image. After pooling the change is still confined to the outermost cell: it covers the two cells that
the padding can reach. So all cells but these are shared by all windows. A column of cells at a window's side is shared
by all windows of that column of windows, a row by those of that row, and only corners are a window's own.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

START, END = 0, 1
"""Which side of a window: the left or upper one, the right or lower one."""


@dataclass(frozen=True)
class Axis:
    """Where the windows lie along one axis.

    Attributes
    ----------
    windows : (n,) int64 Tensor
        Their places in the grid of windows that was asked for.
    first : (n,) int64 Tensor
        The first cell of each, in `Cells.inside`; -1 where that cell, which its border changes, is not in there.
    size : int
        Cells of a window.
    changed : tuple of START, END
        The sides whose outermost cell is changed.
    """

    windows: Tensor
    first: Tensor
    size: int
    changed: tuple[int, ...] = ()

    @property
    def changed_cells(self) -> list[int]:
        """The cells of a window that are changed, in the order of `changed`."""
        return [{START: 0, END: self.size - 1}[side] for side in self.changed]


@dataclass(frozen=True)
class Cells:
    """The cells of all windows whose first cells lie on rows x columns.

    Attributes
    ----------
    rows, columns : Axis
        Of n_y and n_x windows.
    inside : (y, x, feature) Tensor
        As the whole image has them.
    at_column : (changed side, n_x, y, feature) Tensor
        The outermost cells at the sides of columns of windows.
    at_row : (changed side, n_y, x, feature) Tensor
        Likewise of rows of windows.
    at_corner : (changed side along y, changed side along x, n_y, n_x, feature) Tensor
    """

    rows: Axis
    columns: Axis
    inside: Tensor
    at_column: Tensor
    at_row: Tensor
    at_corner: Tensor


def unchanged(rows: Axis, columns: Axis, inside: Tensor) -> Cells:
    """Cells that no border has changed yet."""
    y, x, features = inside.shape
    n_y, n_x = len(rows.first), len(columns.first)
    return Cells(
        rows,
        columns,
        inside,
        inside.new_empty(0, n_x, y, features),
        inside.new_empty(0, n_y, x, features),
        inside.new_empty(0, 0, n_y, n_x, features),
    )


def phases(axis: Axis) -> list[Tensor]:
    """The windows whose first cell is even, and those where it is odd, if there are any: pooling takes other pairs."""
    odd = axis.first % 2 == 1
    return [chosen for chosen in (torch.nonzero(~odd).squeeze(1), torch.nonzero(odd).squeeze(1)) if len(chosen)]


def chosen_windows(cells: Cells, in_rows: Tensor, in_columns: Tensor) -> Cells:
    """Keep some rows and columns of windows, and of the maps what these cover."""
    rows, y0, y1 = _covered(cells.rows, in_rows, cells.inside.shape[0])
    columns, x0, x1 = _covered(cells.columns, in_columns, cells.inside.shape[1])
    return Cells(
        rows,
        columns,
        cells.inside[y0:y1, x0:x1],
        cells.at_column[:, in_columns, y0:y1],
        cells.at_row[:, in_rows, x0:x1],
        cells.at_corner[:, :, in_rows[:, None], in_columns],
    )


def rows_of_windows(cells: Cells, chosen: slice) -> Cells:
    """Keep some rows of windows; the maps stay as they are."""
    axis = cells.rows
    return replace(
        cells,
        rows=replace(axis, windows=axis.windows[chosen], first=axis.first[chosen]),
        at_row=cells.at_row[:, chosen],
        at_corner=cells.at_corner[:, :, chosen],
    )


def _covered(axis: Axis, chosen: Tensor, length: int) -> tuple[Axis, int, int]:
    first = axis.first[chosen]
    start = max(0, int(first.min()))
    stop = min(length, int(first.max()) + axis.size)
    return replace(axis, windows=axis.windows[chosen], first=first - start), start, stop
