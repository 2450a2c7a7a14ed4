"""Open a GeoTIFF, and nothing else, and read where its pixels lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window

from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import Grid
from sarcube.errors import ReadError

# Neither side files nor directory listings are looked for: a file is what its item says, and over HTTP each look costs.
_GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}


@contextmanager
def open_geotiff(href: str, *, owner: str) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF for reading; what fails while it is open is an error that names it.

    Parameters
    ----------
    href : str
        Local path or http(s) URL.
    owner : str
        Whose file it is, for the error message.

    Raises
    ------
    ReadError
        If it cannot be read, or is no GeoTIFF.
    """
    # A path as Path is never taken for a URL; one driver, so that a file cannot make GDAL open others, as a VRT does.
    try:
        with rasterio.Env(**_GDAL), rasterio.open(href if is_url(href) else Path(href), driver="GTiff") as dataset:
            yield dataset
    except (CRSError, RasterioError) as error:
        # Of a failed read GDAL's own sentence is the cause.
        raise ReadError(f"cannot read {href} of {owner}: {error.__cause__ or error}") from error


def read_window(dataset: rasterio.DatasetReader, window: Window) -> NDArray[np.generic]:
    """Read a (row, column) window of the first band of a file that `open_geotiff` opened."""
    values: NDArray[np.generic] = dataset.read(1, window=window)
    return values


def read_grid(dataset: rasterio.DatasetReader, *, owner: str) -> Grid:
    """Return where the pixels of an open file lie.

    Raises
    ------
    ReadError
        If the file has no CRS.
    """
    if dataset.crs is None:
        raise ReadError(f"{dataset.name} of {owner} has no georeference; expected an RTC GeoTIFF on a map grid")
    a, b, c, d, e, f = (float(value) for value in dataset.transform[:6])
    return Grid(crs_name(dataset.crs.to_wkt()), (a, b, c, d, e, f), (dataset.height, dataset.width))


@lru_cache(maxsize=64)
def crs_name(crs: str | int) -> str:
    """Return the EPSG code of a CRS ("EPSG:32647"), or its WKT where it has none."""
    parsed = pyproj.CRS.from_user_input(crs)
    code = parsed.to_epsg()
    return f"EPSG:{code}" if code else str(parsed.to_wkt())
