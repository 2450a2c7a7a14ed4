"""What both ways to convolve share: products in registers, and what becomes of the four values of a tile."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sarcube.recycling import recycled_bytes
from sarcube.vectors.instructions import ADDRESS, Instructions, Loop, lanes_of, vector_bytes

Array = NDArray[np.float32]

VALUE = 4  # bytes of a float32
TOGETHER = 4  # vectors of columns at most, of which `multiply_rows` makes the best use
MOST_BYTES = 64  # of a vector
_LINE = 64  # bytes of a line of the cache: vectors that begin where it does never lie in two
_PAGES = 2**17  # bytes: less than that comes from pages that the process has


class Shape(NamedTuple):
    """What a routine is compiled for."""

    channels: int
    """Of the images."""
    filters: int
    """Channels of the results; a multiple of the processor's lanes."""
    maximum: bool
    """Whether the maximum of a tile is made."""
    mean: bool
    """Whether the mean of a tile is made."""


def address_of(array: NDArray[Any]) -> int:
    """Return where an array's first value lies, in a tenth of the time that `array.ctypes.data` takes."""
    address: int = array.__array_interface__["data"][0]
    return address


def in_lines(shape: Sequence[int]) -> Array:
    """Return an array of float32, not filled, that begins where a line of the cache does.

    Pages fresh from the system would cost a sixth of the time of a convolution of few channels.
    """
    size = VALUE * prod(shape)
    memory = recycled_bytes(size + _LINE) if size >= _PAGES else np.empty(size + _LINE, np.uint8)
    lead = -address_of(memory) % _LINE
    return memory[lead : lead + size].view(np.float32).reshape(shape)


def vectors_together(filters: int, most: int) -> int:
    """Return how many vectors of filters, `most` at most, are taken at once: they divide all of them."""
    vectors = filters // lanes_of(np.float32)
    return next(count for count in range(most, 0, -1) if vectors % count == 0)


def at(write: Instructions, address: Any, offset: int | Any) -> Any:
    """Return the address so many bytes further on."""
    if isinstance(offset, int):
        return write.builder.add(address, ADDRESS(offset)) if offset else address
    return write.builder.add(address, offset)


def times(write: Instructions, number: int | Any, factor: int | Any) -> Any:
    """Return a whole number times another."""
    if isinstance(number, int):
        return number * factor if isinstance(factor, int) else times(write, factor, number)
    return write.builder.mul(number, ADDRESS(factor) if isinstance(factor, int) else factor)


def finish_tile(write: Instructions, shape: Shape, values: Sequence[Any], limits: Any, outputs: Sequence[Any]) -> None:
    """Write what becomes of the four values of a tile, for a vector of filters.

    `limits`: the address of their biases, after which come, as many filters further on each time, the lower and upper
    ends that values are clamped to. `outputs`: where the maximum and the mean are written.
    """
    builder = write.builder
    bias, low, high = (write.load(at(write, limits, VALUE * shape.filters * row)) for row in range(3))

    def clamped(value: Any) -> Any:
        return write.order(write.order(builder.fadd(value, bias), low)[1], high)[0]

    a, b, c, d = values
    if shape.maximum:  # rounding and clamping keep the order
        largest = write.order(write.order(a, b)[1], write.order(c, d)[1])[1]
        write.store(clamped(largest), outputs[0])
    if shape.mean:
        total = builder.fadd(builder.fadd(clamped(a), clamped(b)), builder.fadd(clamped(c), clamped(d)))
        write.store(builder.fmul(total, write.value(0.25)), outputs[1])


def rows_together(vectors: int) -> int:
    """Return of how many rows `multiply_rows` keeps the sums, the weights and a value in registers; a divisor of 12."""
    if vector_bytes() == MOST_BYTES:  # 32 registers
        return 12 if vectors <= 2 else 6
    return {1: 12, 2: 6, 3: 4, 4: 3}[vectors]  # 16 of them


def multiply_rows(
    write: Instructions, sums: Sequence[Any], *, vectors: int, depth: int, left: Any, row_bytes: int | Any, panel: Any
) -> list[Any]:
    """Write the product of a few rows and a panel of a few vectors of columns, added to `sums` from first to last.

    `sums`: row by row; `left`: the address of the first row, each so many bytes behind the other; `panel`: that of the
    (depth, columns) of the panel.
    """
    builder = write.builder
    together = next(count for count in (4, 2, 1) if depth % count == 0)
    rows = len(sums) // vectors
    starts = [at(write, left, times(write, row_bytes, row)) if row else left for row in range(rows)]
    with Loop(builder, ADDRESS(depth // together), sums) as loop:
        here = times(write, loop.index, VALUE * together)
        weights = at(write, panel, times(write, loop.index, together * vectors * vector_bytes()))
        for number in range(together):
            places = [(number * vectors + vector) * vector_bytes() for vector in range(vectors)]
            loaded = [write.load(at(write, weights, place)) for place in places]
            for row in range(rows):
                value = write.load_everywhere(at(write, at(write, starts[row], here), VALUE * number))
                for vector in range(vectors):
                    place = row * vectors + vector
                    loop.carried[place] = write.multiply_add(value, loaded[vector], loop.carried[place])
    return loop.carried
