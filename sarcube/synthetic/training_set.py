"""Labelled patches of simulated events: what the packaged weights learned from."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from sarcube.acquisition.catalogs.search import search
from sarcube.change.composite import composite
from sarcube.cube.load import load
from sarcube.labels.inventory import read_inventory
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.labels.pixels import CutWindows
from sarcube.labels.sampling import sample_patches
from sarcube.synthetic.event import simulate

# Seeds of the events behind the packaged weights; whoever measures accuracy draws others.
TRAINING_SEEDS = range(1000, 1080)
VALIDATION_SEEDS = range(2000, 2012)
FRESH_SEEDS_FROM = 10_000

SIZE_KM = 12.0
PRE_DAYS = 60
# One date after the event, and two: a responder has one first.
POST_DAYS = (12, 24)


def event_patches(seed: int, work: Path, *, stride: int) -> Patches:
    """Simulate an event and cut both of its tracks into labelled patches of 64 × 64 pixels, `stride` apart.

    The patches are kept in the folder `work`, which must exist: a second call reads them. The scenes are deleted.
    """
    kept = kept_patches(work, seed, stride)
    if kept.exists():
        return _read(kept)
    folder = work / f"event-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    simulation = simulate(folder, seed=seed, size_km=SIZE_KM)
    event = simulation.event
    cube = load(search(event, catalog=folder, pre_days=PRE_DAYS, post_days=max(POST_DAYS)), bbox=event.bbox)
    inventory = read_inventory(simulation.inventory)
    parts = []
    for track in simulation.tracks:
        for days in POST_DAYS:
            stack = composite(cube, event, track=track, pre_days=PRE_DAYS, post_days=days).compute()
            parts.append(sample_patches(stack, inventory, stride=stride))
    patches = concatenate_patches(parts).load()
    shutil.rmtree(folder)
    _write(patches, kept)
    return patches


def kept_patches(work: Path, seed: int, stride: int) -> Path:
    """Where `event_patches` keeps the patches of an event."""
    return work / f"event-{seed}-stride-{stride}.npz"


def _write(patches: Patches, path: Path) -> None:
    text = {name: column.to_numpy(str) for name, column in patches.table.items() if column.dtype.kind not in "bif"}
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as target:
        np.savez(
            target,
            allow_pickle=False,
            images=patches.images,
            bands=np.array(patches.bands),
            radiometry=np.array(patches.radiometry),
            **{f"table-{name}": text.get(str(name), column.to_numpy()) for name, column in patches.table.items()},
        )
    unfinished.rename(path)


def _read(path: Path) -> Patches:
    with np.load(path) as arrays:
        columns = {name.removeprefix("table-"): arrays[name] for name in arrays if name.startswith("table-")}
        table = pd.DataFrame({name: a.astype(object) if a.dtype.kind == "U" else a for name, a in columns.items()})
        images, bands = arrays["images"], tuple(arrays["bands"].tolist())
        return Patches(table, CutWindows(images), bands, images.shape[-1], radiometry=str(arrays["radiometry"]))
