"""Where the pixels of patches are: cut already and in memory, or in stacks that are read when they are needed.

Windows are read tile by tile, a tile being a fixed square of a stack, so that neighbours share one read. Tiles are cut
here and not by a stack's chunks: nothing that is read, in whatever order, depends on how the stack is chunked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Indices: TypeAlias = NDArray[np.int64]

TILE = 1024
"""Pixels along a side of a tile: that of a cube's chunks, so that a tile of a composite reads each of them once."""


@dataclass(frozen=True, eq=False)
class CutWindows:
    """Windows in memory: `windows` (n, band, size, size)."""

    windows: Array

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, indices: Indices) -> Array:
        """Return some windows (k, band, size, size), in the order of the indices."""
        return self.windows[indices]

    def take(self, selection: NDArray[np.bool_] | Indices) -> "CutWindows":
        """Select windows."""
        return CutWindows(self.windows[selection])

    def with_bands(self, numbers: Sequence[int]) -> "CutWindows":
        """Select bands, in the order of their numbers."""
        return CutWindows(self.windows[:, list(numbers)])


@dataclass(frozen=True, eq=False)
class StackWindows:
    """Windows of stacks (band, y, x), NumPy or Dask: window i is `size` pixels from y0[i], x0[i] of stack[i]."""

    stacks: tuple[Any, ...]
    stack: Indices
    y0: Indices
    x0: Indices
    size: int

    def __len__(self) -> int:
        return len(self.stack)

    def read(self, indices: Indices) -> Array:
        """Return some windows (k, band, size, size), in the order of the indices; each tile is computed once."""
        indices = np.asarray(indices)
        first = self.stacks[0]
        windows = np.empty((len(indices), first.shape[0], self.size, self.size), first.dtype)
        tiles = tile_numbers(self.stack[indices], self.y0[indices], self.x0[indices])
        order = np.argsort(tiles, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1):
            if len(group):
                self._read_tile(indices[group], group, windows)
        return windows

    def _read_tile(self, indices: Indices, places: Indices, windows: Array) -> None:
        rows, columns = self.y0[indices], self.x0[indices]
        top, left = rows.min(), columns.min()
        stack = self.stacks[self.stack[indices[0]]]
        block = stack[:, top : rows.max() + self.size, left : columns.max() + self.size]
        pixels = block.compute() if isinstance(block, da.Array) else block
        for place, y, x in zip(places, rows - top, columns - left, strict=True):
            windows[place] = pixels[:, y : y + self.size, x : x + self.size]

    def take(self, selection: NDArray[np.bool_] | Indices) -> "StackWindows":
        """Select windows."""
        return replace(self, stack=self.stack[selection], y0=self.y0[selection], x0=self.x0[selection])

    def with_bands(self, numbers: Sequence[int]) -> "StackWindows":
        """Select bands, in the order of their numbers."""
        return replace(self, stacks=tuple(stack[list(numbers)] for stack in self.stacks))


Pixels: TypeAlias = CutWindows | StackWindows


def tile_numbers(stack: Indices, y0: Indices, x0: Indices) -> Indices:
    """Number the tiles that windows begin in, in the order of stacks, rows and columns: (n,) int64."""
    keys = np.stack([stack, y0 // TILE, x0 // TILE], axis=1)
    if not len(keys):
        return np.zeros(0, np.int64)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def join_pixels(parts: Sequence[Pixels]) -> Pixels | None:
    """Put the windows of several sources behind one another; None where some are in memory and others are not."""
    cut = [part for part in parts if isinstance(part, CutWindows)]
    if len(cut) == len(parts):
        return CutWindows(np.concatenate([part.windows for part in cut]))
    lazy = [part for part in parts if isinstance(part, StackWindows)]
    if len(lazy) < len(parts):
        return None
    offsets = np.cumsum([0, *(len(part.stacks) for part in lazy)])
    return StackWindows(
        tuple(stack for part in lazy for stack in part.stacks),
        np.concatenate([part.stack + offset for part, offset in zip(lazy, offsets, strict=False)]),
        np.concatenate([part.y0 for part in lazy]),
        np.concatenate([part.x0 for part in lazy]),
        lazy[0].size,
    )
