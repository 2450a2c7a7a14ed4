"""Labelled patches of simulated events: what the packaged weights learned from."""

import shutil
from pathlib import Path

from sarcube.acquisition.catalogs.search import search
from sarcube.change.composite import composite
from sarcube.cube.load import load
from sarcube.labels.inventory import read_inventory
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.labels.sampling import sample_patches
from sarcube.labels.storage import read_patches, write_patches
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
        return read_patches(kept)
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
    write_patches(patches, kept)
    return patches


def kept_patches(work: Path, seed: int, stride: int) -> Path:
    """Where `event_patches` keeps the patches of an event."""
    return work / f"event-{seed}-stride-{stride}.npz"
