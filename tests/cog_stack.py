"""A stack with missing values, for tests of what is written to files."""

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords


def make_stack(chunks, shape=(3, 700, 610)):
    values = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    values[:, :40, :50] = np.nan
    values[0, 50] = -np.float32(np.nan)
    grid = GeoBox(shape[1:], Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")
    return xr.DataArray(
        values if chunks is None else da.from_array(values, chunks=chunks),
        dims=("band", "y", "x"),
        coords={"band": ["a", "b", "c"], **xr_coords(grid, dims=("y", "x"))},
        attrs={"units": "dB"},
        name="change",
    )
