"""Bring a store from whatever state it is in to complete: compute the chunks it lacks, then close it."""

import json
import logging
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import compute_as_if_collection
from dask.highlevelgraph import HighLevelGraph

from sarcube import __version__
from sarcube.acquisition.files.borrowing import small_tile_cache
from sarcube.cube.holes import Hole, hole_value
from sarcube.cube.store.blocks import Layer, staging_folder, write_block
from sarcube.cube.store.ledger import Key, Record, compact, digest, finished, recorded
from sarcube.cube.store.plan import PLAN, Part, Plan, coordinates_of, make_plan, read_plan
from sarcube.cube.store.skeleton import Storable, discard, documents, put, set_group_attribute, write_skeleton
from sarcube.errors import AreaError, StoreError

logger = logging.getLogger(__name__)

MARKER = ".sarcube/COMPLETE"
LEDGER = ".sarcube/ledger.jsonl"  # compacted
_NEIGHBOURS = 8  # chunks that a thread writes in one go
OPEN_LEDGER = ".sarcube/ledger"  # a file for each process that writes


def create(store: Path, ready: Storable) -> None:
    """Put the skeleton of a new store in place, in one step: nobody ever sees half of it."""
    aside = store.with_name(f".{store.name}.skeleton-{secrets.token_hex(4)}")
    write_skeleton(ready, aside)
    (aside / PLAN).write_bytes(make_plan(ready).to_json())
    aside.rename(store)


def complete(store: Path, ready: Storable, part: Part, *, is_new: bool = False) -> bool:
    """Write the chunks of a part that the store lacks, or that are not as they were written, and close the store.

    What was closed before is checked byte by byte; pixels that could not be read then are tried again.
    Returns whether anything had to be written. `is_new`: the skeleton has just been made.
    """
    plan = read_plan(store)
    sound, faults = finished(store, store / OPEN_LEDGER, store / LEDGER)
    said = read_marker(store)
    was_complete = (store / MARKER).exists()
    retried = {key for key, record in sound.items() if record.unread} if was_complete else set()
    wanted = [key for key in plan.chunk_keys(part) if key not in sound or key in retried]
    damaged = damaged_documents(store, said) if said else []
    if said and not damaged and not wanted and len(sound) == said["chunks"] and said["ledger"] == ledger_digest(store):
        logger.info("%s is complete already; each of its %d chunks is as it was written", store, len(sound))
        return False
    lacking = set(wanted)
    missing = [key for key in plan.chunk_keys() if key not in sound and key not in lacking]
    if missing and not wanted:
        raise StoreError(_another_part(store, missing))
    for (name, index), fault in faults.items():
        logger.warning("chunk %s of %s in %s is written again: %s", index, name, store, fault)
    if len(plan.parts) == 1:
        if damaged:
            logger.warning("written again from the cube given, because damaged: %s in %s", ", ".join(damaged), store)
        if damaged or not (said or is_new):
            _renew_skeleton(store, ready, plan)
    elif damaged:
        raise StoreError(
            f"{', '.join(damaged)} of the cube at {store} are damaged, and dates were appended to it; write it again "
            "from all its items with write_cube(..., overwrite=True)"
        )
    (store / MARKER).unlink(missing_ok=True)
    total = len(plan.chunk_keys())
    if sound and wanted:
        logger.info("%d of %d chunks of %s are there already", total - len(wanted), total, store)
    # Merged first, so that what a process writes from here on is newer than what is there.
    _merge_ledger(store, sound)
    these = part_of(ready, plan.layers, part) if len(plan.parts) > 1 else Storable(ready.cube, plan.layers)
    sound |= write_chunks(store, these, wanted, build=plan.build, ledger=OPEN_LEDGER, first={"time": part.first})
    if missing:
        raise StoreError(_another_part(store, missing))
    close(store, plan, sound)
    return True


def _another_part(store: Path, missing: Sequence[Key]) -> str:
    name, index = missing[0]
    return (
        f"{len(missing)} damaged or missing chunks of {store} are not of this cube, {index} of {name} first: their "
        "dates were appended from another; write that one again, with append=True as then"
    )


def part_of(ready: Storable, layers: Sequence[Layer], part: Part) -> Storable:
    """Return the steps of a cube that a part takes, with every layer of the store that has a time."""
    cube = ready.cube.isel(time=list(part.steps))
    timed = tuple(layer for layer in layers if "time" in layer.dims or part.first == 0)
    for layer in timed:
        if layer.name not in cube:  # no scene of these dates has the polarisation
            shape = tuple(
                len(part.steps) if dim == "time" else size for dim, size in zip(layer.dims, layer.shape, strict=True)
            )
            nothing = da.full(shape, hole_value(Hole.NOT_MEASURED), dtype=np.float32, chunks=layer.chunks)
            cube[layer.name] = (layer.dims, nothing)
    return Storable(cube, timed)


def write_chunks(
    store: Path, ready: Storable, wanted: Collection[Key], *, build: str, ledger: str, first: Mapping[str, int]
) -> dict[Key, Record]:
    """Compute and write chunks of a store on Dask's scheduler, and return their records.

    `first` says which chunk of the store the cube's first is, along the dimensions where it is not 0.
    """
    staging = staging_folder(store, build)
    staging.mkdir()
    graphs, keys = [], []
    for layer in ready.layers:
        mine = [index for name, index in wanted if name == layer.name]
        if mine:
            start = tuple(first.get(dim, 0) for dim in layer.dims)
            lazy = _writing(ready.cube[layer.name].data, layer, start, store=store, build=build, ledger=store / ledger)
            graphs.append(lazy.dask)
            keys += [(lazy.name, *(a - b for a, b in zip(index, start, strict=True))) for index in mine]
    if keys:
        # A thread takes neighbours: they share tiles of a file. Schedulers of another kind do not look at it.
        try:
            with dask.config.set(chunksize=_NEIGHBOURS), small_tile_cache():
                compute_as_if_collection(da.Array, HighLevelGraph.merge(*graphs), keys)
        except BaseException:
            discard(staging)  # other threads may still be at the neighbours: nothing more of theirs gets into the store
            raise
    shutil.rmtree(staging)
    records = recorded(store, store / ledger)
    return {key: records[key] for key in wanted}


def close(store: Path, plan: Plan, records: Mapping[Key, Record]) -> None:
    """Write what a finished store says of itself; the marker last.

    Raises
    ------
    AreaError
        If no pixel of the radar layers is valid.
    """
    _refuse_if_empty(store, plan, records.values())
    _merge_ledger(store, records)
    unread = describe_unread(store, plan, records.values())
    set_group_attribute(store, "unread", unread or None)
    if unread:
        logger.warning(
            '%d blocks of %s hold pixels that could not be read; they are NaN, and attrs["unread"] lists them: %s%s',
            sum(bool(record.unread) for record in records.values()),
            store,
            unread[0],
            " ..." if len(unread) > 1 else "",
        )
    put(store, MARKER, marker(store, plan))


def marker(store: Path, plan: Plan) -> bytes:
    """Return what the marker of a store says, given that all else is there."""
    content = {
        "sarcube": __version__,
        "chunks": len(plan.chunk_keys()),
        "fingerprints": plan.fingerprints,
        "ledger": ledger_digest(store),
        "documents": documents(store, plan.layers),
    }
    return _sealed(content)


def read_marker(store: Path) -> dict[str, Any] | None:
    """Return what the marker says; None if there is none, or it is damaged."""
    try:
        written = (store / MARKER).read_bytes()
        content: dict[str, Any] = json.loads(written)
        del content["sha256"]
    except (ValueError, TypeError, KeyError, FileNotFoundError):
        return None
    return content if _sealed(content) == written else None


def _sealed(content: Mapping[str, Any]) -> bytes:
    """Return a document that says its own digest."""
    return json.dumps({**content, "sha256": digest(json.dumps(content).encode())}, indent=1).encode()


def damaged_documents(store: Path, said: Mapping[str, Any]) -> list[str]:
    """Return the small files that are not as the marker says, or not there."""
    return [
        name
        for name, expected in said["documents"].items()
        if not (store / name).is_file() or digest((store / name).read_bytes()) != expected
    ]


def ledger_digest(store: Path) -> str | None:
    """Return the digest of a finished store's ledger, or None if it has none."""
    path = store / LEDGER
    return digest(path.read_bytes()) if path.is_file() else None


def heal_plan(store: Path, ready: Storable) -> None:
    """Make a damaged plan again where the marker says that the store holds just this cube."""
    said = read_marker(store)
    if said is not None and PLAN in damaged_documents(store, said):
        plan = make_plan(ready)
        if said["fingerprints"] == plan.fingerprints:
            logger.warning("%s is written again from the cube given, because damaged: %s", PLAN, store)
            put(store, PLAN, plan.to_json())


def describe_unread(store: Path, plan: Plan, records: Iterable[Record]) -> list[str]:
    """Return a line for each file and chunk that could not be read: date, track, variable, place, item, why."""
    holed = sorted((record for record in records if record.unread), key=lambda record: record.key)
    if not holed:
        return []
    coordinates = coordinates_of(store, plan.layers)
    layers = {layer.name: layer for layer in plan.layers}
    lines = []
    for record in holed:
        layer = layers[record.variable]
        place = dict(zip(layer.dims, _slices(layer, record.index), strict=True))
        step = place["time"].start if "time" in place else 0
        words = []
        if "time" in coordinates:
            words.append(f"{np.datetime_as_string(coordinates.time.values[step], unit='s')}Z")
        if "scene_track" in coordinates:
            words.append(str(coordinates.scene_track.values[step]))
        words.append(record.variable)
        words += [
            f"{word} {place[dim].start}-{place[dim].stop}"
            for dim, word in (("y", "rows"), ("x", "columns"))
            if dim in place
        ]
        items = str(coordinates.item_ids.values[step]).split(",") if "item_ids" in coordinates else []
        for part, reason in record.unread:
            item = f"item {items[part]}" if part < len(items) else f"file {part} of the pass"
            lines.append(f"{' '.join(words)}: {item}: {Hole(reason).name.lower().replace('_', ' ')}")
    return lines


def _slices(layer: Layer, index: tuple[int, ...]) -> list[slice]:
    return [
        slice(number * chunk, min((number + 1) * chunk, size))
        for number, chunk, size in zip(index, layer.chunks, layer.shape, strict=True)
    ]


def _writing(
    array: da.Array, layer: Layer, start: tuple[int, ...], *, store: Path, build: str, ledger: Path
) -> da.Array:
    lazy: da.Array = da.map_blocks(
        write_block,
        array,
        layer=layer,
        store=str(store),
        build=build,
        ledger=str(ledger),
        first=start,
        dtype=np.uint8,
        chunks=tuple((1,) * count for count in array.numblocks),
        meta=np.empty((0,) * array.ndim, np.uint8),
        # Never the name of an earlier call: a scheduler may remember that one as done.
        name=f"write-{layer.name}-{secrets.token_hex(8)}",
    )
    return lazy


def _refuse_if_empty(store: Path, plan: Plan, records: Iterable[Record]) -> None:
    power = {layer.name for layer in plan.layers if layer.is_power}
    mine = [record for record in records if record.variable in power]
    if not mine or any(record.valid for record in mine):
        return
    reasons: Counter[int] = Counter()
    for record in mine:
        reasons.update(dict(record.holes))
    shares = [
        f"{100 * count / reasons.total():.3g} % {Hole(reason).name.lower().replace('_', ' ')}"
        for reason, count in reasons.most_common()
    ]
    raise AreaError(
        f"no pixel of {', '.join(sorted(power))} in {store} is valid: {', '.join(shares)}; choose another area or "
        "other items; the store stays incomplete"
    )


def _renew_skeleton(store: Path, ready: Storable, plan: Plan) -> None:
    aside = store.with_name(f".{store.name}.skeleton-{secrets.token_hex(4)}")
    write_skeleton(ready, aside)
    for name in documents(aside, plan.layers):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).replace(store / name)
    shutil.rmtree(aside)


def _merge_ledger(store: Path, records: Mapping[Key, Record]) -> None:
    put(store, LEDGER, compact(records.values()))
    for path in (store / OPEN_LEDGER).glob("*.jsonl"):
        path.unlink()
