"""How fast layover and shadow are found, beside the same in numpy, and beside the least that a whole scene can take.

    python -m benchmarks.geometry --json geometry.json

Simulated, fractal relief. A scene of 25 000 x 17 000 pixels is made once in --work. All that is compared takes turns;
what counts is the median of the rounds. `docs/benchmarks.md` says what each key means.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr

from benchmarks import geometry_parts as parts
from benchmarks import rivals_geometry as rivals
from benchmarks.geometry_scene import ORBIT_STATE, RELATIVE_ORBIT, RESOLUTION, SHAPE, make_scene, scene_grid
from benchmarks.relief import RELIEF, fractal_patch, median_slope
from sarcube import open_cube
from sarcube.cube.geometry.look import solve_look
from sarcube.sar import layover_shadow_mask

THREADS = 2
BLOCKS = (16, 32, 64)  # lines that the rival holds at a time
LOOK = {"incidence": 39.0, "azimuth": 260.0}  # degrees
WRITERS = ("write_cube", "to_zarr")
_BANDWIDTH_BYTES = 2**30  # far more than any cache holds
_BYTES_MOVED = 5  # per pixel, at least: a float32 read, a byte written
_PACKAGES = ("sarcube", "numpy", "numba", "dask", "xarray", "zarr", "numcodecs", "scipy")

Work = Callable[[], object]
Seconds = dict[str, list[float]]


def kernel_contestants(elevation: np.ndarray) -> dict[str, Work]:
    """Return ours and the rival at all its settings."""
    look = {"resolution": RESOLUTION, **LOOK}
    works: dict[str, Work] = {"ours": partial(_ours, elevation)}
    for block in BLOCKS:
        works[f"numpy_{block}"] = partial(rivals.mask_by_accumulate, elevation, block=block, threads=THREADS, **look)
    works["whole_array"] = partial(rivals.mask_by_accumulate, elevation, block=None, threads=1, **look)
    return works


def measure_kernel(size: int, rounds: int) -> dict[str, Any]:
    """Time the mask of a square of fractal relief, and check that the rival's is the same."""
    # A small one is a corner: relief that is squeezed into less room is steeper than mountains.
    elevation = np.ascontiguousarray(fractal_patch(max(size, 4096), seed=1)[:size, :size] * np.float32(RELIEF))
    works = kernel_contestants(elevation)
    mask = _ours(elevation)
    unlike = {name: int((work() != mask).sum()) for name, work in works.items()}  # and all are warm
    assert max(unlike.values()) <= 8, f"the rival's mask is another one: {unlike}"  # ties of rounded sums at most
    seconds = take_turns(works, rounds=rounds)
    median = medians(seconds)
    best = min(median[f"numpy_{block}"] for block in BLOCKS)
    return {
        "ratio_numpy": best / median["ours"],
        "ratio_numpy_whole_array": median["whole_array"] / median["ours"],
        "kernel": {
            "seconds": seconds,
            "pixels_unlike": max(unlike.values()),
            "median_slope": median_slope(elevation, resolution=RESOLUTION),
            **shares(mask),
        },
    }


def measure_scene(work: Path, shape: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Time the mask of a scene from Zarr to Zarr, and its parts alone."""
    scene = make_scene(work, shape=shape)
    elevation = zarr.open_array(scene / "elevation", mode="r")
    tiles = parts.read_tiles(elevation)
    share_held = sum(tile.heights.size for tile in tiles) / elevation.size
    solve = partial(solve_look, scene_grid(shape), relative_orbit=RELATIVE_ORBIT, orbit_state=ORBIT_STATE)
    nodes = solve()
    find, threads = partial(parts.find_masks, tiles, nodes, resolution=RESOLUTION), {"threads": THREADS}
    alone: dict[str, Work] = {
        "kernel_in_turn": partial(find, threads=1),
        "kernel_side_by_side": partial(find, **threads),
        "look_nodes": solve,
        "look_pixels": partial(parts.find_angles, tiles, nodes, chunk=elevation.chunks[0], **threads),
        "decode_chunks": partial(parts.decode, elevation, columns=elevation.chunks[1], **threads),
        "decode_rows": partial(parts.decode, elevation, columns=elevation.shape[1], **threads),
        "decode_stored": partial(parts.decode_stored, scene, "elevation", like=elevation, **threads),
    }
    with _fresh(work) as kept:
        _apart(scene, kept, WRITERS[0])
        stored = zarr.open_array(kept / "layover_shadow", mode="r")
        mask = stored[:]
        in_memory = open_cube(kept)
        lazy = da.from_array(mask, chunks=stored.chunks)
        in_memory["layover_shadow"] = in_memory["layover_shadow"].copy(data=lazy)
        alone |= {
            "encode_stored": partial(parts.encode_stored, in_memory, kept.parent / "stored.zarr"),
            "encode_plain": partial(parts.encode_plain, mask, kept.parent, like=stored),
            "encode_rows": partial(parts.encode_rows, mask, kept.parent, like=stored, **threads),
        }
        print("  once before, so that all are warm:", flush=True)
        take_turns(alone, rounds=1)
        seconds: Seconds = {}
        peaks: dict[str, list[float]] = {writer: [] for writer in WRITERS}
        for _ in range(rounds):
            for writer in WRITERS:
                with _fresh(work) as path:
                    answer = _apart(scene, path, writer)
                    again = zarr.open_array(path / "layover_shadow", mode="r")[:]
                assert np.array_equal(again, mask), f"{writer} wrote another mask than before"
                seconds.setdefault(writer, []).append(answer["seconds"])
                peaks[writer].append(answer["peak_rss_gib"])
                print(f"  {writer:22s} {answer['seconds']:8.3f} s, {answer['peak_rss_gib']:.3f} GiB", flush=True)
            for name, taken in take_turns(alone, rounds=1).items():
                # What ran over the tiles alone is what the scene takes at that pace.
                whole = share_held if name.startswith(("kernel_", "look_pixels")) else 1
                seconds.setdefault(name, []).append(taken[0] / whole)
    median = medians(seconds)
    best = {part: _fastest(median, part, but=parts.OURS) for part in ("kernel", "decode", "encode")}
    strict = {part: _fastest(median, part) for part in ("kernel", "decode", "encode")}
    return {
        "ratio_scene": median["write_cube"] / sum(best.values()),
        "ratio_scene_strict": median["write_cube"] / sum(strict.values()),
        "ratio_scene_to_zarr": median["to_zarr"] / sum(best.values()),
        "peak_rss_gib": max(peaks["write_cube"]),
        "peak_rss_gib_to_zarr": max(peaks["to_zarr"]),
        "look_over_mask": (median["look_nodes"] + median["look_pixels"]) / best["kernel"],
        "scene": {
            "shape": shape,
            "chunks": elevation.chunks,
            "seconds": seconds,
            "parts_alone": best,
            "parts_alone_strict": strict,
            "held_in_memory": share_held,
            "median_slope": statistics.median(median_slope(tile.heights, resolution=RESOLUTION) for tile in tiles),
            "incidence_angle": [float(nodes.incidence.min()), float(nodes.incidence.max())],
            **shares(mask),
        },
    }


def measure_bandwidth(rounds: int) -> dict[str, Any]:
    """Measure how many bytes a second the threads read from memory."""
    values = np.ones(_BANDWIDTH_BYTES // 8)
    works: dict[str, Work] = {"read_memory": partial(parts.read_memory, values, threads=THREADS)}
    take_turns(works, rounds=1)
    seconds = take_turns(works, rounds=rounds)["read_memory"]
    return {"bytes_per_second": values.nbytes / statistics.median(seconds), "seconds": seconds}


def take_turns(works: dict[str, Work], *, rounds: int) -> Seconds:
    """Time each, one after another, and all again."""
    seconds: Seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            os.sync()  # what the one before left to be written is not this one's work
            gc.collect()
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
            print(f"  {name:22s} {seconds[name][-1]:8.3f} s", flush=True)
    return seconds


def medians(seconds: Seconds) -> dict[str, float]:
    """Return the median of each one's rounds."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def shares(mask: np.ndarray) -> dict[str, float]:
    """Return which shares of a mask are layover, shadow and no data."""
    counts = np.zeros(256)
    for row in mask.reshape(-1, mask.shape[-1]):
        counts += np.bincount(row, minlength=256)
    counts /= mask.size
    return {
        "share_layover": float(counts[2] + counts[3]),
        "share_shadow": float(counts[1] + counts[3]),
        "share_no_data": float(counts[255]),
    }


def environment() -> dict[str, Any]:
    """Say what it was measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    prefixes = ("BLOSC_", "OMP_", "MKL_", "NUMBA_", "DASK_", "ZARR_", "MALLOC_", "GLIBC_")
    return {
        "cpu": next(models, platform.processor()),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "variables": {name: value for name, value in os.environ.items() if name.startswith(prefixes)},
        "load_average_before": os.getloadavg(),
    }


def measure(work: Path, size: int, shape: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Measure everything; the keys are those of the JSON file."""
    result: dict[str, Any] = {"simulated": True, "size": size, "rounds": rounds, "environment": environment()}
    print(f"kernel, {size} x {size}", flush=True)
    result |= measure_kernel(size, rounds)
    print("memory read", flush=True)
    result["bandwidth"] = measure_bandwidth(rounds)
    print(f"scene, {shape[0]} x {shape[1]}", flush=True)
    result |= measure_scene(work, shape, rounds)
    pixels = {"": size**2, "_scene": shape[0] * shape[1]}
    taken = {
        "": statistics.median(result["kernel"]["seconds"]["ours"]),
        "_scene": result["scene"]["parts_alone"]["kernel"],
    }
    for suffix, count in pixels.items():
        moved = count * _BYTES_MOVED / taken[suffix]
        result[f"fraction_of_bandwidth{suffix}"] = moved / result["bandwidth"]["bytes_per_second"]
    result["environment"]["load_average_after"] = os.getloadavg()
    return result


def report(result: dict[str, Any]) -> None:
    """Print the medians and the ratios."""
    host = result["environment"]
    print(f"\nSIMULATED relief; {host['cpu']}, {host['cores']} cores, {THREADS} threads")
    print(", ".join(f"{name} {number}" for name, number in host["versions"].items()))
    print(f"load average {host['load_average_before'][0]:.1f} before, {host['load_average_after'][0]:.1f} after")
    print(f"memory read at {result['bandwidth']['bytes_per_second'] / 2**30:.1f} GiB/s")
    for what in ("kernel", "scene"):
        found = [
            f"{name.removeprefix('share_')} {100 * value:.2f} %"
            for name, value in result[what].items()
            if name.startswith("share_")
        ]
        print(f"{what}: median slope {result[what]['median_slope']:.1f} degrees", *found, sep=", ")
        for name, value in medians(result[what]["seconds"]).items():
            print(f"  {name:22s} {value:9.3f} s")
    for name, value in result.items():
        if isinstance(value, float):
            print(f"{name:28s} {value:8.3f}")


def main() -> None:
    """Make the scene, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="keep the scene here (2 GB); default: temporary")
    parser.add_argument("--size", type=int, default=4096, help="pixels along a side for the kernel; 4096 is reported")
    parser.add_argument(
        "--scene", type=_shape, default=SHAPE, metavar="ROWSxCOLUMNS", help="17000x25000 is what is reported"
    )
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    dask.config.set(scheduler="threads", num_workers=THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(work, args.size, args.scene, args.rounds)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    report(result)


def _fastest(median: dict[str, float], part: str, *, but: tuple[str, ...] = ()) -> float:
    """Return the least of the ways to do a part."""
    return min(value for name, value in median.items() if name.startswith(part) and name not in but)


def _ours(elevation: np.ndarray) -> np.ndarray:
    return layover_shadow_mask(
        elevation,
        resolution=RESOLUTION,
        incidence_angle=LOOK["incidence"],
        sensor_azimuth=LOOK["azimuth"],
    )


def _apart(scene: Path, store: Path, writer: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.geometry_apart", str(scene), str(store), writer, str(THREADS)]
    os.sync()
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


@contextmanager
def _fresh(work: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="geometry-", dir=work))
    try:
        yield folder / "mask.zarr"
    finally:
        shutil.rmtree(folder)


def _shape(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    return int(rows), int(columns)


if __name__ == "__main__":
    main()
