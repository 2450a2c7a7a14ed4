"""Convolution of few channels: the four values of a tile are summed up in registers, and pooled there."""

from typing import Any

import numpy as np

from sarcube.detection.shared.registers import (
    MOST_BYTES,
    VALUE,
    Array,
    Shape,
    at,
    finish_tile,
    in_lines,
    times,
    vectors_together,
)
from sarcube.vectors.instructions import ADDRESS, Instructions, Loop, lanes_of, vector_bytes

_TAPS = [(y, x) for y in range(3) for x in range(3)]
_TILE = [(y, x) for y in range(2) for x in range(2)]


def _together(filters: int) -> int:
    # Four values of each vector, its weight, and a pixel, in 16 registers or 32; fewer sums would wait for each other.
    return vectors_together(filters, 4 if vector_bytes() == MOST_BYTES else 2)


def direct_weights(weight: Array) -> Array:
    """Order weights (filter, channel, 3, 3) as the routine reads them: (block of filters, channel, tap, filter)."""
    filters, channels = weight.shape[:2]
    block = _together(filters) * lanes_of(np.float32)
    ordered = in_lines((filters // block, channels, 9, block))
    ordered[:] = weight.reshape(filters // block, block, channels, 9).transpose(0, 2, 3, 1)
    return ordered


def write_direct(
    write: Instructions,
    shape: Shape,
    image: Any,
    strides: tuple[Any, Any, Any],
    steps: tuple[Any, Any],
    counts: tuple[Any, Any, Any],
    weights: Any,
    limits: Any,
    outputs: tuple[Any, Any],
) -> None:
    """Write the routine's loops over images, rows and columns of tiles, and over the filters.

    `strides`: bytes from an image, row, column to the next; `steps`: from a tile to the next, down and along. `counts`:
    of images, rows of tiles, tiles of a row, 1 or more each.
    """
    builder, vectors = write.builder, _together(shape.filters)
    block_bytes = vectors * vector_bytes()
    with Loop(builder, counts[0]) as images:
        first = at(write, image, times(write, images.index, strides[0]))
        with Loop(builder, counts[1]) as rows:
            start = at(write, first, times(write, rows.index, steps[0]))
            row = builder.add(times(write, images.index, counts[1]), rows.index)
            row_first = times(write, row, counts[2])
            with Loop(builder, counts[2]) as columns:
                place = at(write, start, times(write, columns.index, steps[1]))
                tile = builder.add(row_first, columns.index)
                lines = [place]
                for _ in range(3):
                    lines.append(at(write, lines[-1], strides[1]))
                with Loop(builder, ADDRESS(VALUE * shape.filters // block_bytes)) as block:
                    panel = at(write, weights, times(write, block.index, block_bytes * 9 * shape.channels))
                    sums = _sum_tile(write, shape.channels, lines, strides[2], panel, vectors)
                    offset = times(write, block.index, block_bytes)
                    for number in range(vectors):
                        further = at(write, offset, number * vector_bytes())
                        written = at(write, times(write, tile, VALUE * shape.filters), further)
                        values = [sums[value * vectors + number] for value in range(4)]
                        outs = [at(write, output, written) for output in outputs]
                        finish_tile(write, shape, values, at(write, limits, further), outs)


def _sum_tile(write: Instructions, channels: int, lines: list[Any], stride: Any, panel: Any, vectors: int) -> list[Any]:
    builder = write.builder
    offsets = [ADDRESS(0), stride, times(write, stride, 2), times(write, stride, 3)]
    sums = [write.value(0.0)] * (4 * vectors)
    with Loop(builder, ADDRESS(channels), sums) as channel:
        here = times(write, channel.index, VALUE)
        weights = at(write, panel, times(write, channel.index, 9 * vectors * vector_bytes()))
        for tap, (ty, tx) in enumerate(_TAPS):
            loaded = [
                write.load(at(write, weights, (tap * vectors + number) * vector_bytes())) for number in range(vectors)
            ]
            for value, (y, x) in enumerate(_TILE):
                line = at(write, lines[y + ty], here)
                pixel = write.load_everywhere(at(write, line, offsets[x + tx]))
                for number in range(vectors):
                    place = value * vectors + number
                    channel.carried[place] = write.multiply_add(pixel, loaded[number], channel.carried[place])
    return channel.carried
