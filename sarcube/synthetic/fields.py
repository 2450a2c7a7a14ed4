"""Smooth random fields."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]


def smooth_field(rng: Generator, shape: tuple[int, int], scale: float) -> Field:
    """Gaussian field of mean 0 and standard deviation 1 whose correlation is a Gaussian.

    `scale`, in pixels, is the sigma of the smoothing; correlation falls to 1/e at twice that distance. Wide fields are
    drawn on a coarse grid and interpolated, which costs nothing the eye or a statistic could see.
    """
    coarsening = max(1, int(scale / 3))
    pad = 2  # coarse cells beyond the edge, so that interpolation has neighbours
    coarse = tuple(n // coarsening + 2 + 2 * pad for n in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), scale / coarsening, mode="wrap")
    field /= field.std()
    if coarsening > 1:
        field = enlarge(field, coarsening, shape, offset=pad)
    else:
        field = field[pad : pad + shape[0], pad : pad + shape[1]]
    return np.ascontiguousarray(field, dtype=np.float32)


def enlarge(coarse: Field, factor: int, shape: tuple[int, int], *, offset: float = 0.0) -> Field:
    """Cubic-spline values of a coarse grid at the pixel centres of a grid `factor` times finer: float32 of `shape`."""
    rows = offset + (np.arange(shape[0]) + 0.5) / factor - 0.5
    columns = offset + (np.arange(shape[1]) + 0.5) / factor - 0.5
    along_rows = _interpolate(coarse, rows)
    return np.ascontiguousarray(_interpolate(along_rows.T, columns).T, dtype=np.float32)


def _interpolate(values: NDArray[np.floating], positions: NDArray[np.floating]) -> Field:
    """Cubic-spline interpolation along the first axis."""
    coefficients = ndimage.spline_filter1d(values, order=3, axis=0, mode="mirror", output=np.float32)
    base = np.floor(positions).astype(int)
    t = (positions - base).astype(np.float32)
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    result = np.zeros((positions.size, values.shape[1]), np.float32)
    last = values.shape[0] - 1
    for k in range(4):
        index = np.abs(base + k - 1)
        index = np.where(index > last, 2 * last - index, index)
        result += weights[k][:, None] * coefficients[index]
    return result
