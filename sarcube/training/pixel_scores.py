"""Scores of more pixels than one would sort: counts in bins of their logits, which add up batch by batch."""

import numpy as np
from numpy.typing import NDArray

from sarcube.metrics import auroc_of_steps, average_precision_of_steps

Counts = NDArray[np.int64]

RANGE = 16.0
"""Logits beyond this, probabilities nearer to 0 or 1 than 1.2e-7, count as this."""
BINS = 1 << 16
"""Bins are 1/2048 of a logit wide: scores in one bin are ties, probabilities of them differ by 1.3e-4 at most."""


def count_scores(logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> Counts:
    """Count background and landslide pixels per bin of their logits.

    Parameters
    ----------
    logits : (n,) float32 array
        Finite.
    truth : (n,) bool array

    Returns
    -------
    (2, bin) int64 array
        Background, then landslides; bins from the lowest logit to the highest.
    """
    bins = np.clip((logits.astype(np.float64) + RANGE) * (BINS / (2 * RANGE)), 0, BINS - 1).astype(np.int64)
    return np.stack([np.bincount(bins[truth == value], minlength=BINS) for value in (False, True)])


def average_precision_of(counts: Counts) -> float:
    """Area under the precision-recall curve, as `sarcube.metrics.average_precision` has it, scores of a bin being ties.

    NaN without a landslide.
    """
    return average_precision_of_steps(*_from_the_highest(counts))


def auroc_of(counts: Counts) -> float:
    """Area under the receiver operating characteristic, as `sarcube.metrics.auroc` has it, scores of a bin being ties.

    NaN where a class is missing.
    """
    return auroc_of_steps(*_from_the_highest(counts))


def best_f1_threshold_of(counts: Counts) -> float:
    """Probability at the lower edge of the bin from which on F1 is highest; at least one landslide must be counted."""
    hits, predicted = _from_the_highest(counts)
    f1 = 2 * hits / (predicted + hits[-1])
    edge = BINS - 1 - int(np.argmax(f1))
    if edge == 0:
        return 0.0  # of all that lies below the range
    return float(1 / (1 + np.exp(RANGE - edge * (2 * RANGE / BINS))))


def _from_the_highest(counts: Counts) -> tuple[Counts, Counts]:
    """Landslides, and pixels, from each bin on, from the highest bin to the lowest."""
    return np.cumsum(counts[1, ::-1]), np.cumsum(counts.sum(axis=0)[::-1])
