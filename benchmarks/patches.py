"""How fast training is that reads its patches from a cube on disk, beside the same tensors held in memory.

    python -m benchmarks.patches --json patches.json

A cube of simulated speckle (VV and VH, five dates before an event and one after), larger than the memory that training
may use, is made once in --work. The papers' light network is trained on patches of its composite: read from Zarr and
composited again in each epoch, in a process that dies above --limit-gib of memory of its own; and loaded into memory
before the clock starts, in one that may use what it likes. Both take turns, each round in fresh processes; what counts
is the median over rounds and epochs. Both must end with the same weights, to the bit. `docs/benchmarks.md` says what
each key means.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.composite_cube import STORED_SIZE, store_cube
from benchmarks.geometry import environment

SOURCES = ("zarr", "memory")
_PACKAGES = ("sarcube", "numpy", "dask", "torch", "zarr")
_LAYERS = 12  # VV and VH of six dates


def apart(what: str, store: Path, source: str, *, limit_gib: float, epochs: int, filters: int) -> dict[str, Any]:
    """Run `benchmarks.patches_apart` and return what it says."""
    limit = limit_gib if source == "zarr" else 0
    call = ["benchmarks.patches_apart", what, str(store), source, str(limit), str(epochs), str(filters)]
    done = subprocess.run([sys.executable, "-m", *call], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} from {source} failed:\n{done.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(store: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Let both take turns."""
    settings = {"limit_gib": args.limit_gib, "filters": args.filters}
    rates: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    models = set()
    for number in range(args.rounds):
        for source in SOURCES[:: 1 if number % 2 else -1]:
            answer = apart("train", store, source, epochs=args.epochs, **settings)
            models.add(answer["model"])
            rates.setdefault(source, []).extend(answer["patches"] / seconds for seconds in answer["seconds"])
            peaks.setdefault(source, []).append(answer["peak_rss_gib"])
            said = ", ".join(f"{rate:.0f}" for rate in rates[source][-args.epochs :])
            print(f"  round {number + 1}, from {source}: {said} patches/s", flush=True)
    reading = apart("read", store, "zarr", epochs=2, **settings)
    middle = {source: statistics.median(rates[source]) for source in SOURCES}
    return {
        "patches_in_an_epoch": answer["patches"],
        "rates": rates,
        "patches_per_second_zarr": middle["zarr"],
        "patches_per_second_memory": middle["memory"],
        "ratio_training": middle["zarr"] / middle["memory"],
        "patches_per_second_reading_alone": reading["patches"] / statistics.median(reading["seconds"]),
        "peak_rss_gib_zarr": max(peaks["zarr"]),
        "peak_rss_gib_memory": max(peaks["memory"]),
        "same_weights": len(models) == 1,
    }


def main() -> None:
    """Make the cube, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("bench-output/patches"))
    parser.add_argument("--size", type=int, default=STORED_SIZE)
    parser.add_argument("--limit-gib", type=float, default=2.0)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    args.work.mkdir(parents=True, exist_ok=True)
    store = store_cube(args.work, args.size)
    result = {
        "simulated": True,
        "size": args.size,
        "cube_gib": _LAYERS * args.size**2 * 4 / 2**30,
        "limit_gib": args.limit_gib,
        "filters": args.filters,
        "environment": environment() | {"versions": {name: version(name) for name in _PACKAGES}},
        **measure(store, args),
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    for key, value in result.items():
        if isinstance(value, bool | int | float):
            print(f"{key:36s} {value:.4g}")


if __name__ == "__main__":
    main()
