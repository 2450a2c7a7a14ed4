"""Mean and standard deviation of each band of patches, which need not be in memory."""

import numpy as np

from sarcube.errors import InputError
from sarcube.labels.order import AT_ONCE, reading_order
from sarcube.labels.patches import Patches
from sarcube.training.feed import batches

TOGETHER = 64
"""Patches in one sum."""


def band_moments(
    patches: Patches, *, by_pixel: bool, name: str = "training"
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over all pixels that are valid in it, in double precision.

    Patches are read once, tile by tile, and the moments of parts merged as Chan et al. 1983 (The American Statistician
    37, 242) do.

    Raises
    ------
    InputError
        If a band does not vary, or a window that must be finite is not.
    """
    shares = reading_order(patches.tiles, np.arange(len(patches)), at_once=AT_ONCE)
    count, mean, squares = (np.zeros(len(patches.bands)) for _ in range(3))
    for images, _ in batches(patches, shares, batch_size=TOGETHER, by_pixel=by_pixel, name=name):
        values = images.astype(np.float64)
        valid = np.isfinite(values)
        values[~valid] = 0
        more = valid.sum(axis=(0, 2, 3))
        of_more = values.sum(axis=(0, 2, 3)) / np.maximum(more, 1)
        squares += np.square(values - of_more[:, np.newaxis, np.newaxis], where=valid, out=values).sum(axis=(0, 2, 3))
        total = np.maximum(count + more, 1)
        squares += np.square(of_more - mean) * count * more / total
        mean += (of_more - mean) * more / total
        count += more
    std = np.sqrt(squares / np.maximum(count, 1))
    if not (std > 0).all():
        raise InputError(f"every band must vary over the {name} patches; their standard deviations are {std.tolist()}")
    return tuple(mean.tolist()), tuple(std.tolist())
