"""Blocks of a layer with the ground around them: one task a block, whatever the layer is cut into.

A block's task takes the chunks that it and its surroundings touch and cuts its own array from them. Neighbouring
chunks are joined along the look into wide blocks: the wider a block, the less of what is read for it is surroundings.
"""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

_local = threading.local()

Heights = NDArray[np.float32]
Mask = NDArray[np.uint8]


class Depth(NamedTuple):
    """Pixels around a block that its pixels' fate can hang on."""

    top: int
    bottom: int
    left: int
    right: int


class _Piece(NamedTuple):
    """Chunks [first, last) of an axis: the pixels of some [begin, end), with their surroundings [low, high)."""

    first: int
    last: int
    begin: int
    end: int
    low: int
    high: int


def map_surrounded(
    judge: Callable[..., Mask], layer: da.Array, *, depth: Depth, joined: tuple[int, int], **settings: Any
) -> da.Array:
    """Run a function on each block of a layer with its surroundings.

    Parameters
    ----------
    judge : callable
        ``judge(around, first=(row, column), core=(slice, slice), **settings)``: the block with its surroundings, where
        that array's first pixel lies in the layer, and which of its rows and columns are the block; returns the
        block's (y, x) uint8.
    layer : dask.array.Array
        (y, x).
    depth : Depth
        How far surroundings reach; they end at the layer's edge.
    joined : (rows, columns)
        Pixels up to which neighbouring chunks are taken at once.

    Returns
    -------
    dask.array.Array of uint8
        (y, x), the layer's chunks.
    """
    name = f"surrounded-{tokenize(judge, layer.name, depth, joined, settings)}"
    rows, columns = layer.chunks
    tops, lefts = ([0, *accumulate(sizes)] for sizes in layer.chunks)
    graph: dict[Any, Any] = {}
    for down in _pieces(rows, depth.top, depth.bottom, joined[0]):
        for across in _pieces(columns, depth.left, depth.right, joined[1]):
            needed = [[(layer.name, i, j) for j in _touched(lefts, across)] for i in _touched(tops, down)]
            corner = tops[_touched(tops, down).start], lefts[_touched(lefts, across).start]
            whole = (f"{name}-joined", down.first, across.first)
            graph[whole] = (partial(_judge, judge, down, across, corner, settings), needed)
            for i in range(down.first, down.last):
                for j in range(across.first, across.last):
                    part = (
                        (tops[i] - down.begin, tops[i + 1] - down.begin),
                        (lefts[j] - across.begin, lefts[j + 1] - across.begin),
                    )
                    graph[(name, i, j)] = (partial(_cut, *part), whole)
    whole_graph = HighLevelGraph.from_collections(name, graph, dependencies=[layer])  # type: ignore[list-item]
    return da.Array(whole_graph, name, layer.chunks, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))


def _judge(
    judge: Callable[..., Mask],
    down: _Piece,
    across: _Piece,
    corner: tuple[int, int],
    settings: dict[str, Any],
    chunks: list[list[Heights]],
) -> Mask:
    """Join chunks, the first of which starts at `corner`, to a block with its surroundings and judge it."""
    around = _room((down.high - down.low, across.high - across.low), chunks[0][0].dtype)
    row = corner[0]
    for line in chunks:
        column = corner[1]
        for chunk in line:
            r0, r1 = max(row, down.low), min(row + chunk.shape[0], down.high)
            c0, c1 = max(column, across.low), min(column + chunk.shape[1], across.high)
            around[r0 - down.low : r1 - down.low, c0 - across.low : c1 - across.low] = chunk[
                r0 - row : r1 - row, c0 - column : c1 - column
            ]
            column += chunk.shape[1]
        row += line[0].shape[0]
    core = (
        slice(down.begin - down.low, down.end - down.low),
        slice(across.begin - across.low, across.end - across.low),
    )
    return judge(around, first=(down.low, across.low), core=core, **settings)


def _room(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return room for a block that the thread's next block takes again: fresh pages cost more than the copy."""
    size = shape[0] * shape[1] * dtype.itemsize
    room: NDArray[np.uint8] | None = getattr(_local, "room", None)
    if room is None or room.size < size:
        room = _local.room = np.empty(size, np.uint8)
    return room[:size].view(dtype).reshape(shape)


def _cut(rows: tuple[int, int], columns: tuple[int, int], whole: Mask) -> Mask:
    return whole[slice(*rows), slice(*columns)]


def _pieces(sizes: tuple[int, ...], before: int, after: int, joined: int) -> Iterator[_Piece]:
    """Join chunks of an axis as long as they stay within `joined` pixels."""
    edges, first = [0, *accumulate(sizes)], 0
    while first < len(sizes):
        last = first + 1
        while last < len(sizes) and edges[last + 1] - edges[first] <= joined:
            last += 1
        begin, end = edges[first], edges[last]
        yield _Piece(first, last, begin, end, max(begin - before, 0), min(end + after, edges[-1]))
        first = last


def _touched(edges: list[int], piece: _Piece) -> range:
    """Chunks that a piece and its surroundings touch."""
    first = max(i for i, edge in enumerate(edges[:-1]) if edge <= piece.low)
    last = min(i for i, edge in enumerate(edges) if edge >= piece.high)
    return range(first, max(last, first + 1))
