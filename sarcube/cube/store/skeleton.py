"""All of a store but its chunks: what the variables are, and the small arrays."""

import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  registers cube.odc
import rioxarray  # noqa: F401  registers cube.rio
import xarray as xr
from zarr.abc.buffer import Buffer
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from sarcube.cube.grid import grid_of
from sarcube.cube.store.blocks import Layer, codecs, fill_value
from sarcube.cube.store.ledger import digest
from sarcube.errors import InputError

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
GRID_ATTRIBUTES = (
    "zarr_conventions",
    "proj:code",
    "proj:wkt2",
    "spatial:dimensions",
    "spatial:transform",
    "spatial:shape",
    "spatial:bbox",
)
# What the store says of itself, so what a cube brings from another store is not taken over.
OWN_ATTRIBUTES = ("unread", "incomplete", *GRID_ATTRIBUTES)
_TIME = {"units": "microseconds since 1970-01-01T00:00:00", "calendar": "proleptic_gregorian", "dtype": "int64"}
# A date more never touches a finished chunk, and a window of dates never reads the others.
_CHUNKS = {"y": 1024, "x": 1024}
_BLOSC_LIMIT = 2**31 - 2**20  # bytes of a chunk; the rest of Blosc's 2 GiB is for its header
_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}


@dataclass(frozen=True)
class Storable:
    """A cube as it can be stored: `layers` lie in chunks and are lazy, all else is in memory."""

    cube: xr.Dataset
    layers: tuple[Layer, ...]


def storable(cube: xr.Dataset, *, keep_bits: int | None) -> Storable:
    """Return a cube with chunks and types that Zarr can hold, and the attributes that others look for.

    Layers are the variables that are lazy or have rows and columns. Radar power is rounded to `keep_bits`: float32
    variables over (time, y, x) with `units` "1" and an attribute `polarization`.
    """
    for key in map(str, cube.variables):
        if "/" in key or key.startswith((".", "__")):
            raise InputError(
                f'a variable is named "{key}"; what begins with a dot or two underscores, or has a slash, is no name '
                "on disk: rename it"
            )
    mappings = {name: variable.encoding.get("grid_mapping") for name, variable in cube.data_vars.items()}
    attributes = {name: value for name, value in cube.attrs.items() if name not in OWN_ATTRIBUTES}
    sizes = {**{str(dim): 1 for dim in cube.dims}, **_CHUNKS, **_chunks_of(cube)}
    cube = cube.drop_encoding()
    cube.attrs = {**attributes, **_spatial_attributes(cube)}
    layers = []
    for name, variable in list(cube.variables.items()):
        is_lazy = variable.chunks is not None
        if variable.dtype.kind in "biufc" and variable.size and (is_lazy or {"y", "x"} <= set(variable.dims)):
            lazy = variable.chunk(_regular(variable, sizes))
            if mappings.get(name) is not None:
                lazy.attrs["grid_mapping"] = mappings[name]
            bits = keep_bits if _is_power(lazy) else None
            if bits is not None:
                lazy.attrs |= _quantization(bits)
            cube[name] = lazy
            layers.append(_layer(str(name), lazy, bits))
        else:
            loaded = variable.compute() if is_lazy else variable
            # Text of fixed length has no stable type in Zarr v3.
            cube[name] = loaded.astype(object) if loaded.dtype.kind == "U" else loaded
    return Storable(cube, tuple(layers))


def write_skeleton(ready: Storable, folder: Path) -> None:
    """Write all of a store but its chunks and its record into a new folder."""
    names = {layer.name for layer in ready.layers}
    placeholders = {
        # One task each, never run: Zarr wants to be given arrays, and only their description is written.
        layer.name: (
            ready.cube[layer.name].dims,
            da.zeros(layer.shape, dtype=ready.cube[layer.name].dtype, chunks=layer.shape),
            ready.cube[layer.name].attrs,
        )
        for layer in ready.layers
    }
    small = ready.cube.drop_vars(names)
    coordinates = [name for name in ready.cube.coords if name in names]
    described = small.assign(placeholders).set_coords(coordinates)[list(ready.cube.variables)]
    described.attrs = ready.cube.attrs
    # Through memory: Zarr hands each small file to another thread, which takes longer than to write it.
    files: dict[str, Buffer] = {}
    described.to_zarr(
        MemoryStore(files),
        mode="w",
        zarr_format=3,
        consolidated=False,
        compute=False,
        encoding=_encoding(described, ready.layers),
        write_empty_chunks=True,  # a chunk that is not there is lost, never merely empty
    )
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.to_bytes())
    _consolidate(folder)
    (folder / ".sarcube" / "ledger").mkdir(parents=True)
    (folder / ".sarcube" / "zarr.json").write_text(json.dumps(_GROUP))


def set_group_attribute(store: Path, name: str, value: Any) -> None:
    """Set an attribute of the group, or take it away (None); nothing is written where it is so already."""
    root = json.loads((store / "zarr.json").read_bytes())
    before = dict(root["attributes"])
    if value is None:
        root["attributes"].pop(name, None)
    else:
        root["attributes"][name] = value
    if root["attributes"] != before:
        put(store, "zarr.json", json.dumps(root, indent=2).encode())


def documents(folder: Path, layers: Sequence[Layer]) -> dict[str, str]:
    """Return the digest of each file of a store but its chunks, its ledger and its marker."""
    return {
        path.relative_to(folder).as_posix(): digest(path.read_bytes())
        for path in sorted(_document_paths(folder, {layer.name for layer in layers}))
    }


def put(store: Path, name: str, content: bytes) -> None:
    """Write a small file whole or not at all, and on the disk when this returns."""
    # Aside in the hidden folder: one left over by a killed process is in nobody's way.
    temporary = store / ".sarcube" / f"{secrets.token_hex(8)}.partial"
    with temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path = store / name
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(store: Path) -> None:
    """Take away what a killed writer left in a store: what was not whole yet, or on its way out."""
    own = store / ".sarcube"
    for left in own.glob("*.partial"):
        left.unlink()
    for pattern in ("writing-*", ".*.gone-*"):
        for left in own.glob(pattern):
            shutil.rmtree(left)


def discard(folder: Path) -> None:
    """Take a folder away: at once as far as its name goes."""
    if folder.exists():
        gone = folder.with_name(f".{folder.name.lstrip('.')}.gone-{secrets.token_hex(4)}")
        folder.rename(gone)
        shutil.rmtree(gone)


def _document_paths(folder: Path, layers: set[str]) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_file():
            yield entry
        elif entry.name in layers:
            yield entry / "zarr.json"
        elif entry.name == ".sarcube":
            yield from (entry / name for name in ("zarr.json", "plan.json") if (entry / name).is_file())
        else:
            yield from (path for path in entry.rglob("*") if path.is_file())


def _chunks_of(cube: xr.Dataset) -> dict[str, int]:
    """Return the chunks of the first lazy variable along each dimension: layers in memory take the same."""
    sizes: dict[str, int] = {}
    for variable in cube.variables.values():
        for dim, chunks in zip(variable.dims, variable.chunks or (), strict=False):
            sizes.setdefault(str(dim), max(chunks))
    return sizes


def _regular(variable: xr.Variable, sizes: dict[str, int]) -> dict[Any, Any]:
    if variable.chunks is None:
        return {dim: min(sizes[str(dim)], size) for dim, size in variable.sizes.items()}
    # Zarr's chunks are all of one size but the last.
    return {
        dim: max(chunks)
        for dim, chunks in zip(variable.dims, variable.chunks, strict=True)
        if len(set(chunks[:-1])) > 1 or chunks[-1] > chunks[0]
    }


def _layer(name: str, variable: xr.Variable, keep_bits: int | None) -> Layer:
    assert variable.chunks is not None
    chunks = tuple(max(sizes) for sizes in variable.chunks)
    # As xarray encodes it.
    dtype = np.dtype("i1") if variable.dtype == bool else variable.dtype.newbyteorder("<")
    if math.prod(chunks) * dtype.itemsize > _BLOSC_LIMIT:
        raise InputError(
            f"a chunk of {name} is {' x '.join(map(str, chunks))} pixels, more than 2 GiB; give the cube smaller "
            "chunks, with load(..., chunks=) or cube.chunk()"
        )
    dims = tuple(map(str, variable.dims))
    return Layer(name, dims, variable.shape, chunks, dtype.str, keep_bits, _is_power(variable))


def _is_power(variable: xr.Variable) -> bool:
    return (
        variable.dtype == np.float32
        and variable.dims == ("time", "y", "x")
        and variable.attrs.get("units") == "1"
        and "polarization" in variable.attrs
    )


def _quantization(keep_bits: int) -> dict[str, Any]:
    error = 10 * math.log10(1 + 2 ** -(keep_bits + 1))
    return {
        "quantization_nsb": keep_bits,
        "quantization_note": f"rounded half to even to {keep_bits} bits of mantissa: relative error at most "
        f"2**-{keep_bits + 1}, {error:.2g} dB",
    }


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


def _encoding(cube: xr.Dataset, layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    chunked = {layer.name: layer for layer in layers}
    encoding: dict[str, dict[str, Any]] = {}
    for key, variable in cube.variables.items():
        name = str(key)
        settings: dict[str, Any]
        if name in chunked:
            dtype = np.dtype(chunked[name].dtype)
            settings = {
                "chunks": chunked[name].chunks,
                "compressors": codecs(dtype),
                "fill_value": fill_value(dtype),
            }
        else:
            settings = {"compressors": [ZstdCodec(level=3), Crc32cCodec()]}
            if variable.size and variable.ndim:
                settings["chunks"] = variable.shape
        if np.issubdtype(variable.dtype, np.datetime64):
            settings |= _TIME
        elif variable.dtype.kind in "fc":
            # With one, readers would mask what is NaN already, and wipe out why.
            settings["_FillValue"] = None
        encoding[name] = settings
    return encoding


def _consolidate(folder: Path) -> None:
    """Copy the description of every array into the group's, where readers look first."""
    root = json.loads((folder / "zarr.json").read_bytes())
    members = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(folder.glob("*/zarr.json"))}
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": members}
    (folder / "zarr.json").write_text(json.dumps(root, indent=2))
