"""Why a pixel is NaN: the reason rides in the NaN itself.

A float32 NaN has 22 bits that arithmetic ignores. The reader writes the reason there, so that a hole says why it is
one wherever the block goes: through Dask, to another process, onto the disk. Everyone else sees NaN.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

VALID = 255  # what `hole_reasons` gives a pixel that is no hole
_QUIET_NAN = 0x7FC00000
_SLICE_BITS = 8


class Hole(IntEnum):
    """Why a pixel of a cube is NaN."""

    UNKNOWN = 0  # numpy's own NaN: whoever made it did not say
    OUTSIDE = 1  # no file of the pass covers it
    NODATA = 2  # nodata, NaN or infinite in the file
    ZERO = 3  # zero or negative, which no power is
    FRINGE = 4  # border fringe, eroded
    NOT_MEASURED = 5  # the scene has no such polarisation
    NOT_FOUND = 16  # from here on: the file could not be read
    FORBIDDEN = 17
    THROTTLED = 18
    NO_CONNECTION = 19
    DAMAGED = 20
    STALE = 21  # the file is not where its item says

    @property
    def is_unread(self) -> bool:
        """Whether a file that may hold the pixel could not be read."""
        return self >= Hole.NOT_FOUND

    @classmethod
    def of_error(cls, kind: str) -> "Hole":
        """Return the hole that a `ReadError` of this kind leaves."""
        return cls[kind.upper()]


def hole_value(reason: Hole, *, part: int = 0) -> np.float32:
    """Return the NaN of a reason; `part` is the place of an unread file among the slices of its pass (0 to 255)."""
    return np.uint32(_QUIET_NAN | part << _SLICE_BITS | reason).view(np.float32)


def hole_reasons(values: Floats) -> NDArray[np.uint8]:
    """Return why each pixel is a hole: a `Hole`, or `VALID`; the shape is that of `values`, float32."""
    reasons = (values.view(np.uint32) & 0xFF).astype(np.uint8)
    reasons[reasons == VALID] = Hole.UNKNOWN  # somebody else's NaN with all bits set
    reasons[~np.isnan(values)] = VALID
    return reasons


def unread_parts(values: Floats) -> list[tuple[int, Hole]]:
    """Return which slices of a pass could not be read in a block, and why: sorted (part, reason)."""
    codes = (int(bits) & 0xFFFF for bits in np.unique(values.view(np.uint32)[np.isnan(values)]))
    unread = {int(reason) for reason in Hole if reason.is_unread}
    return sorted({(code >> _SLICE_BITS, Hole(code & 0xFF)) for code in codes if code & 0xFF in unread})
