"""Small cubes and GeoTIFFs of others' kinds, for tests."""

from collections.abc import Sequence
from pathlib import Path

import dask.array as da
import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

LEFT, TOP, CRS = 600_000.0, 100_000.0, "EPSG:32647"
TRACKS = ("D164", "A054", "D164")


def make_cube(
    chunks: tuple[int, int] = (40, 50),
    *,
    shape: tuple[int, int] = (40, 50),
    resolution: float = 10.0,
    left: float = LEFT,
    top: float = TOP,
    crs: str = CRS,
    tracks: Sequence[str] = TRACKS,
) -> xr.Dataset:
    """Make a lazy cube as `sc.load` does, with three passes of two tracks."""
    geobox = GeoBox(shape, Affine(resolution, 0, left, 0, -resolution, top), crs)
    power = da.full((len(tracks), *shape), np.float32(0.1), chunks=(1, *chunks), dtype=np.float32)
    attrs = {"units": "1", "long_name": "gamma0", "grid_mapping": "spatial_ref"}
    return xr.Dataset(
        {"vv": (("time", "y", "x"), power, attrs)},
        coords={
            **xr_coords(geobox, dims=("y", "x")),
            "time": ("time", np.datetime64("2022-02-01", "ns") + np.arange(len(tracks)) * np.timedelta64(3, "D")),
            "scene_track": ("time", np.array(tracks, object), {"long_name": "track"}),
        },
    )


def write_raster(
    path: Path,
    values: NDArray,
    *,
    transform: Affine | None = None,
    crs: str | None = CRS,
    descriptions: Sequence[str] = (),
    **profile: object,
) -> Path:
    """Write (y, x) or (band, y, x) values; by default on the grid of `make_cube`."""
    bands = values if values.ndim == 3 else values[np.newaxis]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=bands.shape[1],
        width=bands.shape[2],
        count=len(bands),
        dtype=bands.dtype,
        crs=crs,
        transform=transform or Affine(10, 0, LEFT, 0, -10, TOP),
        **profile,
    ) as dataset:
        dataset.write(bands)
        for number, text in enumerate(descriptions, start=1):
            dataset.set_band_description(number, text)
    return path


def nothing_may_compute(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")
