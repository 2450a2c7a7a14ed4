"""From the cells of windows to the half as many that a convolution and a pooling leave."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sarcube.detection.shared.cells import END, START, Axis, Cells, chosen_windows, phases, unchanged
from sarcube.detection.shared.gather import beside_columns, beside_rows, patches

Maps: TypeAlias = list[Tensor]


class Convolve(Protocol):
    """A valid 3 x 3 convolution, a clamp, and what the 2 x 2 tiles of its result come to.

    Takes images (n, y, x, channel). Tiles begin at 0, `step`, 2 · `step` ...; gives maps (n, y', x', filter) of their
    maximum, their mean, or both in this order.
    """

    def __call__(self, images: Tensor, *, step: int = 2, maximum: bool = True, mean: bool = False) -> Maps:
        """Convolve."""


def by_phase(cells: Cells) -> Iterator[Cells]:
    """Split windows by the grid that pooling puts them on: even or odd first cells, along y and along x."""
    for in_rows in phases(cells.rows):
        for in_columns in phases(cells.columns):
            yield chosen_windows(cells, in_rows, in_columns)


def convolved(cells: Cells, convolve: Convolve, *, mean: bool = False) -> list[Cells]:
    """Convolve windows of one phase, each with zeros around it, and pool: the maxima and, if asked for, the means."""
    return _halved(cells, lambda images: convolve(images, mean=mean), margin=1)


def pooled(cells: Cells) -> Cells:
    """The maximum of each 2 x 2 cells of windows of one phase."""
    return _halved(cells, _maximum, margin=0)[0]


def _halved(cells: Cells, reduce: Callable[[Tensor], Maps], *, margin: int) -> list[Cells]:
    """Let `reduce` make one cell of each 2 + 2 · `margin` cells, of which the two in the middle are its own."""
    start_y, start_x = _start(cells.rows, margin), _start(cells.columns, margin)
    rows, columns = _halved_axis(cells.rows, margin), _halved_axis(cells.columns, margin)
    wanted_y, wanted_x = _wanted(rows, margin), _wanted(columns, margin)
    windows = len(rows.first), len(columns.first)
    inside = [maps[0] for maps in reduce(cells.inside[None, start_y:, start_x:])]
    if not rows.changed:
        return [unchanged(rows, columns, maps) for maps in inside]
    at_column = reduce(beside_columns(cells, wanted_x, start_y).flatten(0, 1))  # (side and n_x, y, 1, feature)
    at_row = reduce(beside_rows(cells, wanted_y, start_x).flatten(0, 1))  # (side and n_y, 1, x, feature)
    at_corner = [reduce(patches(cells, y, x).flatten(0, 1)) for y in wanted_y for x in wanted_x]
    sides = len(wanted_y), len(wanted_x)
    return [
        Cells(
            rows,
            columns,
            maps,
            at_column[n].reshape(sides[1], windows[1], len(maps), -1),
            at_row[n].reshape(sides[0], windows[0], maps.shape[1], -1),
            torch.stack([corner[n] for corner in at_corner]).reshape(*sides, *windows, -1),
        )
        for n, maps in enumerate(inside)
    ]


def _start(axis: Axis, margin: int) -> int:
    """The cell inside with which the first halved one begins."""
    return (int(axis.first[0]) - margin) % 2


def _halved_axis(axis: Axis, margin: int) -> Axis:
    even = axis.size % 2 == 0
    if margin:  # the zeros around a window are read, but those after an odd one; there its last cell is the last read
        sides = {START, END} if even else {START, *axis.changed}
    else:  # the last cell of an odd window is in no halved one
        sides = {side for side in axis.changed if side == START or even}
    first = (axis.first - margin - _start(axis, margin)) // 2
    return replace(axis, first=first, size=axis.size // 2, changed=tuple(sorted(sides)))


def _wanted(halved: Axis, margin: int) -> list[range]:
    """The cells of a window from which those at its changed sides are made."""
    return [range(2 * cell - margin, 2 * cell + 2 + margin) for cell in halved.changed_cells]


def _maximum(images: Tensor) -> Maps:
    return [functional.max_pool2d(images.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)]
