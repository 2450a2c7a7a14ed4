"""Medians and dB compiled for this processor, once each in a process."""

from typing import Any

from sarcube.change.lanes.decibel import mean_decibel
from sarcube.change.lanes.median import Median, write_median
from sarcube.vectors.compiled import routine_for
from sarcube.vectors.instructions import ADDRESS, Instructions, Loop, vector_bytes

_ARGUMENTS = 5


def median_routine(median: Median) -> int:
    """Return the address of the routine that takes a median, for `call_routine`; valid as long as the process lives.

    Its arguments are those of `write_median`.
    """
    return routine_for(write_median, median, arguments=_ARGUMENTS, dtype=median.dtype).address


def decibel_routine() -> int:
    """Return the address of the routine that turns float32 powers into dB, for `call_routine`.

    Its arguments: the address of the address of the first pixel; how many vectors; nothing; where to write; nothing.
    """
    return routine_for(_write_decibel, None, arguments=_ARGUMENTS).address


def _write_decibel(write: Instructions, case: None, lines: Any, vectors: Any, most: Any, out: Any, buffer: Any) -> None:
    builder = write.builder
    start = write.load_whole(lines)
    with Loop(builder, vectors) as loop:
        offset = builder.mul(loop.index, ADDRESS(vector_bytes()))
        power = write.load(builder.add(start, offset))
        decibel = mean_decibel(write, power, power)
        known = builder.fcmp_ordered("ord", power, power)
        write.store(builder.select(known, decibel, power), builder.add(out, offset))
