"""What a random split hides, and what cleaning the inventory brings: on simulated events, over many seeds.

    python -m benchmarks.leakage --json leakage.json

Patches of simulated events (both tracks, 60 days before and 12 after) are split at random, as the papers do, and by
blocks of ground with a strip between; and, pooled with those of 24 days after, at random once more. The same network is
trained on each and measured on the split's own test patches and on events that no network saw. What a split's own test
says more than unseen events do, beyond what the blocked one's does, is what it hides: its leakage. Then the same
network is trained on labels of the whole inventory and on labels cleaned of layover and shadow, on as many patches.
Every difference is between networks of one seed; `docs/leakage.md` says what each key means. Nothing here was measured
on a real event.
"""

import argparse
import json
import logging
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sarcube as sc
from benchmarks.geometry import environment
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.labels.splits import share_ground

SEEDS_FROM = 5000  # of events that are neither the packaged weights' nor the accuracy benchmark's
SIZE_KM = 12.0
PRE_DAYS, POST_DAYS = 60, (12, 24)
RATIO = 4.0  # background patches per landslide patch, in every part alike: AUPRC depends on it
_PACKAGES = ("sarcube", "numpy", "torch")


@dataclass(frozen=True)
class Sampled:
    """One event's patches: labelled by the whole inventory, by a cleaned one of each track, and of two composites.

    `pooled` holds the patches of `whole` and, of the same windows, those of the longer time after the event.
    """

    whole: Patches
    cleaned: Patches
    pooled: Patches
    lost_share: float


def sample_event(seed: int, work: Path) -> Sampled:
    """Simulate an event and cut both tracks into patches."""
    folder = work / f"event-{seed}"
    simulation = sc.simulate(folder, seed=seed, size_km=SIZE_KM)
    event = simulation.event
    items = sc.search(event, catalog=folder, pre_days=PRE_DAYS, post_days=max(POST_DAYS))
    cube = sc.load(items, bbox=event.bbox)
    cube = sc.add_geometry(sc.add_terrain(cube, simulation.dem))
    inventories = sc.clean_inventory(sc.read_inventory(simulation.inventory), cube)
    whole, cleaned, longer = [], [], []
    for track in simulation.tracks:
        stack, later = (
            sc.composite(cube, event, track=track, pre_days=PRE_DAYS, post_days=days).compute() for days in POST_DAYS
        )
        whole.append(sc.sample_patches(stack, inventories.original).load())
        longer.append(sc.sample_patches(later, inventories.original).load())
        cleaned.append(sc.sample_patches(stack, inventories.original, cleaned=inventories.per_track[track]).load())
    shutil.rmtree(folder)
    lost = inventories.lost
    share = float(lost["lost_m2"].sum() / lost["area_m2"].sum())
    parts = (concatenate_patches(part) for part in (whole, cleaned, whole + longer))
    return Sampled(*parts, lost_share=share)


def as_many(patches: Patches, like: Patches, seed: int) -> Patches:
    """Draw as many landslides and as much background as another set has: networks learn from equally much."""
    draws = np.random.default_rng(seed)
    kept = [
        draws.choice(there, min(len(there), int((like.labels == label).sum())), replace=False)
        for label in (True, False)
        for there in [np.flatnonzero(patches.labels == label)]
    ]
    return patches.subset(np.sort(np.concatenate(kept)))


def at_ratio(patches: Patches, seed: int) -> Patches:
    """Draw background so that all sets are compared at one share of landslides."""
    draws = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(patches.labels), np.flatnonzero(~patches.labels)
    positive = draws.choice(positive, min(len(positive), int(len(negative) / RATIO)), replace=False)
    negative = draws.choice(negative, int(RATIO * len(positive)), replace=False)
    return patches.subset(np.sort(np.concatenate([positive, negative])))


def network(train: Patches, validation: Patches, args: argparse.Namespace, seed: int) -> Any:
    """Train the papers' light network from fresh weights."""
    config = sc.TrainConfig(
        epochs=args.epochs, patience=args.patience, batch_size=32, max_background_ratio=RATIO, seed=seed
    )
    model = sc.models.cnn(in_channels=4, filters=args.filters, seed=seed)
    return sc.train(train, validation, model=model, config=config)


def compare_splits(
    seen: Patches, pooled: Patches, unseen: Patches, args: argparse.Namespace, seed: int
) -> dict[str, float]:
    """Train on each split's patches; measure on its own test and on unseen events.

    A split's own test differs from unseen events by what it hides and by the events themselves; the blocked split,
    which hides nothing, says how much is the events'.
    """
    options = {"seed": seed, "max_test_ratio": None}
    splits = {
        "random": sc.split_patches(seen, method="random", **options),
        "blocked": sc.split_patches(seen, method="blocked", **options),
        "pooled": sc.split_patches(pooled, method="random", **options),
    }
    row: dict[str, float] = {}
    for name, split in splits.items():
        model = network(split.train, at_ratio(split.validation, seed), args, seed)
        row |= {
            f"{name}_train": int(split.train.labels.sum()),
            f"{name}_epochs": len(model.history),
            f"{name}_neighbours": len(share_ground(split.test, split.train, buffer=1.0)) / len(split.test),
            f"{name}_test_auprc": sc.evaluate(model, at_ratio(split.test, seed)).auprc,
            f"{name}_unseen_auprc": sc.evaluate(model, unseen).auprc,
        }
        row[f"{name}_hidden"] = row[f"{name}_test_auprc"] - row[f"{name}_unseen_auprc"]
    for name in ("random", "pooled"):
        row[f"leakage_{name}"] = row[f"{name}_hidden"] - row["blocked_hidden"]
    return row


def compare_labels(
    seen: list[Sampled], unseen: dict[str, Patches], args: argparse.Namespace, seed: int
) -> dict[str, float]:
    """Train on labels of the whole inventory and on cleaned ones; measure both on both kinds of unseen labels."""
    row: dict[str, float] = {}
    parts = {name: concatenate_patches([getattr(event, name) for event in seen]) for name in ("whole", "cleaned")}
    splits = {
        name: sc.split_patches(patches, method="blocked", test_fraction=0.0, max_test_ratio=None, seed=seed)
        for name, patches in parts.items()
    }
    fewest = min((split.train for split in splits.values()), key=lambda patches: int(patches.labels.sum()))
    for name, split in splits.items():
        model = network(as_many(split.train, fewest, seed), at_ratio(split.validation, seed), args, seed)
        for kind, patches in unseen.items():
            row[f"{name}_labels_on_{kind}_auprc"] = sc.evaluate(model, patches).auprc
    for kind in unseen:
        row[f"cleaning_on_{kind}"] = row[f"cleaned_labels_on_{kind}_auprc"] - row[f"whole_labels_on_{kind}_auprc"]
    return row


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the seeds of each figure, and how often it is above zero."""
    return {
        key: {
            "mean": statistics.mean(values),
            "std": statistics.stdev(values) if len(values) > 1 else float("nan"),
            "positive": sum(value > 0 for value in values) / len(values),
        }
        for key in rows[0]
        for values in [[row[key] for row in rows]]
    }


def main() -> None:
    """Simulate, train, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--events", type=int, default=5, help="to learn from and to test on")
    parser.add_argument("--unseen", type=int, default=2, help="events that no network learns from")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--patience", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the archive's flaws are meant
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    events = []
    with tempfile.TemporaryDirectory() as work:
        for number in range(args.events + args.unseen):
            events.append(sample_event(SEEDS_FROM + number, Path(work)))
            print(f"{time.perf_counter() - start:6.0f} s  event {SEEDS_FROM + number}: {events[-1].whole}", flush=True)
    seen, others = events[: args.events], events[args.events :]
    unseen = {
        name: at_ratio(concatenate_patches([getattr(event, name) for event in others]), 0)
        for name in ("whole", "cleaned")
    }
    whole, pooled = (concatenate_patches([getattr(event, name) for event in seen]) for name in ("whole", "pooled"))
    rows = []
    for seed in range(args.seeds):
        row = compare_splits(whole, pooled, unseen["whole"], args, seed)
        row |= compare_labels(seen, unseen, args, seed)
        rows.append(row)
        chosen = ("blocked_test_auprc", "leakage_random", "leakage_pooled", "cleaning_on_cleaned")
        said = ", ".join(f"{key} {row[key]:.3f}" for key in chosen)
        print(f"{time.perf_counter() - start:6.0f} s  seed {seed}: {said}", flush=True)
        result = {
            "simulated": True,
            "seeds_of_events": [SEEDS_FROM + number for number in range(args.events + args.unseen)],
            "settings": {key: value for key, value in vars(args).items() if key != "json"},
            "environment": environment() | {"versions": {name: version(name) for name in _PACKAGES}},
            "patches": len(whole),
            "chance": 1 / (1 + RATIO),
            "lost_share": statistics.mean(event.lost_share for event in events),
            "summary": summary(rows),
            "rows": rows,
            "seconds": time.perf_counter() - start,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1))
    print(f"SIMULATED, {len(rows)} seeds, chance {result['chance']:.3f}; mean, standard deviation, share above 0")
    for key, value in result["summary"].items():
        print(f"{key:36s} {value['mean']:9.4f} {value['std']:9.4f} {value['positive']:6.2f}")


if __name__ == "__main__":
    main()
