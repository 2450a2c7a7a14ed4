"""Logits of all windows of an image at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from sarcube.detection.shared.cells import Axis, Cells, rows_of_windows, unchanged
from sarcube.detection.shared.gather import patches
from sarcube.detection.shared.levels import Convolve, by_phase, convolved, pooled

Judge: TypeAlias = Callable[[Tensor], Tensor]
"""Features (n, cell · cell · feature) to logits (n,)."""

GROUP = 512
"""Windows whose features are gathered at once: 4 MB of them for 32 filters."""


@dataclass(frozen=True)
class Steps:
    """What is done to windows, ready to run on one device in one type.

    Attributes
    ----------
    window : int
        Pixels along a side of a window.
    convolve : three of Convolve
    joined : bool
        Whether maps 1 and 2 are judged beside map 3.
    judge : Judge
    """

    window: int
    convolve: tuple[Convolve, Convolve, Convolve]
    joined: bool
    judge: Judge


def shared_logits(image: Tensor, rows: Tensor, columns: Tensor, steps: Steps) -> Tensor:
    """Logits of all windows of an image, from maps that they share.

    The convolution of an image is computed once for all windows whose pooling falls on the same pixels; cells that the
    zeros around a window reach are computed for each row, column or window of their own. Windows at any places are
    taken, grid by grid.

    Parameters
    ----------
    image : (y, x, band) Tensor
        Normalised and finite.
    rows, columns : int64 Tensors
        First pixels of the windows along each axis, strictly increasing.
    steps : Steps

    Returns
    -------
    (rows, columns) Tensor
        float32.
    """
    logits = torch.empty(len(rows), len(columns), device=image.device)
    axes = [Axis(torch.arange(len(first), device=image.device), first, steps.window) for first in (rows, columns)]
    first, second, third = steps.convolve
    means: dict[tuple[int, int], Tensor] = {}
    for pixels in by_phase(unchanged(axes[0], axes[1], image)):
        (map1,) = convolved(pixels, first)
        for halves in by_phase(map1):
            map2, *averaged = convolved(halves, second, mean=steps.joined)
            beside = [pooled(part) for mean in averaged for part in by_phase(mean)]
            for number, quarters in enumerate(by_phase(map2)):
                (map3,) = convolved(quarters, third)
                maps = [map3]
                if steps.joined:
                    maps = [_first_map(image, rows, columns, map3, first, means), beside[number], map3]
                where = map3.rows.windows[:, None], map3.columns.windows
                logits[where] = _judged(maps, steps)
    return logits


def _first_map(
    image: Tensor, rows: Tensor, columns: Tensor, like: Cells, convolve: Convolve, means: dict[tuple[int, int], Tensor]
) -> Cells:
    """Map 1 of windows on one grid, resized to a quarter by the mean of pixels 4i + 1 and 4i + 2, and pooled.

    No pixel that is averaged is next to a window's border: all windows share all of them.
    """
    first_y, first_x = rows[like.rows.windows], columns[like.columns.windows]
    phase = int(first_y[0]) % 4, int(first_x[0]) % 4
    if phase not in means:
        means[phase] = convolve(image[None, phase[0] :, phase[1] :], step=4, maximum=False, mean=True)[0][0]
    size = 2 * like.rows.size
    y = Axis(like.rows.windows, (first_y - phase[0]) // 4, size)
    x = Axis(like.columns.windows, (first_x - phase[1]) // 4, size)
    (quarters,) = by_phase(unchanged(y, x, means[phase]))
    return pooled(quarters)


def _judged(maps: list[Cells], steps: Steps) -> Tensor:
    """Logits (n_y, n_x) of windows whose cells these are."""
    shape = len(maps[0].rows.first), len(maps[0].columns.first)
    every = range(maps[0].rows.size)
    each = max(1, GROUP // shape[1])
    logits = []
    for start in range(0, shape[0], each):
        group = slice(start, start + each)
        features = [patches(rows_of_windows(cells, group), every, every) for cells in maps]
        together = features[0] if len(features) == 1 else torch.cat(features, dim=-1)
        logits.append(steps.judge(together.flatten(0, 1).flatten(1)))
    return torch.cat(logits).reshape(shape)
