"""More dates for a complete cube: written where no reader looks yet, then shown all at once.

The new chunks lie behind the old ones, beyond the shape that the metadata say. The new metadata, ledger and marker are
made in a folder of their own. A commit record says that all of it is there; from then on it is only moved into place,
which whoever comes next can finish.
"""

import json
import logging
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from sarcube.cube.store.blocks import Layer
from sarcube.cube.store.build import (
    LEDGER,
    MARKER,
    close,
    complete,
    damaged_documents,
    part_of,
    read_marker,
    write_chunks,
)
from sarcube.cube.store.ledger import finished, read_records
from sarcube.cube.store.plan import PLAN, Fingerprint, Part, Plan, read_plan
from sarcube.cube.store.skeleton import OWN_ATTRIBUTES, Storable, discard, put, sync_folder, write_skeleton
from sarcube.errors import StoreError

logger = logging.getLogger(__name__)

_FOLDER = ".sarcube/append"
COMMIT = f"{_FOLDER}/COMMIT"
_IDENTITY = ("time", "scene_track", "platform")  # what makes a step this step
_MAY_DIFFER = ("on_error",)  # attributes that say nothing of the values that are there


def append_dates(store: Path, ready: Storable, given: Fingerprint) -> bool:
    """Add the steps of a cube that a complete store does not hold yet; return whether there were any.

    Raises
    ------
    StoreError
        If the cube does not fit the store; the message says all that differs.
    """
    plan = read_plan(store)
    if part := plan.part_of(given):
        return complete(store, ready, part)  # this very cube was appended before
    said = read_marker(store)
    if said is None:
        raise StoreError(
            f"the cube at {store} was never completed, so no dates can be added; write the cube it was begun with first"
        )
    if damaged := damaged_documents(store, said):
        raise StoreError(
            f"{', '.join(damaged)} of the cube at {store} are damaged, so no dates can be added; write the cube it was "
            "made from again first, which repairs it"
        )
    with xr.open_zarr(store, consolidated=True, decode_coords="all", chunks=None) as opened:
        stored = _without_layers(opened, plan.layers)
        kinds = {layer.name: opened[layer.name] for layer in plan.layers}
        if problems := _misfits(plan, stored, ready, given):
            raise StoreError(f"the cube given does not fit the one at {store}: {'; '.join(problems)}")
        steps = _new_steps(stored, ready.cube)
        if not steps:
            logger.info("%s holds all %d dates of the cube given already", store, ready.cube.sizes["time"])
            return False
        part = Part(given, stored.sizes["time"], tuple(steps))
        longer = _longer(plan, part)
        combined = _combined(stored, kinds, ready.cube, longer)
    longer = _staged(store, longer)  # its own build: no worker of another append can write into it
    records, _ = finished(store, store / _FOLDER / "ledger", store / _FOLDER / "none")
    wanted = [key for key in longer.chunk_keys(part) if key not in records]
    these = part_of(ready, longer.layers, part)
    records |= write_chunks(
        store, these, wanted, build=longer.build, ledger=f"{_FOLDER}/ledger", first={"time": part.first}
    )
    old = {record.key: record for record in read_records(store / LEDGER)}
    _commit(store, combined, longer, old | records)
    finish_append(store)
    return True


def finish_append(store: Path) -> None:
    """Move what a committed append made into place; nothing is done where there is none."""
    if not (store / COMMIT).is_file():
        return
    made = store / _FOLDER / "documents"
    for name in json.loads((store / COMMIT).read_bytes()):
        if (made / name).exists():  # else it was moved before an interruption
            (store / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(store / name)
    sync_folder(store / ".sarcube")
    _forget(store)


def _staged(store: Path, longer: Plan) -> Plan:
    """Make the folder of an append, or find that of the same one that was interrupted."""
    folder = store / _FOLDER
    try:
        if (folder / PLAN).is_file() and replace(begun := read_plan(folder), build=longer.build) == longer:
            return begun
    except StoreError:
        logger.warning("what an interrupted append to %s left is damaged; it begins anew", store)
    _forget(store)
    first = longer.parts[-1].first
    for layer in longer.layers:
        if layer.dims[0] == "time":
            for step in (store / layer.name / "c").iterdir():
                if int(step.name) >= first:  # of an append that was given up
                    shutil.rmtree(step)
    (folder / ".sarcube").mkdir(parents=True)
    (folder / "ledger").mkdir()
    put(folder, PLAN, longer.to_json())
    return longer


def _forget(store: Path) -> None:
    # Renamed first: a folder that is half removed would look like one that is half made.
    discard(store / _FOLDER)


def _commit(store: Path, combined: Storable, plan: Plan, records: Any) -> None:
    made = store / _FOLDER / "documents"
    if made.exists():
        shutil.rmtree(made)
    write_skeleton(combined, made)
    put(made, PLAN, plan.to_json())
    close(made, plan, records)
    names = [path.relative_to(made).as_posix() for path in sorted(made.rglob("*")) if path.is_file()]
    for name in names:
        descriptor = os.open(made / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        sync_folder((made / name).parent)
    names.sort(key=lambda name: name == MARKER)  # the marker last
    (store / _FOLDER / "COMMIT.partial").write_text(json.dumps(names))
    (store / _FOLDER / "COMMIT.partial").replace(store / COMMIT)
    sync_folder(store / _FOLDER)


def _misfits(plan: Plan, stored: xr.Dataset, ready: Storable, given: Fingerprint) -> list[str]:
    """Return all that keeps the dates of a cube out of a store."""
    found = []
    ours = {layer.name: layer for layer in plan.layers}
    theirs = {layer.name: layer for layer in ready.layers}
    if "time" not in stored.sizes or "time" not in ready.cube.sizes:
        return ["both need dates, along the dimension time"]
    for name, layer in ours.items():
        if "time" not in layer.dims:
            continue
        if layer.dims[0] != "time" or layer.chunks[0] != 1:
            found.append(f"a chunk of {name} holds {layer.chunks[layer.dims.index('time')]} dates; it must hold one")
        other = theirs.get(name)
        if other is None:
            if not layer.is_power:
                found.append(f"{name} is in the store alone")
        else:
            found += [
                f"{name} has {what} {a} in the store, {b} in the cube given"
                for what, a, b in (
                    ("dimensions", layer.dims, other.dims),
                    ("size", layer.shape[1:], other.shape[1:]),
                    ("chunks", layer.chunks, other.chunks),
                    ("type", layer.dtype, other.dtype),
                    ("kept bits", layer.keep_bits or "all", other.keep_bits or "all"),
                )
                if a != b
            ]
    before = plan.parts[0].fingerprint["variables"]
    for key, variable in ready.cube.variables.items():
        name = str(key)
        if name not in before:
            found.append(f"{name} is in the cube given alone")
        elif name in ("track", "scene_track") and "track" in before:
            if strange := set(variable.values.tolist()) - set(stored["track"].values.tolist()):
                found.append(f"the store has no layers of track {', '.join(sorted(map(str, strange)))}")
        elif name not in theirs and "time" not in variable.dims:
            now = given["variables"][name]
            if now["values"] != before[name]["values"] or (name == "spatial_ref" and now != before[name]):
                found.append(
                    f"{name} differs: it is another grid" if name in ("x", "y", "spatial_ref") else f"{name} differs"
                )
    found += [
        f"{name} is in the store alone"
        for name in stored.variables
        if "time" in stored[name].dims and name not in ready.cube.variables
    ]
    for name, value in ready.cube.attrs.items():
        before_value = stored.attrs.get(name, value)
        if name not in (*OWN_ATTRIBUTES, *_MAY_DIFFER) and not isinstance(value, list) and before_value != value:
            found.append(f'attribute "{name}" is {before_value} in the store, {value} in the cube given')
    return list(dict.fromkeys(found))


def _new_steps(stored: xr.Dataset, cube: xr.Dataset) -> list[int]:
    held = set(_identities(stored, cube))
    return [step for step, identity in enumerate(_identities(cube, stored)) if identity not in held]


def _identities(cube: xr.Dataset, other: xr.Dataset) -> list[tuple[Any, ...]]:
    columns = [
        # Times are stored in microseconds.
        cube[name].values.astype("M8[us]").tolist() if name == "time" else [str(value) for value in cube[name].values]
        for name in _IDENTITY
        if name in cube.variables and name in other.variables
    ]
    return list(zip(*columns, strict=True))


def _without_layers(opened: xr.Dataset, layers: tuple[Layer, ...]) -> xr.Dataset:
    small: xr.Dataset = opened.drop_vars([layer.name for layer in layers]).load()
    for name, variable in small.variables.items():
        if variable.dtype.kind not in "biufcmM":
            small[name] = variable.astype(object)
    return small


def _longer(plan: Plan, part: Part) -> Plan:
    steps = part.first + len(part.steps)
    layers = tuple(
        replace(
            layer,
            shape=tuple(steps if dim == "time" else n for dim, n in zip(layer.dims, layer.shape, strict=True)),
        )
        for layer in plan.layers
    )
    return Plan(secrets.token_hex(8), layers, (*plan.parts, part))


def _combined(stored: xr.Dataset, kinds: dict[str, xr.DataArray], cube: xr.Dataset, longer: Plan) -> Storable:
    """Return a cube of old and new dates, to describe it: the layers are never computed."""
    part = longer.parts[-1]
    new = cube.isel(time=list(part.steps))
    variables: dict[Any, Any] = {}
    for name, variable in stored.variables.items():
        values = variable.values
        if "time" in variable.dims:
            values = np.concatenate([values, new[name].values], axis=variable.dims.index("time"))
        variables[name] = (variable.dims, values, variable.attrs)
    for layer in longer.layers:
        kind = kinds[layer.name]
        attributes = dict(kind.attrs)
        if "grid_mapping" in kind.encoding:
            attributes["grid_mapping"] = kind.encoding["grid_mapping"]
        nothing = da.zeros(layer.shape, dtype=kind.dtype, chunks=layer.shape)
        variables[layer.name] = (layer.dims, nothing, attributes)
    combined = xr.Dataset(variables).set_coords([*stored.coords])
    combined.attrs = _merged(stored.attrs, cube.attrs)
    if missing := _not_measured(new, longer):
        combined.attrs["missing_polarisations"] = [*combined.attrs.get("missing_polarisations", []), *missing]
    return Storable(combined, longer.layers)


def _merged(old: dict[Any, Any], new: dict[Any, Any]) -> dict[Any, Any]:
    merged = dict(old)
    for name, value in new.items():
        if name in OWN_ATTRIBUTES:
            continue
        if isinstance(value, list) and isinstance(old.get(name), list):
            merged[name] = old[name] + [entry for entry in value if entry not in old[name]]
        else:
            merged.setdefault(name, value)
    return merged


def _not_measured(new: xr.Dataset, longer: Plan) -> list[str]:
    absent = [layer.name for layer in longer.layers if layer.is_power and layer.name not in new]
    times = np.datetime_as_string(new.time.values, unit="s")
    tracks = new.scene_track.values if "scene_track" in new else [""] * len(times)
    return [f"{time}Z {track}: {name}" for time, track in zip(times, tracks, strict=True) for name in absent]
