"""Heights on a grid: cubic convolution of a DEM at every pixel's centre, the same for any cut into blocks."""

import logging
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from numba import njit
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from sarcube.cube.geometry.look import pixel_centres
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
    with _opened(path) as source:
        west, south, east, north = transform_bounds(source.crs, str(geobox.crs), *source.bounds)
    area = geobox.boundingbox
    if west > area.right or east < area.left or south > area.top or north < area.bottom:
        raise AreaError(
            f"the DEM {path} ({west:.0f}, {south:.0f}, {east:.0f}, {north:.0f}) does not touch the cube "
            f"({', '.join(f'{v:.0f}' for v in area.bbox)}): west, south, east, north in {geobox.crs}"
        )
    if west > area.left or east < area.right or south > area.bottom or north < area.top:
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
    # Positions are counted in the whole grid and the whole DEM, never in a block: blocks agree to the bit.
    column, row = np.meshgrid(*(np.arange(part.start, part.stop, dtype=float) for part in (columns, rows)))
    x, y = pixel_centres(geobox, row, column)
    with _opened(path) as source:
        x, y = pyproj.Transformer.from_crs(str(geobox.crs), source.crs.to_wkt(), always_xy=True).transform(x, y)
        a = ~source.transform
        across, down = a.a * x + a.b * y + a.c - 0.5, a.d * x + a.e * y + a.f - 0.5
        left, top = int(np.floor(across.min())) - 1, int(np.floor(down.min())) - 1
        right, bottom = int(np.floor(across.max())) + 3, int(np.floor(down.max())) + 3
        left, right = max(left, 0), min(right, source.width)
        top, bottom = max(top, 0), min(bottom, source.height)
        heights = np.full(row.shape, np.nan, np.float32)
        if left >= right or top >= bottom:
            return heights
        try:
            posts = source.read(1, window=Window(left, top, right - left, bottom - top), masked=True)
        except RasterioError as error:
            raise ReadError(f"the DEM {path} cannot be read: {error}") from error
    _convolve(posts.astype(np.float64).filled(np.nan), across, down, top, left, heights)
    return heights


def _opened(path: str) -> DatasetReader:
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise ReadError(f"there is no DEM at {path}; give a raster of heights in metres that covers the cube")
    try:
        source = rasterio.open(path)
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
