"""The networks that `benchmarks.detector` asks: SAR-LRA's trained on SIMULATED events, and untrained ones of 2021."""

from dataclasses import replace
from pathlib import Path

import numpy as np

import sarcube as sc
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.models import Network
from sarcube.synthetic.training_set import TRAINING_SEEDS, VALIDATION_SEEDS, event_patches

_EVENTS, _EPOCHS = 3, 6
_BACKGROUND = 2.5  # patches without a landslide for each with one, in training


def trained(work: Path, filters: int, *, events: int = _EVENTS, epochs: int = _EPOCHS) -> Path:
    """Train SAR-LRA's network on simulated events; return its weights' file."""
    kept = work / f"cnn-{filters}-{events}-{epochs}.safetensors"
    if not kept.exists():
        training, validation = _patches(work, events)
        fresh = sc.models.cnn(4, filters=filters, joined=1)
        # SAR-LRA's weights take dB as they are.
        fresh.spec = replace(fresh.spec, mean=(0.0,) * 4, std=(1.0,) * 4)
        config = sc.TrainConfig(epochs=epochs, batch_size=64, learning_rate=1e-3, max_background_ratio=None)
        model = sc.train(
            training, validation, model=fresh, config=config, progress=lambda entry: print(f"  {entry}", flush=True)
        )
        said = f"sc.simulate, seeds {TRAINING_SEEDS[0]} to {TRAINING_SEEDS[events - 1]}"
        model.spec = replace(model.spec, mean=None, std=None, trained_on=said, simulated_only=True, licence="MIT")
        sc.save_model(model, kept)
    return kept


def untrained_nava(work: Path, *, native: bool) -> Path:
    """Save the network of Nava et al. 2021 with fresh weights, which no time depends on; return its file."""
    model = sc.models.nava2021(resample=None if native else 32)
    model.spec = replace(model.spec, mean=(-17.0, -17.0, 0.0), std=(3.0, 3.0, 2.0))
    return sc.save_model(model, work / f"nava2021-{'native' if native else 'resampled'}.safetensors")


def with_threshold(model_path: Path, threshold: float, path: Path) -> Network:
    """Write a model again with another threshold."""
    model = sc.load_model(model_path)
    model.spec = replace(model.spec, threshold=threshold)
    sc.save_model(model, path)
    return model


def _patches(work: Path, events: int) -> tuple[Patches, Patches]:
    parts = []
    for seed in TRAINING_SEEDS[:events]:
        patches = event_patches(seed, work, stride=48)
        others = np.flatnonzero(~patches.labels)
        most = min(len(others), int(_BACKGROUND * patches.labels.sum()))
        drawn = np.random.default_rng(seed).choice(others, most, replace=False)
        parts.append(patches.subset(np.sort(np.concatenate([np.flatnonzero(patches.labels), drawn]))))
    validation = event_patches(VALIDATION_SEEDS[0], work, stride=64)
    return concatenate_patches(parts), validation
