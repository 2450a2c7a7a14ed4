"""Composites of the SAR-LRA tool (Nava et al.) as stacks.

The tool takes medians of Earth Engine's COPERNICUS/S1_GRD before and after an event: sigma0 in dB, not
terrain-flattened, of one pass direction but, in its first version, of all its relative orbits. It writes GeoTIFFs in
EPSG:4326, bands postVV, postVH, diffVV, diffVH. Source: lorenzonava96/SAR-and-DL-for-Landslide-Rapid-Assessment on
GitHub, "SAR-LRA Tool V1/01" and app/acquisition/earth_engine.py.
"""

from functools import partial
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from dask.array.core import normalize_chunks
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.foreign.raster import RasterFile, lazy_raster, open_raster, space_coords, valid_floats
from sarcube.errors import BandError, InputError
from sarcube.radiometry import SIGMA0_DB

Floats = NDArray[np.float32]

_NAMES = {"postVV": "vv_post", "postVH": "vh_post", "diffVV": "vv_diff", "diffVH": "vh_diff"}
_ORDERS = {2: ("vv_post", "vv_diff"), 4: ("vv_post", "vh_post", "vv_diff", "vh_diff")}
_BLOCK = 1024
_ENOUGH = 1024  # pixels: among so many there is one below 0 dB, in the middle of a city too


def open_sar_lra(path: str | Path) -> xr.DataArray:
    """Open a composite of the SAR-LRA tool as a stack, to score it with a detector.

    Parameters
    ----------
    path : str or path
        A GeoTIFF with bands named postVV, postVH, diffVV and diffVH, in any order and beside others; or, where no band
        has a name, four bands in this order, or two: postVV and diffVV.

    Returns
    -------
    xarray.DataArray, (band, y, x), float32, dB
        Lazy, bands as `sc.composite` names and orders them, on the file's own grid, usually EPSG:4326. NaN where a band
        is nodata or infinite, or all bands are exactly 0, as merged tiles have it beside the data. `attrs` says that it
        is sigma0, which a detector trained on gamma0 refuses; track and dates are not in the file.

    Raises
    ------
    BandError
        If the bands are others.
    InputError
        If the values are no floats or the grid is not north-up; when a block is computed, if nothing in it is below
        0 dB.
    ReadError
        If it is missing, is no GeoTIFF or has no CRS.
    """
    file = open_raster(path, owner="SAR-LRA composite")
    if np.dtype(file.dtype).kind != "f" or file.scaled:
        raise InputError(f"{file.shown} holds {file.dtype}; a SAR-LRA composite holds floats, in dB")
    a, b, _, d, e, _ = file.grid.transform
    if b or d or a <= 0 or e >= 0:
        raise InputError(f"{file.shown} is not north-up; warp it first: gdalwarp IN OUT")
    numbers = _band_numbers(file)
    chunks = normalize_chunks((_BLOCK, _BLOCK), shape=file.grid.shape)
    convert = partial(valid_floats, nodata=file.nodata)
    parts = [
        lazy_raster(file, file.grid, chunks, convert=convert, outside=np.nan, band=number)
        for number in numbers.values()
    ]
    data = da.stack(parts).rechunk({0: -1})
    stack = da.map_blocks(_checked, data, href=file.shown, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    geobox = GeoBox(file.grid.shape, Affine(*file.grid.transform), file.grid.crs)
    return xr.DataArray(
        stack,
        dims=("band", "y", "x"),
        coords={"band": list(numbers), **space_coords(geobox)},
        name="change",
        attrs={
            "long_name": "backscatter after the event, and its change",
            "units": "dB",
            "radiometry": SIGMA0_DB,
            "source": f"SAR-LRA composite {file.name}",
        },
    )


def _band_numbers(file: RasterFile) -> dict[str, int]:
    """Return the number of each band of the stack in the file, in the stack's order."""
    if not any(file.descriptions):
        if file.bands in _ORDERS:
            return {name: number for number, name in enumerate(_ORDERS[file.bands], start=1)}
        raise BandError(
            f"{file.shown} has {file.bands} bands without names; expected four, postVV, postVH, diffVV, diffVH, or "
            "two, postVV, diffVV"
        )
    found = [(_NAMES[text], number) for number, text in enumerate(file.descriptions, start=1) if text in _NAMES]
    for order in (_ORDERS[4], _ORDERS[2]):
        if sorted(name for name, _ in found) == sorted(order):  # each once
            return {name: dict(found)[name] for name in order}
    raise BandError(
        f"{file.shown} has the bands {', '.join(text or 'without name' for text in file.descriptions)}; expected "
        "postVV, postVH, diffVV, diffVH, or postVV, diffVV, each once"
    )


def _checked(block: Floats, *, href: str) -> Floats:
    """Turn pixels where all bands are 0 into NaN: (band, y, x); refuse values that are no dB."""
    block = np.where((block == 0).all(axis=0), np.float32(np.nan), block)
    post = block[: len(block) // 2]
    known = np.isfinite(post)
    if known.sum() >= _ENOUGH and not (post[known] < 0).any():
        raise InputError(f"{href} has no value below 0 after the event: it is not in dB, as a SAR-LRA composite is")
    return block
