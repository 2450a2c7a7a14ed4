"""How fast the median over time is, beside numpy, xarray, bottleneck, numbagg and torch, and beside the memory's speed.

    python -m benchmarks.median --json median.json

Simulated speckle, 4096 x 4096 pixels, 2, 5, 10 and 30 dates, 5 % NaN, all in memory. All take turns; what counts is the
median of the rounds. `docs/benchmarks.md` says what each key means.
"""

import argparse
import gc
import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numba
import numpy as np
import torch

from benchmarks.geometry import THREADS, environment
from benchmarks.geometry_parts import read_memory
from benchmarks.rivals_median import LOWER_MIDDLE, Array, Settings, Work, chunk_sizes, lazy, rival_settings
from benchmarks.timing import time_warm
from sarcube.change import nanmedian, valid_count

DATES = (2, 5, 10, 30)
LOOKS = 4.4
MISSING = 0.05  # share of the values that are NaN
SIZE = 4096  # pixels along a side, as reported
OURS, OURS_DASK, READ = "ours", "ours_dask", "read_memory"
_BANDWIDTH_BYTES = 2**30  # far more than any cache holds
_PROBE = 8  # settings are tried on this part of the rows
_KEPT = 2  # settings of each rival that were the fastest in the trial, beside its plain call
_PATIENCE = 10.0  # seconds: what one setting may take in all its rounds, but for the first
_TOLERANCE = 1e-6  # relative: some interpolate between the two middle values
_PACKAGES = ("sarcube", "numpy", "numba", "dask", "xarray", "bottleneck", "numbagg", "torch")


@dataclass
class Runs:
    """What was found about one setting."""

    seconds: list[float] = field(default_factory=list)
    memory_gib: list[float] = field(default_factory=list)  # growth of resident memory at the peak of the call
    difference: float = 0.0  # largest relative one from our median


def speckle(dates: int, size: int, *, seed: int) -> Array:
    """Return gamma speckle (time, y, x) with missing values."""
    random = np.random.default_rng(seed)
    values = np.empty((dates, size, size), np.float32)
    for date in values:
        random.standard_gamma(LOOKS, dtype=np.float32, out=date)
        date[random.random(date.shape, np.float32) < MISSING] = np.nan
    values *= np.float32(0.1 / LOOKS)
    return values


def measure_dates(values: Array, rounds: int) -> dict[str, Any]:
    """Time all contestants on one array."""
    dates, size = values.shape[0], values.shape[1]
    chunks = chunk_sizes(size)
    expected, odd = nanmedian(values), valid_count(values) & 1 == 1
    flat = np.ones(_BANDWIDTH_BYTES // 8)
    ours: dict[str, Settings] = {
        OURS: {"whole": partial(nanmedian, values)},
        OURS_DASK: {f"chunks_{chunk}": _dask_work(values, chunk) for chunk in chunks},
        READ: {"sum": partial(read_memory, flat, threads=THREADS)},
    }
    rivals, trial = choose(values, chunks=chunks)
    found = {name: {setting: Runs() for setting in settings} for name, settings in (ours | rivals).items()}
    for number in range(rounds):
        for name, settings in (ours | rivals).items():
            for setting, work in settings.items():
                runs = found[name][setting]
                # Once at least; a slow one again only while there is patience left.
                if number and sum(runs.seconds) + runs.seconds[0] > _PATIENCE:
                    continue
                result = run(work, runs)
                if name != READ:
                    where = odd if name in LOWER_MIDDLE else slice(None)
                    runs.difference = max(runs.difference, largest_difference(result[where], expected[where]))
                    assert runs.difference <= _TOLERANCE, f"{name}, {setting}: another median than ours"
                print(f"  T={dates:<3d} {name:28s} {setting:16s} {runs.seconds[-1]:8.3f} s", flush=True)
    return summary(found, values.nbytes) | {"probe_seconds": trial}


def choose(values: Array, *, chunks: tuple[int, ...]) -> tuple[dict[str, Settings], dict[str, dict[str, float]]]:
    """Try all settings on some rows; return each rival's plain call and its fastest, and what the trial took."""
    part = np.ascontiguousarray(values[:, : max(1, values.shape[1] // _PROBE)])
    few = np.ascontiguousarray(part[:, :16])
    kept: dict[str, Settings] = {}
    trial: dict[str, dict[str, float]] = {}
    whole, parts, warm = (rival_settings(a, chunks=chunks, threads=THREADS) for a in (values, part, few))
    for name, settings in parts.items():
        taken: dict[str, float] = {}
        for setting, work in settings.items():
            warm[name][setting]()  # compiled, threads started
            start = time.perf_counter()
            work()
            taken[setting] = time.perf_counter() - start
        chosen = {next(iter(settings)), *sorted(taken, key=taken.__getitem__)[:_KEPT]}
        kept[name] = {setting: whole[name][setting] for setting in settings if setting in chosen}
        trial[name] = taken
    return kept, trial


def run(work: Work, runs: Runs) -> Any:
    """Do the work once, and note its time and the growth of memory."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of resident memory starts anew from here
    before = _resident_gib("VmRSS")
    result, seconds = time_warm(work)
    runs.seconds.append(seconds)
    runs.memory_gib.append(max(0.0, _resident_gib("VmHWM") - before))
    return result


def largest_difference(values: Array, expected: Array) -> float:
    """Return the largest relative difference; infinite where only one of both is missing."""
    missing = np.isnan(expected)
    if not np.array_equal(np.isnan(values), missing):
        return float("inf")
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(values / expected - 1), where=~missing, initial=0.0))


def summary(found: dict[str, dict[str, Runs]], input_bytes: int) -> dict[str, Any]:
    """Return the keys of one number of dates."""
    seconds = {name: _best(settings) for name, settings in found.items()}
    ours = seconds[OURS]
    result: dict[str, Any] = {
        "seconds": ours,
        "gbps": input_bytes / ours / 1e9,
        "peak_memory_gib": _memory(found[OURS]),
        "bandwidth_gbps": _BANDWIDTH_BYTES / seconds[READ] / 1e9,
        "fraction_of_bandwidth": input_bytes / ours / (_BANDWIDTH_BYTES / seconds[READ]),
        "dask_over_kernel": seconds[OURS_DASK] / ours,
        "input_gib": input_bytes / 2**30,
    }
    for name in found.keys() - {OURS, OURS_DASK, READ}:
        result[f"vs_{name}"] = seconds[name] / ours
    result["runs"] = {
        name: {setting: vars(runs) for setting, runs in settings.items()} for name, settings in found.items()
    }
    result["peak_memory_gib_of"] = {name: _memory(settings) for name, settings in found.items()}
    return result


def measure(size: int, rounds: int, numbers: Sequence[int] = DATES) -> dict[str, Any]:
    """Measure everything; the keys are those of the JSON file."""
    host = environment()
    result: dict[str, Any] = {
        "simulated": True,
        "size": size,
        "rounds": rounds,
        "threads": {
            "ours": THREADS,
            "dask": THREADS,
            "numba": numba.get_num_threads(),
            "torch": torch.get_num_threads(),
        },
        "versions": {name: version(name) for name in _PACKAGES},
        "environment": {key: value for key, value in host.items() if key not in ("threads", "versions")},
        "T": {},
    }
    for dates in numbers:
        print(f"{dates} dates, {size} x {size}", flush=True)
        result["T"][str(dates)] = measure_dates(speckle(dates, size, seed=dates), rounds)
    reads = [seconds for found in result["T"].values() for seconds in found["runs"][READ]["sum"]["seconds"]]
    result["bandwidth_gbps"] = _BANDWIDTH_BYTES / statistics.median(reads) / 1e9
    result["environment"]["load_average_after"] = os.getloadavg()
    return result


def report(result: dict[str, Any]) -> None:
    """Print what was found, a column for each number of dates."""
    host, columns = result["environment"], result["T"]
    print(f"\nSIMULATED speckle, {result['size']}² pixels, {100 * MISSING:.0f} % NaN; {host['cpu']}")
    if result["size"] != SIZE:
        print(f"not the size that is reported, which is {SIZE}²")
    print(f"{host['cores']} cores; threads: " + ", ".join(f"{who} {n}" for who, n in result["threads"].items()))
    print(", ".join(f"{name} {number}" for name, number in result["versions"].items()))
    print(f"load average {host['load_average_before'][0]:.1f} before, {host['load_average_after'][0]:.1f} after")
    print(f"memory read at {result['bandwidth_gbps']:.1f} GB/s")
    print(f"{'dates':34s}" + "".join(f"{dates:>12s}" for dates in columns))
    first = next(iter(columns.values()))
    keys = [name for name, value in first.items() if isinstance(value, float)]
    for key in [*(k for k in keys if not k.startswith("vs_")), *sorted(k for k in keys if k.startswith("vs_"))]:
        print(f"{key:34s}" + "".join(f"{found.get(key, float('nan')):12.4g}" for found in columns.values()))
    for name in first["runs"]:
        best = [min(found["runs"][name].items(), key=_median_of)[0] for found in columns.values()]
        print(f"{name + ', best':34s}" + "".join(f" {setting:>11s}" for setting in best))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--size", type=int, default=SIZE, help=f"pixels along a side; {SIZE} is what is reported")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dates", type=int, nargs="+", default=DATES, help="numbers of dates; reported: 2 5 10 30")
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    dask.config.set(scheduler="threads", num_workers=THREADS)
    torch.set_num_threads(THREADS)
    warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
    result = measure(args.size, args.rounds, args.dates)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    report(result)


def _dask_work(values: Array, chunk: int) -> Callable[[], Any]:
    chunked = lazy(values, chunk)
    return lambda: nanmedian(chunked).compute()


def _best(settings: dict[str, Runs]) -> float:
    return min(statistics.median(runs.seconds) for runs in settings.values())


def _memory(settings: dict[str, Runs]) -> float:
    """Return the growth of memory of the fastest setting."""
    fastest = min(settings.values(), key=lambda runs: statistics.median(runs.seconds))
    return max(fastest.memory_gib)


def _median_of(item: tuple[str, dict[str, Any]]) -> float:
    return statistics.median(item[1]["seconds"])


def _resident_gib(what: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("resident memory is read from /proc/self/status, which needs Linux")


if __name__ == "__main__":
    main()
