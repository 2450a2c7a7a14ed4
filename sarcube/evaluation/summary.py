"""The numbers that say how good predictions are, and how they are said."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from sarcube.metrics import auroc, average_precision, chance_level, confusion


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model, by window or by pixel. What cannot be defined, such as a recall without a positive, is NaN.

    Attributes
    ----------
    n, positives : int
        Windows (pixels, of a model that judges these) with a score, and how many of them are landslides.
    unscored : int
        Those without a score, which are not valid; they enter no other number.
    threshold : float
        From which a window is predicted a landslide.
    accuracy, precision, recall, f1 : float
        At the threshold.
    auprc, chance : float
        Area under the precision-recall curve (average precision), and what knowing nothing would reach.
    auroc : float
        Area under the receiver operating characteristic.
    judged : {"windows", "pixels"}
    """

    n: int
    positives: int
    unscored: int
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    auprc: float
    chance: float
    auroc: float
    judged: str = "windows"

    def __str__(self) -> str:
        unscored = f", {self.unscored} without a score" if self.unscored else ""
        return (
            f"{self.n} {self.judged}, {self.positives} of them landslides{unscored}\n"
            f"at threshold {self.threshold:.3f}: F1 {self.f1:.3f}, precision {self.precision:.3f}, "
            f"recall {self.recall:.3f}, accuracy {self.accuracy:.3f}\n"
            f"AUPRC {self.auprc:.3f} (chance {self.chance:.3f}), AUROC {self.auroc:.3f}"
        )


def summarise(truth: NDArray[np.bool_], scores: NDArray[np.floating], *, threshold: float) -> Evaluation:
    """Compare scores with the truth.

    Parameters
    ----------
    truth : (n,) bool array
    scores : (n,) float array
        NaN where there is none.
    threshold : float

    Returns
    -------
    Evaluation
        Of windows; all NaN where nothing has a score.
    """
    scored = ~np.isnan(scores)
    unscored = int((~scored).sum())
    if not scored.any():
        return Evaluation(0, 0, unscored, float(threshold), *(nan,) * 7)
    truth, scores = truth[scored], scores[scored]
    counts = confusion(truth, scores, threshold=threshold)
    return Evaluation(
        n=len(truth),
        positives=int(truth.sum()),
        unscored=unscored,
        threshold=float(threshold),
        accuracy=counts.accuracy,
        precision=counts.precision,
        recall=counts.recall,
        f1=counts.f1,
        auprc=average_precision(truth, scores),
        chance=chance_level(truth),
        auroc=auroc(truth, scores),
    )
