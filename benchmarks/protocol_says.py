"""What the protocol says: the papers' tables in their form, and where simulated results agree with the papers' trends.

The papers' own tables were not at hand: what stands beside ours is what their abstracts say.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sarcube as sc
from benchmarks.protocol_events import CHIP_BANDS, STEPS, window_split
from benchmarks.protocol_runs import FULL_SEEDS, REFERENCE
from sarcube.sweeps.naming import label_columns
from sarcube.sweeps.table import verdict_on

PAPERS = {
    "windows": "Nava et al. 2024, preprint gmd-2024-230, abstract: F1 up to 0.82 on two unseen events (Haiti 2021, "
    "Sumatra 2022)",
    "chips": "Boehm et al. 2022, arXiv 2211.02869, abstract: AUPRC above 0.7 on Hokkaido 2018; further passes help, "
    "and elevation does where there are few",
}
CONDITIONS = {"slope": "degrees", "local_incidence_angle": "degrees", "landslide_area": "m²"}


def trend(name: str, gains: Sequence[float], *, expected: str) -> dict[str, Any]:
    """Compare a median gain with its standard deviation over repeated trainings; what is below it is undecided."""
    values = np.asarray(gains, np.float64)
    values = values[np.isfinite(values)]
    median = float(np.median(values)) if len(values) else np.nan
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    found = verdict_on(median, spread)
    verdict = found if found == "undecided" or not expected else "agrees" if found == expected else "contradicts"
    return {"trend": name, "gain": median, "spread": spread, "n": len(values), "expected": expected, "verdict": verdict}


def pair_gains(runs: pd.DataFrame, column: str, a: Any, b: Any, metric: str) -> list[float]:
    """Gain of one value of a label over another, training by training: same seed, same other labels."""
    wide = _side_by_side(runs, column, (a, b), metric)
    return (wide[a] - wide[b]).dropna().to_list()


def _side_by_side(runs: pd.DataFrame, column: str, values: Sequence[Any], metric: str) -> pd.DataFrame:
    """A row for each seed and each of the other labels, a column for each value; NaN where there is no such run."""
    others = [name for name in (*label_columns(runs), "seed") if name != column]
    return runs.pivot_table(index=others, columns=column, values=metric).reindex(columns=list(values))


def window_trends(cnn: pd.DataFrame, others: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """What the papers say of bands, buffers and networks."""
    after = pair_gains(cnn, "buffer", "60-48", REFERENCE, metric)
    vh = pair_gains(cnn, "bands", "VV_VH", "VV", metric)
    first = pair_gains(cnn, "buffer", REFERENCE, "12-12", metric)
    before = _side_by_side(cnn, "buffer", ("12-12", REFERENCE, "365-12"), metric)
    saturation = (2 * before[REFERENCE] - before["12-12"] - before["365-12"]).dropna().to_list()
    trends = [
        trend("more dates after the event help: 60-48 over 60-12", after, expected="ahead"),
        trend("VV_VH is ahead of VV", vh, expected="ahead"),
        trend("dates before the event help at first: 60-12 over 12-12", first, expected="ahead"),
        trend("and saturate: the gain from 12 to 60 days over that from 60 to 365", saturation, expected="ahead"),
    ]
    light = cnn[(cnn["buffer"] == REFERENCE)]
    both = pd.concat([light, others])
    for name in ("cbam", "resnet"):
        gains = pair_gains(both, "network", name, "cnn", metric)
        trends.append(trend(f"{name} over cnn at {REFERENCE}", gains, expected=""))  # the abstracts do not say
    return trends


def chip_trends(unets: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """What Boehm et al. say of time steps and elevation."""
    few = unets[unets["steps"] == 1]
    return [
        trend("more time steps help: 4 over 1", pair_gains(unets, "steps", 4, 1, metric), expected="ahead"),
        trend(
            "elevation helps with one step: SAR+DEM over SAR",
            pair_gains(few, "inputs", "SAR+DEM", "SAR", metric),
            expected="ahead",
        ),
        trend(
            "elevation helps: SAR+DEM over SAR, all steps",
            pair_gains(unets, "inputs", "SAR+DEM", "SAR", metric),
            expected="ahead",
        ),
    ]


def predictions_of(
    runs: pd.DataFrame, work: Path, seen: Sequence[int], unseen: Sequence[int]
) -> tuple[list[pd.DataFrame], list[float]]:
    """Score unseen events with the networks of VV_VH at one buffer; describe the ground under every window."""
    test = window_split(work, seen, unseen, buffer=REFERENCE, bands="VV_VH").test
    described = pd.concat([pd.read_parquet(work / f"event-{seed}" / "conditions.parquet") for seed in unseen])
    described = described.reset_index(drop=True)
    places = ["event", "track", "y0", "x0"]
    if not described[places].equals(test.table[places]):
        raise ValueError("the conditions are not of these windows; delete the folder of work and start again")
    conditions = described[[name for name in described if name not in test.table]]
    chosen = runs[(runs["bands"] == "VV_VH") & (runs["buffer"] == REFERENCE) & (runs["status"] == "finished")]
    scored = []
    for run in chosen.to_dict("records"):
        table = sc.score_patches(sc.load_model(run["weights"]), test).join(conditions)
        orbit = run.get("orbit", "")[:1].upper()  # of networks that learnt one orbit, that one alone is judged
        scored.append(table[table["track"].str.startswith(orbit)])
    return scored, chosen["threshold"].to_list()


def condition_trends(scored: Sequence[pd.DataFrame], thresholds: Sequence[float]) -> list[dict[str, Any]]:
    """Recall of steep, grazing and small: the upper third of the landslides less the lower third, seed by seed."""
    said = {
        "slope": ("steep slopes are missed: recall of the steepest third less that of the gentlest", "behind"),
        "local_incidence_angle": (
            "grazing slopes are missed: recall of the most slantingly lit third",
            "behind",
        ),
        "landslide_area": ("large landslides are found: recall of the largest third less the smallest", "ahead"),
    }
    trends = []
    for column, (name, expected) in said.items():
        gains = []
        for table, threshold in zip(scored, thresholds, strict=True):
            landslides = table[table["landslide"] & table[column].notna() & table["score"].notna()]
            low, high = landslides[column].quantile([1 / 3, 2 / 3])
            found = landslides["score"] >= threshold
            upper, lower = found[landslides[column] >= high], found[landslides[column] <= low]
            gains.append(float(upper.mean() - lower.mean()))
        trends.append(trend(name, gains, expected=expected))
    return trends


def thirds(table: pd.DataFrame, threshold: float) -> dict[str, pd.DataFrame]:
    """Recall with its interval by thirds of each condition."""
    tables = {}
    for column in CONDITIONS:
        values = table.loc[table["landslide"], column].dropna()
        edges = values.quantile([0, 1 / 3, 2 / 3, 1]).to_numpy()
        edges[-1] = np.nextafter(edges[-1], np.inf)
        if (np.diff(edges) > 0).all():
            tables[column] = sc.evaluate_by_condition(table, column, bins=edges.tolist(), threshold=threshold)
    return tables


def full_cost(light: Mapping[int, float], large: Mapping[str, float], workers: int) -> dict[str, float]:
    """What the papers' whole grid would take on these cores, from epochs of its own networks: no run stops early.

    Of the light network and of the U-Net; those with attention and with shortcuts come on top.
    `light` has the seconds of an epoch of one orbit's windows by filters, on one core; `large` those of the U-Net.
    """
    runs = 40 * 24 * FULL_SEEDS
    per_epoch = sum(light.values()) / len(light)  # half of the settings have 32 filters, half 64
    chip_runs = len(CHIP_BANDS) * len(STEPS) * FULL_SEEDS
    return {
        "window_runs": runs,
        **{f"seconds_per_epoch_of_{filters}_filters": seconds for filters, seconds in light.items()},
        "window_core_hours_at_500_epochs": runs * 500 * per_epoch / 3600,
        "chip_runs": chip_runs,
        "chip_core_hours_at_100_epochs": chip_runs * 100 * large["seconds"] * workers / 3600,
    }
