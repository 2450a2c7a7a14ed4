"""Terrain as layers of a cube: elevation, slope, aspect, curvature."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.dem import check_dem, dem_posting, read_dem
from sarcube.cube.geometry.ground import Chunks, chunks_of, geobox_of, mapped, metres_per_pixel, plain_grid
from sarcube.cube.geometry.relief import dem_range
from sarcube.sar import slope_aspect
from sarcube.sar.terrain import Resolution, curvature

Heights = NDArray[np.float32]

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
        Dims (time, y, x), on a north-up grid in a projected or geographic CRS.
    dem : str or path
        A raster GDAL reads, elevation in metres in its first band, any CRS and resolution. Nodata is kept as NaN.

    Returns
    -------
    xarray.Dataset
        The cube with lazy float32 layers (y, x): elevation (m; cubic convolution of the DEM), slope and aspect
        (degrees; Horn 1981; aspect NaN where flat) and curvature (1/m; Zevenbergen & Thorne 1987). In a projected CRS
        their metres are those of the grid, in a geographic one those on the ground. Attributes of elevation: `source`
        (the DEM's name), `resolution_m` (its posting) and `actual_range` (metres, which the heights do not leave,
        or of a large DEM that is read by its overviews hardly can; absent where the DEM holds none).

    Raises
    ------
    ReadError
        If the DEM is missing or cannot be read.
    AreaError
        If the DEM does not touch the cube.
    InputError
        If the cube has no north-up grid with a CRS.

    Notes
    -----
    The range of heights comes from the DEM itself, read once over the area as the call is made (from its overviews
    where it is large): what looks along the ground can plan how far it has to see before anything is computed.
    """
    geobox = geobox_of(cube)
    down, across = metres_per_pixel(geobox)
    path = os.fspath(dem)
    check_dem(path, geobox)
    elevation = lazy_dem(path, geobox, chunks_of(cube))
    # One more pixel on each side; at the grid's own edge the kernels continue the ground.
    around = da.overlap.overlap(elevation, depth=1, boundary="none")
    layers = {"elevation": elevation}
    for name, kernel in _KERNELS.items():
        layers[name] = da.map_blocks(
            _inside,
            around,
            kernel=kernel,
            down=down,
            across=across,
            chunks=elevation.chunks,
            dtype=np.float32,
            meta=np.empty((0, 0), np.float32),
        )
    attrs: dict[str, dict[str, Any]] = {
        name: {"units": units, "long_name": long_name, **mapped(cube)} for name, (units, long_name) in _LAYERS.items()
    }
    attrs["elevation"] |= {"source": Path(path).name, "resolution_m": round(dem_posting(path, geobox), 3)}
    if (limits := dem_range(path, geobox)) is not None:
        attrs["elevation"]["actual_range"] = list(limits)
    return cube.assign({name: (("y", "x"), data, attrs[name]) for name, data in layers.items()})


def lazy_dem(path: str, geobox: GeoBox, chunks: Chunks) -> da.Array:
    """Return the heights of a DEM on a grid: (y, x) float32, metres, NaN where there are none; see `read_dem`."""
    modified = Path(path).stat().st_mtime_ns if Path(path).exists() else None
    lazy: da.Array = da.map_blocks(
        _read,
        path=path,
        geobox=geobox,
        chunks=chunks,
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
        name=f"dem-{tokenize(path, modified, plain_grid(geobox), chunks)}",
    )
    return lazy


def _read(*, path: str, geobox: GeoBox, block_info: dict[None, dict[str, list[tuple[int, int]]]]) -> Heights:
    (r0, r1), (c0, c1) = block_info[None]["array-location"]
    return read_dem(path, geobox, slice(r0, r1), slice(c0, c1))


def _inside(
    around: Heights,
    *,
    kernel: Callable[..., Heights],
    down: NDArray[np.float64],
    across: NDArray[np.float64],
    block_info: dict[None, dict[str, list[tuple[int, int]]]],
) -> Heights:
    """Run a kernel on a block with its neighbours' pixels, and keep the block."""
    (r0, r1), (c0, c1) = block_info[None]["array-location"]
    top, left = min(r0, 1), min(c0, 1)
    rows = slice(r0 - top, r0 - top + around.shape[0])
    values = kernel(around, resolution=(down[rows], across[rows]))
    return values[top : top + r1 - r0, left : left + c1 - c0]


def _slope_or_aspect(elevation: Heights, *, resolution: Resolution, which: int) -> Heights:
    result: Heights = slope_aspect(elevation, resolution=resolution)[which]
    return result


_KERNELS: dict[str, Callable[..., Any]] = {
    "slope": partial(_slope_or_aspect, which=0),
    "aspect": partial(_slope_or_aspect, which=1),
    "curvature": curvature,
}
