"""Heights on a grid: cubic convolution of a DEM at every pixel's centre, the same for any cut into blocks."""

import logging
import math
from pathlib import Path

import numpy as np
import rasterio
from numba import njit
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sarcube.acquisition.files.headers import read_grid
from sarcube.cube.geometry.ground import metres_per_pixel, plain_grid
from sarcube.cube.grid import bounds_in_degrees
from sarcube.cube.reading.place import Block, overlap, place_of, place_points
from sarcube.errors import AreaError, ReadError

logger = logging.getLogger(__name__)

Heights = NDArray[np.float32]


def check_dem(path: str, geobox: GeoBox) -> None:
    """Refuse a DEM that is missing, unreadable, without CRS or elsewhere; warn of one that covers the grid in part.

    Raises
    ------
    ReadError
        If there is no DEM to read.
    AreaError
        If it does not touch the grid.
    """
    with open_dem(path) as source:
        file = read_grid(source, owner="the DEM")
    touches, holds = overlap(file, plain_grid(geobox))
    if not touches:
        raise AreaError(
            f"the DEM {path} does not touch the cube: it covers {bounds_in_degrees([file])}, the cube "
            f"{bounds_in_degrees([plain_grid(geobox)])} (west, south, east, north in degrees)"
        )
    if not holds:
        logger.warning("the DEM %s covers the cube only in part; the rest is no data", path)


def read_dem(path: str, geobox: GeoBox, rows: slice, columns: slice) -> Heights:
    """Read heights at the pixel centres of a block of a grid.

    Returns
    -------
    (y, x) float32 array
        Cubic convolution (Keys 1981, IEEE ASSP 29) of the 4 × 4 posts around; NaN where one of them is no data.

    Raises
    ------
    ReadError
        If the DEM cannot be read.
    """
    block = Block(rows.start, rows.stop, columns.start, columns.stop)
    heights = np.full(block.shape, np.nan, np.float32)
    with open_dem(path) as source:
        # Positions are counted in the whole grid and the whole DEM, never in a block: blocks agree to the bit.
        place = place_of(read_grid(source, owner="the DEM"), plain_grid(geobox), block)
        down, across = (np.ascontiguousarray(part - 0.5) for part in place.each)  # from the first post, not its edge
        window = posts_around(down, across, source.shape, reach=2)
        if window is None:
            return heights
        posts = read_posts(source, window)
    _convolve(posts, across, down, window.row_off, window.col_off, heights)
    return heights


def dem_posting(path: str, geobox: GeoBox) -> float:
    """Return how far apart the posts of a DEM are on the ground at a grid's centre, in metres.

    Where they are not equally far apart north and east, as in degrees, it is the side of a square of the same area.

    Raises
    ------
    ReadError
        If there is no DEM to read.
    """
    with open_dem(path) as source:
        file = read_grid(source, owner="the DEM")
    row, column = geobox.shape[0] // 2, geobox.shape[1] // 2
    place = place_points(file, plain_grid(geobox), *(np.array([at, at + 1.0]) for at in (row, column)))
    rows, columns = place.each
    along, across = ((part[1, 0] - part[0, 0], part[0, 1] - part[0, 0]) for part in (rows, columns))
    posts = abs(along[0] * across[1] - along[1] * across[0])
    down, right = (sizes[row] for sizes in metres_per_pixel(geobox))
    return math.sqrt(down * right / posts)


def posts_around(
    down: NDArray[np.float64], across: NDArray[np.float64], shape: tuple[int, int], *, reach: int
) -> Window | None:
    """Return the posts within reach of positions counted from the first; None where the DEM has none of them."""
    known = np.isfinite(down) & np.isfinite(across)
    if not known.any():
        return None
    (top, bottom), (left, right) = (
        (max(int(np.floor(part[known].min())) - reach + 1, 0), min(int(np.floor(part[known].max())) + reach + 1, size))
        for part, size in zip((down, across), shape, strict=True)
    )
    return Window(left, top, right - left, bottom - top) if left < right and top < bottom else None


def read_posts(source: DatasetReader, window: Window) -> NDArray[np.float64]:
    """Return the heights of a window of a DEM, NaN where it has none.

    Raises
    ------
    ReadError
        If they cannot be read.
    """
    try:
        posts = source.read(1, window=window, masked=True)
    except RasterioError as error:
        raise ReadError(f"the DEM {source.name} cannot be read: {error}") from error
    filled: NDArray[np.float64] = posts.astype(np.float64).filled(np.nan)
    return filled


def open_dem(path: str, *, overview: int | None = None) -> DatasetReader:
    """Open a DEM, or one of its overviews: 0 is the largest.

    Raises
    ------
    ReadError
        If it is missing, unreadable or without CRS.
    """
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise ReadError(f"there is no DEM at {path}; give a raster of heights in metres that covers the cube")
    try:
        source = rasterio.open(path) if overview is None else rasterio.open(path, overview_level=overview)
    except RasterioError as error:
        raise ReadError(f"the DEM {path} cannot be read: {error}") from error
    if source.crs is None:
        source.close()
        raise ReadError(f"the DEM {path} declares no CRS; assign one, for example with gdal_edit.py -a_srs EPSG:CODE")
    return source


@njit(cache=True, nogil=True)
def _weight(t: float) -> float:
    """Keys' kernel with a = -1/2."""
    t = abs(t)
    if t <= 1:
        return (1.5 * t - 2.5) * t * t + 1
    if t < 2:
        return ((-0.5 * t + 2.5) * t - 4) * t + 2
    return 0.0


@njit(cache=True, nogil=True)
def _convolve(
    posts: NDArray[np.float64],
    across: NDArray[np.float64],
    down: NDArray[np.float64],
    top: int,
    left: int,
    heights: Heights,
) -> None:
    for r in range(heights.shape[0]):
        for c in range(heights.shape[1]):
            if not math.isfinite(down[r, c] + across[r, c]):
                continue
            i, j = int(np.floor(down[r, c])), int(np.floor(across[r, c]))
            if i - 1 < top or j - 1 < left or i + 2 >= top + posts.shape[0] or j + 2 >= left + posts.shape[1]:
                continue
            total = 0.0
            for k in range(-1, 3):
                line = 0.0
                for m in range(-1, 3):
                    line += _weight(across[r, c] - (j + m)) * posts[i + k - top, j + m - left]
                total += _weight(down[r, c] - (i + k)) * line
            heights[r, c] = total
