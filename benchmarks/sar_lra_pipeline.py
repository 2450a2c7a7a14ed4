"""The detection of the SAR-LRA tool, version 1, as published, but for its network: windows, batches, suppression.

Re-implemented from what "SAR-LRA Tool V1/02_Models_Deployment.ipynb" and "utils.py" of
lorenzonava96/SAR-and-DL-for-Landslide-Rapid-Assessment on GitHub do: every window is copied in a Python loop and put
into a list, the list becomes one array, the network predicts it in batches of 512, boxes at or above the threshold are
suppressed by their lower edge. In its favour: the image lies (y, x, band) in memory beforehand, the array goes to
`predict` itself where the notebook puts a generator of Keras between, nothing is printed on the way, and frames are
drawn by nobody. Unlike it, the last row and column of windows that fit are scored: its loops end one window too early.

Runs in the tool's own environment: numpy and the standard library alone.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.detector_serving import Request

WINDOW = 64
OVERLAP, _THRESHOLD = 0.1, 0.6  # of the notebook
Predict = Callable[[np.ndarray, int], np.ndarray]


def cut_windows(image: np.ndarray, stride: int) -> tuple[list[np.ndarray], list[tuple[int, int, int, int]]]:
    """Cut an image (y, x, band) into a list of windows, each a copy, and their boxes (x0, y0, x1, y1)."""
    windows, places = [], []
    for y in range(0, image.shape[0] - WINDOW + 1, stride):
        for x in range(0, image.shape[1] - WINDOW + 1, stride):
            windows.append(image[y : y + WINDOW, x : x + WINDOW].copy())
            places.append((x, y, x + WINDOW, y + WINDOW))
    return windows, places


def suppress(boxes: np.ndarray, overlap: float = OVERLAP) -> np.ndarray:
    """Keep boxes (n, 4) from the lowest edge upwards, dropping those of which a kept one covers more than a share.

    Corners count as pixels inside the box, and scores play no part, as in the tool.
    """
    left = np.argsort(boxes[:, 3])
    area = (boxes[:, 2] - boxes[:, 0] + 1.0) * (boxes[:, 3] - boxes[:, 1] + 1.0)
    kept = []
    while len(left):
        best, left = left[-1], left[:-1]
        kept.append(best)
        shared = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2]) + 1
        left = left[np.prod(np.maximum(shared, 0), axis=1) / area[left] <= overlap]
    return boxes[kept]


def detect(image: np.ndarray, predict: Predict, *, stride: int, batch: int) -> tuple[np.ndarray, dict[str, float]]:
    """Return the probabilities of all windows, and what each step took, suppression apart."""
    marks = [time.perf_counter()]
    windows, places = cut_windows(image, stride)
    marks.append(time.perf_counter())
    array = np.array(windows)
    marks.append(time.perf_counter())
    probabilities = predict(array, batch)
    marks.append(time.perf_counter())
    found = np.array(places)[probabilities > _THRESHOLD]
    suppress(found)
    marks.append(time.perf_counter())
    steps = dict(zip(("cut", "stack", "predict", "suppress"), np.diff(marks).tolist(), strict=True))
    return probabilities, steps | {"seconds": steps["cut"] + steps["stack"] + steps["predict"]}


def works(image_path: str, predict: Predict) -> Callable[[Request], dict[str, Any]]:
    """Load an image (band, y, x), and return what answers requests (see `benchmarks.detector_serving`).

    `stride`, `batch`, `size` (pixels along a side of the corner to look at; all if 0), `save` (.npy).
    """
    image = np.ascontiguousarray(np.moveaxis(np.load(image_path), 0, 2))

    def work(request: Request) -> dict[str, Any]:
        part = image[: request["size"] or None, : request["size"] or None]
        probabilities, steps = detect(part, predict, stride=request["stride"], batch=request["batch"])
        if "save" in request:
            np.save(request["save"], probabilities)
        return steps | {"windows": len(probabilities)}

    return work
