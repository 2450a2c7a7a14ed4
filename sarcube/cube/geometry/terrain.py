"""Terrain as layers of a cube: elevation, slope, aspect, curvature."""

import os
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.dem import check_dem, read_dem
from sarcube.cube.geometry.ground import chunks_of, geobox_of, mapped, pixel_size
from sarcube.sar import slope_aspect
from sarcube.sar.terrain import curvature

_LAYERS = {
    "elevation": ("m", "height above the DEM's reference surface"),
    "slope": ("degree", "slope of the ground"),
    "aspect": ("degree", "downhill direction, clockwise from grid north"),
    "curvature": ("m-1", "total curvature, positive on ridges (Zevenbergen & Thorne 1987)"),
}


def add_terrain(cube: xr.Dataset, dem: str | Path) -> xr.Dataset:
    """Put a DEM on the cube's grid, with its slope, aspect and curvature.

    Parameters
    ----------
    cube : xarray.Dataset
        Dims (time, y, x), in a projected CRS with square pixels.
    dem : str or path
        A raster GDAL reads, elevation in metres in its first band, any CRS and resolution. Nodata is kept as NaN.

    Returns
    -------
    xarray.Dataset
        The cube with lazy float32 layers (y, x): elevation (m; cubic convolution of the DEM), slope and aspect
        (degrees; Horn 1981; aspect NaN where flat) and curvature (1/m; Zevenbergen & Thorne 1987).

    Raises
    ------
    ReadError
        If the DEM is missing or cannot be read.
    AreaError
        If the DEM does not touch the cube.
    InputError
        If the cube's grid is not projected or has oblong pixels.
    """
    geobox = geobox_of(cube)
    resolution = pixel_size(geobox)
    path = os.fspath(dem)
    check_dem(path, geobox)
    chunks = chunks_of(cube, geobox)
    elevation = _lazy_dem(path, geobox, chunks)
    halo: dict[str, Any] = {"depth": 1, "boundary": "none", "dtype": np.float32, "meta": np.empty((0, 0), np.float32)}
    layers = {
        "elevation": elevation,
        "slope": da.map_overlap(lambda z: slope_aspect(z, resolution=resolution)[0], elevation, **halo),
        "aspect": da.map_overlap(lambda z: slope_aspect(z, resolution=resolution)[1], elevation, **halo),
        "curvature": da.map_overlap(curvature, elevation, resolution=resolution, **halo),
    }
    return cube.assign(
        {
            name: (("y", "x"), data, {"units": _LAYERS[name][0], "long_name": _LAYERS[name][1], **mapped(cube)})
            for name, data in layers.items()
        }
    )


def _lazy_dem(path: str, geobox: GeoBox, chunks: tuple[tuple[int, ...], tuple[int, ...]]) -> da.Array:
    def read(block_info: dict[None, dict[str, list[tuple[int, int]]]]) -> NDArray[np.float32]:
        (r0, r1), (c0, c1) = block_info[None]["array-location"]
        return read_dem(path, geobox, slice(r0, r1), slice(c0, c1))

    name = f"dem-{dask.base.tokenize(path, Path(path).stat().st_mtime_ns, str(geobox), chunks)}"
    lazy: da.Array = da.map_blocks(read, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0), np.float32), name=name)
    return lazy
