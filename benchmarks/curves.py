"""Precision-recall curves: as few points as a picture needs, and the picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from sarcube.metrics import average_precision, chance_level

POINTS = 200
# Okabe & Ito's palette without its yellow, which is lost on white; the dashes tell apart what the colours do not.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
DASHES = ("-", "--", "-.", ":")


def precision_recall(truth: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """Return recall (rising) and precision at up to `POINTS` thresholds, AUPRC from all of them, and chance."""
    precision, recall, _ = precision_recall_curve(truth, scores)
    precision, recall = precision[::-1], recall[::-1]
    # At recall 0 precision says nothing: it is 1 by convention, or 0 above the first hit.
    wanted = np.linspace(recall[recall > 0][0], 1, POINTS)
    kept = np.unique(np.searchsorted(recall, wanted))  # the first, so the best, of the points of one recall
    return {
        "recall": recall[kept].tolist(),
        "precision": precision[kept].tolist(),
        "auprc": average_precision(truth, scores),
        "chance": chance_level(truth),
    }


def draw_curves(
    curves: Mapping[str, Mapping[str, Any]],
    path: Path,
    *,
    labels: Mapping[str, str],
    points: Mapping[str, tuple[float, float]],
    title: str,
) -> None:
    """Draw the curves, best first in the key, and a dot at the (recall, precision) that a method's threshold gives."""
    figure = Figure(figsize=(11, 6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    ranked = sorted(curves, key=lambda name: -curves[name]["auprc"])
    for i, name in enumerate(ranked):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[(i + i // len(COLOURS)) % len(DASHES)]
        curve = curves[name]
        label = f"{labels[name]}, AUPRC {curve['auprc']:.2f}"
        axes.plot(curve["recall"], curve["precision"], color=colour, linestyle=dash, linewidth=2, label=label)
        if name in points:
            axes.plot(*points[name], "o", color=colour, markeredgecolor="white", markersize=9, clip_on=False)
    chance = curves[ranked[0]]["chance"]
    axes.axhline(chance, color="#BBBBBB", linewidth=1.5, zorder=0, label=f"chance {chance:.2f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall", ylabel="precision", title=title)
    axes.grid(color="#EEEEEE")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path)
