"""The parts of a whole scene's mask, each alone: finding it, reading heights, writing it; and the angles beside it."""

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numba import njit
from numpy.typing import NDArray

from benchmarks.relief import RELIEF, Heights
from sarcube import write_cube
from sarcube.cube.geometry.look import LookNodes, look_at_pixels
from sarcube.cube.store.read import read_chunk
from sarcube.sar import layover_shadow_mask

_TILE = 4096  # pixels along a side: large, so that few of a tile's look lines leave it over its other edges
_TILES = (2, 3)  # down and across a scene

OURS = ("decode_stored", "encode_stored")  # the ways of this library; all others are zarr-python's

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """A square of a scene, held in memory: its first row and column, and its heights (y, x)."""

    row: int
    column: int
    heights: Heights


def read_tiles(elevation: zarr.Array) -> list[Tile]:
    """Read squares that lie evenly over a scene."""
    starts = [
        np.unique(np.linspace(0, max(0, length - _TILE), count).astype(int)).tolist()
        for length, count in zip(elevation.shape, _TILES, strict=True)
    ]
    return [
        Tile(row, column, elevation[row : row + _TILE, column : column + _TILE]) for row, column in product(*starts)
    ]


def find_masks(tiles: list[Tile], nodes: LookNodes, *, resolution: float, threads: int) -> None:
    """Find the mask of each tile for the incidence angle in its middle, some tiles at a time."""

    def find(tile: Tile) -> None:
        middle = [
            np.array([first + length / 2])
            for first, length in zip((tile.row, tile.column), tile.heights.shape, strict=True)
        ]
        incidence, _ = look_at_pixels(nodes, *middle, np.full((1, 1), RELIEF / 2))
        layover_shadow_mask(
            tile.heights,
            resolution=resolution,
            incidence_angle=float(incidence[0, 0]),
            sensor_azimuth=nodes.mean_grid_azimuth,
        )

    on_threads(find, tiles, threads=threads)


def find_angles(tiles: list[Tile], nodes: LookNodes, *, chunk: int, threads: int) -> None:
    """Find incidence and azimuth of every pixel of the tiles, a chunk at a time as a cube does."""

    def find(place: tuple[Tile, int, int]) -> None:
        tile, row, column = place
        heights = np.ascontiguousarray(tile.heights[row : row + chunk, column : column + chunk])
        rows, columns = (np.arange(length, dtype=float) for length in heights.shape)
        look_at_pixels(nodes, tile.row + row + rows, tile.column + column + columns, heights)

    places = [
        (tile, row, column)
        for tile in tiles
        for row, column in product(*(range(0, n, chunk) for n in tile.heights.shape))
    ]
    on_threads(find, places, threads=threads)


def decode(array: zarr.Array, *, columns: int, threads: int) -> None:
    """Read a (y, x) array once and drop it: one row of chunks and some columns at a time."""
    rows = array.chunks[0]

    def read(place: tuple[int, int]) -> None:
        array[place[0] : place[0] + rows, place[1] : place[1] + columns]

    on_threads(read, product(range(0, array.shape[0], rows), range(0, array.shape[1], columns)), threads=threads)


def decode_stored(scene: Path, layer: str, *, like: zarr.Array, threads: int) -> None:
    """Read a layer once and drop it, chunk by chunk, as `sc.open_cube` reads them."""

    def read(index: tuple[int, ...]) -> None:
        read_chunk(
            store=str(scene),
            layer=layer,
            whole_shape=like.shape,
            whole_chunks=like.chunks,
            kind=like.dtype.str,
            is_whole=True,
            block_id=index,
        )

    counts = (-(-size // chunk) for size, chunk in zip(like.shape, like.chunks, strict=True))
    on_threads(read, product(*(range(count) for count in counts)), threads=threads)


def encode_stored(cube: xr.Dataset, folder: Path) -> None:
    """Write a cube whose mask is in memory by `sc.write_cube`, over what was there."""
    write_cube(cube, folder, overwrite=True)


def encode_plain(mask: Mask, folder: Path, *, like: zarr.Array) -> None:
    """Write a (track, y, x) mask as another array lies on disk, in one call of zarr-python."""
    _create(folder, like)[:] = mask


def encode_rows(mask: Mask, folder: Path, *, like: zarr.Array, threads: int) -> None:
    """Write a (track, y, x) mask as another array lies on disk, a row of chunks at a time."""
    array = _create(folder, like)
    rows = array.chunks[1]

    def write(row: int) -> None:
        array[:, row : row + rows] = mask[:, row : row + rows]

    on_threads(write, range(0, mask.shape[1], rows), threads=threads)


def read_memory(values: NDArray[np.float64], *, threads: int) -> None:
    """Read an array once and do next to nothing with it."""
    on_threads(_sum, np.array_split(values, threads), threads=threads)


def on_threads(work: Callable[[Any], object], tasks: Iterable[Any], *, threads: int) -> None:
    """Do some tasks at a time and keep nothing of them."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, tasks):
            pass


def _create(folder: Path, like: zarr.Array) -> zarr.Array:
    return zarr.create_array(
        Path(tempfile.mkdtemp(prefix="encode-", dir=folder)) / "mask",
        shape=like.shape,
        dtype=like.dtype,
        chunks=like.chunks,
        filters=like.filters,
        serializer=like.serializer,
        compressors=like.compressors,
        zarr_format=3,
        fill_value=like.fill_value,
        config={"write_empty_chunks": True},
    )


@njit(nogil=True, fastmath=True)
def _sum(values: NDArray[np.float64]) -> float:
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total
