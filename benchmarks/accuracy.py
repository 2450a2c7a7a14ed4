"""How well the packaged CNN finds simulated landslides, beside simpler ways, in every window at natural prevalence.

    python -m benchmarks.accuracy --events 3 --json accuracy.json --figure accuracy.png
    python -m benchmarks.accuracy --events 1 --json accuracy.json --without-fitted      (a minute or two)

Events are simulated from fresh random seeds, which are in the file. Nothing here was measured on a real event.
A map of change scores a window by its mean there; pixels without data count as without change. All see the same dates.
`density` is Handwerger's density with one median per track, as `sc.landslide_density` has it by default;
`density_published` takes the paper's own medians per pass direction, `density_masked` adds the mask of layover and
shadow. The file holds every method's precision-recall curve, and the figure draws them. `margins` holds how far the CNN
is ahead of each rival, with a 95 % interval by block bootstrap (`docs/evaluation.md`): of the same windows for both,
drawn in squares of ground of 3.2 km, all events and tracks together. Rivals without weights have their threshold chosen
on these very windows, which favours them.
The logistic regression and the gradient boosting learn from the CNN's own training events, by statistics of their
windows; on the first run these 92 events are simulated (about a quarter of a minute each) and the statistics kept in
--work. A folder that examples/train_demo_model.py worked in does as well.
"""

import argparse
import json
import logging
import secrets
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sarcube as sc
from benchmarks.curves import draw_curves, precision_recall
from sarcube.change.baselines.autocorrelation import autocorrelation_change
from sarcube.change.baselines.mahalanobis import mahalanobis_change
from sarcube.change.baselines.omnibus import omnibus_change
from sarcube.demo import MODEL, POST_DAYS, PRE_DAYS
from sarcube.evaluation.bootstrap import Interval
from sarcube.labels.rasterise import rasterise_inventory
from sarcube.metrics import average_precision, best_f1_threshold, chance_level, confusion
from sarcube.synthetic.training_set import (
    FRESH_SEEDS_FROM,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    event_patches,
    kept_patches,
)

STRIDE = 32
BLOCK_M = 3200.0  # side of the squares of ground that intervals are drawn from
SIZE_KM = 12.0
DAYS = {
    "pre_days": PRE_DAYS,
    "post_days": POST_DAYS,
}  # Handwerger et al. 2022 look back for years; here all see the same
DENSITIES: dict[str, dict[str, bool]] = {
    "density": {},
    "density_published": {"per_track": False},
    "density_masked": {"mask_distortion": True},
}
LABELS = {
    "cnn": "CNN",
    "threshold": "mean |VV change|",
    "logistic": "logistic regression",
    "boosting": "gradient boosting",
    "density": "Handwerger density, per track",
    "density_published": "Handwerger density, as published",
    "density_masked": "Handwerger density, per track, masked",
    "omnibus": "omnibus test, mean of −log p",
    "mahalanobis": "Mahalanobis distance",
    "autocorrelation": "change of Moran's I",
}
WITHOUT_WEIGHTS = (*DENSITIES, "omnibus", "mahalanobis", "autocorrelation")


def window_statistics(windows: np.ndarray) -> np.ndarray:
    """Mean, spread, 5th and 95th percentile, mean magnitude, share beyond 3 dB: (n, b, y, x) -> (n, 6 b)."""
    flat = windows.reshape(*windows.shape[:2], -1)
    low, high = np.percentile(flat, [5, 95], axis=2)
    parts = [flat.mean(2), flat.std(2), low, high, np.abs(flat).mean(2), (np.abs(flat) > 3).mean(2)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def statistics_of_events(seeds: range, work: Path, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Window statistics and truth of the events that the CNN learned from."""
    work.mkdir(parents=True, exist_ok=True)
    features, labels = [], []
    for seed in seeds:
        kept = work / f"statistics-{seed}-{stride}.npz"
        if not kept.exists():
            # Patches take 164 MB an event: those of an earlier training are read, new ones are not kept.
            there = kept_patches(work, seed, stride).exists()
            with tempfile.TemporaryDirectory() as folder:
                patches = event_patches(seed, work if there else Path(folder), stride=stride)
            table = np.concatenate([window_statistics(part) for part in np.array_split(patches.images, 8)])
            np.savez(kept, table=table, labels=patches.labels)
        with np.load(kept) as arrays:
            features.append(arrays["table"])
            labels.append(arrays["labels"])
    return np.concatenate(features), np.concatenate(labels)


def fitted_rivals(work: Path, events: int) -> dict[str, tuple[Any, float]]:
    """Classifiers on window statistics, with the threshold of best F1 on the CNN's validation events."""
    table, labels = statistics_of_events(TRAINING_SEEDS[:events], work, 48)
    held_out, truth = statistics_of_events(VALIDATION_SEEDS, work, 64)
    rivals = {}
    for name, classifier in (
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))),
        ("boosting", HistGradientBoostingClassifier(max_iter=400, learning_rate=0.06, random_state=0)),
    ):
        classifier.fit(table, labels)
        threshold, _ = best_f1_threshold(truth, classifier.predict_proba(held_out)[:, 1])
        rivals[name] = (classifier, float(threshold))
    return rivals


def maps_of_change(cube: xr.Dataset, event: sc.Event, track: str) -> dict[str, np.ndarray]:
    """Maps (y, x) of one track that need no weights: the higher, the more change; 0 where there is no data."""
    p_value = omnibus_change(cube, event, track=track, **DAYS)["p_value"]
    maps = {
        # p is 0 where float32 holds no number so small.
        "omnibus": -np.log10(p_value.clip(min=np.finfo(np.float32).tiny)),
        "mahalanobis": mahalanobis_change(cube, event, track=track, **DAYS),
        "autocorrelation": autocorrelation_change(cube, event, track=track, **DAYS),
    }
    return {name: np.nan_to_num(layer.to_numpy()) for name, layer in maps.items()}


def windows_of(
    stack: xr.DataArray, scores: xr.DataArray, rivals: dict[str, Any], maps: dict[str, np.ndarray], label: np.ndarray
) -> pd.DataFrame:
    """Place, truth and every method's score, in a column of its name, of all windows that the CNN could score."""
    table = sc.window_predictions(scores, label).rename(columns={"score": "cnn"})
    table = table[table["cnn"].notna()].reset_index(drop=True)
    size = int(scores.attrs["window_size"])
    image = stack.to_numpy()
    bands = stack["band"].to_numpy().tolist()
    result: dict[str, list[np.ndarray]] = {name: [] for name in ("threshold", *maps, *rivals)}
    for row, there in table.groupby("y0")["x0"]:
        cut = np.stack([image[:, row : row + size, c : c + size] for c in there])
        cut = np.where(np.isfinite(cut), cut, np.nanmedian(cut, axis=(2, 3), keepdims=True))
        result["threshold"].append(np.abs(cut[:, bands.index("vv_diff")]).mean((1, 2)))
        for name, heat in maps.items():
            result[name].append(np.array([heat[row : row + size, c : c + size].mean() for c in there]))
        if rivals:
            statistics = window_statistics(cut)
        for name, (classifier, _) in rivals.items():
            result[name].append(classifier.predict_proba(statistics)[:, 1])
    return table.assign(**{name: np.concatenate(parts) for name, parts in result.items()})


def measure(seed: int, folder: Path, model: Any, rivals: dict[str, Any]) -> pd.DataFrame:
    """Simulate one event and score all windows of both tracks."""
    simulation = sc.simulate(folder, seed=seed, size_km=SIZE_KM)
    event = simulation.event
    items = sc.search(event, catalog=folder, **DAYS)
    cube = sc.add_geometry(sc.add_terrain(sc.load(items, bbox=event.bbox), simulation.dem))
    cube = sc.open_cube(sc.write_cube(cube, folder / "cube.zarr", keep_bits=None))  # read often below
    inventory = sc.read_inventory(simulation.inventory)
    densities = {
        name: np.nan_to_num(sc.landslide_density(cube, event, **DAYS, **options).to_numpy())
        for name, options in DENSITIES.items()
    }
    parts = []
    for track in simulation.tracks:
        stack = sc.composite(cube, event, track=track, **DAYS).compute()
        scores = sc.score_windows(stack, model, stride=STRIDE).compute()
        maps = densities | maps_of_change(cube, event, track)
        parts.append(windows_of(stack, scores, rivals, maps, rasterise_inventory(inventory, stack)))
    return pd.concat(parts, ignore_index=True).assign(event=str(seed))


def chosen_thresholds(windows: pd.DataFrame, thresholds: dict[str, float | None]) -> dict[str, float]:
    """Return each method's threshold; one that has none gets its best on these very windows."""
    truth = windows["landslide"].to_numpy()
    return {
        name: float(best_f1_threshold(truth, windows[name].to_numpy())[0] if threshold is None else threshold)
        for name, threshold in thresholds.items()
    }


def summary(windows: pd.DataFrame, thresholds: dict[str, float | None]) -> dict[str, float]:
    """F1 and AUPRC of each method; a method without a threshold gets its best one on these very windows."""
    truth = windows["landslide"].to_numpy()
    result: dict[str, float] = {"windows": truth.size, "positives": int(truth.sum()), "chance": chance_level(truth)}
    for name, chosen in chosen_thresholds(windows, thresholds).items():
        scores = windows[name].to_numpy()
        counts = confusion(truth, scores, threshold=chosen)
        result |= {
            f"{name}_f1": counts.f1,
            f"{name}_precision": counts.precision,
            f"{name}_recall": counts.recall,
            f"{name}_auprc": average_precision(truth, scores),
            f"{name}_threshold": chosen,
        }
    return result


def margins(
    windows: pd.DataFrame, thresholds: dict[str, float | None], *, block_m: float = BLOCK_M
) -> dict[str, dict[str, Interval]]:
    """How far the CNN is ahead of each rival in F1 and AUPRC, with 95 % intervals over blocks of ground."""
    chosen = chosen_thresholds(windows, thresholds)
    return {
        rival: {
            statistic: sc.block_bootstrap_difference(
                windows, "cnn", rival, statistic, thresholds=(chosen["cnn"], chosen[rival]), block_m=block_m
            )
            for statistic in ("f1", "auprc")
        }
        for rival in chosen
        if rival != "cnn"
    }


def verdict(margin: Interval) -> str:
    """Say where the CNN stands: a margin whose interval holds 0 decides nothing."""
    return "ahead" if margin.low > 0 else "behind" if margin.high < 0 else "undecided"


def main() -> None:
    """Simulate fresh events, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path, help="draw the precision-recall curves here, a PNG")
    parser.add_argument("--without-fitted", action="store_true", help="leave out logistic regression and boosting")
    parser.add_argument("--work", type=Path, default=Path("bench-output/training"))
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seeds", type=int, nargs="*", help="repeat a run; by default fresh ones are drawn")
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the archive's flaws are meant
    seeds = args.seeds or [FRESH_SEEDS_FROM + secrets.randbelow(2**31) for _ in range(args.events)]
    model = sc.load_model(args.model)
    rivals = {} if args.without_fitted else fitted_rivals(args.work, len(TRAINING_SEEDS))
    thresholds: dict[str, float | None] = {"cnn": model.spec.threshold, "threshold": None}
    thresholds |= {name: threshold for name, (_, threshold) in rivals.items()}
    thresholds |= dict.fromkeys(WITHOUT_WEIGHTS)
    parts = []
    events = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            mine = measure(seed, Path(folder) / "event", model, rivals)
            shutil.rmtree(Path(folder) / "event")
        events[seed] = summary(mine, thresholds)
        parts.append(mine)
        print(f"event {seed}: " + ", ".join(f"{n} F1 {events[seed][f'{n}_f1']:.3f}" for n in thresholds), flush=True)
    windows = pd.concat(parts, ignore_index=True)
    result: dict[str, Any] = {"simulated": True, "seeds": seeds, **summary(windows, thresholds), "per_event": events}
    best = max((n for n in thresholds if n != "cnn"), key=lambda n: result[f"{n}_f1"])
    result |= {"best_rival": best, "margin_over_best_rival": result["cnn_f1"] - result[f"{best}_f1"]}
    truth = windows["landslide"].to_numpy()
    result["curves"] = {name: precision_recall(truth, windows[name].to_numpy()) for name in thresholds}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))  # intervals may refuse what holds too little ground
    apart = margins(windows, thresholds)
    result["margins"] = {
        rival: {statistic: asdict(margin) | {"verdict": verdict(margin)} for statistic, margin in both.items()}
        for rival, both in apart.items()
    }
    args.json.write_text(json.dumps(result, indent=1))
    print(f"SIMULATED events {seeds}: {result['windows']} windows, {result['chance']:.1%} of them landslides")
    for name in thresholds:
        print(f"{name:18s} F1 {result[f'{name}_f1']:.3f}  AUPRC {result[f'{name}_auprc']:.3f}")
    print(f"margin of the CNN over the best rival ({best}): {result['margin_over_best_rival']:+.3f}")
    blocks = next(iter(apart.values()))["f1"].blocks
    print(f"margins of the CNN, with 95 % intervals over {blocks} blocks of {BLOCK_M / 1000:g} km:")
    for rival, both in apart.items():
        said = (f"{n} {m.estimate:+.3f} ({m.low:+.3f} to {m.high:+.3f}) {verdict(m):9s}" for n, m in both.items())
        print(f"{rival:18s} {'  '.join(said)}".rstrip())
    if args.figure:
        points = {n: (result[f"{n}_recall"], result[f"{n}_precision"]) for n in ("cnn", *rivals)}
        title = f"SIMULATED: {result['windows']} windows of {len(seeds)} events\n(dots: thresholds fixed before)"
        draw_curves(result["curves"], args.figure, labels=LABELS, points=points, title=title)


if __name__ == "__main__":
    main()
