"""Whether scores and boxes are the same."""

from pathlib import Path
from typing import Any

import numpy as np

import sarcube as sc
from benchmarks.detector_data import as_stack, open_source
from sarcube.detection.detect import boxes_from_scores
from sarcube.models import WindowClassifier
from sarcube.windows import window_origins

_SAMPLE = 2048


def boxes(scores: np.ndarray, source: Path, model: WindowClassifier, *, stride: int) -> Any:
    """Return the boxes of scores (window_y, window_x) of a stack."""
    stack = as_stack(open_source(source), model.spec.bands)
    lazy = sc.score_windows(stack, model, stride=stride)  # the same stack's grid; nothing is scored
    return boxes_from_scores(lazy.copy(data=scores))


def compare_boxes(found: Any, expected: Any) -> dict[str, Any]:
    """Return whether two sets of boxes are the same, in the same order, and how far their scores differ at most."""
    same = all(np.array_equal(found[name], expected[name]) for name in ("row", "column"))
    difference = (
        float(np.abs(found["score"].to_numpy() - expected["score"].to_numpy()).max(initial=0)) if same else None
    )
    return {"identical_boxes": same, "boxes": len(expected), "score_difference": difference}


def sample_difference(scores: np.ndarray, source: Path, model: WindowClassifier, *, stride: int) -> dict[str, float]:
    """Return the largest difference between scores and the network on each window by itself.

    All windows at the border, up to half the sample, and others at random: some 2000, or all where these are fewer.
    """
    image = open_source(source)
    image = as_stack(image, model.spec.bands).values if image.shape[0] != len(model.spec.bands) else image
    size, random = model.spec.window_size, np.random.default_rng(3)
    rows, columns = (window_origins(length, size, stride) for length in image.shape[1:])
    inside = np.zeros(scores.shape, bool)
    inside[1:-1, 1:-1] = True
    chosen = []
    border, rest = np.flatnonzero(~inside), np.flatnonzero(inside)
    for places, most in ((border, _SAMPLE // 2), (rest, _SAMPLE)):
        chosen.append(random.choice(places, min(len(places), most), replace=False))
    i, j = np.unravel_index(np.concatenate(chosen), scores.shape)
    corners = ((rows[y], columns[x]) for y, x in zip(i, j, strict=True))
    expected = model.probabilities(np.stack([image[:, y : y + size, x : x + size] for y, x in corners]))
    return {"max_difference": float(np.abs(scores[i, j] - expected).max()), "windows_compared": len(i)}
