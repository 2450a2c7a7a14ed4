"""How fast a composite before and after an event is, in memory and from Zarr, beside xarray and beside reading alone.

    python -m benchmarks.composite --json composite.json

Simulated speckle, VV and VH, five dates before and one after. A cube of 10 000 x 10 000 pixels is made once in --work.
All that is compared takes turns; what counts is the median of the rounds. `docs/benchmarks.md` says what each key
means.
"""

import argparse
import gc
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr

import sarcube as sc
from benchmarks.composite_cube import POLARISATIONS, STORED_SIZE, WINDOWS, event, lazy_cube, store_cube
from benchmarks.geometry import THREADS, environment, medians
from benchmarks.rivals_composite import OWN_READ, READS, natural_composite
from benchmarks.rivals_median import chunk_sizes, without_numbagg
from benchmarks.timing import time_warm

SIZE = 4096  # pixels along a side in memory, as reported
SLOW = ("xarray",)  # how those begin that take a minute
_SLOW_ROUNDS = 1
_TOLERANCE = 1e-4  # dB: float32 logarithms of either
_BYTES_OF = {"input": len(POLARISATIONS) * 6 * 4, "output": 2 * len(POLARISATIONS) * 4}  # bytes a pixel
_PACKAGES = ("sarcube", "numpy", "numba", "dask", "xarray", "bottleneck", "numbagg", "zarr", "numcodecs")

Work = Callable[[], np.ndarray]
Composite = Callable[..., xr.DataArray]
Answers = dict[str, list[dict[str, float]]]


def memory_contestants(cube: xr.Dataset, size: int) -> dict[str, Work]:
    """Return all ways to take the composite of a cube in memory."""
    # All dates in one chunk, or xarray would first have to put them into one.
    lazy = {f"dask_{chunk}": cube.chunk({"time": -1, "y": chunk, "x": chunk}) for chunk in chunk_sizes(size)}
    works: dict[str, Work] = {}
    for kind, values in ({"numpy": cube} | lazy).items():
        natural = partial(_computed, natural_composite, values)
        works |= {
            f"ours_{kind}": partial(_computed, sc.composite, values),
            f"xarray_{kind}": natural,
            f"xarray_without_numbagg_{kind}": partial(without_numbagg, natural),
        }
    return works


def measure_memory(size: int, rounds: int) -> dict[str, Any]:
    """Time the composite of a cube in memory, and check that all find the same."""
    cube = lazy_cube(size, chunk=min(size, 1024)).compute()
    works = memory_contestants(cube, size)
    for work in memory_contestants(cube.isel(y=slice(64), x=slice(64)), 64).values():
        work()  # compiled, threads started
    expected = works["ours_numpy"]()
    seconds: dict[str, list[float]] = {}
    differences: dict[str, float] = {}
    for number in range(rounds):
        chosen = {n: w for n, w in works.items() if number < _SLOW_ROUNDS or not n.startswith(SLOW)}
        for name, work in chosen.items():
            gc.collect()
            values, taken = time_warm(work)
            seconds.setdefault(name, []).append(taken)
            print(f"  {name:32s} {taken:8.3f} s", flush=True)
            differences[name] = _largest_difference(values, expected)
            assert differences[name] <= _TOLERANCE, f"{name} finds another composite: {differences[name]} dB"
    median = medians(seconds)
    lazy, rival = _best(median, "ours_dask_"), _best(median, "xarray_dask_")
    bare = "xarray_without_numbagg"
    moved = sum(_BYTES_OF.values()) * size**2
    return {
        "vs_xarray_dask": rival / median["ours_numpy"],
        "vs_xarray_dask_lazy": rival / lazy,
        "vs_xarray": median["xarray_numpy"] / median["ours_numpy"],
        "vs_xarray_dask_without_numbagg": _best(median, f"{bare}_dask_") / median["ours_numpy"],
        "vs_xarray_without_numbagg": median[f"{bare}_numpy"] / median["ours_numpy"],
        "dask_over_numpy": lazy / median["ours_numpy"],
        "gbps": moved / median["ours_numpy"] / 1e9,
        "memory": {"seconds": seconds, "largest_difference_db": differences},
    }


def measure_store(work: Path, size: int, rounds: int) -> dict[str, Any]:
    """Time the composite of a cube in Zarr beside reading it, each in a process of its own."""
    store = store_cube(work, size)
    for path in store.rglob("*"):
        if path.is_file():
            path.read_bytes()  # warm: what is measured is no disk
    answers: Answers = {}
    for _ in range(rounds):
        for what in ("composite", OWN_READ, *READS):
            answers.setdefault(what, []).append(_apart(what, store, THREADS))
        output = Path(tempfile.mkdtemp(prefix="composite-", dir=work))
        try:
            answers.setdefault("store", []).append(_apart("store", store, THREADS, output / "stack.zarr"))
        finally:
            shutil.rmtree(output)
    seconds = {what: [answer["seconds"] for answer in found] for what, found in answers.items()}
    median = medians(seconds)
    layers = [path for name in POLARISATIONS for path in (store / name).rglob("*") if path.is_file()]
    return {
        "ratio_read": median["composite"] / min(median[name] for name in READS),
        "ratio_read_strict": median["composite"] / min(median[name] for name in (OWN_READ, *READS)),
        "peak_rss_gib": max(answer["peak_rss_gib"] for answer in answers["composite"]),
        "stored_seconds": median["store"],
        "peak_rss_gib_stored": max(answer["peak_rss_gib"] for answer in answers["store"]),
        "store": {
            "size": size,
            "seconds": seconds,
            "share_valid": answers["composite"][0]["valid"] / (2 * len(POLARISATIONS) * size**2),
            "stored_gib": sum(path.stat().st_size for path in layers) / 2**30,
            "decoded_gib": _BYTES_OF["input"] * size**2 / 2**30,
        },
    }


def measure_first(rounds: int) -> dict[str, Any]:
    """Time the first composite of a process, with compiled kernels on the disk and without."""
    _apart("first")  # now they are on the disk
    answers: Answers = {"cached": [], "ever": []}
    for _ in range(rounds):
        answers["cached"].append(_apart("first"))
        with tempfile.TemporaryDirectory() as empty:
            answers["ever"].append(_apart("first", variables={"NUMBA_CACHE_DIR": empty}))
    median = {
        f"{which}_{part}": statistics.median(answer[part] for answer in found)
        for which, found in answers.items()
        for part in ("import", "first", "second")
    }
    return {
        "first_call_s": median["cached_first"],
        "first_ever_s": median["ever_first"],
        "compilation_s": median["cached_first"] - median["cached_second"],
        "compilation_ever_s": median["ever_first"] - median["ever_second"],
        "import_s": median["cached_import"],
        "first": answers,
    }


def measure(work: Path, size: int, stored: int, rounds: int) -> dict[str, Any]:
    """Measure everything; the keys are those of the JSON file."""
    host = environment()
    result: dict[str, Any] = {
        "simulated": True,
        "size": size,
        "rounds": rounds,
        "threads": THREADS,
        "versions": {name: version(name) for name in _PACKAGES},
        "environment": {key: value for key, value in host.items() if key not in ("threads", "versions")},
    }
    print("first call", flush=True)
    result |= measure_first(rounds)
    print(f"in memory, {size} x {size}", flush=True)
    result |= measure_memory(size, rounds)
    gc.collect()
    print(f"from Zarr, {stored} x {stored}", flush=True)
    result |= measure_store(work, stored, rounds)
    result["environment"]["load_average_after"] = os.getloadavg()
    return result


def report(result: dict[str, Any]) -> None:
    """Print the medians and the ratios."""
    host = result["environment"]
    print(f"\nSIMULATED speckle, 5 dates before, 1 after, VV and VH; {host['cpu']}, {host['cores']} cores")
    if (result["size"], result["store"]["size"]) != (SIZE, STORED_SIZE):
        print(f"not the sizes that are reported, which are {SIZE}² in memory and {STORED_SIZE}² in Zarr")
    print(f"threads {result['threads']}; " + ", ".join(f"{name} {n}" for name, n in result["versions"].items()))
    print(f"load average {host['load_average_before'][0]:.1f} before, {host['load_average_after'][0]:.1f} after")
    for what, size in (("memory", result["size"]), ("store", result["store"]["size"])):
        print(f"{what}, {size}²")
        for name, value in medians(result[what]["seconds"]).items():
            print(f"  {name:32s} {value:9.3f} s")
    for name, value in result.items():
        if isinstance(value, float):
            print(f"{name:32s} {value:9.3f}")


def main() -> None:
    """Make the cubes, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="keep the cube in Zarr here (3 GB); default: temporary")
    parser.add_argument("--size", type=int, default=SIZE, help=f"pixels along a side in memory; reported: {SIZE}")
    parser.add_argument("--stored", type=int, default=STORED_SIZE, help=f"the same in Zarr; reported: {STORED_SIZE}")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    dask.config.set(scheduler="threads", num_workers=THREADS)
    warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(work, args.size, args.stored, args.rounds)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    report(result)


def _computed(way: Composite, cube: xr.Dataset) -> np.ndarray:
    return way(cube, event(), **WINDOWS).values


def _largest_difference(values: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference in dB; infinite where only one of both is missing."""
    if not np.array_equal(np.isnan(values), np.isnan(expected)):
        return float("inf")
    return float(np.nanmax(np.abs(values - expected)))


def _best(median: dict[str, float], prefix: str) -> float:
    return min(value for name, value in median.items() if name.startswith(prefix))


def _apart(*arguments: object, variables: dict[str, str] | None = None) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.composite_apart", *map(str, arguments)]
    os.sync()  # what was written before is not this one's work
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | (variables or {}))
    answer = dict(json.loads(run.stdout.splitlines()[-1]))
    print(f"  {arguments[0]!s:22s} " + ", ".join(f"{name} {value:.3f}" for name, value in answer.items()), flush=True)
    return answer


if __name__ == "__main__":
    main()
