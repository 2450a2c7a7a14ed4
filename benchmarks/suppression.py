"""How fast suppression is, beside sorting the scores alone and beside the same rule as a NumPy loop.

    python -m benchmarks.suppression --json suppression.json

Windows of 64 pixels, in three settings: *crowded*, stride 8, 40 % of the windows above the threshold, in clusters;
*sparse*, stride 8, the windows spread at random over a whole scene of 25 000 x 17 000 pixels; *grid*, stride 32, every
window above the threshold. All take turns; what counts is the median of the rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.geometry import environment
from benchmarks.rivals_suppression import suppress_in_a_loop
from sarcube.detection import nms

SIZE, IOU_THRESHOLD = 64, 0.1
SCENE = (3118, 2118)  # windows of a whole scene at stride 8
CROWDED_SHARE = 0.4
_CLUSTER = 3.0  # standard deviation of the smoothing, windows
_SORT_ROUNDS, _LOOP_ROUNDS = 31, 3

Boxes = tuple[NDArray[np.int64], NDArray[np.float32]]


def crowded(count: int, *, seed: int = 0) -> Boxes:
    """Return the windows of a smooth field that are above a threshold."""
    side = round((count / CROWDED_SHARE) ** 0.5)
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), _CLUSTER)
    place = np.sort(np.argsort(field, axis=None)[-count:])
    values = field.ravel()[place]
    low, high = values.min(), values.max()
    return _windows(place, side, 8), (0.6 + 0.4 * (values - low) / (high - low)).astype(np.float32)


def sparse(count: int, *, seed: int = 0) -> Boxes:
    """Return windows here and there in a whole scene."""
    random = np.random.default_rng(seed)
    place = np.sort(random.choice(SCENE[0] * SCENE[1], count, replace=False))
    return _windows(place, SCENE[1], 8), random.random(count, np.float32)


def grid(count: int, *, seed: int = 0) -> Boxes:
    """Return all windows of an image."""
    side = int(np.ceil(count**0.5))
    return _windows(np.arange(count), side, 32), np.random.default_rng(seed).random(count, np.float32)


SETTINGS = {"crowded": crowded, "sparse": sparse, "grid": grid}


def measure_suppression() -> dict[str, Any]:
    """Measure all; for each setting ratio_sort_1e5, ratio_numpy_loop_1e4, and whether results are identical."""
    result: dict[str, Any] = {"identical": True}
    for name, make in SETTINGS.items():
        boxes, scores = make(100_000)
        turns: dict[str, Callable[[], Any]] = {
            "sort": partial(np.argsort, scores),
            "ours": partial(nms, boxes, scores, IOU_THRESHOLD),
        }
        seconds = _take_turns(turns, _SORT_ROUNDS)
        result[f"ratio_sort_1e5_{name}"] = seconds["ours"] / seconds["sort"]
        result[f"microseconds_1e5_{name}"] = seconds["ours"] * 1e6
        result[f"kept_1e5_{name}"] = len(turns["ours"]())

        boxes, scores = make(10_000)
        turns = {
            "loop": partial(suppress_in_a_loop, boxes, scores, IOU_THRESHOLD),
            "ours": partial(nms, boxes, scores, IOU_THRESHOLD),
        }
        seconds = _take_turns(turns, _LOOP_ROUNDS)
        result[f"ratio_numpy_loop_1e4_{name}"] = seconds["loop"] / seconds["ours"]
        result[f"microseconds_1e4_{name}"] = seconds["ours"] * 1e6
        kept = turns["ours"]()
        result[f"kept_1e4_{name}"] = len(kept)
        result["identical"] &= bool(np.array_equal(kept, turns["loop"]()))
    return result


def _windows(place: NDArray[np.int64], columns: int, stride: int) -> NDArray[np.int64]:
    corner = np.stack(np.divmod(place, columns), axis=1) * stride
    return np.hstack([corner, corner + SIZE])


def _take_turns(turns: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each; what is quick is called five times in a turn."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for work in turns.values():
        work()  # compiled, memory at hand
    for _ in range(rounds):
        for name, work in turns.items():
            repeats = 1 if name == "loop" else 5
            for _ in range(repeats):
                start = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    result = measure_suppression() | {"environment": environment()}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    for name, value in result.items():
        if name != "environment":
            print(f"{name:32s} {value:.4g}" if isinstance(value, float) else f"{name:32s} {value}")


if __name__ == "__main__":
    main()
