"""The command that holds a model against an inventory."""

import json as json_format
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.table import Table

import sarcube as sc
from sarcube.atomic import replacing
from sarcube.cli.arguments import CubePath, EventFile, PostDays, PreDays
from sarcube.cli.console import out, say_written
from sarcube.cli.model_stack import stack_for
from sarcube.cli.progress import computing
from sarcube.errors import InputError, StoreError
from sarcube.evaluation.bootstrap import Interval
from sarcube.evaluation.predictions import truth_and_scores
from sarcube.evaluation.resampling import Statistic
from sarcube.evaluation.summary import summarise
from sarcube.labels.rasterise import rasterise_inventory

_SURE: tuple[Statistic, ...] = ("f1", "auprc")


def evaluate(
    model: Annotated[str, typer.Argument(help="A packaged model's name, or a .safetensors file.")],
    cube: CubePath,
    event: EventFile,
    inventory: Annotated[Path, typer.Argument(help="Known landslides: GeoPackage, shapefile or GeoJSON.")],
    track: Annotated[list[str] | None, typer.Option(help="Such as D164, repeatable; by default all.")] = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    stride: Annotated[int, typer.Option(help="Pixels from one window to the next.")] = 32,
    block_size: Annotated[
        float, typer.Option(help="Side of the squares of ground that intervals are drawn from, metres.")
    ] = 3200.0,
    json: Annotated[Path | None, typer.Option(help="FILE.json, all numbers.")] = None,
    table: Annotated[Path | None, typer.Option(help="FILE.csv, every window with its place, truth and score.")] = None,
) -> None:
    """Judge a model by every window of a cube against an inventory, track by track, and say how sure the numbers are.

    Example: sarcube evaluate mine.safetensors sumatra.zarr event.toml landslides.gpkg --json evaluation.json
    """
    start = time.perf_counter()
    if not block_size > 0:
        raise InputError(f"--block-size must be > 0 metres, not {block_size}")
    for path in (json, table):
        if path is not None and not path.parent.is_dir():
            raise StoreError(f'cannot write "{path}": the folder "{path.parent}" does not exist; make it first')
    data, when = sc.open_cube(cube), sc.read_event(event)
    judge, known = sc.load_model(model), sc.read_inventory(inventory)
    names = list(dict.fromkeys(track or sorted(data["scene_track"].to_numpy().tolist())))
    parts = []
    for name in names:
        with computing(f"judging the windows of {name}"):
            stack = stack_for(judge, data, when, track=name, pre_days=pre_days, post_days=post_days).compute()
            scores = sc.score_windows(stack, judge, stride=stride).compute()
        parts.append(sc.window_predictions(scores, rasterise_inventory(known, stack)))
    predictions = pd.concat(parts, ignore_index=True)
    threshold, simulated = judge.spec.threshold, bool(data.attrs.get("simulated"))
    whole = summarise(*truth_and_scores(predictions), threshold=threshold)
    if not whole.n:
        raise InputError(f"none of {whole.unscored} windows is valid, so that nothing can be judged")
    groups = sc.evaluate_groups(predictions, by="track", threshold=threshold)
    intervals = _intervals(predictions, threshold, block_size)
    calibration = {
        "brier_score": sc.brier_score(predictions),
        "expected_calibration_error": sc.expected_calibration_error(predictions),
    }
    if simulated:
        out.print("SIMULATED event, not a measurement")
    out.print(str(whole), highlight=False)
    for statistic, interval in intervals.items():
        out.print(f"{statistic.upper()}: {interval}", highlight=False)
    brier, error = calibration.values()
    out.print(f"Brier score {brier:.3f}, expected calibration error {error:.3f}", highlight=False)
    out.print(_as_table(groups))
    record = {
        "event": when.name,
        "simulated": simulated,
        "model": scores.attrs["model"],
        "pre_days": pre_days,
        "post_days": post_days,
        "stride": stride,
        "block_size": block_size,
        "all": asdict(whole),
        "tracks": {row["track"]: row.drop("track").to_dict() for _, row in groups.iloc[:-1].iterrows()},
        "intervals": {
            name: asdict(interval) if isinstance(interval, Interval) else interval
            for name, interval in intervals.items()
        },
        **calibration,
    }
    if files := _written(predictions, record, table, json):
        say_written(files, start)


def _intervals(predictions: pd.DataFrame, threshold: float, block_size: float) -> dict[str, Interval | str]:
    """Return each statistic's confidence interval, or why there is none: little ground gives numbers all the same."""
    found: dict[str, Interval | str] = {}
    for statistic in _SURE:
        try:
            found[statistic] = sc.block_bootstrap(predictions, statistic, threshold=threshold, block_m=block_size)
        except InputError as error:
            found[statistic] = f"no confidence interval: {error}"
    return found


def _as_table(groups: pd.DataFrame) -> Table:
    counts, shares = ("negatives", "positives", "unscored"), ("accuracy", "precision", "recall", "f1", "auprc")
    table = Table(box=None, padding=(0, 1, 0, 0))  # frames would not leave room for the headings in 80 columns
    table.add_column("track")
    for name in (*counts, *shares):
        table.add_column(name.upper() if name in _SURE else name, justify="right")
    for _, row in groups.iterrows():
        table.add_row(row["track"], *(str(row[n]) for n in counts), *(f"{row[n]:.3f}" for n in shares))
    return table


def _written(predictions: pd.DataFrame, record: Mapping[str, Any], table: Path | None, json: Path | None) -> list[Path]:
    if table is not None:
        with replacing(table) as path:
            # As float32 a score would be read back a little off, and the threshold is often the very score of a window.
            predictions.astype({"score": "float64"}).to_csv(path, index=False)
    if json is not None:
        with replacing(json) as path:
            path.write_text(json_format.dumps(_plain(record), indent=1))
    return [path for path in (table, json) if path is not None]


def _plain(value: Any) -> Any:
    """What JSON holds: numbers of NumPy as Python's, and null for what is not defined."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
