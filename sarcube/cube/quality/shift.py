"""Whether a date lies where its track's other dates lie: displacement in pixels, by correlation of a few tiles.

Each date is held against the median of the others, in dB, tile by tile: what is smoother than relief and fields is
taken out, holes are zero, edges are tapered, and scikit-image finds the peak of the correlation to a tenth of a pixel.
The median of the tiles is the shift, the share of tiles that agree with it the confidence.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from sarcube.cube.quality.medians import medians_of_others

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Flags = NDArray[np.bool_]

MIN_DATES = 3  # two dates can tell that they differ, not which of them is displaced
# From here on a date is displaced, in pixels: no real scene was found further off than 0.32 as it is (docs/quality.md),
# a grid that lies aside and nearest pixels make 0.5, and a displacement of one pixel must still be caught.
DISPLACED = 0.75
MIN_CONFIDENCE = 0.6  # of the tiles agree; in pure speckle never more than half of them did
MIN_TILES = 2  # that agree: one alone agrees with itself

_TILE = 256  # pixels along a side
_TILES = 3  # along a side of a large cube
_MIN_SIDE = 48  # pixels of a cube; tiles of two thirds of less hold too little to correlate
_MIN_VALID = 0.4  # of a tile, in the date and in its reference
_AGREE = 1.0  # pixels
_HIGH_PASS = 8.0  # pixels: what is smoother tells rain and snow, not places
_LOW_PASS = 1.0  # pixels: speckle is as wide as this and differs from date to date
_CLIP = 10.0  # dB: one bright target must not outweigh the ground
_TAPER = 0.15  # of a side
_SOFT = 4.0  # pixels around a hole
_UPSAMPLING = 10
_WORKERS = 3  # tiles at a time: each holds all dates of a tile three times


@dataclass(frozen=True)
class Tile:
    """A part of a grid: rows [y0, y1), columns [x0, x1)."""

    y0: int
    y1: int
    x0: int
    x1: int


@dataclass(frozen=True)
class Shifts:
    """Displacement of each date of a track, in pixels: rows southward, columns eastward; NaN where not measured.

    `confidence` is the share of the measured tiles that agree within a pixel, `displaced` what is to be warned of.
    All have shape (time,).
    """

    rows: Floats64
    columns: Floats64
    confidence: Floats64
    displaced: Flags


def tiles_over(shape: tuple[int, int]) -> tuple[Tile, ...]:
    """Spread tiles evenly over a grid: at most three by three of 256², smaller ones that overlap on a small grid.

    They depend on the grid alone. A grid of less than 48 pixels along a side has none.
    """
    if min(shape) < _MIN_SIDE:
        return ()
    rows, columns = (_spread(length) for length in shape)
    return tuple(Tile(y0, y1, x0, x1) for y0, y1 in rows for x0, x1 in columns)


def _spread(length: int) -> list[tuple[int, int]]:
    size = min(_TILE, -(-2 * length // 3))
    places = _TILES if length >= 2 * _TILE else 2
    return [
        (place * (length - size) // (places - 1), place * (length - size) // (places - 1) + size)
        for place in range(places)
    ]


def measure_shifts(tiles: Sequence[NDArray[np.floating]]) -> Shifts:
    """Measure how far each date of a track is displaced against the others.

    A displaced date spoils the median that the others are held against: the surest one is left out of the medians and
    the suspects are measured again, until no other is found; then all are. So most of the dates are taken to be right.

    Parameters
    ----------
    tiles : sequence of (time, y, x) float arrays
        Backscatter of each tile in dB, NaN where not valid.

    Returns
    -------
    Shifts

    Notes
    -----
    `skimage.registration.phase_cross_correlation` (Guizar-Sicairos, Thurman, Fienup 2008, Optics Letters 33, 156),
    with the amplitudes kept: where all frequencies weigh the same, as in pure phase correlation, speckle that differs
    from date to date drowns the ground.
    """
    everyone = np.ones(tiles[0].shape[0], bool)
    trusted, suspects = everyone.copy(), ~everyone
    found = _measure(tiles, trusted=trusted, wanted=everyone)
    while (candidates := (shifts := _combine(found)).displaced & trusted).any() and trusted.sum() >= MIN_DATES:
        length = np.hypot(shifts.rows, shifts.columns)
        surest = max(np.flatnonzero(candidates), key=lambda t: (shifts.confidence[t], length[t]))
        trusted[surest] = False
        suspects |= candidates
        found[:, suspects] = _measure(tiles, trusted=trusted, wanted=suspects)
    return shifts if trusted.all() else _combine(_measure(tiles, trusted=trusted, wanted=everyone))


def _measure(tiles: Sequence[NDArray[np.floating]], *, trusted: Flags, wanted: Flags) -> Floats64:
    """Shifts (tile, wanted date, row and column) in pixels."""
    measure = partial(_measure_tile, trusted=trusted, wanted=wanted)
    with ThreadPoolExecutor(_WORKERS) as threads:
        return np.array(list(threads.map(measure, tiles)))


def _measure_tile(tile: NDArray[np.floating], *, trusted: Flags, wanted: Flags) -> list[tuple[float, float]]:
    stack = tile.astype(np.float32)
    references = medians_of_others(stack, trusted=trusted)
    return [
        displacement(reference, values)
        for reference, values, want in zip(references, stack, wanted, strict=True)
        if want
    ]


def _combine(found: Floats64) -> Shifts:
    """Median and agreement of the tiles: (tile, time, 2) -> (time,)."""
    measured = np.isfinite(found[..., 0])  # (tile, time)
    count = measured.sum(axis=0)
    middle = np.full(found.shape[1:], np.nan)
    middle[count > 0] = np.nanmedian(found[:, count > 0], axis=0)
    distance = np.hypot(*np.moveaxis(found - middle, -1, 0))
    agreeing = (distance <= _AGREE).sum(axis=0)  # NaN compares false
    confidence = np.where(count > 0, agreeing / np.maximum(count, 1), np.nan)
    displaced = (
        (np.hypot(middle[:, 0], middle[:, 1]) >= DISPLACED) & (confidence >= MIN_CONFIDENCE) & (agreeing >= MIN_TILES)
    )
    return Shifts(middle[:, 0], middle[:, 1], confidence, displaced)


def displacement(reference: Floats, values: Floats) -> tuple[float, float]:
    """Measure how far an image is displaced against a reference.

    Parameters
    ----------
    reference, values : (y, x) float32 array
        dB; NaN where not valid.

    Returns
    -------
    (rows, columns) : float
        Pixels, southward and eastward; NaN where less than 40 % of the pixels are valid in both, or nothing differs.
    """
    both = np.isfinite(reference) & np.isfinite(values)
    if both.mean() < _MIN_VALID:
        return np.nan, np.nan
    weight = _weight(both)
    first, second = (_details(image, both) * weight for image in (reference, values))
    if not first.any() or not second.any():
        return np.nan, np.nan
    back, _, _ = phase_cross_correlation(first, second, upsample_factor=_UPSAMPLING, normalization=None)  # type: ignore[no-untyped-call]
    return -float(back[0]), -float(back[1])  # what it returns brings the image back


def _details(image: Floats, both: Flags) -> Floats:
    """What stands out from the surroundings, in dB; zero in holes, which neither know nor show their own level."""
    share = ndimage.gaussian_filter(both.astype(np.float32), _HIGH_PASS)
    level = ndimage.gaussian_filter(np.where(both, image, np.float32(0)), _HIGH_PASS) / np.maximum(share, 1e-6)
    details = np.where(both, np.clip(image - level, -_CLIP, _CLIP), np.float32(0))
    smooth: Floats = ndimage.gaussian_filter(details, _LOW_PASS)
    return smooth


def _weight(both: Flags) -> Floats:
    """One inside, falling to zero towards the tile's sides and towards holes, which would else correlate themselves."""
    soft = np.clip(ndimage.distance_transform_edt(both) / _SOFT, 0, 1) if not both.all() else 1.0
    weight: Floats = (soft * np.outer(*(_sides(length) for length in both.shape))).astype(np.float32)
    return weight


def _sides(length: int) -> Floats64:
    reach = int(_TAPER * length)
    weight = np.ones(length)
    weight[:reach] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(reach) + 0.5) / reach)
    weight[length - reach :] = weight[:reach][::-1]
    return weight
