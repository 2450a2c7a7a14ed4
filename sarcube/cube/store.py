"""A cube on disk: Zarr v3, complete or saying that it is not."""

import errno
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  registers cube.odc
import rioxarray  # noqa: F401  registers cube.rio
import xarray as xr
import zarr
import zarr.errors

from sarcube.cube.grid import grid_of
from sarcube.errors import SarcubeError, StoreError

logger = logging.getLogger(__name__)

# Set to "incomplete" before the first value is written and to "complete" after the last one.
_STATE = "sarcube:state"
# The conventions that the grid's attributes below follow; https://github.com/zarr-conventions
_CONVENTIONS = [
    {
        "name": name,
        "uuid": uuid,
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{folder}/refs/tags/v1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{folder}/blob/v1/README.md",
        "description": description,
    }
    for name, folder, uuid, description in (
        (
            "proj",
            "geo-proj",
            "f17cb550-5864-4468-aeb7-f3180cfb622f",
            "Coordinate reference system information for geospatial data",
        ),
        ("spatial", "spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    )
]
_GRID_ATTRIBUTES = (
    "zarr_conventions",
    "proj:code",
    "proj:wkt2",
    "spatial:dimensions",
    "spatial:transform",
    "spatial:shape",
    "spatial:bbox",
)
_TIME = {"units": "microseconds since 1970-01-01T00:00:00", "calendar": "proleptic_gregorian", "dtype": "int64"}


def write_cube(cube: xr.Dataset, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a cube to a Zarr v3 store, block by block.

    The store says that it is incomplete until its last block is written; `open_cube` refuses it so long. A store that
    an interruption left incomplete is written anew.

    Parameters
    ----------
    cube : xarray.Dataset
        As `load` and what follows it return it; the chunks on disk are the cube's.
    path : str or Path
        Folder of the store, such as "sumatra.zarr".
    overwrite : bool
        Replace a complete cube at this path.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    StoreError
        If a complete cube, or something that is no cube, is at the path; if the disk is full or cannot be written.
    ReadError
        If a scene cannot be read; the store then says that it is incomplete.
    """
    path = Path(path)
    state = _state(path)
    if state is None and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise StoreError(f"{path} exists and is no sarcube cube; it is left as it is: choose another path")
    if state == "complete" and not overwrite:
        raise StoreError(f"a complete cube is at {path}; pass overwrite=True to replace it, or choose another path")
    # A complete cube stays until the new one is: it may be what the new one is computed from.
    place = path.with_name(f".{path.name}.new") if state == "complete" else path
    cube = _storable(cube)
    try:
        cube.to_zarr(
            place,
            mode="w",
            zarr_format=3,
            consolidated=False,
            encoding=_encoding(cube),
            write_empty_chunks=True,  # a chunk that is not there is lost, never merely empty
        )
        zarr.open_group(place, mode="r+").attrs[_STATE] = "complete"
        if place != path:
            shutil.rmtree(path)
            place.rename(path)
    except SarcubeError:
        raise
    except OSError as error:
        raise StoreError(_cannot_write(place, cube, error)) from error
    logger.info("wrote %s", path)
    return path


def open_cube(path: str | Path) -> xr.Dataset:
    """Open a cube that `write_cube` finished; nothing but its coordinates is read.

    Parameters
    ----------
    path : str or Path
        Folder of the store.

    Returns
    -------
    xarray.Dataset
        Lazy, in the chunks of the store.

    Raises
    ------
    StoreError
        If there is no cube, or it was never completed.
    """
    path = Path(path)
    state = _state(path)
    if state is None:
        raise StoreError(f"no sarcube cube at {path}; expected a folder that sarcube.write_cube made")
    if state != "complete":
        raise StoreError(
            f"the cube at {path} was never completed; run sarcube.write_cube (or `sarcube build`) on it again"
        )
    cube: xr.Dataset = xr.open_zarr(path, consolidated=False, decode_coords="all", chunks={})
    # The grid is in the coordinates, which follow when a cube is cropped.
    cube.attrs = {name: value for name, value in cube.attrs.items() if name != _STATE and name not in _GRID_ATTRIBUTES}
    for name in cube.coords:
        is_text = cube[name].dtype.kind not in "biufcmM"
        cube[name] = (cube[name].astype(object) if is_text else cube[name]).compute()
    for array in cube.data_vars.values():
        # As load() has it: readers of a cube in memory look for it among the attributes.
        if "grid_mapping" in array.encoding:
            array.attrs["grid_mapping"] = array.encoding.pop("grid_mapping")
    return cube


def _state(path: Path) -> str | None:
    """Return what a store says of itself, or None if it is no cube."""
    if not path.is_dir():
        return None
    try:
        attributes = zarr.open_group(path, mode="r", zarr_format=3).attrs
    except (zarr.errors.GroupNotFoundError, zarr.errors.ContainsArrayError, FileNotFoundError, ValueError, KeyError):
        return None
    state = attributes.get(_STATE)
    return None if state is None else str(state)


def _storable(cube: xr.Dataset) -> xr.Dataset:
    """Return the cube with chunks and types that Zarr can hold, and the attributes that others look for."""
    attributes: dict[str, Any] = {**cube.attrs, **_spatial_attributes(cube), _STATE: "incomplete"}
    mappings = {name: variable.encoding.get("grid_mapping") for name, variable in cube.data_vars.items()}
    cube = cube.drop_encoding()
    cube.attrs = attributes
    for name, variable in list(cube.variables.items()):
        if variable.dtype.kind == "U":  # of fixed length: Zarr v3 has no stable type for it
            cube[name] = variable.astype(object)
        if variable.chunks is not None:
            regular = {dim: max(sizes) for dim, sizes in zip(variable.dims, variable.chunks, strict=True)}
            cube[name] = cube[name].chunk(regular)
    for name, mapping in mappings.items():
        if mapping is not None:
            cube[name] = cube[name].assign_attrs(grid_mapping=mapping)
    return cube


def _spatial_attributes(cube: xr.Dataset) -> dict[str, Any]:
    """Return the Zarr conventions' `proj:` and `spatial:` attributes."""
    geobox = cube.odc.geobox
    if geobox is None:
        return {}
    grid = grid_of(geobox)
    crs = {"proj:code": grid.crs} if grid.crs.startswith("EPSG:") else {"proj:wkt2": grid.crs}
    return {
        "zarr_conventions": _CONVENTIONS,
        **crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(grid.transform),
        "spatial:shape": list(grid.shape),
        "spatial:bbox": [float(value) for value in geobox.boundingbox],
    }


def _encoding(cube: xr.Dataset) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {"time": dict(_TIME)} if "time" in cube.variables else {}
    for name, variable in cube.variables.items():
        if variable.chunks is not None:
            encoding.setdefault(str(name), {})["chunks"] = tuple(sizes[0] for sizes in variable.chunks)
        elif np.issubdtype(variable.dtype, np.datetime64):
            encoding[str(name)] = dict(_TIME)
    return encoding


def _cannot_write(path: Path, cube: xr.Dataset, error: OSError) -> str:
    if error.errno != errno.ENOSPC:
        return f"cannot write {path}: {error.strerror or error}"
    needed, free = cube.nbytes / 2**30, shutil.disk_usage(path.parent).free / 2**30
    return (
        f"the disk is full: {path} needs up to {needed:.2f} GiB, {free:.2f} GiB are free; free some or choose another "
        "path, then write the cube again; what is there is marked as incomplete"
    )
