"""The cubes that `benchmarks.composite` looks at: speckle on a smooth ground, five dates before an event, one after."""

from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sarcube as sc

BEFORE, AFTER = 5, 1
STORED_SIZE = 10_000  # pixels along a side, as reported
POLARISATIONS = ("vv", "vh")
WINDOWS = {"pre_days": 60, "post_days": 12}
_DATES = pd.date_range("2022-01-01T11:30", periods=BEFORE + AFTER, freq="12D")
_CRS, _RESOLUTION, _LEFT, _TOP = "EPSG:32647", 10.0, 600_000.0, 100_000.0
_CHUNK = 1024  # what sc.load makes, so what sc.write_cube finds
_LEVELS = {"vv": -11.0, "vh": -17.0}  # dB
_LOOKS = 4.4
_SLOPE, _EDGE = 0.05, 0.015  # the invalid edge leans by this much; each date's lies this share of the width on


def event() -> sc.Event:
    """Return an event in the upper left corner of every such cube, between the fifth date and the sixth."""
    moment = _DATES[BEFORE - 1] + pd.Timedelta(days=6)
    inside = 5 * _RESOLUTION
    lon, lat = pyproj.Transformer.from_crs(_CRS, 4326, always_xy=True).transform(_LEFT + inside, _TOP - inside)
    return sc.Event("simulated", bbox=(lon, lat, lon + 1e-4, lat + 1e-4), time=f"{moment.isoformat()}Z")


def lazy_cube(size: int, *, chunk: int = _CHUNK) -> xr.Dataset:
    """Return a lazy cube of six dates, VV and VH, one date per chunk; every block is made where it is needed."""
    shape = (len(_DATES), size, size)
    layers = {
        name: (
            ("time", "y", "x"),
            da.map_blocks(
                _block,
                chunks=da.core.normalize_chunks((1, chunk, chunk), shape),
                dtype=np.float32,
                meta=np.empty((0, 0, 0), np.float32),
                name=f"speckle-{name}-{dask.base.tokenize(shape, chunk)}",
                level=level,
                seed=number,
                edge=_EDGE * size,
            ),
            {
                "units": "1",
                "long_name": f"{name.upper()} gamma0, simulated",
                "polarization": name.upper(),
                "grid_mapping": "spatial_ref",
            },
        )
        for number, (name, level) in enumerate(_LEVELS.items())
    }
    geobox = GeoBox((size, size), Affine(_RESOLUTION, 0, _LEFT, 0, -_RESOLUTION, _TOP), _CRS)
    count = len(_DATES)
    return xr.Dataset(
        layers,
        coords={
            **xr_coords(geobox),
            "time": _DATES,
            "scene_track": ("time", np.array(["D164"] * count, object)),
            "relative_orbit": ("time", np.full(count, 164, np.int16)),
            "orbit_state": ("time", np.array(["descending"] * count, object)),
        },
        attrs={"simulated": True},
    )


def store_cube(folder: Path, size: int) -> Path:
    """Write the cube once, block by block, with all of `sc.write_cube`'s defaults; return its store."""
    store = folder / f"composite-{size}.zarr"
    return sc.write_cube(lazy_cube(size), store)


def _block(
    *, level: float, seed: int, edge: float, block_info: dict[None, dict[str, list[tuple[int, int]]]]
) -> NDArray[np.float32]:
    (date, _), (top, bottom), (left, right) = block_info[None]["array-location"]
    y, x = np.arange(top, bottom, dtype=np.float32)[:, None], np.arange(left, right, dtype=np.float32)
    ground = level + 2 * np.sin(y / 310) * np.cos(x / 270) + np.sin(y / 47) * np.cos(x / 61)
    random = np.random.default_rng((seed, date, top, left))
    power = random.standard_gamma(_LOOKS, (1, bottom - top, right - left), np.float32) / np.float32(_LOOKS)
    power *= 10 ** (ground / 10)
    power[0, x < _SLOPE * y + edge * date] = np.nan
    return power
