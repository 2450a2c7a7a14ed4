"""What a store is to hold, and from which cubes: written once, read by whoever continues."""

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sarcube.cube.store.blocks import Layer
from sarcube.cube.store.ledger import Key
from sarcube.cube.store.skeleton import OWN_ATTRIBUTES, Storable
from sarcube.errors import StoreError

PLAN = ".sarcube/plan.json"
_WHAT = {"dims": "dimensions", "shape": "size", "chunks": "chunks", "dtype": "type"}

Fingerprint = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """The steps that one call of `write_cube` brought; the first part also brought all that has no time."""

    fingerprint: Fingerprint  # of the cube given
    first: int  # step of the store
    steps: tuple[int, ...]  # of the cube given; they follow each other in the store


@dataclass(frozen=True)
class Plan:
    """What a store is to hold."""

    build: str  # a random id
    layers: tuple[Layer, ...]
    parts: tuple[Part, ...]

    def to_json(self) -> bytes:
        """Return the plan as a file holds it."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    def part_of(self, fingerprint: Fingerprint) -> Part | None:
        """Return the part that this cube brought, if it is one."""
        return next((part for part in self.parts if part.fingerprint == fingerprint), None)

    @property
    def fingerprints(self) -> list[str]:
        """Digests of the parts' fingerprints."""
        return [_digest_of(part.fingerprint) for part in self.parts]

    def chunk_keys(self, part: Part | None = None) -> list[Key]:
        """Return the chunks of a part, or of the whole store."""
        return [key for layer in self.layers for key in self._chunk_keys(layer, part)]

    def _chunk_keys(self, layer: Layer, part: Part | None) -> Iterator[Key]:
        ranges = [range(count) for count in layer.counts]
        if part is not None and len(self.parts) > 1:  # then a chunk holds one step
            if "time" in layer.dims:
                ranges[layer.dims.index("time")] = range(part.first, part.first + len(part.steps))
            elif part != self.parts[0]:
                return
        for index in product(*ranges):
            yield layer.name, index


def make_plan(ready: Storable) -> Plan:
    """Return the plan of a store that is to hold this cube."""
    steps = tuple(range(ready.cube.sizes.get("time", 0)))
    return Plan(secrets.token_hex(8), ready.layers, (Part(fingerprint(ready), 0, steps),))


def read_plan(store: Path) -> Plan:
    """Read the plan of a store.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    try:
        content = json.loads((store / PLAN).read_bytes())
        layers = tuple(_layer(layer) for layer in content["layers"])
        parts = tuple(Part(part["fingerprint"], part["first"], tuple(part["steps"])) for part in content["parts"])
        return Plan(content["build"], layers, parts)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise StoreError(
            f"the plan of the cube at {store} is damaged ({PLAN}); write it again with write_cube(..., overwrite=True)"
        ) from error


def _layer(fields: dict[str, Any]) -> Layer:
    dims, shape, chunks = (tuple(fields.pop(name)) for name in ("dims", "shape", "chunks"))
    return Layer(dims=dims, shape=shape, chunks=chunks, **fields)


def fingerprint(ready: Storable) -> Fingerprint:
    """Return what tells a cube from another without computing it; plain types, the same in every process.

    Of a lazy layer it is the name that Dask gives it: a digest of all the calls and arguments that make its values.
    """
    bits = {layer.name: layer.keep_bits for layer in ready.layers}
    chunks = {layer.name: list(layer.chunks) for layer in ready.layers}
    variables = {
        str(name): {
            "dims": [str(dim) for dim in variable.dims],
            "shape": list(variable.shape),
            "chunks": chunks.get(str(name)),
            "dtype": variable.dtype.str,
            "keep_bits": bits.get(str(name)),
            "attributes": _digest_of(variable.attrs),
            "values": variable.data.name if name in chunks else _digest_of(variable.values),
        }
        for name, variable in ready.cube.variables.items()
    }
    attributes = {
        str(name): _digest_of(value) for name, value in ready.cube.attrs.items() if name not in OWN_ATTRIBUTES
    }
    return {"variables": variables, "attributes": attributes}


def differences(ours: Fingerprint, given: Fingerprint) -> list[str]:
    """Return what differs between the cube of a store and one that is given, in words."""
    found = []
    # What the others follow from comes first.
    for name in sorted(
        {*ours["variables"], *given["variables"]}, key=lambda name: (name not in ("time", "y", "x"), name)
    ):
        a, b = ours["variables"].get(name), given["variables"].get(name)
        if a is None or b is None:
            found.append(f"{name} is in the {'cube given' if a is None else 'store'} alone")
            continue
        found += [
            f"{name} has {word} {_show(a[key])} in the store, {_show(b[key])} in the cube given"
            for key, word in _WHAT.items()
            if a[key] != b[key]
        ]
        if a["attributes"] != b["attributes"]:
            found.append(f"{name} has other attributes")
        if a["keep_bits"] != b["keep_bits"]:
            found.append(f"{name} keeps {a['keep_bits'] or 'all'} bits in the store, {b['keep_bits'] or 'all'} now")
        if a["values"] != b["values"] and a["shape"] == b["shape"] and a["chunks"] == b["chunks"]:
            lazy = a["chunks"] is not None
            found.append(f"{name} {'is made from other files or with other settings' if lazy else 'has other values'}")
    for name in sorted({*ours["attributes"], *given["attributes"]}):
        if ours["attributes"].get(name) != given["attributes"].get(name):
            found.append(f'attribute "{name}" differs')
    return found


def _show(value: Any) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, list) else str(value)


def _digest_of(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def coordinates_of(store: Path, layers: Sequence[Layer]) -> xr.Dataset:
    """Return the small coordinates of a store, complete or not, in memory."""
    with xr.open_zarr(store, consolidated=True, decode_coords="all", chunks=None) as opened:
        coordinates = opened.coords.to_dataset()
        small: xr.Dataset = coordinates.drop_vars([layer.name for layer in layers if layer.name in coordinates]).load()
    return small
