"""What layers of the ground share with the cube they join: its grid, its chunks, its pixels in metres."""

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  registers cube.odc
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.acquisition.files.headers import crs_name
from sarcube.acquisition.scenes import Grid
from sarcube.errors import InputError
from sarcube.sar.ellipsoid import ECCENTRICITY_SQUARED, SEMI_MAJOR

Floats64 = NDArray[np.float64]
Chunks = tuple[tuple[int, ...], tuple[int, ...]]

_CHUNK = 1024
_SQUARE = 1e-6  # relative: what floating point may take from a square pixel


def geobox_of(cube: xr.Dataset) -> GeoBox:
    """Return the grid of a cube.

    Raises
    ------
    InputError
        If it has none.
    """
    geobox = cube.odc.geobox
    if not isinstance(geobox, GeoBox) or geobox.crs is None:
        raise InputError(
            "the cube has no regular grid with a CRS: it needs x, y and spatial_ref, as sc.load makes them"
        )
    return geobox


def plain_grid(geobox: GeoBox) -> Grid:
    """Return a GeoBox in any CRS as plain values."""
    assert geobox.crs is not None
    a, b, c, d, e, f = (float(value) for value in geobox.affine[:6])
    rows, columns = geobox.shape
    return Grid(crs_name(geobox.crs.to_wkt()), (a, b, c, d, e, f), (rows, columns))


def pixel_size(geobox: GeoBox) -> float:
    """Return the size of a projected grid's square pixels in metres.

    Raises
    ------
    InputError
        If the grid is in degrees or its pixels are oblong.
    """
    crs, x, y = geobox.crs, geobox.resolution.x, geobox.resolution.y
    if crs is None or not crs.projected or abs(x + y) > _SQUARE * abs(x) or y > 0:
        raise InputError(
            f"this needs a cube in a projected CRS with square pixels, rows north to south; this one is in {crs} with "
            f"pixels of {x} by {y}: load it with crs= and resolution="
        )
    return float(x)


def metres_per_pixel(geobox: GeoBox) -> tuple[Floats64, Floats64]:
    """Return how far apart the pixels of each row are, to the next row and to the next column.

    Parameters
    ----------
    geobox : GeoBox
        North-up, in a projected or geographic CRS.

    Returns
    -------
    down, across : numpy.ndarray of float64
        (y,), metres. On a projected grid those of its projection; on a geographic one those on the ground, by the
        ellipsoid's radii of curvature at the latitude of the row's centres.

    Raises
    ------
    InputError
        If the grid has no CRS or is not north-up.
    """
    a, b, _, d, e, f = geobox.affine[:6]
    if geobox.crs is None or b or d or a <= 0 or e >= 0:
        raise InputError(f"the grid must have a CRS and rows from north to south, not {geobox.crs}, {geobox.affine!r}")
    unit = geobox.crs.proj.axis_info[0].unit_conversion_factor  # to metres, or to radians
    rows = geobox.shape[0]
    if not geobox.crs.geographic:
        return np.full(rows, -e * unit), np.full(rows, a * unit)
    north, east = metres_per_radian((f + e * (np.arange(rows) + 0.5)) * unit)
    return -e * unit * north, a * unit * east


def metres_per_radian(latitude: Floats64) -> tuple[Floats64, Floats64]:
    """Return how far a radian of latitude and one of longitude reach on the ground, on the WGS 84 ellipsoid.

    Parameters
    ----------
    latitude : numpy.ndarray
        Radians.

    Returns
    -------
    north, east : numpy.ndarray
        Metres: the radius of curvature along the meridian, and that of the parallel (Snyder 1987, USGS Professional
        Paper 1395, chapter 4).
    """
    bulge = 1 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
    return SEMI_MAJOR * (1 - ECCENTRICITY_SQUARED) / bulge**1.5, SEMI_MAJOR * np.cos(latitude) / np.sqrt(bulge)


def chunks_of(cube: xr.Dataset) -> Chunks:
    """Return the cube's own chunks over y and x, so that layers and scenes meet block by block."""
    # Of the first layer that is cut at all: along other dimensions layers may be cut in other ways.
    for array in cube.data_vars.values():
        if array.chunks is not None and {"y", "x"} <= set(array.dims):
            return array.variable.chunksizes["y"], array.variable.chunksizes["x"]
    rows, columns = da.core.normalize_chunks(_CHUNK, (cube.sizes["y"], cube.sizes["x"]))
    return rows, columns


def mapped(cube: xr.Dataset) -> dict[str, str]:
    """Return the attribute that names the cube's grid mapping, if it has one."""
    return {"grid_mapping": "spatial_ref"} if "spatial_ref" in cube.coords else {}
