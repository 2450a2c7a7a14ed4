"""A cube on disk: Zarr v3, complete or saying that it is not. docs/decisions/0005-the-store.md is the whole of it."""

import errno
import logging
import shutil
from pathlib import Path

import xarray as xr

from sarcube.cube.store.append import COMMIT, append_dates, finish_append
from sarcube.cube.store.build import (
    LEDGER,
    MARKER,
    OPEN_LEDGER,
    complete,
    create,
    damaged_documents,
    heal_plan,
    read_marker,
)
from sarcube.cube.store.guard import GuardedStore
from sarcube.cube.store.ledger import digest, finished
from sarcube.cube.store.plan import PLAN, Fingerprint, Part, differences, fingerprint, read_plan
from sarcube.cube.store.read import lazy_layer
from sarcube.cube.store.skeleton import GRID_ATTRIBUTES, Storable, discard, storable, sweep
from sarcube.errors import InputError, SarcubeError, StoreError
from sarcube.lock import writing

logger = logging.getLogger(__name__)

KEEP_BITS = 8  # bits of the mantissa: an error of at most 0.0085 dB, far below speckle, for a third of the size


def write_cube(
    cube: xr.Dataset,
    path: str | Path,
    *,
    keep_bits: int | None = KEEP_BITS,
    append: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a cube to a Zarr v3 store, chunk by chunk.

    The store says that it is incomplete until its last chunk is written; `open_cube` refuses it so long. The same call
    again, after an interruption, computes the chunks that are not finished and no others; on a complete store it checks
    every byte, and writes what is broken or missing again, and what could not be read (`load(..., on_error="skip")`).
    Only one process, with its Dask workers, writes to a store at a time.

    Parameters
    ----------
    cube : xarray.Dataset
        As `load` and what follows it return it; the chunks on disk are the cube's.
    path : str or Path
        Folder of the store, such as "sumatra.zarr".
    keep_bits : int, optional
        Bits of the mantissa that radar power keeps, 1 to 23: float32 variables over (time, y, x) with `units` "1" and
        an attribute `polarization`. With 8 the error is at most 2**-9 of a value, 0.0085 dB, which the variable's
        attributes say. None: every bit, three times the size. All else is stored as it is.
    append : bool
        Add the dates that the store does not hold yet (by `time`, `scene_track` and `platform`) to the complete cube
        at this path. They come last on disk, whenever they were; `open_cube` sorts. Until the end the cube opens as it
        was.
    overwrite : bool
        Replace the cube at this path; a complete one stays until the new one is.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    StoreError
        If another cube, or something that is no cube, is at the path; if somebody else writes to it; if the disk is
        full or cannot be written; if what is to be appended does not fit.
    AreaError
        If no pixel of the radar layers is valid.
    ReadError
        If a scene cannot be read; the store then says that it is incomplete.
    """
    if append and overwrite:
        raise InputError("append=True adds to a cube and overwrite=True replaces it; give one of them")
    if keep_bits is not None and not 1 <= keep_bits <= 23:
        raise InputError(f"keep_bits is {keep_bits}; expected 1 to 23 bits of the mantissa, or None for all")
    store = Path(path).resolve()
    ready = storable(cube, keep_bits=keep_bits)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with writing(store):
            tidy(store)
            finish_append(store)
            has_written = _append(store, ready) if append else _write(store, ready, overwrite=overwrite)
    except SarcubeError:
        raise
    except OSError as error:
        raise StoreError(_cannot_write(store, cube, error)) from error
    if has_written:
        logger.info("wrote %s", store)
    return Path(path)


def open_cube(path: str | Path, *, allow_incomplete: bool = False) -> xr.Dataset:
    """Open a cube that `write_cube` finished; nothing but its coordinates is read.

    A chunk that is missing or damaged is an error when it is read, never NaN.

    Parameters
    ----------
    path : str or Path
        Folder of the store.
    allow_incomplete : bool
        Open one that was never completed as well: what is not there yet is NaN (in layers of integers their largest
        number), and `attrs["incomplete"]` says how much that is.

    Returns
    -------
    xarray.Dataset
        Lazy, in the chunks of the store, sorted by time.

    Raises
    ------
    StoreError
        If there is no cube, it was never completed, or its metadata are not as they were written.
    """
    store = Path(path).resolve()
    state = state_of(store)
    if state in ("absent", "foreign"):
        raise StoreError(f"no sarcube cube at {path}; expected a folder that sarcube.write_cube made")
    if state != "complete" and not allow_incomplete:
        raise StoreError(
            f"the cube at {path} was never completed; run sarcube.write_cube (or `sarcube build`) on it again"
        )
    if (store / COMMIT).exists():
        raise StoreError(
            f"dates are being added to the cube at {path}, or that was interrupted; if nobody is at it, run "
            "sarcube.write_cube(..., append=True) again, which finishes it"
        )
    said = read_marker(store)
    if state == "complete" and (said is None or damaged_documents(store, said)):
        what = ", ".join(damaged_documents(store, said)) if said else MARKER
        raise StoreError(
            f"{what} of the cube at {path} is not as it was written; the same sarcube.write_cube again repairs it"
        )
    source = GuardedStore(store, read_only=True, is_whole=state == "complete")
    cube: xr.Dataset = xr.open_zarr(source, consolidated=True, decode_coords="all", chunks={})
    # The grid is in the coordinates, which follow when a cube is cropped.
    cube.attrs = {name: value for name, value in cube.attrs.items() if name not in GRID_ATTRIBUTES}
    for name in cube.coords:
        is_text = cube[name].dtype.kind not in "biufcmM"
        cube[name] = (cube[name].astype(object) if is_text else cube[name]).compute()
    version = digest((store / MARKER).read_bytes()) if state == "complete" else ""
    for layer in read_plan(store).layers:
        array = cube[layer.name]
        if array.dtype == layer.dtype:  # not what Zarr and xarray decode further, such as dates
            lazy = lazy_layer(
                store, layer.name, shape=array.shape, chunks=layer.chunks, dtype=array.dtype, version=version
            )
            cube[layer.name] = array.copy(data=lazy)
    for array in cube.data_vars.values():
        # As load() has it: readers of a cube in memory look for it among the attributes.
        if "grid_mapping" in array.encoding:
            array.attrs["grid_mapping"] = array.encoding.pop("grid_mapping")
    if state != "complete":
        sound, _ = finished(store, store / OPEN_LEDGER, store / LEDGER)
        total = len(read_plan(store).chunk_keys())
        cube.attrs["incomplete"] = f"{total - len(sound)} of {total} chunks are missing; they are NaN here"
    if "time" in cube.indexes and not cube.indexes["time"].is_monotonic_increasing:
        cube = cube.sortby("time")  # dates that were appended come last on disk
    return cube


def state_of(store: Path) -> str:
    """Return "absent", "foreign" (no cube of ours), "incomplete" or "complete"."""
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return "absent"
    if not (store / PLAN).is_file() and not (store / MARKER).is_file():
        return "foreign"
    return "complete" if (store / MARKER).is_file() else "incomplete"


def _append(store: Path, ready: Storable) -> bool:
    if state_of(store) in ("absent", "foreign"):
        raise StoreError(f"no sarcube cube at {store} to add dates to; leave append=True out to write a new one")
    return append_dates(store, ready, fingerprint(ready))


def _write(store: Path, ready: Storable, *, overwrite: bool) -> bool:
    """Bring the store to hold the cube; return whether anything had to be written."""
    state = state_of(store)
    if state == "foreign":
        raise StoreError(f"{store} exists and is no sarcube cube; it is left as it is: choose another path")
    given, place = fingerprint(ready), store
    part = _part_there(store, ready, given, overwrite=overwrite)
    if overwrite and (state == "complete" or (state == "incomplete" and part is None)):
        # What is there stays until the new cube is: it may be what the new one is computed from.
        place = _replacement(store)
        part = _part_there(place, ready, given, overwrite=True)
        if part is None:
            discard(place)
    elif state != "absent" and part is None:
        what = "; ".join(differences(read_plan(store).parts[0].fingerprint, given)[:5])
        raise StoreError(
            f"{'a complete' if state == 'complete' else 'an incomplete'} cube is at {store}, another one than this: "
            f"{what}; pass overwrite=True to replace it, append=True to add new dates to it, or choose another path"
        )
    is_new = part is None
    if part is None:
        create(place, ready)
        part = read_plan(place).parts[0]
    has_written = complete(place, ready, part, is_new=is_new)
    if place != store:
        retired = _retired(store)
        store.rename(retired)
        place.rename(store)
        shutil.rmtree(retired)
    else:
        discard(_replacement(store))  # of an overwriting that was given up
    return has_written


def _part_there(store: Path, ready: Storable, given: Fingerprint, *, overwrite: bool) -> Part | None:
    """Return what of a store the cube given brought; a plan that nobody can read is an error unless it is replaced."""
    if state_of(store) == "absent":
        return None
    heal_plan(store, ready)
    try:
        return read_plan(store).part_of(given)
    except StoreError:
        if overwrite:
            return None
        raise


def _replacement(store: Path) -> Path:
    return store.with_name(f".{store.name}.new")


def _retired(store: Path) -> Path:
    return store.with_name(f".{store.name}.old")


def tidy(store: Path) -> None:
    """Finish or take away what a killed writer left beside the store."""
    replacement, retired = _replacement(store), _retired(store)
    if retired.exists():
        if not store.exists():  # killed between the two steps of a swap
            (replacement if state_of(replacement) == "complete" else retired).rename(store)
        discard(retired)
    for place in (store, replacement):
        sweep(place)
    for pattern in ("skeleton", "gone"):
        for left in store.parent.glob(f".{_escape(store.name)}.{pattern}-*"):
            shutil.rmtree(left)


def _escape(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _cannot_write(path: Path, cube: xr.Dataset, error: OSError) -> str:
    if error.errno != errno.ENOSPC:
        return f"cannot write {path}: {error.strerror or error}"
    needed, free = cube.nbytes / 2**30, shutil.disk_usage(path.parent).free / 2**30
    return (
        f"the disk is full: {path} needs up to {needed:.2f} GiB, {free:.2f} GiB are free; free some or choose another "
        "path, then write the cube again: what is there is kept, and marked as incomplete"
    )
