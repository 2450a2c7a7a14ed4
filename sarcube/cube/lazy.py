"""The lazy array of a band: one task per time step and block."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise, product

import dask.array as da
import numpy as np
from dask.base import tokenize

from sarcube.acquisition.scenes import Grid, Scene
from sarcube.cube.holes import Floats
from sarcube.cube.reading.mosaic import Reading, mosaic
from sarcube.cube.reading.native import Source
from sarcube.cube.reading.place import Block

_LAST_PART = 255  # a hole has a byte for the place of its slice; what comes after shares the last


def numbered(sources: Sequence[Source], group: Sequence[Scene]) -> tuple[Source, ...]:
    """Give each file its place among the items of the pass, by which a hole names it."""
    places = {scene.id: place for place, scene in enumerate(group)}
    return tuple(replace(source, part=min(places[source.item], _LAST_PART)) for source in sources)


def lazy_band(
    band: str, steps: Sequence[tuple[Source, ...]], target: Grid, blocks: tuple[tuple[int, ...], ...], reading: Reading
) -> da.Array:
    """Make the lazy (time, y, x) array of a band: one task per step and block.

    The name is made of all that the values depend on and is spelled out, so that it is the same in every process.
    """
    name = f"read-{band}-{tokenize(repr((steps, target, blocks, reading)))}"
    rows, columns = (_parts(sizes) for sizes in blocks[1:])
    tasks = {
        # Sources and grid are shared between the tasks, not copied.
        (name, t, i, j): (partial(_read_step, steps[t], target, Block(*y, *x), reading),)
        for (t, (i, y), (j, x)) in product(range(len(steps)), enumerate(rows), enumerate(columns))
    }
    return da.Array(tasks, name, blocks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))


def _parts(sizes: Sequence[int]) -> list[tuple[int, int]]:
    edges = [0, *accumulate(sizes)]
    return list(pairwise(edges))


def _read_step(sources: tuple[Source, ...], target: Grid, block: Block, reading: Reading) -> Floats:
    return mosaic(sources, target, block, reading)[np.newaxis]
