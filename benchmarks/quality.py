"""What `sc.quality` finds and misses, and how often it is wrong, on simulated events and on real scenes.

    python -m benchmarks.quality --json quality.json

Simulated: events from fresh random seeds, which are in the file, each track with one date displaced by two rows and one
column, a swath edge, border fringe, a zero-filled part, a date without VH, a date on a grid a third of a pixel aside
and a pass in two slices, of which one is raised by 1 dB in a second look. For the false alarms of seams all passes are
looked at as if they had slices.
Real: the OPERA RTC-S1 scenes of `../shared/data`, where they are there, as they are and with every date that
covers its place displaced once, by one of four vectors in turn. Nothing is known to be displaced in them as they are.
"""

import argparse
import json
import logging
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr

import sarcube as sc
from sarcube.cube.quality.table import quality
from sarcube.synthetic.archive import NODATA

FLAWS = ("nodata", "zeros", "slices", "vv_only", "offset_grid", "shift", "fringe")
SIZE_KM = 6.0
PRE_DATES, POST_DATES = 7, 2
FRESH_SEEDS_FROM = 10**6
REAL = Path(__file__).parents[2] / "shared" / "data" / "opera-rtc-california"
VECTORS = ((2, 0), (0, 2), (2, 2), (-2, 1))  # rows, columns
SHIFT = (2.0, 1.0)  # what the archive's flaw "shift" is


def displace(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Move an image (y, x); what it uncovers is NaN."""
    moved = np.full_like(values, np.nan)
    height, width = values.shape
    source = np.s_[max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)]
    target = np.s_[max(rows, 0) : height - max(-rows, 0), max(columns, 0) : width - max(-columns, 0)]
    moved[target] = values[source]
    return moved


def says(table: Any, word: str) -> np.ndarray:
    """Which scenes are warned of: (scene,) bool."""
    return np.array([any(word in line for line in lines) for lines in table["warnings"]], bool)


def errors(table: Any, truth: dict[int, tuple[float, float]]) -> list[float]:
    """Distance of the measured from the true displacement, in pixels."""
    return [float(np.hypot(table["shift_rows"][t] - r, table["shift_columns"][t] - c)) for t, (r, c) in truth.items()]


def is_displaced(item: Any) -> bool:
    """Whether a simulated scene has the flaw: nothing came into its first two rows and its first column."""
    with rasterio.open(item.assets["vv"].get_absolute_href()) as source:
        values = source.read(1)
    return bool((values[:2] == NODATA).all() and (values[:, 0] == NODATA).all())


def raise_slices(items: Any, decibel: float) -> None:
    """Raise the later slice of every pass that has two."""
    by_pass: dict[tuple[Any, str], list[Any]] = {}
    for item in items:
        by_pass.setdefault((item.properties["sat:absolute_orbit"], item.properties["sat:orbit_state"]), []).append(item)
    for slices in by_pass.values():
        for item in sorted(slices, key=lambda i: i.properties["start_datetime"])[1:]:
            for asset in item.assets.values():
                with rasterio.open(asset.get_absolute_href()) as source:
                    values, profile = source.read(1), source.profile
                raised = np.where(values > 0, values * np.float32(10 ** (decibel / 10)), values)
                keep = {
                    key: profile[key] for key in ("width", "height", "count", "dtype", "crs", "transform", "nodata")
                }
                with rasterio.open(asset.get_absolute_href(), "w", driver="GTiff", **keep) as target:
                    target.write(raised, 1)


def as_if_sliced(cube: xr.Dataset) -> xr.Dataset:
    """Say of every pass that it has two slices."""
    ids = np.array([f"{joined},and-another" for joined in cube["item_ids"].to_numpy()], object)
    return cube.assign_coords(item_ids=("time", ids))


def simulated(seed: int, folder: Path) -> dict[str, Any]:
    """Look at one event."""
    simulation = sc.simulate(
        folder, seed=seed, size_km=SIZE_KM, pre_dates=PRE_DATES, post_dates=POST_DATES, flaws=FLAWS
    )
    items = sc.search(simulation.event, catalog=folder, pre_days=12 * PRE_DATES, post_days=12 * POST_DATES)
    displaced = {item.id for item in items if is_displaced(item)}
    cube = sc.load(items, bbox=simulation.event.bbox).load()
    sliced = np.array(["," in joined for joined in cube["item_ids"].to_numpy()])
    truth = np.array([not displaced.isdisjoint(joined.split(",")) for joined in cube["item_ids"].to_numpy()])
    table = quality(as_if_sliced(cube))
    warned, seams = says(table, "displaced by"), says(table, "seam of")
    raise_slices(items, 1.0)
    again = quality(sc.load(items, bbox=simulation.event.bbox).load())
    return {
        "scenes": len(table),
        "displaced": int(truth.sum()),
        "displaced_found": int((warned & truth).sum()),
        "displaced_false": int((warned & ~truth).sum()),
        "shift_not_measured": int(table["shift_rows"].isna().sum()),
        "shift_error_px": max(errors(table, dict.fromkeys(np.flatnonzero(truth).tolist(), SHIFT))),
        "shift_of_the_others_px": float(np.hypot(table["shift_rows"], table["shift_columns"])[~truth].max()),
        "seams": int(sliced.sum()),
        "seams_found": int(says(again, "seam of")[sliced].sum()),
        "seam_looks": len(table),
        "seam_false": int(seams.sum()),
        "seam_db_where_none": [round(float(v), 2) for v in table["seam_db"]],
        "seam_db_where_1_db": [round(float(v), 2) for v in again["seam_db"][sliced]],
        "zeros_found": int(says(table, "VV are zeros").sum()),
        "fringe_scenes": int((table["vv_fringe"] > 0).sum()),
    }


def real(folder: Path) -> dict[str, Any]:
    """Look at the real scenes of all places, as they are and displaced."""
    items = sc.items_from_folder(folder)
    result = {"places": 0, "scenes": 0, "not_measured": 0, "displaced_false": 0, "displaced": 0, "displaced_found": 0}
    result |= {"false_while_others_are_displaced": 0}
    lengths, errors_px, false = [0.0], [0.0], []
    for place in sorted({item.properties["s1:burst_id"] for item in items}):
        here = [item for item in items if item.properties["s1:burst_id"] == place]
        cube = sc.load(here, resolution=30, border_fringe=0).load()
        table = quality(cube)
        warned = says(table, "displaced by")
        false += table["item_ids"][warned].tolist()
        result["places"] += 1
        result["scenes"] += len(table)
        result["not_measured"] += int(table["shift_rows"].isna().sum())
        result["displaced_false"] += int(warned.sum())
        lengths.append(float(np.hypot(table["shift_rows"], table["shift_columns"]).max()))
        whole = np.flatnonzero(table["shift_rows"].notna())
        groups = -(-len(whole) // len(VECTORS))
        for first in range(groups):
            chosen = dict(zip(whole[first::groups].tolist(), VECTORS, strict=False))
            moved = cube.copy(deep=True)
            for step, vector in chosen.items():
                for band in ("vv", "vh"):
                    moved[band][step] = displace(cube[band].to_numpy()[step], *vector)
            table = quality(moved)
            found = set(np.flatnonzero(says(table, "displaced by")).tolist())
            result["displaced"] += len(chosen)
            result["displaced_found"] += len(found & set(chosen))
            result["false_while_others_are_displaced"] += len(found - set(chosen))
            errors_px += errors(table, chosen)
    return result | {
        "largest_shift_as_they_are_px": max(lengths),
        "largest_error_px": max(errors_px),
        "false_items": false,
    }


def total(events: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Counts added, errors at their largest."""
    keys = next(iter(events.values()))
    result: dict[str, Any] = {}
    for key, value in keys.items():
        values = [event[key] for event in events.values()]
        if isinstance(value, int):
            result[key] = sum(values)
        elif isinstance(value, float):
            result[key] = max(values)
    return result


def main() -> None:
    """Look, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", help="repeat a run; by default fresh ones are drawn")
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the flaws are meant
    start = time.perf_counter()
    seeds = args.seeds or [FRESH_SEEDS_FROM + secrets.randbelow(2**31) for _ in range(args.events)]
    events = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            events[seed] = simulated(seed, Path(folder) / "event")
        event = events[seed]
        print(
            f"event {seed}: displaced {event['displaced_found']} of {event['displaced']} found, "
            f"{event['displaced_false']} false of {event['scenes']}; "
            f"seams {event['seams_found']} of {event['seams']}, {event['seam_false']} false",
            flush=True,
        )
    result: dict[str, Any] = {"seeds": seeds, "simulated": total(events), "per_event": events}
    print("SIMULATED", json.dumps(result["simulated"]), flush=True)
    if REAL.is_dir():
        result["real"] = real(REAL)
        print("REAL", json.dumps(result["real"]), flush=True)
    else:
        print(f"REAL: nothing measured, {REAL} is not there")
    result["seconds"] = round(time.perf_counter() - start, 1)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    print(f"{result['seconds']} s")


if __name__ == "__main__":
    main()
