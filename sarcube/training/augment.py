"""Transformations of training patches, and what they do to the look of a radar.

A radar looks sideways, across its nearly north-south track: slopes that face it are bright and short, those behind are
dark and long.

- "flip_y" mirrors north to south. Slopes stay lit from the side that they were lit from.
- "zoom" and "translate" keep the look as well: the ground is 10 % nearer or further, the window lies elsewhere.
- "flip_x" mirrors east to west: slopes are lit from the side from which another pass would light them. A model that
  judges one track's stacks sees what it will never meet; one that learns from both passes may bear it.
- "rotate" turns by quarters: north-south slopes are lit as no pass of Sentinel-1 lights them.

Pixels are moved, never mixed: speckle keeps its statistics, and a pixel that is not valid stays one pixel.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sarcube.training.config import Transformation

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

MOST_ZOOM = 0.1
"""A window shows the ground enlarged or reduced by up to this share."""
MOST_SHIFT = 0.1
"""A window is moved by up to this share of its side along each axis."""


def augmented(
    images: Floats, masks: Floats | None, names: Sequence[Transformation], draws: np.random.Generator
) -> tuple[Floats, Floats | None]:
    """Transform patches at random, each by itself, image and mask alike.

    Parameters
    ----------
    images : (n, band, size, size) float32 array
    masks : (n, size, size) array, optional
    names : sequence of str
        Which transformations; their order does not matter.
    draws : numpy.random.Generator
        It alone decides.

    Returns
    -------
    images, masks
        Where something changes new arrays; those given stay as they are.
    """
    n, size = len(images), images.shape[-1]
    places = np.tile(np.arange(size), (2, n, 1))  # of each patch the rows, then the columns, that are shown
    for axis, name in enumerate(("flip_y", "flip_x")):
        if name in names:
            places[axis] = np.where((draws.random(n) < 0.5)[:, np.newaxis], places[axis][:, ::-1], places[axis])
    if "zoom" in names:
        factors = draws.uniform(1 - MOST_ZOOM, 1 + MOST_ZOOM, n)[:, np.newaxis]
        middle = (size - 1) / 2
        places = np.rint((places - middle) / factors + middle).astype(np.int64)
    if "translate" in names:
        most = int(MOST_SHIFT * size)
        places = places + draws.integers(-most, most, (2, n, 1), endpoint=True)
    rows, columns = _reflected(places, size)
    turns = draws.integers(4, size=n) if "rotate" in names else np.zeros(n, np.int64)
    if not names:
        return images, masks
    images = _turned(_moved(images, rows, columns), turns)
    return images, None if masks is None else _turned(_moved(masks[:, np.newaxis], rows, columns), turns)[:, 0]


def _reflected(places: Indices, size: int) -> Indices:
    """Bring places beyond an edge back by reflection at it; the pixel at the edge comes twice."""
    places = places % (2 * size)
    return np.where(places < size, places, 2 * size - 1 - places)


def _moved(images: Floats, rows: Indices, columns: Indices) -> Floats:
    """Show of each image (n, band, y, x) the rows and columns (n, size) given."""
    number = np.arange(len(images))[:, np.newaxis, np.newaxis, np.newaxis]
    band = np.arange(images.shape[1])[:, np.newaxis, np.newaxis]
    return images[number, band, rows[:, np.newaxis, :, np.newaxis], columns[:, np.newaxis, np.newaxis, :]]


def _turned(images: Floats, turns: Indices) -> Floats:
    """Turn each image (n, band, y, x) by so many quarters, in place."""
    for quarters in (1, 2, 3):
        chosen = turns == quarters
        images[chosen] = np.rot90(images[chosen], quarters, axes=(2, 3))
    return images
