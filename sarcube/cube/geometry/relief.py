"""Between which heights the ground under a cube lies, read from the DEM before anything is computed."""

import math
from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sarcube.acquisition.files.headers import read_grid
from sarcube.cube.geometry.dem import open_dem, posts_around, read_posts
from sarcube.cube.geometry.ground import plain_grid
from sarcube.cube.reading.place import place_outline

_MOST_POSTS = 2**26  # of an area, to read them all for their range where there are overviews
_AT_ONCE = 2**22  # posts
_REACH = 3  # posts beyond the outermost pixel: two that the convolution needs, one for the outline's bend
# Between posts the convolution leaves their range by an eighth of the step between neighbours, along rows; along
# columns it meets steps that are up to 5/4 of that.
_OVERSHOOT = 1 / 8 + 5 / 4 / 8
# An overview is smoother than the DEM. Metres, and a share of the range.
_SMOOTHED = 100.0, 0.25


def dem_range(path: str, geobox: GeoBox) -> tuple[float, float] | None:
    """Read limits, in whole metres, that heights on a grid do not leave; None where the DEM holds none there.

    Every post of the area is read, and the limits widened by what cubic convolution can add. Of a large area a DEM's
    overviews are read, if it has any; the limits are then widened by 100 m and a quarter of the range on either side.

    Raises
    ------
    ReadError
        If the DEM cannot be read.
    """
    with open_dem(path) as source:
        rows, columns = place_outline(read_grid(source, owner="the DEM"), plain_grid(geobox))
        window = posts_around(rows - 0.5, columns - 0.5, source.shape, reach=_REACH)
        if window is None:
            return None
        factors = source.overviews(1) if window.height * window.width > _MOST_POSTS else []
        if not factors:
            low, high, step = _extremes(source, window)
            margin = _OVERSHOOT * step
    if factors:
        level = next(
            (n for n, f in enumerate(factors) if window.height * window.width <= _MOST_POSTS * f**2), len(factors) - 1
        )
        with open_dem(path, overview=level) as source:
            low, high, _ = _extremes(source, _scaled(window, factors[level], source.shape))
            margin = _SMOOTHED[0] + _SMOOTHED[1] * (high - low)
    if low > high:
        return None
    return float(math.floor(low - margin)), float(math.ceil(high + margin))


def _scaled(window: Window, factor: int, shape: tuple[int, int]) -> Window:
    """The part of an overview that holds a window of the whole."""
    top, left = window.row_off // factor, window.col_off // factor
    bottom = min(-(-(window.row_off + window.height) // factor), shape[0])
    right = min(-(-(window.col_off + window.width) // factor), shape[1])
    return Window(left, top, right - left, bottom - top)


def _extremes(source: DatasetReader, window: Window) -> tuple[float, float, float]:
    """Lowest and highest post of a window, and the largest step between neighbours; infinite where there is none."""
    found = np.array([np.inf, -np.inf, 0.0])
    for strip in _strips(window, source.block_shapes[0][0]):
        _widen(read_posts(source, strip), found)
    low, high, step = found.tolist()
    return low, high, step


def _strips(window: Window, block_rows: int) -> Iterator[Window]:
    """Cut a window into strips of whole rows of blocks that share a row with the next, so that no step is missed."""
    rows = max(_AT_ONCE // window.width // block_rows, 1) * block_rows
    end = window.row_off + window.height
    first = window.row_off
    while first < end:
        last = min((first // block_rows) * block_rows + rows, end)
        yield Window(window.col_off, first, window.width, min(last + 1, end) - first)
        first = last


@njit(cache=True, nogil=True)
def _widen(posts: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """Widen (lowest, highest, largest step between neighbours) by some posts."""
    low, high, step = found
    for r in range(posts.shape[0]):
        for c in range(posts.shape[1]):
            z = posts[r, c]
            if not math.isfinite(z):
                continue
            low, high = min(low, z), max(high, z)
            if c > 0 and math.isfinite(posts[r, c - 1]):
                step = max(step, abs(z - posts[r, c - 1]))
            if r > 0 and math.isfinite(posts[r - 1, c]):
                step = max(step, abs(z - posts[r - 1, c]))
    found[:] = low, high, step
