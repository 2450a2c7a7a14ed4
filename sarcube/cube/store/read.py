"""Chunks of a cube from the disk: checked, decoded, lazily.

The bytes are those that Zarr itself would read. Through its event loop a chunk takes a hop between threads and copies,
which cost several times what decoding does.
"""

import math
from pathlib import Path
from typing import Any

import dask.array as da
import google_crc32c
import numpy as np
from dask.base import tokenize
from numcodecs import Blosc
from numpy.typing import NDArray

from sarcube.cube.store.blocks import chunk_path, fill_value
from sarcube.errors import StoreError
from sarcube.recycling import recycled_bytes

Array = NDArray[Any]

REMEDY = "sarcube.verify_cube lists what is damaged, and the same sarcube.write_cube again repairs it"
_CHECKSUM = 4  # bytes
_DECODED = slice(4, 8)  # bytes of Blosc's head that hold the size of what it encodes


def lazy_layer(
    store: Path, name: str, *, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any], version: str
) -> da.Array:
    """Return a layer of a cube on disk as a Dask array in its own chunks.

    Parameters
    ----------
    store : Path
    name : str
        Of the layer.
    shape, chunks : tuple of int
        Of the layer and of its chunks.
    dtype : numpy.dtype
    version : str
        What changes when the store is written again. Empty: the store is not whole, and a chunk that is not there is
        read as the layer's fill value.

    Raises
    ------
    StoreError
        As blocks are computed: if a chunk is damaged, or missing from a store that is whole.
    """
    lazy: da.Array = da.map_blocks(
        read_chunk,
        chunks=da.core.normalize_chunks(chunks, shape),
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
        name=f"stored-{name}-{tokenize(str(store), name, shape, chunks, version)}",
        store=str(store),
        layer=name,
        whole_shape=shape,
        whole_chunks=chunks,
        kind=dtype.str,
        is_whole=bool(version),
    )
    return lazy


def read_chunk(
    *,
    store: str,
    layer: str,
    whole_shape: tuple[int, ...],
    whole_chunks: tuple[int, ...],
    kind: str,
    is_whole: bool,
    block_id: tuple[int, ...],
) -> Array:
    """Read one chunk, cut off where the layer ends."""
    try:
        content = chunk_path(Path(store), layer, block_id).read_bytes()
    except FileNotFoundError as error:
        if is_whole:
            raise StoreError(f"chunk {_key(layer, block_id)} of the cube at {store} is missing; {REMEDY}") from error
        chunk = np.full(whole_chunks, fill_value(np.dtype(kind)), kind)
    else:
        try:
            chunk = _decoded(content, whole_chunks, kind)
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"chunk {_key(layer, block_id)} of the cube at {store} is damaged; {REMEDY}") from error
    ends = zip(block_id, whole_chunks, whole_shape, strict=True)
    part: Array = chunk[tuple(slice(min(size, shape - number * size)) for number, size, shape in ends)]
    return part


def _decoded(content: bytes, shape: tuple[int, ...], kind: str) -> Array:
    """Check and decode a chunk's bytes; ValueError or RuntimeError (of Blosc) where they are not those of one."""
    memory = recycled_bytes(max(math.prod(shape) * np.dtype(kind).itemsize, 1))
    chunk: Array = memory[: math.prod(shape) * np.dtype(kind).itemsize].view(kind).reshape(shape)
    body = content[:-_CHECKSUM]
    if len(content) < _CHECKSUM or google_crc32c.value(body) != int.from_bytes(content[-_CHECKSUM:], "little"):
        raise ValueError("the checksum differs")
    if not chunk.size and not body:
        return chunk
    # A file that was cut to nothing has a checksum that fits, and Blosc fills less than all without a word.
    if int.from_bytes(body[_DECODED], "little") != chunk.nbytes:
        raise ValueError("the size differs")
    Blosc().decode(body, chunk)
    return chunk


def _key(layer: str, index: tuple[int, ...]) -> str:
    return "/".join([layer, "c", *map(str, index)])
