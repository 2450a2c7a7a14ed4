"""A small cube of two tracks over the Alps, for tests of what needs a grid and tracks alone."""

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

GEOBOX = GeoBox((210, 190), Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")


def simple_cube(chunks=(64, 50), *, geobox=GEOBOX, tracks=(("D168", 168, "descending"), ("A044", 44, "ascending"))):
    """Three dates, ones everywhere: the tracks in turn."""
    data = da.ones((3, *geobox.shape), chunks=(1, *chunks), dtype=np.float32)
    names, orbits, states = zip(*(tracks[n % len(tracks)] for n in range(3)), strict=True)
    return xr.Dataset(
        {"vv": (("time", "y", "x"), data)},
        coords={
            **xr_coords(geobox, dims=("y", "x")),
            "time": pd.date_range("2021-04-01", periods=3),
            "scene_track": ("time", np.array(names, object)),
            "relative_orbit": ("time", np.array(orbits, np.int16)),
            "orbit_state": ("time", np.array(states, object)),
        },
    )
