"""The median of each pixel's dates, in registers or through a buffer.

Missing dates become +inf and -inf in turn. So the middle of all dates stays, to within one place, the middle of the
valid ones, and pixels with different numbers of valid dates share one sorting network. Few dates stay in registers from
their loading to their median; more of them go through a buffer that stays in the nearest cache.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from llvmlite import ir

from sarcube.change.lanes.decibel import mean_decibel
from sarcube.change.network import median_network
from sarcube.vectors.instructions import ADDRESS, Instructions, Loop, lanes_of, vector_bytes

Middle: TypeAlias = Literal["arithmetic", "geometric"]

IN_REGISTERS = 32  # dates at most; more would take seconds to compile, and be written to memory all the time
_BUFFERED = 4  # vectors of each date that go through the buffer at a time
# Dates a power of two apart want the same place of the cache, which holds eight lines: of more of them, each that comes
# drives out one that was asked for.
_SIDE_BY_SIDE = 8
_AHEAD = 1024  # bytes that dates side by side are asked for early


@dataclass(frozen=True)
class Median:
    """Which median a routine takes.

    Attributes
    ----------
    dates : int
        1 or more.
    dtype : str
        "float32" or "float64".
    power : bool
        What is missing: what is not finite and above zero, or else NaN alone.
    middle : {"arithmetic", "geometric"}
        Which mean of the two middle dates stands where an even number is valid.
    decibel : bool
        Whether the median is given in dB (float32 powers only).
    """

    dates: int
    dtype: str
    power: bool
    middle: Middle
    decibel: bool


def buffer_values(dates: int, dtype: Any, most: int) -> int:
    """Return how many values the routine for so many dates needs as its buffer, for strips of up to `most` pixels."""
    if dates > IN_REGISTERS:
        return dates * _BUFFERED * lanes_of(dtype)
    return _copied(dates) * most


def write_median(write: Instructions, median: Median, *arguments: Any) -> None:
    """Write the routine: `lines, vectors, most, out, buffer`.

    Arguments are int64: the address of the addresses of each date's first pixel; how many vectors of pixels; how many
    dates may be missing at a pixel, with more it is NaN; the addresses of what is written and of the buffer.
    """
    (_in_registers if median.dates <= IN_REGISTERS else _through_buffer)(write, median, *arguments)


def _in_registers(
    write: Instructions, median: Median, lines: Any, vectors: Any, most: Any, out: Any, buffer: Any
) -> None:
    builder, step = write.builder, ADDRESS(vector_bytes())
    starts = [write.load_whole(builder.add(lines, ADDRESS(8 * date))) for date in range(median.dates)]
    limit = _in_every_lane(write, most)
    # Of many dates the first half is copied, while the second is asked for, and then the other way round.
    strip = builder.mul(vectors, step)
    copied = _copied(median.dates)
    copies = [builder.add(buffer, builder.mul(strip, ADDRESS(date))) for date in range(copied)]
    if copied:
        with Loop(builder, vectors) as loop:
            offset = builder.mul(loop.index, step)
            for start, copy in zip(starts, copies, strict=False):
                write.store(write.load(builder.add(start, offset)), builder.add(copy, offset))
            for start in starts[copied:]:
                write.prefetch(builder.add(start, offset))
        ahead = [builder.add(start, strip) for start in starts[:copied]]
    else:
        ahead = [builder.add(start, ADDRESS(_AHEAD)) for start in starts]
    with Loop(builder, vectors) as loop:
        offset = builder.mul(loop.index, step)
        values, fill, absent = [], write.value(np.inf), write.whole(0)
        for start in copies + starts[copied:]:
            value = write.load(builder.add(start, offset))
            value, fill, absent = _admit(write, median, value, fill, absent)
            values.append(value)
        for start in ahead:
            write.prefetch(builder.add(start, offset))
        for i, j in median_network(median.dates).tolist():
            values[i], values[j] = write.order(values[i], values[j])
        lower, upper = (values[rank] for rank in _middle_ranks(median.dates))
        write.store(_finish(write, median, lower, upper, absent, limit), builder.add(out, offset))


def _copied(dates: int) -> int:
    """Return how many dates a routine in registers copies first."""
    return dates // 2 if dates > _SIDE_BY_SIDE else 0


def _through_buffer(
    write: Instructions, median: Median, lines: Any, vectors: Any, most: Any, out: Any, buffer: Any
) -> None:
    builder, step = write.builder, vector_bytes()
    date_bytes = _BUFFERED * step
    comparators = median_network(median.dates)
    network = _constant(builder.module, comparators.ravel() * date_bytes)
    limit = _in_every_lane(write, most)
    columns = [builder.add(buffer, ADDRESS(step * vector)) for vector in range(_BUFFERED)]
    groups = builder.sdiv(builder.add(vectors, ADDRESS(_BUFFERED - 1)), ADDRESS(_BUFFERED))
    last = builder.sub(vectors, ADDRESS(1))
    with Loop(builder, groups) as group:
        first = builder.mul(group.index, ADDRESS(_BUFFERED))
        offsets, missing = [], []
        for number, column in enumerate(columns):
            vector = builder.add(first, ADDRESS(number))
            # What the last group has too many takes the last vector again.
            vector = builder.select(builder.icmp_signed("<", vector, last), vector, last)
            offset = builder.mul(vector, ADDRESS(step))
            with Loop(builder, ADDRESS(median.dates), [write.value(np.inf), write.whole(0)]) as date:
                line = write.load_whole(builder.add(lines, builder.mul(date.index, ADDRESS(8))))
                place = builder.add(line, offset)
                fill, absent = date.carried
                value, *date.carried = _admit(write, median, write.load(place), fill, absent)
                write.prefetch(builder.add(place, ADDRESS(_AHEAD)))
                write.store(value, builder.add(column, builder.mul(date.index, ADDRESS(date_bytes))))
            offsets.append(offset)
            missing.append(date.carried[1])
        with Loop(builder, ADDRESS(len(comparators))) as comparator:
            pair = builder.add(network, builder.mul(comparator.index, ADDRESS(16)))
            i, j = (write.load_whole(builder.add(pair, ADDRESS(place))) for place in (0, 8))
            for column in columns:
                low, high = write.order(write.load(builder.add(column, i)), write.load(builder.add(column, j)))
                write.store(low, builder.add(column, i))
                write.store(high, builder.add(column, j))
        for column, offset, absent in zip(columns, offsets, missing, strict=True):
            lower, upper = (
                write.load(builder.add(column, ADDRESS(rank * date_bytes))) for rank in _middle_ranks(median.dates)
            )
            write.store(_finish(write, median, lower, upper, absent, limit), builder.add(out, offset))


def _admit(write: Instructions, median: Median, value: Any, fill: Any, absent: Any) -> tuple[Any, Any, Any]:
    """Return the value or what stands in for it, what stands in for the next, and the number missing."""
    builder = write.builder
    if median.power:
        positive = builder.fcmp_ordered("ogt", value, write.value(0.0))
        valid = builder.and_(positive, builder.fcmp_ordered("olt", value, write.value(np.inf)))
    else:
        valid = builder.fcmp_ordered("ord", value, value)
    admitted = builder.select(valid, value, fill)
    following = builder.select(valid, fill, builder.fneg(fill))
    return admitted, following, builder.add(absent, builder.select(valid, write.whole(0), write.whole(1)))


def _middle_ranks(dates: int) -> tuple[int, int]:
    return max(dates // 2 - 1, 0), dates // 2


def _finish(write: Instructions, median: Median, lower: Any, upper: Any, absent: Any, limit: Any) -> Any:
    # Of an even number of dates the middle of an odd number of valid ones is the lower, of an odd number the upper.
    builder = write.builder
    parity = builder.and_(builder.sub(write.whole(median.dates), absent), write.whole(1))
    is_odd = builder.icmp_unsigned("!=", parity, write.whole(0))
    one = upper if median.dates % 2 else lower
    low, high = builder.select(is_odd, one, lower), builder.select(is_odd, one, upper)
    if median.middle == "arithmetic":
        # Twice one and the same value, halved, would be infinite where the value is very large.
        half = write.value(0.5)
        low = high = builder.select(is_odd, one, builder.fmul(builder.fadd(lower, upper), half))
    if median.decibel:
        result = mean_decibel(write, low, high)
    elif median.middle == "geometric":
        alike = builder.or_(is_odd, builder.fcmp_ordered("oeq", lower, upper))  # the product of two roots is rounded
        result = builder.select(alike, one, builder.fmul(write.square_root(lower), write.square_root(upper)))
    else:
        result = low
    return builder.select(builder.icmp_signed("<=", absent, limit), result, write.value(np.nan))


def _in_every_lane(write: Instructions, number: Any) -> Any:
    builder, kind = write.builder, write.integers
    narrow = number if kind.element == number.type else builder.trunc(number, kind.element)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), narrow, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count))


def _constant(module: ir.Module, numbers: Any) -> Any:
    kind = ir.ArrayType(ADDRESS, len(numbers))
    held = ir.GlobalVariable(module, kind, "network")
    held.global_constant = True
    held.initializer = ir.Constant(kind, numbers.tolist())
    return held.ptrtoint(ADDRESS)
