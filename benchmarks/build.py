"""How long a cube takes to build, beside the least that it could take and beside odc-stac and stackstac.

    python -m benchmarks.build --json build.json

12 simulated dates of VV, 4096 x 4096 pixels, are made once in --work. All contestants take turns in one process, each
into a fresh folder; what counts is the median of their rounds. `docs/benchmarks.md` says what each key means.
"""

import argparse
import gc
import json
import logging
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pystac
import rasterio
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

import sarcube as sc
from benchmarks import rivals_build as rivals
from benchmarks.build_scenes import LEFT, RESOLUTION, TOP, cube_grid, make_item, make_scenes

THREADS = 2
CHUNKS = (512, 1024, 2048)
KEEP_BITS = 8  # what write_cube keeps by default
LAZY_ITEMS = 200
_LAZY_SHAPE = (21_000, 27_000)  # of a whole scene
_WARM = 1024  # pixels along a side of the build that warms everything up
_PACKAGES = ("sarcube", "numpy", "dask", "xarray", "zarr", "numcodecs", "rasterio", "odc-stac", "stackstac", "pystac")

Build = Callable[[Path], object]
Seconds = dict[str, list[float]]


def our_build(items: pystac.ItemCollection, path: Path, *, geobox: GeoBox) -> None:
    """Build the cube as a user would."""
    sc.write_cube(sc.load(items, geobox=geobox), path)


def contestants(items: pystac.ItemCollection, geobox: GeoBox, encoding: rivals.Encoding) -> dict[str, Build]:
    """Return all builds of a cube, by name."""
    builds: dict[str, Build] = {"ours": partial(our_build, items, geobox=geobox)}
    for name, build in (("odc", rivals.build_odc), ("stackstac", rivals.build_stackstac)):
        for chunk in CHUNKS:
            settings = {"geobox": geobox, "chunk": chunk, "encoding": encoding, "keep_bits": KEEP_BITS}
            builds[f"{name}_{chunk}"] = partial(build, list(items), **settings)
    return builds


def floor_parts(
    items: pystac.ItemCollection, dates: np.ndarray, encoding: rivals.Encoding
) -> tuple[dict[str, Build], dict[str, Build]]:
    """Return the ways to decode the files, and the ways to write the finished values."""
    files = [Path(item.assets["vv"].href) for item in items]
    decode = {
        "decode_files": lambda path: rivals.decode_files(files, threads=THREADS),
        "decode_blocks": lambda path: rivals.decode_blocks(files, threads=THREADS, side=1024),
    }
    write = {
        "write_plain": partial(rivals.write_plain, dates, encoding=encoding),
        "write_by_dates": partial(rivals.write_by_dates, dates, encoding=encoding, threads=THREADS),
    }
    return decode, write


def measure_grid(items: pystac.ItemCollection, geobox: GeoBox, work: Path, rounds: int) -> tuple[Seconds, dict]:
    """Time all contestants and the floor on one set of scenes; also whether they built the same cube."""
    small = geobox[:_WARM, :_WARM]
    with _fresh(work) as path:
        our_build(items, path, geobox=small)
        warm_encoding = rivals.encoding_of(path)
    for build in contestants(items, small, warm_encoding).values():
        with _fresh(work) as path:
            build(path)
    with _fresh(work) as path:
        our_build(items, path, geobox=geobox)
        encoding = rivals.encoding_of(path)
        dates = zarr.open_array(path / "vv", mode="r")[:]
        facts = {
            "codecs": _codecs(path),
            "chunks": list(encoding["chunks"]),
            "stored_gib": _size_gib(path),
            "share_valid": float(np.isfinite(dates).mean()),
        }
    builds = contestants(items, geobox, encoding)
    for name in ("odc_1024", "stackstac_1024"):
        with _fresh(work) as path:
            builds[name](path)
            facts[f"share_equal_to_{name.split('_')[0]}"] = _share_equal(dates, path)
    decode, write = floor_parts(items, dates, encoding)
    everything = {**builds, **decode, **write}
    seconds: Seconds = {name: [] for name in everything}
    for number in range(rounds):
        for name, build in everything.items():
            with _fresh(work) as path:
                os.sync()  # what the one before left to be written is not this one's work
                gc.collect()
                start = time.perf_counter()
                build(path)
                seconds[name].append(time.perf_counter() - start)
            print(f"  round {number + 1}  {name:16s} {seconds[name][-1]:8.2f} s", flush=True)
    return seconds, facts


def ratios(seconds: Seconds) -> dict[str, float]:
    """Return ours over the floor, and each rival at its best over ours, from the medians."""
    median = {name: statistics.median(values) for name, values in seconds.items()}

    def best(prefix: str) -> float:
        return min(value for name, value in median.items() if name.startswith(prefix))

    floor = best("decode_") + best("write_")
    ours = median["ours"]
    return {"floor": ours / floor, "odc": best("odc_") / ours, "stackstac": best("stackstac_") / ours}


def measure_memory(work: Path, size: int) -> dict[str, Any]:
    """Build areas of 1, 4 and 16 times the size, each in a process of its own."""
    result: dict[str, Any] = {}
    for suffix, factor, distinct in (("", 1, 12), ("_4x", 2, 3), ("_16x", 4, 2)):
        side = factor * size
        folder = work / (f"aligned-{side}" if distinct == 12 else f"linked-{side}-{distinct}")
        make_scenes(folder, size=side, offset=False, distinct=distinct)
        with _fresh(work) as path:
            answer = _apart("memory", folder / "items.json", side, path, THREADS)
        result |= {f"peak_rss_gib{suffix}": answer["peak_rss_gib"], f"memory_seconds{suffix}": answer["seconds"]}
        result["imports_rss_gib"] = answer["imports_rss_gib"]
        print(f"  {side} x {side}: {answer['peak_rss_gib']:.3f} GiB, {answer['seconds']:.1f} s", flush=True)
    return result


def measure_lazy(work: Path, rounds: int) -> dict[str, Any]:
    """Time the first lazy cube of 200 items, each in a fresh process."""
    folder = work / "lazy"
    folder.mkdir(exist_ok=True)
    transform = Affine(RESOLUTION, 0, LEFT, 0, -RESOLUTION, TOP)
    files = {band: folder / f"iw-{band}.rtc.tiff" for band in ("vv", "vh")}  # never opened: the items say all
    items = pystac.ItemCollection([make_item(number, files, transform, _LAZY_SHAPE) for number in range(LAZY_ITEMS)])
    (folder / "items.json").write_text(json.dumps(items.to_dict()))
    west, south, east, north = items[0].bbox
    middle = [
        (west + east) / 2 - 0.18,
        (south + north) / 2 - 0.18,
        (west + east) / 2 + 0.18,
        (south + north) / 2 + 0.18,
    ]
    (folder / "bbox.json").write_text(json.dumps(middle))
    answers: dict[str, list[dict[str, float]]] = {"sarcube": [], "odc": []}
    for _ in range(rounds):
        for engine, found in answers.items():
            found.append(_apart("lazy", folder / "items.json", engine))
    median = {
        f"{engine}_{part}": statistics.median(answer[part] for answer in found)
        for engine, found in answers.items()
        for part in ("import", "first", "second")
    }
    return {
        "ratio_lazy_odc": median["odc_first"] / median["sarcube_first"],
        "ratio_lazy_odc_second": median["odc_second"] / median["sarcube_second"],
        "lazy_seconds": median,
    }


def environment() -> dict[str, Any]:
    """Say what it was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    prefixes = ("GDAL_", "CPL_", "VSI_", "BLOSC_", "OMP_", "MKL_", "NUMBA_", "DASK_", "ZARR_", "MALLOC_", "GLIBC_")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": THREADS,
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "system": platform.platform(),
        "python": platform.python_version(),
        "gdal": rasterio.__gdal_version__,
        "versions": {name: version(name) for name in _PACKAGES},
        "variables": {name: value for name, value in os.environ.items() if name.startswith(prefixes)},
        "load_average_before": os.getloadavg(),
    }


def main() -> None:
    """Make the scenes, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, help="keep the scenes here (4 GB; 5 GB more for builds); default: temporary"
    )
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of a scene; 4096 is what is reported")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    dask.config.set(scheduler="threads", num_workers=THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(work, args.size, args.rounds)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    report(result)


def measure(work: Path, size: int, rounds: int) -> dict[str, Any]:
    """Measure everything; the keys are those of the JSON file."""
    result: dict[str, Any] = {"simulated": True, "size": size, "rounds": rounds, "environment": environment()}
    for name in ("aligned", "offset"):
        print(f"{name} scenes, {size} x {size}", flush=True)
        items = make_scenes(work / f"{name}-{size}", size=size, offset=name == "offset")
        for item in items:
            Path(item.assets["vv"].href).read_bytes()  # warm: what is measured is no disk
        seconds, facts = measure_grid(items, cube_grid(size), work, rounds)
        result |= {f"ratio_{rival}_{name}": value for rival, value in ratios(seconds).items()}
        result[name] = {"seconds": seconds, **facts}
    result |= {f"ratio_{rival}": result[f"ratio_{rival}_aligned"] for rival in ("floor", "odc", "stackstac")}
    print("memory", flush=True)
    result |= measure_memory(work, size)
    result |= measure_lazy(work, rounds)
    result["environment"]["load_average_after"] = os.getloadavg()
    return result


def report(result: dict[str, Any]) -> None:
    """Print the medians and the ratios."""
    host = result["environment"]
    print(f"\nSIMULATED scenes, 12 x {result['size']}²; {host['cpu']}, {host['cores']} cores, {THREADS} threads")
    print(", ".join(f"{name} {number}" for name, number in host["versions"].items()) + f", GDAL {host['gdal']}")
    print(f"load average {host['load_average_before'][0]:.1f} before, {host['load_average_after'][0]:.1f} after")
    print(f"{'seconds, median':16s} {'aligned':>9s} {'offset':>9s}")
    for name in result["aligned"]["seconds"]:
        times = (statistics.median(result[grid]["seconds"][name]) for grid in ("aligned", "offset"))
        print(f"{name:16s} " + " ".join(f"{value:9.2f}" for value in times))
    for name, value in result.items():
        if name.startswith(("ratio_", "peak_", "imports_")):
            print(f"{name:24s} {value:8.3f}")


def _apart(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.build_apart", *map(str, arguments)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


@contextmanager
def _fresh(work: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=work))
    try:
        yield folder / "cube.zarr"
    finally:
        shutil.rmtree(folder)


def _share_equal(dates: np.ndarray, path: Path) -> float:
    """Return the share of pixels that a rival's store has alike."""
    array = zarr.open_array(path / "vv", mode="r")
    equal = sum(int(np.sum((day == array[i]) | (np.isnan(day) & np.isnan(array[i])))) for i, day in enumerate(dates))
    return equal / dates.size


def _codecs(path: Path) -> list[Any]:
    return list(json.loads((path / "vv" / "zarr.json").read_text())["codecs"])


def _size_gib(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**30


def _lines(path: str) -> Sequence[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else ()


if __name__ == "__main__":
    main()
