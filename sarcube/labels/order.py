"""In which order patches are read: at random, but tile by tile, so that no pixel is read on its own."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

AT_ONCE = 2048
"""Patches that are in memory at once and shuffled among each other: 134 MB of 64 x 64 pixels in four bands."""


def reading_order(
    tiles: Indices, chosen: Indices, *, draws: np.random.Generator | None = None, at_once: int = AT_ONCE
) -> list[Indices]:
    """Cut chosen patches into shares that are read one after the other, each tile in as few of them as can be.

    Parameters
    ----------
    tiles : (n,) int64 array
        The tile that each patch lies in.
    chosen : (k,) int64 array
        Indices of the patches to read, each once.
    draws : numpy.random.Generator, optional
        Shuffles the tiles, and the patches within a share; it alone decides. Without it patches come tile by tile.
    at_once : int
        Patches in a share, at most.

    Returns
    -------
    list of (m,) int64 arrays
        Together the chosen indices. The order depends on tiles, choice and draws alone: not on where the pixels are, so
        that reading from a disk gives what reading from memory gives.
    """
    chosen = np.sort(chosen)
    of_chosen = tiles[chosen]
    if draws is None:
        ordered = chosen[np.argsort(of_chosen, kind="stable")]
    else:
        place = draws.permutation(int(tiles.max(initial=-1)) + 1)
        # Shuffled before they are sorted by tile: where a share ends within a tile, which patches it takes is chance.
        shuffled = draws.permutation(len(chosen))
        ordered = chosen[shuffled[np.argsort(place[of_chosen[shuffled]], kind="stable")]]
    shares = [ordered[start : start + at_once] for start in range(0, len(ordered), at_once)]
    return shares if draws is None else [draws.permutation(share) for share in shares]


def draw_epoch(labels: NDArray[np.bool_], max_ratio: float | None, draws: np.random.Generator) -> Indices:
    """Draw the patches of one epoch, sorted: all landslides, and background up to `max_ratio` times as many."""
    positive, negative = np.flatnonzero(labels), np.flatnonzero(~labels)
    if max_ratio is not None:
        count = min(len(negative), max(1, round(max_ratio * len(positive))))
        negative = draws.choice(negative, count, replace=False)
    return np.sort(np.concatenate([positive, negative]))
