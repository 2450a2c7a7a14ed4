"""Convolution of many channels with 16 instead of 36 products for a tile of 2 x 2: Winograd's F(2 x 2, 3 x 3).

A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016 (arXiv 1509.09308), section 4.1. The
4 x 4 pixels under a tile and the 3 x 3 weights are transformed to 4 x 4 positions each, multiplied position by
position, summed over the channels, and transformed back. The sums of a position over all channels, for some dozens of
tiles, are a product of matrices; the tile of the transform is the tile of the pooling.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from sarcube.detection.shared.registers import (
    TOGETHER,
    VALUE,
    Array,
    Shape,
    at,
    finish_tile,
    in_lines,
    multiply_rows,
    rows_together,
    times,
    vectors_together,
)
from sarcube.vectors.instructions import ADDRESS, Instructions, Loop, lanes_of, vector_bytes

_FROM_WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_POSITIONS = 16
_LINE = 64  # bytes; so much further than a power of two, positions do not all want the same place of the cache
_BUFFER = 3 * 2**15  # bytes, about: a part of the second cache
_GROUP = 12  # tiles: a multiple of every `rows_together`


def _together(filters: int) -> int:
    return vectors_together(filters, TOGETHER)


def _tiles(shape: Shape) -> int:
    """Return how many tiles go through the buffer at a time."""
    each = _POSITIONS * VALUE * (shape.channels + shape.filters)
    return max(_BUFFER // each // _GROUP, 1) * _GROUP


def _position_bytes(shape: Shape, values: int) -> int:
    return _tiles(shape) * values * VALUE + _LINE


def winograd_buffer(shape: Shape) -> int:
    """Return how many float32 values the routine needs to work in."""
    return _POSITIONS * (_position_bytes(shape, shape.channels) + _position_bytes(shape, shape.filters)) // VALUE


def winograd_weights(weight: Array) -> Array:
    """Transform weights (filter, channel, 3, 3) to (position, block of filters, channel, filter)."""
    filters, channels = weight.shape[:2]
    block = _together(filters) * lanes_of(np.float32)
    transformed = np.einsum("iy,fcyx,jx->ijcf", _FROM_WEIGHTS, weight.astype(np.float64), _FROM_WEIGHTS)
    ordered = in_lines((_POSITIONS, filters // block, channels, block))
    ordered[:] = transformed.reshape(_POSITIONS, channels, filters // block, block).transpose(0, 2, 1, 3)
    return ordered


def write_winograd(
    write: Instructions,
    shape: Shape,
    image: Any,
    strides: tuple[Any, Any, Any],
    steps: tuple[Any, Any],
    counts: tuple[Any, Any, Any],
    weights: Any,
    limits: Any,
    outputs: tuple[Any, Any],
    buffer: Any,
) -> None:
    """Write the routine's loop over groups of tiles.

    `strides`: bytes from an image, row, column to the next; `steps`: from a tile to the next, down and along. `counts`:
    of images, rows of tiles, tiles of a row, 1 or more each. `buffer`: `winograd_buffer` values.
    """
    builder, tiles = write.builder, _tiles(shape)
    total = times(write, times(write, counts[0], counts[1]), counts[2])
    groups = builder.sdiv(at(write, total, tiles - 1), ADDRESS(tiles))
    products = at(write, buffer, _POSITIONS * _position_bytes(shape, shape.channels))
    tile_bytes = VALUE * shape.filters
    with Loop(builder, groups, [image, image, image, ADDRESS(0), ADDRESS(0)]) as group:
        done = times(write, group.index, tiles)
        left = builder.sub(total, done)
        count = builder.select(builder.icmp_signed("<", left, ADDRESS(tiles)), left, ADDRESS(tiles))
        with Loop(builder, count, group.carried) as tile:
            target = at(write, buffer, times(write, tile.index, VALUE * shape.channels))
            _transform_pixels(write, shape, tile.carried[0], strides, target)
            tile.carried = _next_tile(write, tile.carried, strides[0], steps, counts)
        group.carried = tile.carried
        _multiply(write, shape, count, buffer, weights, products)
        here = [at(write, output, times(write, done, tile_bytes)) for output in outputs]
        with Loop(builder, count) as tile, Loop(builder, ADDRESS(tile_bytes // vector_bytes())) as vector:
            further = times(write, vector.index, vector_bytes())
            offset = builder.add(times(write, tile.index, tile_bytes), further)
            values = _transform_back(write, shape, at(write, products, offset))
            outs = [at(write, output, offset) for output in here]
            finish_tile(write, shape, values, at(write, limits, further), outs)


def _next_tile(
    write: Instructions, place: list[Any], image_stride: Any, steps: tuple[Any, Any], counts: tuple[Any, Any, Any]
) -> list[Any]:
    """Return where the tile after one lies: its address, those of its row's and image's first, its row and column."""
    builder = write.builder
    tile, row, image, y, x = place
    y_next, x_next = at(write, y, 1), at(write, x, 1)
    ends_row = builder.icmp_signed("==", x_next, counts[2])
    ends_image = builder.and_(ends_row, builder.icmp_signed("==", y_next, counts[1]))
    image = builder.select(ends_image, builder.add(image, image_stride), image)
    row = builder.select(ends_image, image, builder.select(ends_row, builder.add(row, steps[0]), row))
    return [
        builder.select(ends_row, row, builder.add(tile, steps[1])),
        row,
        image,
        builder.select(ends_image, ADDRESS(0), builder.select(ends_row, y_next, y)),
        builder.select(ends_row, ADDRESS(0), x_next),
    ]


def _transform_pixels(write: Instructions, shape: Shape, tile: Any, strides: tuple[Any, Any, Any], target: Any) -> None:
    """Write the transform of a tile's 4 x 4 pixels, all channels: whole vectors, then ever smaller ones."""
    builder, lanes = write.builder, lanes_of(np.float32)
    lines = [at(write, tile, times(write, y, strides[1])) if y else tile for y in range(4)]
    pixels = [[at(write, line, times(write, x, strides[2])) if x else line for x in range(4)] for line in lines]
    step = _position_bytes(shape, shape.channels)
    whole, rest = divmod(shape.channels, lanes)
    if whole:
        with Loop(builder, ADDRESS(whole)) as vector:
            _transform_vector(write, pixels, times(write, vector.index, vector_bytes()), target, step, write.floats)
    first, width = whole * lanes, lanes
    while rest:
        width //= 2
        if rest >= width:
            kind = ir.VectorType(write.floats.element, width) if width > 1 else write.floats.element
            _transform_vector(write, pixels, ADDRESS(VALUE * first), target, step, kind)
            first, rest = first + width, rest - width


def _transform_vector(
    write: Instructions, pixels: list[list[Any]], offset: Any, target: Any, step: int, kind: ir.Type
) -> None:
    loaded = [[write.load(at(write, pixel, offset), kind) for pixel in line] for line in pixels]
    columns = [_transform(write, *(line[x] for line in loaded)) for x in range(4)]
    place = at(write, target, offset)
    for i in range(4):
        for j, value in enumerate(_transform(write, *(column[i] for column in columns))):
            write.store(value, at(write, place, (4 * i + j) * step))


def _transform(write: Instructions, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    builder = write.builder
    return builder.fsub(a, c), builder.fadd(b, c), builder.fsub(c, b), builder.fsub(b, d)


def _multiply(write: Instructions, shape: Shape, count: Any, pixels: Any, weights: Any, products: Any) -> None:
    """Write the 16 products of matrices: (tile, channel) by (channel, filter)."""
    builder, vectors = write.builder, _together(shape.filters)
    rows, block_bytes = rows_together(vectors), vectors * vector_bytes()
    tile_bytes, row_bytes = VALUE * shape.filters, VALUE * shape.channels
    groups = builder.sdiv(at(write, count, rows - 1), ADDRESS(rows))  # what the last has too many is never read
    with Loop(builder, ADDRESS(_POSITIONS)) as position:
        left = at(write, pixels, times(write, position.index, _position_bytes(shape, shape.channels)))
        out = at(write, products, times(write, position.index, _position_bytes(shape, shape.filters)))
        panels = at(write, weights, times(write, position.index, row_bytes * shape.filters))
        with Loop(builder, ADDRESS(tile_bytes // block_bytes)) as block:
            panel = at(write, panels, times(write, block.index, block_bytes * shape.channels))
            with Loop(builder, groups) as group:
                sums = multiply_rows(
                    write,
                    [write.value(0.0)] * (rows * vectors),
                    vectors=vectors,
                    depth=shape.channels,
                    left=at(write, left, times(write, group.index, rows * row_bytes)),
                    row_bytes=row_bytes,
                    panel=panel,
                )
                first = builder.add(
                    times(write, group.index, rows * tile_bytes), times(write, block.index, block_bytes)
                )
                for number, value in enumerate(sums):
                    row, vector = divmod(number, vectors)
                    place = at(write, at(write, out, first), row * tile_bytes + vector * vector_bytes())
                    write.store(value, place)


def _transform_back(write: Instructions, shape: Shape, products: Any) -> list[Any]:
    """Return the four values of a tile, for a vector of filters."""
    builder, step = write.builder, _position_bytes(shape, shape.filters)
    loaded = [write.load(at(write, products, step * number)) for number in range(_POSITIONS)]

    def back(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
        return builder.fadd(builder.fadd(a, b), c), builder.fsub(builder.fsub(b, c), d)

    columns = [back(*loaded[x::4]) for x in range(4)]
    return [value for i in range(2) for value in back(*(column[i] for column in columns))]
