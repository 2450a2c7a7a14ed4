"""Masks at a DEM's own sampling, brought to the cube's grid so that nothing distorted is lost."""

import dask.array as da
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.ground import Chunks
from sarcube.sar.look_codes import CLEAR, NO_DATA

Mask = NDArray[np.uint8]

_BLOCK = 2048  # pixels along a side, at the DEM's sampling


def sampling_of(geobox: GeoBox, *, pixel: float, posting: float) -> tuple[int, int]:
    """Return how many samples a pixel holds along a side, and how many pixels a sample; one of them is 1.

    `pixel` and `posting` are metres: of the cube's pixels and between the DEM's posts.
    """
    return max(1, round(pixel / posting)), max(1, min(round(posting / pixel), max(geobox.shape)))


def sampled_grid(geobox: GeoBox, samples: int, pixels: int) -> GeoBox:
    """Return the grid that starts where another does, with `samples` in a pixel or `pixels` in a sample (a side)."""
    rows, columns = (-(-size * samples // pixels) for size in geobox.shape)
    return GeoBox((rows, columns), geobox.affine * Affine.scale(pixels / samples), geobox.crs)


def sampled_chunks(shape: tuple[int, int], samples: int) -> Chunks:
    """Return chunks of a finer or coarser grid that hold whole pixels of the cube."""
    rows, columns = da.core.normalize_chunks(max(_BLOCK // samples, 1) * samples, shape)
    return rows, columns


def to_pixels(mask: da.Array, shape: tuple[int, int], chunks: Chunks, samples: int, pixels: int) -> da.Array:
    """Bring a mask from a DEM's sampling to the pixels of a cube, flags kept.

    A pixel takes all flags of the samples it holds, or those of the sample it lies in. It is no data where none of its
    samples is flagged and one is no data.

    Parameters
    ----------
    mask : dask.array.Array of uint8
        (y, x) at the DEM's sampling: flags, 255 no data.
    shape : (rows, columns)
    chunks : tuple
        Of the cube.
    samples, pixels : int
        As `sampling_of` gives them.

    Returns
    -------
    dask.array.Array of uint8
        (y, x) of the cube.
    """
    if samples > 1:
        rows, columns = (tuple(size // samples for size in part) for part in mask.chunks)
        mask = da.map_blocks(_gather, mask, samples, chunks=(rows, columns), dtype=np.uint8)
    elif pixels > 1:
        mask = da.repeat(da.repeat(mask, pixels, axis=0), pixels, axis=1)[: shape[0], : shape[1]]
    on_cube: da.Array = mask.rechunk(chunks)
    return on_cube


def _gather(mask: Mask, samples: int) -> Mask:
    """All flags of `samples` × `samples`: (y, x) -> (y / samples, x / samples)."""
    cells = mask.reshape(mask.shape[0] // samples, samples, mask.shape[1] // samples, samples)
    unknown = cells == NO_DATA
    flags: Mask = np.bitwise_or.reduce(np.where(unknown, CLEAR, cells), axis=(1, 3)).astype(np.uint8)
    flags[(flags == CLEAR) & unknown.any(axis=(1, 3))] = NO_DATA
    return flags
