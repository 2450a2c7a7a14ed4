"""One chunk of a cube on its way to the disk: rounded, counted, encoded, there whole or not at all.

The bytes are those that Zarr itself would write for the same codecs. They are made here because a chunk through Zarr's
event loop costs a hop between threads and copies, and because the ledger wants the size and the checksum.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
from numba import njit
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from sarcube.cube.holes import Hole, unread_parts
from sarcube.cube.store.ledger import Index, Record, append_record

Array = NDArray[Any]

# Of radar power with 8 bits kept LZ4 makes a third. Zstandard makes a few percent less of it, but is slower to write
# and to read; higher levels gain nothing on speckle.
_COMPRESSOR: Final = "lz4"
_LEVEL = 1
_MANTISSA = 23  # bits of a float32
_EXPONENT = np.uint32(0x7F800000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_NORMAL = np.uint32(0x00800000)  # the smallest normal number
_NORMALS = np.uint32(0x7F000000)  # how many of them there are

_local = threading.local()


@dataclass(frozen=True)
class Layer:
    """How a variable lies on disk."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str  # of NumPy, with its byte order
    keep_bits: int | None  # bits of the mantissa that are kept; None: all
    is_power: bool  # radar power: what a cube is about

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))


def codecs(dtype: np.dtype[Any]) -> list[Any]:
    """Return the codecs of a layer, as Zarr names them: compressed, and a checksum at the end."""
    blosc = BloscCodec(cname=_COMPRESSOR, clevel=_LEVEL, shuffle="bitshuffle", typesize=dtype.itemsize)
    return [blosc, Crc32cCodec()]


def fill_value(dtype: np.dtype[Any]) -> Any:
    """Return what a reader sees where no chunk was written: NaN, or the largest integer, never a likely value."""
    if dtype.kind in "fc":
        return dtype.type(np.nan)
    return dtype.type(np.iinfo(dtype).max)


def chunk_path(store: Path, name: str, index: Sequence[int]) -> Path:
    """Return where a chunk lies."""
    return store.joinpath(name, "c", *map(str, index))


def write_block(
    values: Array, *, layer: Layer, store: str, build: str, ledger: str, first: Index, block_id: Index = ()
) -> Array:
    """Write one chunk and its record; return one 0 (Dask wants an array).

    Parameters
    ----------
    values : array
        The chunk, or as much of it as the layer's edge leaves.
    layer : Layer
    store : str
        Folder of the store.
    build : str
        Its id: a worker that outlived its build finds no folder of that id, and cannot write into another one.
    ledger : str
        Folder of the ledger, in the store.
    first : tuple of int
        Where block (0, 0, ...) of the array that is written lies among the layer's chunks.
    block_id : tuple of int
        Which block of the array this is; Dask fills it in.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    index = tuple(a + b for a, b in zip(first, block_id, strict=True))
    content, counts, unread = prepare(values, layer)
    body = _compress(content)
    checksum = google_crc32c.value(body)
    path = chunk_path(Path(store), layer.name, index)
    staged = staging_folder(Path(store), build) / secrets.token_hex(8)
    try:
        with staged.open("xb") as file:
            file.write(body)
            file.write(checksum.to_bytes(4, "little"))
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
    append_record(Path(store, ledger), Record(layer.name, index, len(body) + 4, checksum, *counts, unread))
    return np.zeros((1,) * values.ndim, np.uint8)


def prepare(
    values: Array, layer: Layer
) -> tuple[Array, tuple[int, tuple[tuple[int, int], ...]], tuple[tuple[int, int], ...]]:
    """Return a whole chunk, rounded; (valid pixels, pixels by reason of a hole); which parts were not read, and why.

    What is rounded lies in a buffer that the thread's next call takes again. Only float32 has holes.
    """
    dtype = np.dtype(layer.dtype)
    unread: tuple[tuple[int, int], ...] = ()
    if dtype == np.float32:
        values = np.ascontiguousarray(values, np.float32)
        content, found = round_mantissa(values, keep_bits=layer.keep_bits)
        known = {int(reason) for reason in Hole}
        holes = {int(reason): int(found[reason]) for reason in np.flatnonzero(found)}
        strange = sum(count for reason, count in holes.items() if reason not in known)
        reasons = {reason: count for reason, count in holes.items() if reason in known}
        if strange:  # NaN with bits that no reader of ours sets
            reasons[int(Hole.UNKNOWN)] = reasons.get(int(Hole.UNKNOWN), 0) + strange
        if any(Hole(reason).is_unread for reason in reasons):
            unread = tuple((part, int(why)) for part, why in unread_parts(values))
        counts = values.size - sum(holes.values()), tuple(sorted(reasons.items()))
    else:
        content, counts = values.astype(dtype, copy=False), (values.size, ())
    if content.shape != layer.chunks:  # at the edge: Zarr's chunks are all of one size
        whole = np.full(layer.chunks, fill_value(dtype), dtype)
        whole[tuple(slice(size) for size in content.shape)] = content
        content = whole
    return content, counts, unread


def round_mantissa(values: NDArray[np.float32], *, keep_bits: int | None) -> tuple[NDArray[np.float32], Array]:
    """Round float32 to `keep_bits` bits of mantissa, half to even: an error of at most 2**-(keep_bits + 1) of a value.

    NaN keeps its bits, and so do infinities, zeros, subnormal numbers (they have no such mantissa) and what would round
    to infinity: a finite number stays finite, a positive one positive.

    Parameters
    ----------
    values : float32 array
        C-contiguous.
    keep_bits : int or None
        0 to 23; None keeps all.

    Returns
    -------
    float32 array, (256,) int64 array
        The values, in a buffer that the thread's next call takes again (`values` themselves where all bits are kept);
        how many NaN have each lowest byte, which is the reason of a hole.
    """
    found = np.zeros(256, np.int64)
    bits = values.reshape(-1).view(np.uint32)
    if keep_bits is None or keep_bits == _MANTISSA:
        _count(bits, found)
        return values, found
    rounded = _buffer(bits.size)
    if _round(bits, rounded, np.uint32(_MANTISSA - keep_bits)):
        _count(bits, found)
    return rounded.view(np.float32).reshape(values.shape), found


def _buffer(size: int) -> NDArray[np.uint32]:
    """Return the thread's buffer: fresh pages for every chunk would cost more than the rounding."""
    buffer: NDArray[np.uint32] | None = getattr(_local, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _local.buffer = np.empty(size, np.uint32)
    return buffer[:size]


@njit(cache=True, nogil=True)
def _round(bits: Array, rounded: Array, dropped: np.uint32) -> int:
    """Return how many NaN there are. No branch, no number wider than 32 bits: it is SIMD, three times as fast."""
    one = np.uint32(1)
    mask = np.uint32(~np.uint32((one << dropped) - one))
    below_half = np.uint32((one << np.uint32(dropped - one)) - one)
    nans = 0
    for i in range(bits.size):
        value = bits[i]
        magnitude = np.uint32(value & _MAGNITUDE)
        result = np.uint32(np.uint32(value + below_half + np.uint32(np.uint32(value >> dropped) & one)) & mask)
        # What is subnormal, infinite or NaN wraps around or lies above; what would round to infinity is seen after.
        can_round = (np.uint32(magnitude - _NORMAL) < _NORMALS) & (np.uint32(result & _MAGNITUDE) < _EXPONENT)
        rounded[i] = result if can_round else value
        if magnitude > _EXPONENT:
            nans += 1
    return nans


@njit(cache=True, nogil=True)
def _count(bits: Array, found: Array) -> None:
    for i in range(bits.size):
        if bits[i] & _MAGNITUDE > _EXPONENT:
            found[bits[i] & np.uint32(0xFF)] += 1


def _compress(content: Array) -> bytes:
    content = np.ascontiguousarray(content)
    if not content.itemsize * content.size:
        return b""
    blosc = Blosc(_COMPRESSOR, _LEVEL, Blosc.BITSHUFFLE, typesize=content.itemsize)
    encoded: bytes = blosc.encode(content)
    return encoded


def staging_folder(store: Path, build: str) -> Path:
    """Return where a build's chunks lie until they are whole."""
    return store / ".sarcube" / f"writing-{build}"
