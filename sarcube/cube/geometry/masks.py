"""Masks of a track on a cube's grid: where their heights come from, which tests, what is widened."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.dem import check_dem, dem_posting
from sarcube.cube.geometry.distortion import EARTH_RELIEF, Ground, lazy_exact, lazy_local
from sarcube.cube.geometry.ground import Chunks, chunks_of, metres_per_pixel
from sarcube.cube.geometry.look import LookNodes
from sarcube.cube.geometry.relief import dem_range
from sarcube.cube.geometry.sampling import sampled_chunks, sampled_grid, sampling_of, to_pixels
from sarcube.cube.geometry.terrain import lazy_dem
from sarcube.sar.buffer import rows_within, widen
from sarcube.sar.layover_shadow import split_mask

Mask = NDArray[np.uint8]


class Sampling(NamedTuple):
    """The ground that masks are found on: its grid, heights, and how it lies on the cube's (see `sampling_of`)."""

    grid: GeoBox
    ground: Ground
    samples: int
    pixels: int
    max_relief: float
    chunks: Chunks  # of the cube


def sample_ground(
    cube: xr.Dataset, geobox: GeoBox, elevation: da.Array, *, dem: str | Path | None, max_relief: float | None
) -> Sampling:
    """Choose the ground that masks are found on: a DEM at its own sampling, or the cube's elevation."""
    chunks = chunks_of(cube)
    down, across = metres_per_pixel(geobox)
    if dem is None:
        relief = _relief(max_relief, _limits(cube["elevation"]))
        return Sampling(geobox, Ground(elevation, down, across), 1, 1, relief, chunks)
    path = os.fspath(dem)
    check_dem(path, geobox)
    middle = len(down) // 2
    samples, pixels = sampling_of(
        geobox, pixel=math.sqrt(down[middle] * across[middle]), posting=dem_posting(path, geobox)
    )
    grid = sampled_grid(geobox, samples, pixels)
    heights = lazy_dem(path, grid, sampled_chunks(grid.shape.yx, samples))
    relief = _relief(max_relief, dem_range(path, grid))
    return Sampling(grid, Ground(heights, *metres_per_pixel(grid)), samples, pixels, relief, chunks)


def masks_of_track(
    sampling: Sampling, nodes: LookNodes, *, geobox: GeoBox, method: str, buffer: float, split: bool
) -> Iterator[da.Array]:
    """Yield layover_shadow and, with `split`, distortion_parts of one track: (y, x) uint8 on the cube's grid, lazy.

    `nodes` are those of the sampling's grid.
    """
    ground = sampling.ground

    def on_cube(mask: da.Array) -> da.Array:
        return to_pixels(mask, geobox.shape.yx, sampling.chunks, sampling.samples, sampling.pixels)

    # Graphs alone: what nobody computes costs nothing.
    local, exact = lazy_local(ground, nodes), lazy_exact(ground, nodes, max_relief=sampling.max_relief)
    chosen = on_cube(exact if method == "exact" else local)
    yield _widened(chosen, geobox, buffer) if buffer else chosen
    if split:
        yield on_cube(da.map_blocks(split_mask, exact, local, dtype=np.uint8, meta=np.empty((0, 0), np.uint8)))


def _widened(mask: da.Array, geobox: GeoBox, buffer: float) -> da.Array:
    down, across = metres_per_pixel(geobox)
    depth = {0: rows_within(buffer, down.min()) + 1, 1: rows_within(buffer, across.min()) + 1}
    lazy: da.Array = da.map_overlap(
        widen,
        mask,
        depth={axis: min(reach, size) for (axis, reach), size in zip(depth.items(), mask.shape, strict=True)},
        boundary="none",
        pixel=(float(down.min()), float(across.min())),
        buffer=buffer,
        dtype=np.uint8,
        meta=np.empty((0, 0), np.uint8),
    )
    wide: da.Array = lazy.rechunk(mask.chunks)
    return wide


def _relief(given: float | None, limits: tuple[float, float] | None) -> float:
    if given is not None:
        return given
    return limits[1] - limits[0] if limits is not None else EARTH_RELIEF


def _limits(elevation: xr.DataArray) -> tuple[float, float] | None:
    """Between which heights a cube's elevation lies, without computing it: as its attributes say, or in memory."""
    if "actual_range" in elevation.attrs:
        low, high = (float(value) for value in elevation.attrs["actual_range"])
        if math.isfinite(high - low):
            return low, high
    if isinstance(elevation.data, da.Array) or not np.isfinite(elevation.values).any():
        return None
    return float(np.nanmin(elevation.values)), float(np.nanmax(elevation.values))
