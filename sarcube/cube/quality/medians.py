"""What a date is held against: the median of the other dates, pixel by pixel, for every date in turn."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def medians_of_others(stack: Floats, *, trusted: Flags) -> Iterator[Floats]:
    """Give for each date the median over time of all trusted dates but itself.

    The dates are sorted once; leaving one out moves the middle by at most one place.

    Parameters
    ----------
    stack : (time, y, x) float32 array
        NaN is missing.
    trusted : (time,) bool array
        The dates that medians are made of.

    Yields
    ------
    (y, x) float32 array
        NaN where no other trusted date is valid.
    """
    ordered = np.sort(stack[trusted], axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    for values, member in zip(stack, trusted, strict=True):
        own = np.isfinite(values) & member
        left = count - own
        middle = [_place(ordered, place, values, own) for place in ((left - 1) // 2, left // 2)]
        yield np.where(left > 0, (middle[0] + middle[1]) * np.float32(0.5), np.float32(np.nan))


def _place(ordered: Floats, place: NDArray[np.int64], values: Floats, own: Flags) -> Floats:
    """Return what stands at a place of the sorted dates once a date's own value is taken out."""
    last = len(ordered) - 1
    here = np.take_along_axis(ordered, np.clip(place, 0, last)[np.newaxis], axis=0)[0]
    after = np.take_along_axis(ordered, np.clip(place + 1, 0, last)[np.newaxis], axis=0)[0]
    value: Floats = np.where(own & ~(here < values), after, here)
    return value
