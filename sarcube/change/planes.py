"""Where in memory each date of a block lies: dates are chosen, and the chunks of time joined, without copying them."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeAlias

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from sarcube.recycling import recycled_bytes
from sarcube.vectors.instructions import lanes_of, vector_bytes

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Blocks: TypeAlias = Sequence[Array]

_SERIAL_VALUES = 1 << 20  # below this many values threads cost more than they bring


def plane_table(blocks: Blocks, dtype: Any) -> tuple[Array, list[Array]]:
    """Find where each date's first pixel lies, and how far apart a date's rows are.

    Parameters
    ----------
    blocks : sequence of ndarray, (time, y, x)
        The parts of one block along time, in order.
    dtype : numpy.dtype
        float32 or float64: what kernels read. Parts of another type, or whose pixels along x are not neighbours, are
        copied, and so are parts narrower than the processor's lanes, which then end in NaN.

    Returns
    -------
    table : ndarray of int64, (time, 2)
        Address, and bytes from row to row.
    kept : list of ndarray
        What holds the pixels: keep it as long as the table is used.
    """
    kept = [_readable(block, np.dtype(dtype)) for block in blocks]
    tables = []
    for block in kept:
        table = np.empty((block.shape[0], 2), np.int64)
        table[:, 0] = block.ctypes.data + block.strides[0] * np.arange(block.shape[0])
        table[:, 1] = block.strides[1]
        tables.append(table)
    return np.concatenate(tables), kept


def padded_width(width: int, dtype: Any) -> int:
    """Return the width that a block of this width is read in."""
    return max(width, lanes_of(dtype))


def empty_beside(table: Array, shape: Sequence[int], dtype: Any, *, is_block: bool) -> Array:
    """Return an array, not filled, that lies as far into a vector of memory as the first date of the table does.

    What is read as whole vectors is then written as whole vectors, where the rows of both are equally long. Of a block,
    which Dask copies or stores and drops, the memory is used again.
    """
    vector, size = vector_bytes(), math.prod(shape) * np.dtype(dtype).itemsize
    memory = recycled_bytes(size + vector) if is_block else np.empty(size + vector, np.uint8)
    skip = int(table[0, 0] - memory.ctypes.data) % vector
    out: Array = memory[skip : skip + size].view(dtype).reshape(shape)
    return out


def in_bands(work: Callable[[int, int], None], shape: Sequence[int], *, threads: int | None) -> None:
    """Call `work` with bands of rows, the first row and the one behind the last of each, every band in a thread.

    Parameters
    ----------
    work : callable
        Releases the interpreter's lock.
    shape : sequence of int
        (time, y, x) of what is read: what is small takes no threads.
    threads : int, optional
        By default as many as numba uses.
    """
    bands = min(shape[1], threads or numba.get_num_threads())
    if bands <= 1 or np.prod(shape) < _SERIAL_VALUES:
        work(0, shape[1])
        return
    edges = np.linspace(0, shape[1], bands + 1).astype(int)
    with ThreadPoolExecutor(bands) as pool:
        for part in [pool.submit(work, int(a), int(b)) for a, b in pairwise(edges)]:
            part.result()


def _pixels_at(typing, address, like):  # type: ignore[no-untyped-def]
    """Return a pointer to the pixel at an address, int64, of the dtype of the array `like`: for `carray`."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), generate  # type: ignore[no-untyped-call]


pixels_at: Any = intrinsic(_pixels_at)


def _readable(block: Array, dtype: np.dtype[Any]) -> Array:
    width = padded_width(block.shape[2], dtype)
    together = block.strides[2] == dtype.itemsize and block.flags.aligned
    if block.dtype == dtype and together and block.shape[2] == width:
        return block
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite, and so is no power
        copy = np.ascontiguousarray(block, dtype)
    # Of an array in C order np.pad makes another.
    return np.pad(copy, ((0, 0), (0, 0), (0, width - block.shape[2])), constant_values=np.nan)
