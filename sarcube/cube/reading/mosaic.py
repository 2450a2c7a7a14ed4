"""Read one block of one pass: validity first, then the pixels, slice by slice."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sarcube.acquisition.scenes import Grid
from sarcube.cube.holes import Floats, Hole, hole_value
from sarcube.cube.reading.native import Source, read_native
from sarcube.cube.reading.place import Block, agree, covered, halves
from sarcube.cube.reading.resample import METHODS
from sarcube.cube.reading.validity import blank, fill_holes
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

# A block of large pixels over small ones is read in pieces, so that memory stays bounded: 128 MiB of float32.
_NATIVE_LIMIT = 2**25


@dataclass(frozen=True)
class Reading:
    """How files are read: `resampling` (see `METHODS`), `border_fringe` in native pixels, `on_error`."""

    resampling: str = "nearest"
    border_fringe: int = 8
    on_error: str = "raise"


def mosaic(sources: Sequence[Source], target: Grid, block: Block, reading: Reading) -> Floats:
    """Read a block from the slices of one pass: the first valid value in the order given.

    Parameters
    ----------
    sources : sequence of Source
        None: the pass has no such polarisation.
    target : Grid
        The whole cube's grid, north-up.
    block : Block
    reading : Reading

    Returns
    -------
    (y, x) float32 array
        Linear power; NaN where no source is valid, with the reason in it (see `sarcube.cube.holes`).

    Raises
    ------
    ReadError
        If a file that is needed cannot be read, or is not what its item says, and `on_error` is "raise".
    """
    if not sources:
        return blank(block.shape, Hole.NOT_MEASURED)
    values = _read_or_leave(sources[0], target, block, reading)
    for source in sources[1:]:
        if (values == values).all():
            break
        fill_holes(values, _read_or_leave(source, target, block, reading))
    return values


def _read_or_leave(source: Source, target: Grid, block: Block, reading: Reading) -> Floats:
    try:
        return _read_block(source, target, block, reading)
    except ReadError as error:
        if reading.on_error == "raise":
            # Its message has the cause; GDAL's own errors cannot be pickled, which would make it a plain Exception on
            # its way from a Dask worker.
            error.__cause__ = error.__context__ = None
            raise
        _tell(source, error)
        values = blank(block.shape, Hole.OUTSIDE)
        values[covered(source.grid, target, block)] = hole_value(Hole.of_error(error.kind), part=source.part)
        return values


def _read_block(source: Source, target: Grid, block: Block, reading: Reading) -> Floats:
    """Read what one file holds of a block."""
    # Where the grids agree there is nothing to resample, whatever the method.
    method = METHODS["nearest" if agree(source.grid, target) else reading.resampling]
    place = method.place(source.grid, target, block)
    part = method.needed(place, source.grid.shape)
    if part is None:
        return blank(block.shape, Hole.OUTSIDE)
    if math.prod(part.shape) > _NATIVE_LIMIT and (pieces := halves(block)):
        first, second = (_read_block(source, target, piece, reading) for piece in pieces)
        return np.concatenate([first, second], axis=0 if first.shape[1] == block.shape[1] else 1)
    native = read_native(source, part, border_fringe=reading.border_fringe)
    return method.make(native, part, place, source.grid.shape)


_told: set[tuple[str, str]] = set()  # what was said already: once per file and reason, not once per block


def _tell(source: Source, error: ReadError) -> None:
    if (source.href, error.kind) not in _told:
        _told.add((source.href, error.kind))
        logger.warning(
            'item "%s": left out where no other file is valid, for %s could not be read (%s): %s',
            source.item,
            source.address,
            error.kind,
            error,
        )
