"""Layover and shadow of one track over a cube's grid: lazy, block by block, the same for any blocks."""

import math
from typing import NamedTuple

import dask.array as da
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sarcube.cube.geometry.bands import NEIGHBOURS, Band, azimuths, bands_over, exact_mask, reach_of_relief
from sarcube.cube.geometry.look import LookNodes, look_at_pixels
from sarcube.cube.geometry.surroundings import Depth, map_surrounded
from sarcube.errors import InputError
from sarcube.sar.layover_shadow import local_mask

Floats = NDArray[np.float64]
Heights = NDArray[np.float32]
Mask = NDArray[np.uint8]
BlockInfo = dict[None, dict[str, list[tuple[int, int]]]]

EARTH_RELIEF = 9300.0  # metres from the Dead Sea's shore to Everest's top
# Pixels along and across the look that are judged at once: the farther along, the smaller the share of surroundings.
_ALONG, _ACROSS = 4096, 2048
_SLACK = 1.01  # beside a metre: a limit that was rounded, or heights that were, are not another relief
_AT_ONCE = 512  # heights whose range is found side by side


class Ground(NamedTuple):
    """Heights on a grid: elevation (y, x) metres, lazy; metres from row to row and from column to column, (y,)."""

    elevation: da.Array
    down: Floats
    across: Floats


def lazy_exact(ground: Ground, nodes: LookNodes, *, max_relief: float) -> da.Array:
    """Passive and active distortion along look lines: (y, x) uint8, lazy.

    Each block is read with the ground around it that can reach its pixels: where heights differ by at most
    `max_relief` metres, layover reaches max_relief × cot θ to both sides, shadow max_relief × tan θ away from the
    sensor (GEOMETRY 3).

    Raises
    ------
    InputError
        As blocks are computed: if the heights in a block and around it differ by more than `max_relief`.
    """
    limit = _SLACK * max_relief + 1
    depth = _depth(nodes, limit)
    bands = bands_over(nodes, ground.elevation.shape)
    turned = bands[0].lines.turned
    joined = (_ALONG, _ACROSS) if turned else (_ACROSS, _ALONG)
    return map_surrounded(_exact, ground.elevation, depth=depth, joined=joined, bands=bands, limit=limit)


def lazy_local(ground: Ground, nodes: LookNodes) -> da.Array:
    """Active distortion by each pixel's own slope: (y, x) uint8, lazy."""
    around = da.overlap.overlap(ground.elevation, depth=1, boundary="none")
    bands = bands_over(nodes, ground.elevation.shape)
    settings = {"bands": bands, "nodes": nodes, "down": ground.down, "across": ground.across}
    meta = np.empty((0, 0), np.uint8)
    lazy: da.Array = da.map_blocks(
        _local_block, around, chunks=ground.elevation.chunks, dtype=np.uint8, meta=meta, **settings
    )
    return lazy


def _exact(
    around: Heights,
    *,
    first: tuple[int, int],
    core: tuple[slice, slice],
    bands: tuple[Band, ...],
    limit: float,
) -> Mask:
    low, high = _range(around)
    if math.isinf(low) != math.isinf(high) or low == -math.inf:
        raise InputError("the cube's elevation holds infinite heights; expected metres, or NaN where there is no data")
    if high - low > limit:
        raise InputError(
            f"heights in rows {first[0]}-{first[0] + around.shape[0]}, columns "
            f"{first[1]}-{first[1] + around.shape[1]} differ by {high - low:.0f} m, more than max_relief = "
            f"{(limit - 1) / _SLACK:.0f} m: what stands farther off could reach them; give "
            f"max_relief={math.ceil(high - low)} or more"
        )
    return exact_mask(around, bands, first=first, core=core, relief=max(high - low, 0.0))


def _local_block(
    around: Heights, *, bands: tuple[Band, ...], nodes: LookNodes, down: Floats, across: Floats, block_info: BlockInfo
) -> Mask:
    (r0, r1), (c0, c1) = block_info[None]["array-location"]
    top, left = min(r0, 1), min(c0, 1)
    rows = slice(r0 - top, r0 - top + around.shape[0])
    columns = slice(c0 - left, c0 - left + around.shape[1])
    row, column = (np.arange(part.start, part.stop, dtype=float) for part in (rows, columns))
    incidence = np.radians(look_at_pixels(nodes, row, column, around)[0])
    azimuth = azimuths(bands, rows, columns, down, across)
    mask = local_mask(around, resolution=(down[rows], across[rows]), incidence=incidence, azimuth=azimuth)
    return mask[top : top + r1 - r0, left : left + c1 - c0]


def _depth(nodes: LookNodes, max_relief: float) -> Depth:
    """How many pixels around a block can matter, at the most anywhere on the grid."""
    lowest, highest = (math.radians(angle) for angle in (nodes.incidence[0].min(), nodes.incidence[0].max()))
    before, behind = reach_of_relief(max_relief, lowest, highest)
    sides = []
    for axis in (0, 1):
        reach = np.concatenate([(-before * nodes.away[axis]).ravel(), (behind * nodes.away[axis]).ravel()])
        sides += [max(math.ceil(-reach.min()), 0) + NEIGHBOURS, max(math.ceil(reach.max()), 0) + NEIGHBOURS]
    return Depth(*sides)


@njit(cache=True, nogil=True)
def _range(heights: NDArray[np.floating]) -> tuple[float, float]:
    """Lowest and highest height, holes left out; many columns at once."""
    rows, columns = heights.shape
    low, high = np.full(_AT_ONCE, np.inf, heights.dtype), np.full(_AT_ONCE, -np.inf, heights.dtype)
    for row in range(rows):
        for start in range(0, columns, _AT_ONCE):
            part = heights[row, start : start + _AT_ONCE]
            for i in range(part.size):
                low[i] = part[i] if part[i] < low[i] else low[i]
                high[i] = part[i] if part[i] > high[i] else high[i]
    return low.min(), high.max()
