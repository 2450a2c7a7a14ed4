"""Products of matrices in one thread, in vector instructions.

A library's product of some rows and of more of them differs in the last bits, and so would scores between two sizes of
chunks. Here a row's result does not depend on the other rows, and nothing needs to be told how many threads it may use.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sarcube.detection.shared.registers import (
    TOGETHER,
    VALUE,
    Array,
    address_of,
    at,
    in_lines,
    multiply_rows,
    rows_together,
    times,
)
from sarcube.errors import InputError
from sarcube.vectors.compiled import routine_for
from sarcube.vectors.instructions import ADDRESS, Instructions, Loop, lanes_of, vector_bytes

_DEPTH = 128  # at a time: of so many values of four vectors of columns the nearest cache holds several
_ARGUMENTS = 5


@dataclass(frozen=True, eq=False)
class Panel:
    """The right side of a product as the routine reads it; `prepare_panel` makes it.

    Attributes
    ----------
    depth, columns : int
        Its shape.
    values : ndarray of float32, 1-D
        In the order of the routine, with columns of zeros up to whole vectors.
    """

    depth: int
    columns: int
    values: Array


def prepare_panel(matrix: Array) -> Panel:
    """Prepare the right side of a product for `multiply`.

    Parameters
    ----------
    matrix : ndarray, (depth, columns)

    Returns
    -------
    Panel
        In float32.

    Raises
    ------
    InputError
        If it is not a matrix, or an empty one.
    """
    matrix = np.asarray(matrix, np.float32)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(f"expected a matrix of one value or more, got shape {matrix.shape}")
    depth, columns = matrix.shape
    blocks, block = _blocks(columns)
    padded = np.zeros((depth, blocks * block), np.float32)
    padded[:, :columns] = matrix
    values = in_lines((padded.size,))
    for start in range(0, depth, _DEPTH):
        part = padded[start : start + _DEPTH].reshape(-1, blocks, block)
        values[start * blocks * block :][: part.size] = part.transpose(1, 0, 2).ravel()
    return Panel(depth, columns, values)


def multiply(rows: Array, panel: Panel) -> Array:
    """Multiply rows with a panel, in the thread that asks for it, without the interpreter's lock.

    Parameters
    ----------
    rows : ndarray of float32, (n, depth)
        Values of a row side by side; rows may lie anywhere.
    panel : Panel
        Made by `prepare_panel`.

    Returns
    -------
    ndarray of float32, (n, columns)
        Each value is summed up in order, in parts of 128.

    Raises
    ------
    InputError
        If the rows are not as above.
    """
    if rows.ndim != 2 or rows.shape[1] != panel.depth or rows.dtype != np.float32:
        raise InputError(f"expected float32 rows of {panel.depth} values, got {rows.dtype} {rows.shape}")
    if panel.depth > 1 and rows.size and rows.strides[1] != VALUE:
        raise InputError("expected the values of a row side by side: copy the rows with numpy.ascontiguousarray")
    blocks, block = _blocks(panel.columns)
    out = in_lines((len(rows), blocks * block))
    out[:] = 0
    if len(rows):
        routine = routine_for(_write, (panel.depth, blocks * block), arguments=_ARGUMENTS)
        places = address_of(rows), address_of(panel.values), address_of(out)
        routine.call(places[0], rows.strides[0], len(rows), *places[1:])
    return out[:, : panel.columns]


def _blocks(columns: int) -> tuple[int, int]:
    """Return in how many blocks columns are taken, and how many columns, zeros included, a block has."""
    vectors = -(-columns // lanes_of(np.float32))
    blocks = -(-vectors // TOGETHER)
    return blocks, -(-vectors // blocks) * lanes_of(np.float32)


def _write(
    write: Instructions, shape: tuple[int, int], rows: Any, stride: Any, count: Any, panel: Any, out: Any
) -> None:
    """Write the routine: for each part of the depth, all columns of all rows. `stride`: bytes from row to row."""
    depth, columns = shape
    whole, rest = divmod(depth, _DEPTH)
    if whole:
        with Loop(write.builder, ADDRESS(whole)) as part:
            left = at(write, rows, times(write, part.index, VALUE * _DEPTH))
            right = at(write, panel, times(write, part.index, VALUE * _DEPTH * columns))
            _write_part(write, (_DEPTH, columns), left, stride, count, right, out)
    if rest:
        done = whole * _DEPTH * VALUE
        _write_part(write, (rest, columns), at(write, rows, done), stride, count, at(write, panel, done * columns), out)


def _write_part(
    write: Instructions, shape: tuple[int, int], rows: Any, stride: Any, count: Any, panel: Any, out: Any
) -> None:
    """Add the product with a part of the panel to what is there, all columns."""
    builder, (depth, columns) = write.builder, shape
    blocks, block = _blocks(columns)
    vectors, row_bytes = block // lanes_of(np.float32), VALUE * columns
    together = rows_together(vectors)
    groups, rest = builder.sdiv(count, ADDRESS(together)), builder.srem(count, ADDRESS(together))
    first_of_rest = times(write, groups, together)
    with Loop(builder, ADDRESS(blocks)) as number:
        right = at(write, panel, times(write, number.index, VALUE * depth * block))
        target = at(write, out, times(write, number.index, VALUE * block))

        def add_rows(first: Any, height: int) -> None:
            start = at(write, target, times(write, first, row_bytes))
            places = [
                at(write, start, row * row_bytes + vector * vector_bytes())
                for row in range(height)
                for vector in range(vectors)
            ]
            left = at(write, rows, times(write, first, stride))
            sums = [write.load(place) for place in places]
            sums = multiply_rows(write, sums, vectors=vectors, depth=depth, left=left, row_bytes=stride, panel=right)
            for place, value in zip(places, sums, strict=True):
                write.store(value, place)

        with builder.if_then(builder.icmp_signed(">", groups, ADDRESS(0))), Loop(builder, groups) as group:
            add_rows(times(write, group.index, together), together)
        with builder.if_then(builder.icmp_signed(">", rest, ADDRESS(0))), Loop(builder, rest) as row:
            add_rows(builder.add(first_of_rest, row.index), 1)
