"""A cube on disk that is to hold certain items: begun, continued, lengthened, or made anew where they have changed."""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcube.acquisition.scenes import drop_duplicates, read_scene
from sarcube.building.held import Held, Step, read_held, steps_of
from sarcube.cube.grid import Bounds, choose_geobox, geobox_like, grid_of
from sarcube.cube.load import load
from sarcube.cube.store.plan import differences, fingerprint
from sarcube.cube.store.skeleton import Storable, storable
from sarcube.cube.store.verify import verify_cube
from sarcube.cube.store.write import write_cube
from sarcube.errors import StoreError

logger = logging.getLogger(__name__)

Dress = Callable[[xr.Dataset], xr.Dataset]

# A slice of a pass that comes later may lie minutes before the others; the track's next pass is days away.
_SAME_PASS = timedelta(minutes=15)
_SAME_GRID = 1e-6  # of a pixel, what floating point may add
_REMEDY = "pass overwrite=True (--overwrite) to replace it, or choose another path"


def keep_up(
    items: Sequence[pystac.Item],
    path: str | Path,
    *,
    bbox: Bounds,
    resolution: float,
    dress: Dress,
    keep_bits: int | None,
    overwrite: bool,
) -> Path:
    """Bring the cube at `path` to hold these items, with as little work as that takes.

    Nothing is there: it is written. One with these items was begun, or is complete: `write_cube` goes on, checks,
    repairs. New dates are appended. Where the items of a date have changed (a newer processing, another slice, a file
    that was missing), or a new track or polarisation comes, all is written anew from the items, which are on this
    disk; the old cube stays until the new one is complete.

    Parameters
    ----------
    items : sequence of pystac.Item
    path : str or Path
    bbox : (west, south, east, north)
        Area in degrees.
    resolution : float
        Size of a pixel in metres.
    dress : callable
        Adds all layers but the radar's to what `load` returned; dates that are appended bring none.
    keep_bits : int, optional
        As `write_cube` takes it.
    overwrite : bool
        Replace what is there without looking at it.

    Raises
    ------
    StoreError
        If the cube there is another one: of dates that are not among the items, on another grid, with other layers.
    """
    items = _newest(items)
    held = None if overwrite else read_held(Path(path).resolve())
    if held is None:
        geobox = geobox_like(load(items, bbox=bbox, resolution=resolution))
    else:
        geobox = _same_grid(path, held, bbox=bbox, resolution=resolution)
    look = load(items, geobox=geobox)
    steps = steps_of(look)

    def make(steps: Collection[Step]) -> xr.Dataset:
        ids = {name for step in steps for name in step.items}
        return load([item for item in items if item.id in ids], geobox=geobox)

    if held is None:
        return write_cube(dress(make(steps)), path, keep_bits=keep_bits, overwrite=overwrite)
    _refuse_lost_dates(path, held, steps)
    reason = _changed_dates(held, steps) or _new_kinds(held, look)
    first = dress(make(steps if reason else held.parts[0]))
    ready = storable(first, keep_bits=keep_bits)
    _refuse_other_layers(path, held, ready)
    if reason is None and (found := differences(held.fingerprint, fingerprint(ready))):
        reason, first = "; ".join(found[:3]), dress(make(steps))
    if reason is None and (reason := _check(first, path, held, keep_bits=keep_bits)):
        first = dress(make(steps))
    if reason:
        logger.warning("%s is written anew, and the old one stays until that is done: %s", path, reason)
        return write_cube(first, path, keep_bits=keep_bits, overwrite=True)
    if new := [step for step in steps if step not in held.steps]:
        logger.info("%d new dates for %s", len(new), path)
        write_cube(make(new), path, keep_bits=keep_bits, append=True)
    return Path(path)


def _newest(items: Sequence[pystac.Item]) -> list[pystac.Item]:
    """Leave out what was processed again since: which items make a date is then the same in every call."""
    kept, dropped = drop_duplicates([read_scene(item) for item in items])
    for old, new in dropped:
        logger.info('left out item "%s": "%s" is a newer processing of the same acquisition', old.id, new.id)
    ids = {scene.id for scene in kept}
    return [item for item in items if item.id in ids]


def _same_grid(path: str | Path, held: Held, *, bbox: Bounds, resolution: float) -> GeoBox:
    """Return the grid of the cube that is there, if it is that of this area and resolution."""
    there = grid_of(held.geobox)
    asked = grid_of(choose_geobox([there], bbox=bbox, resolution=resolution, crs=there.crs))
    if asked.shape != there.shape or not np.allclose(
        asked.transform, there.transform, rtol=0, atol=_SAME_GRID * there.transform[0]
    ):
        raise StoreError(
            f"the cube at {path} is of another area or resolution: it has {there.shape[0]} x {there.shape[1]} pixels "
            f"of {there.transform[0]:g} m in {there.crs} from {there.transform[2]:.1f}, {there.transform[5]:.1f}; this "
            f"one would have {asked.shape[0]} x {asked.shape[1]} of {asked.transform[0]:g} m from "
            f"{asked.transform[2]:.1f}, {asked.transform[5]:.1f}; {_REMEDY}"
        )
    return held.geobox


def _is_same_pass(a: Step, b: Step) -> bool:
    return a.track == b.track and abs(a.time - b.time) <= _SAME_PASS


def _refuse_lost_dates(path: str | Path, held: Held, steps: Sequence[Step]) -> None:
    lost = [step for step in held.steps if not any(_is_same_pass(step, other) for other in steps)]
    if lost:
        raise StoreError(
            f"the cube at {path} holds {len(lost)} dates that this search and the folder do not, "
            f"{lost[0].time:%Y-%m-%d} {lost[0].track} first: was it built with longer windows, for another event or "
            f"from another folder? {_REMEDY}"
        )


def _changed_dates(held: Held, steps: Sequence[Step]) -> str | None:
    changed = [step for step in held.steps if step not in steps]
    if not changed:
        return None
    return (
        f"other items make {len(changed)} of its dates now, {changed[0].time:%Y-%m-%d} {changed[0].track} first: they "
        "were processed again, or more of the pass has come"
    )


def _new_kinds(held: Held, look: xr.Dataset) -> str | None:
    """Return what the cube there has no place for."""
    bands = sorted({str(name) for name in look.data_vars} - {layer.name for layer in held.layers})
    tracks = sorted({step.track for step in steps_of(look)} - held.tracks) if held.tracks else []
    if not bands and not tracks:
        return None
    return f"there are scenes of {', '.join([*tracks, *(band.upper() for band in bands)])} now, for which it has none"


def _refuse_other_layers(path: str | Path, held: Held, ready: Storable) -> None:
    before = {layer.name: layer.keep_bits for layer in held.layers}
    now = {layer.name: layer.keep_bits for layer in ready.layers}
    power = {layer.name for layer in (*held.layers, *ready.layers) if layer.is_power}
    wrong = [f"{name} is in the cube there alone" for name in before.keys() - now.keys() - power]
    wrong += [f"{name} is not in the cube there" for name in now.keys() - before.keys() - power]
    wrong += [
        f"{name} keeps {before[name] or 'all'} bits there, {now[name] or 'all'} here"
        for name in before.keys() & now.keys()
        if before[name] != now[name]
    ]
    if wrong:
        raise StoreError(f"the cube at {path} was built with other settings: {'; '.join(sorted(wrong))}; {_REMEDY}")


def _check(first: xr.Dataset, path: str | Path, held: Held, *, keep_bits: int | None) -> str | None:
    """Finish or check what the first call wrote; return why all must be written anew, if it must."""
    try:
        write_cube(first, path, keep_bits=keep_bits)
    except StoreError:
        # Later dates are repaired by the call that brought them, and nobody knows how many such calls are broken.
        if len(held.parts) == 1 or not (findings := verify_cube(path)):
            raise
        return f"{len(findings)} of its chunks are damaged or missing"
    return None
