"""Any raster as a static layer of a cube."""

import keyword
import logging
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from sarcube.cube.foreign.raster import RasterFile, covers, lazy_raster, open_raster, samples_for_mean, valid_floats
from sarcube.cube.geometry.ground import chunks_of, geobox_of, mapped, plain_grid
from sarcube.errors import InputError

logger = logging.getLogger(__name__)

Resampling: TypeAlias = Literal["nearest", "average"]


def add_layer(
    cube: xr.Dataset,
    name: str,
    path: str | Path,
    *,
    resampling: Resampling = "nearest",
    units: str | None = None,
    long_name: str | None = None,
) -> xr.Dataset:
    """Put a raster on the cube's grid as a static layer (y, x), such as land cover, rain or distance to roads.

    Parameters
    ----------
    cube : xarray.Dataset
        With a regular grid of x and y.
    name : str
        Name of the new variable: an identifier that the cube does not hold yet.
    path : str or path
        A GeoTIFF with one band, any CRS and resolution.
    resampling : {"nearest", "average"}
        "nearest": the raster's pixel that holds the centre of the cube's; for classes. "average": the mean of the
        raster's valid pixels under the cube's, by as many points along a side as it takes to meet each of them; for
        what is measured. Where the raster is the coarser one, both give the value of its pixel.
    units, long_name : str, optional
        Attributes of the layer. Default: what the file says of its band, else "1" and the name.

    Returns
    -------
    xarray.Dataset
        The cube with the lazy layer. Whole numbers stay what they are (`nearest`), with the file's nodata value beside
        the raster and in its holes and as the attribute `nodata`. Floats, means, and whole numbers that the file scales
        are float32, NaN where there are no data.

    Raises
    ------
    InputError
        If the name cannot be used, the raster has several bands or complex values, or it holds whole numbers, covers
        the cube in part and has no nodata value.
    AreaError
        If the raster covers none of the cube.
    ReadError
        If it is missing, is no GeoTIFF or has no CRS; when the layer is computed, if it cannot be read then.
    """
    _check_name(cube, name)
    if resampling not in ("nearest", "average"):
        raise InputError(f'resampling must be "nearest" or "average", not {resampling!r}')
    file = open_raster(path, owner=f'layer "{name}"')
    if file.bands != 1:
        raise InputError(
            f"{file.shown} has {file.bands} bands; a layer is one: take it out with gdal_translate -b NUMBER"
        )
    if file.scaled:
        raise InputError(
            f"{file.shown} holds scaled values; unscale them first: gdal_translate -unscale -ot Float32 -a_nodata nan"
        )
    kind = np.dtype(file.dtype).kind
    if kind not in "iuf":
        raise InputError(f"{file.shown} holds {file.dtype}; a layer is of whole numbers or floats")
    target = plain_grid(geobox_of(cube))
    covered = covers(file, target)
    if not covered:
        logger.warning("%s covers the cube only in part; the rest of %s is no data", file.shown, name)
    attrs: dict[str, Any] = {
        "units": units or file.units[0] or "1",
        "long_name": long_name or file.descriptions[0] or name,
        "source": file.name,
        "resampling": resampling,
        **mapped(cube),
    }
    if kind == "f" or resampling == "average":
        samples = samples_for_mean(file, target) if resampling == "average" else (1, 1)
        convert = partial(valid_floats, nodata=file.nodata)
        data = lazy_raster(file, target, chunks_of(cube), convert=convert, outside=np.nan, samples=samples)
    else:
        nodata = _nodata(file, covered=covered)
        data = lazy_raster(file, target, chunks_of(cube), convert=np.asarray, outside=nodata or 0, dtype=file.dtype)
        if nodata is not None:
            # Not `_FillValue`: readers would turn the classes into floats.
            attrs["nodata"] = nodata
    return cube.assign({name: (("y", "x"), data, attrs)})


def _check_name(cube: xr.Dataset, name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(f'a layer needs a name such as "landcover", of letters, digits and underscores, not {name!r}')
    if name in cube.variables or name in cube.dims:
        raise InputError(f'the cube already holds "{name}"; choose another name, or drop it: cube.drop_vars("{name}")')


def _nodata(file: RasterFile, *, covered: bool) -> int | None:
    """Return the nodata value of a raster of whole numbers, None if it has none and needs none."""
    limits = np.iinfo(file.dtype)
    if file.nodata is not None and file.nodata == np.floor(file.nodata) and limits.min <= file.nodata <= limits.max:
        return int(file.nodata)
    if not covered:
        raise InputError(
            f"{file.shown} covers the cube only in part and has no nodata value among its {file.dtype} numbers, so "
            "that pixels beside it would look like a class; declare one: gdal_edit.py -a_nodata VALUE FILE"
        )
    return None
