"""How good predictions are: arrays in, numbers out.

A window is predicted positive where its score is at least the threshold. What cannot be defined (a precision without a
prediction, a recall without a positive) is NaN.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError


class Confusion(NamedTuple):
    """Counts of right and wrong predictions."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def accuracy(self) -> float:
        """Share of all that is predicted right."""
        return _ratio(self.true_positives + self.true_negatives, sum(self))

    @property
    def precision(self) -> float:
        """Share of the predicted positives that are positive."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the positives that are predicted."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


def confusion(truth: ArrayLike, scores: ArrayLike, *, threshold: float) -> Confusion:
    """Count right and wrong predictions at a threshold.

    Parameters
    ----------
    truth : (n,) bool array
        Which are positive.
    scores : (n,) float array
        The higher, the more likely positive. NaN and infinity are refused.
    threshold : float
        Scores at or above it are predicted positive.

    Raises
    ------
    InputError
        If the arrays differ in length, are empty, or a score is not finite.
    """
    truth, scores = _checked(truth, scores)
    if not np.isfinite(threshold):
        raise InputError(f"the threshold must be a finite number, not {threshold}")
    predicted = scores >= threshold
    return Confusion(
        int(np.sum(truth & predicted)),
        int(np.sum(~truth & predicted)),
        int(np.sum(truth & ~predicted)),
        int(np.sum(~truth & ~predicted)),
    )


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall curve, as the step-wise sum of scikit-learn's `average_precision_score`.

    Its chance level is `chance_level`. NaN where nothing is positive. Parameters and errors as for `confusion`.
    """
    from sklearn.metrics import average_precision_score

    truth, scores = _checked(truth, scores)
    return float(average_precision_score(truth, scores)) if truth.any() else np.nan


def chance_level(truth: ArrayLike) -> float:
    """Average precision of a score that knows nothing: the share of positives."""
    truth = np.asarray(truth, bool).ravel()
    return _ratio(int(truth.sum()), truth.size)


def auroc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the receiver operating characteristic: the chance that a positive scores above a negative.

    Equal scores count half. NaN where all are positive, or none is. Parameters and errors as for `confusion`.
    """
    from sklearn.metrics import roc_auc_score

    truth, scores = _checked(truth, scores)
    return float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else np.nan


def average_precision_of_steps(hits: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Average precision from counts: positives, and all, that score at least each score, from the highest on.

    Parameters
    ----------
    hits, predicted : (n,) int64 arrays
        They never fall; the last ones are all there are.

    Returns
    -------
    float
        NaN without a positive.
    """
    if not hits[-1]:
        return np.nan
    precision = hits / np.maximum(predicted, 1)  # nothing is predicted above the first that counts
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def auroc_of_steps(hits: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Area under the receiver operating characteristic from the counts that `average_precision_of_steps` takes.

    Equal scores count half. NaN where a class is missing.
    """
    misses = predicted - hits
    if not hits[-1] or not misses[-1]:
        return np.nan
    below = misses[-1] - misses + np.diff(misses, prepend=0) / 2
    return float((np.diff(hits, prepend=0) * below).sum() / hits[-1] / misses[-1])


def best_f1_threshold(truth: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Threshold at which F1 is highest, searched over every distinct score in O(n log n).

    Parameters
    ----------
    truth : (n,) bool array
    scores : (n,) float array

    Returns
    -------
    threshold : float
        One of the scores: the highest of those that give the best F1, so the fewest predictions among equals.
    f1 : float
        F1 at that threshold.

    Raises
    ------
    InputError
        As for `confusion`, and if nothing is positive: F1 is then 0 at every threshold.
    """
    truth, scores = _checked(truth, scores)
    if not truth.any():
        raise InputError("a best threshold needs at least one positive among the labels; there is none")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), scores.size - 1)
    hits = np.cumsum(truth[order], dtype=np.int64)[last_of_ties]
    f1 = 2 * hits / (last_of_ties + 1 + truth.sum())  # 2 TP / (predicted + positive)
    best = int(np.argmax(f1))
    return float(ranked[last_of_ties[best]]), float(f1[best])


def _checked(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    truth, scores = np.asarray(truth), np.asarray(scores)
    if truth.shape != scores.shape or truth.ndim != 1:
        raise InputError(
            f"labels and scores must be two arrays of one dimension and one length, not {truth.shape} and "
            f"{scores.shape}"
        )
    if truth.size == 0:
        raise InputError("there is nothing to evaluate: labels and scores are empty")
    if truth.dtype != np.bool_ and not np.isin(truth, (0, 1)).all():
        raise InputError("labels must be bool, or 0 and 1")
    scores = scores if np.issubdtype(scores.dtype, np.floating) else scores.astype(np.float64)
    unscored = int((~np.isfinite(scores)).sum())
    if unscored:
        raise InputError(
            f"{unscored} of {scores.size} scores are NaN or infinite; leave out what has no score, and say how much"
        )
    return truth.astype(bool), scores


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else np.nan
