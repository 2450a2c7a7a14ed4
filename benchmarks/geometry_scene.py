"""The scene that `benchmarks.geometry` looks at: a fractal DEM of the size of a whole IW product, as a cube."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sarcube as sc
from benchmarks.relief import RELIEF, lazy_relief

SHAPE = (17_000, 25_000)
RESOLUTION = 10.0
RELATIVE_ORBIT, ORBIT_STATE = 117, "ascending"
CRS = "EPSG:32633"
_MIDDLE = (243_600.0, 4_987_700.0)  # 11.7 E, 45 N: incidence from 30 to 46 degrees, as in an IW swath
_CHUNK = 1024  # what sc.load makes, so what sc.write_cube finds


def scene_grid(shape: tuple[int, int]) -> GeoBox:
    """Return the grid of a scene of any size about the same place."""
    rows, columns = shape
    left, top = _MIDDLE[0] - columns / 2 * RESOLUTION, _MIDDLE[1] + rows / 2 * RESOLUTION
    return GeoBox(shape, Affine(RESOLUTION, 0, left, 0, -RESOLUTION, top), CRS)


def make_scene(folder: Path, *, shape: tuple[int, int]) -> Path:
    """Write the cube once: one date without radar layers, and `elevation`; return its store."""
    store = folder / f"scene-{shape[0]}x{shape[1]}.zarr"
    cube = xr.Dataset(
        {
            "elevation": (
                ("y", "x"),
                lazy_relief(shape, chunk=_CHUNK, seed=0),
                {
                    "units": "m",
                    "long_name": "fractal relief, simulated",
                    "actual_range": [0.0, RELIEF],
                    "resolution_m": RESOLUTION,
                    "grid_mapping": "spatial_ref",
                },
            )
        },
        coords={
            **xr_coords(scene_grid(shape)),
            "time": pd.to_datetime(["2021-04-01T05:00"]),
            "scene_track": ("time", np.array([f"A{RELATIVE_ORBIT:03d}"], object)),
            "relative_orbit": ("time", np.array([RELATIVE_ORBIT], np.int16)),
            "orbit_state": ("time", np.array([ORBIT_STATE], object)),
        },
    )
    return sc.write_cube(cube, store)
