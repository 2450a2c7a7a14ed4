"""Where square windows lie on an image: integers only."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sarcube.errors import InputError


class WindowBlock(NamedTuple):
    """Consecutive windows along one axis and the pixels that they need, their shared halo included."""

    first: int
    """Index of the first window of the block."""
    stop: int
    """Index after the last window of the block."""
    start_pixel: int
    """First pixel that any window of the block covers."""
    stop_pixel: int
    """Pixel after the last that any window of the block covers."""


def window_origins(length: int, size: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis: every pixel of the axis lies in at least one of them.

    Parameters
    ----------
    length : int
        Number of pixels along the axis.
    size : int
        Pixels that a window covers.
    stride : int
        Pixels from one window to the next; at most `size`, as pixels would lie between windows otherwise.

    Returns
    -------
    list of int
        0, stride, 2 stride, ... and, where that grid does not end at the last pixel, a clamped last one at
        ``length - size``. Strictly increasing.

    Raises
    ------
    InputError
        If the axis is shorter than a window, or size or stride cannot be used.

    Examples
    --------
    >>> window_origins(100, 64, 32)
    [0, 32, 36]
    """
    origins = regular_origins(length, size, stride)
    if origins[-1] + size < length:
        origins.append(length - size)
    return origins


def regular_origins(length: int, size: int, stride: int) -> list[int]:
    """First pixels of the windows of the regular grid alone: the remainder of the axis lies in no window.

    With ``stride == size`` no two windows share a pixel, which training samples must not.

    Parameters and errors are those of `window_origins`.
    """
    if size < 1:
        raise InputError(f"a window must cover at least 1 pixel, not size={size}")
    if not 1 <= stride <= size:
        raise InputError(f"the stride must be from 1 to the window's size ({size} pixels), not {stride}")
    if length < size:
        raise InputError(
            f"a window of {size} pixels does not fit into {length} pixels; take a larger area or a smaller window"
        )
    return list(range(0, length - size + 1, stride))


def window_blocks(origins: Sequence[int], size: int, per_block: int) -> Iterator[WindowBlock]:
    """Cut the windows of one axis into blocks, each with the pixels that it reads.

    Neighbouring blocks share pixels (the halo) but no window.

    Parameters
    ----------
    origins : sequence of int
        What `window_origins` returned.
    size : int
        Pixels that a window covers.
    per_block : int
        Windows in a block; the last may hold fewer.
    """
    if per_block < 1:
        raise InputError(f"a block must hold at least 1 window, not {per_block}")
    for first in range(0, len(origins), per_block):
        stop = min(first + per_block, len(origins))
        yield WindowBlock(first, stop, origins[first], origins[stop - 1] + size)
