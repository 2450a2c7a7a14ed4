"""Labelled patches of simulated events: what the packaged weights learned from."""

import shutil
from pathlib import Path

import numpy as np

from sarcube.acquisition.catalogs.search import search
from sarcube.change.composite import composite
from sarcube.cube.load import load
from sarcube.labels.inventory import read_inventory
from sarcube.labels.patches import Patches, concatenate_patches, sample_patches
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
    kept = work / f"patches-{seed}-{stride}.npz"
    if kept.exists():
        with np.load(kept) as arrays:
            return Patches(**{k: arrays[k] for k in arrays if k != "bands"}, bands=tuple(arrays["bands"].tolist()))
    folder = work / f"event-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    simulation = simulate(folder, seed=seed, size_km=SIZE_KM)
    event = simulation.event
    cube = load(search(event, catalog=folder, pre_days=PRE_DAYS, post_days=max(POST_DAYS)), bbox=event.bbox)
    inventory = read_inventory(simulation.inventory)
    patches = concatenate_patches(
        [
            sample_patches(
                composite(cube, event, track=track, pre_days=PRE_DAYS, post_days=days), inventory, stride=stride
            )
            for track in simulation.tracks
            for days in POST_DAYS
        ]
    )
    shutil.rmtree(folder)
    unfinished = kept.with_suffix(".part")
    with unfinished.open("wb") as target:
        np.savez(target, **vars(patches) | {"bands": np.array(patches.bands)})
    unfinished.rename(kept)
    return patches
