"""Train the weights that ship with sarcube: on simulated events, which are neither the demo's nor the benchmark's.

    python examples/train_demo_model.py --work training --out cnn-vv-vh.safetensors

Patches of every event are kept in the work folder, so that a second run goes straight to training.
"""

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import sarcube as sc
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.synthetic.training_set import TRAINING_SEEDS, VALIDATION_SEEDS, event_patches

CARD = (
    "Trained on events simulated by sarcube alone, none of them real. It shows that the path from scenes to map works, "
    "and is a start for training on real inventories; what it says of a real event has not been measured."
)

# Learning rate, epochs, seed of each phase. Two of the papers' three rates: the smaller one settles what the larger one
# found, twice. The weights are saved after every phase.
SCHEDULE = ((1e-3, 6, 0), (1e-4, 2, 0), (1e-3, 3, 1), (1e-4, 3, 1))


def thinned(patches: Patches, background: float, seed: int) -> Patches:
    """Keep every landslide patch and `background` times as many others, drawn at random: memory is bounded."""
    others = np.flatnonzero(~patches.labels)
    most = min(len(others), int(background * patches.labels.sum()))
    kept = np.random.default_rng(seed).choice(others, most, replace=False)
    return patches.subset(np.sort(np.concatenate([np.flatnonzero(patches.labels), kept])))


def main() -> None:
    """Simulate, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--start", type=Path, help="go on from weights that an interrupted run saved")
    parser.add_argument("--skip", type=int, default=0, help="phases of the schedule that --start has behind it")
    parser.add_argument("--background", type=float, default=2.5, help="background patches per landslide patch")
    parser.add_argument("--events", type=int, default=len(TRAINING_SEEDS))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("sarcube.cube.load").setLevel(logging.ERROR)  # the archive's flaws are meant
    args.work.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    sets: dict[str, Patches] = {}
    for name, seeds, stride in (("training", TRAINING_SEEDS[: args.events], 48), ("validation", VALIDATION_SEEDS, 64)):
        parts = []
        for seed in seeds:
            patches = event_patches(seed, args.work, stride=stride)
            if name == "training":  # validation stays at natural prevalence: the threshold is chosen there
                patches = thinned(patches, args.background, seed)
            parts.append(patches)
            print(f"{time.perf_counter() - start:6.0f} s  {name} event {seed}: {parts[-1]}", flush=True)
        sets[name] = concatenate_patches(parts)
        print(f"{name}: {sets[name]}", flush=True)
    model = sc.load_model(args.start) if args.start else sc.models.cnn(in_channels=4, filters=args.filters)
    for rate, epochs, seed in SCHEDULE[args.skip :]:
        config = sc.TrainConfig(epochs=epochs, batch_size=128, learning_rate=rate, max_background_ratio=None, seed=seed)
        model = sc.train(
            sets["training"],
            sets["validation"],
            model=model,
            config=config,
            progress=lambda row: print(f"{time.perf_counter() - start:6.0f} s  {row}", flush=True),
        )
        sc.save_model(model, args.out)
        print(sc.evaluate(model, sets["validation"]), flush=True)
    model.spec = replace(
        model.spec,
        trained_on=f"sc.simulate, seeds {TRAINING_SEEDS[0]} to {TRAINING_SEEDS[args.events - 1]}, both tracks",
        simulated_only=True,
        licence="MIT",
        card=CARD,
    )
    sc.save_model(model, args.out)
    print(f"{time.perf_counter() - start:.0f} s, {args.out}")


if __name__ == "__main__":
    main()
