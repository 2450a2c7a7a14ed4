"""Evaluation of models that judge pixels, group by group, without holding their scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from sarcube.errors import InputError
from sarcube.evaluation.groups import group_numbers, names_of, table_of
from sarcube.evaluation.predictions import check_judged, shares_of
from sarcube.evaluation.summary import Evaluation
from sarcube.labels.patches import UNSEEN, Patches
from sarcube.metrics import Confusion
from sarcube.models.network import Network
from sarcube.models.segmenter import Segmenter
from sarcube.training.pixel_scores import BINS, Counts, auroc_of, average_precision_of, count_scores


@dataclass(frozen=True)
class PixelCounts:
    """What is kept of the pixels of a group: counts, which add up.

    Attributes
    ----------
    bins : (2, bin) int64 array
        Background and landslide pixels per bin of the logit of their probability.
    predicted : (2, 2) int64 array
        Pixels by truth (background, landslide) and by prediction at the threshold (background, landslide).
    unscored : int
        Pixels that are not valid, or hold a landslide that the track does not see.
    threshold : float
    """

    bins: Counts
    predicted: Counts
    unscored: int
    threshold: float

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        return PixelCounts(
            self.bins + other.bins,
            self.predicted + other.predicted,
            self.unscored + other.unscored,
            self.threshold,
        )

    def summary(self) -> Evaluation:
        """Evaluate them: at the threshold exactly, the areas under the curves with the scores of one bin as ties."""
        (true_negatives, false_positives), (false_negatives, true_positives) = self.predicted.tolist()
        counts = Confusion(true_positives, false_positives, false_negatives, true_negatives)
        n, positives = int(self.bins.sum()), int(self.bins[1].sum())
        return Evaluation(
            n=n,
            positives=positives,
            unscored=self.unscored,
            threshold=self.threshold,
            accuracy=counts.accuracy,
            precision=counts.precision,
            recall=counts.recall,
            f1=counts.f1,
            auprc=average_precision_of(self.bins),
            chance=positives / n if n else float("nan"),
            auroc=auroc_of(self.bins),
            judged="pixels",
        )


def evaluate_pixels(
    model: Network, chips: Patches, *, by: str | Sequence[str] = ("event", "track"), threshold: float | None = None
) -> pd.DataFrame:
    """Evaluate a model that judges pixels, each group of chips by itself and all together.

    Parameters
    ----------
    model : Segmenter
    chips : Patches
        With masks, from `sarcube.sample_chips`. Read share by share where not in memory; memory does not grow with
        their number.
    by : str or sequence of str
        Columns of `chips.table` whose values tell the groups apart.
    threshold : float, optional
        Probability from which a pixel is predicted a landslide; by default the model's own.

    Returns
    -------
    pandas.DataFrame
        As `sarcube.evaluate_groups` returns it, of pixels; NaN of a group of which no pixel has a score.

    Raises
    ------
    BandError, InputError
        If the model cannot judge the chips, they have no masks, or the table lacks a column; if the model judges
        windows.
    """
    if not isinstance(model, Segmenter):
        raise InputError(
            f'a "{model.spec.architecture}" gives a probability to a window, not to each pixel: '
            "sarcube.evaluate_groups(sarcube.score_patches(model, patches), threshold=...) judges it"
        )
    check_judged(model, chips)
    keys, number = group_numbers(chips.table, names_of(by, chips.table))
    groups = count_pixels(model, chips, number, threshold=threshold)
    everything = sum(groups[1:], start=groups[0])
    return table_of(keys, [group.summary() for group in groups], everything.summary())


def count_pixels(
    model: Segmenter, chips: Patches, group: NDArray[np.int64], *, threshold: float | None = None
) -> list[PixelCounts]:
    """Count the pixels of chips, each group by itself.

    Parameters
    ----------
    model : Segmenter
    chips : Patches
        With masks.
    group : (n,) int64 array
        Number of the group that each chip is in, from 0.
    threshold : float, optional
        By default the model's own.

    Returns
    -------
    list of PixelCounts
        One per group.

    Raises
    ------
    BandError, InputError
        If the model cannot judge the chips, or they have no masks.
    """
    check_judged(model, chips)
    threshold = float(model.spec.threshold if threshold is None else threshold)
    if not np.isfinite(threshold):
        raise InputError(f"the threshold must be a finite number, not {threshold}")
    many = int(group.max()) + 1
    bins, predicted = np.zeros((many, 2, BINS), np.int64), np.zeros((many, 2, 2), np.int64)
    unscored = np.zeros(many, np.int64)
    for share in shares_of(chips):
        masks, scores = chips.read_masks(share), model.probabilities(chips.read(share))
        judged = (masks != UNSEEN) & ~np.isnan(scores)
        for number in np.unique(group[share]):
            here = group[share] == number
            chosen = judged[here]
            truth, score = masks[here][chosen] == 1, scores[here][chosen]
            bins[number] += count_scores(logit(score.astype(np.float64)), truth)
            predicted[number] += np.bincount(2 * truth + (score >= threshold), minlength=4).reshape(2, 2)
            unscored[number] += chosen.size - len(truth)
    return [PixelCounts(*parts, threshold=threshold) for parts in zip(bins, predicted, unscored.tolist(), strict=True)]
