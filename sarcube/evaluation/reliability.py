"""Whether probabilities mean what they say: that of windows scored 0.7, seven in ten are landslides."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from sarcube.errors import InputError
from sarcube.evaluation.predictions import truth_and_scores


def reliability_curve(predictions: pd.DataFrame, *, bins: int = 10) -> pd.DataFrame:
    """Compare probabilities with how often they come true, in bins of equal width.

    Parameters
    ----------
    predictions : pandas.DataFrame
        From `sarcube.score_patches` or `window_predictions`. Rows without a score are left out.
    bins : int

    Returns
    -------
    pandas.DataFrame
        A row per bin: low, high (its edges; the upper one belongs to it, the lower one only if 0), count, mean_score,
        observed (share of landslides), observed_low and observed_high (95 % interval of that share by Wilson 1927,
        J. Am. Stat. Assoc. 22, 209). The interval takes rows for independent, which neighbouring windows are not: it is
        too narrow by as much. NaN in empty bins.

    Raises
    ------
    InputError
        If nothing has a score, or scores are no probabilities.
    """
    truth, scores = _probabilities(predictions)
    if bins < 1:
        raise InputError(f"bins must be 1 or more, not {bins}")
    edges = np.linspace(0, 1, bins + 1)
    number = np.searchsorted(edges[1:-1], scores)
    count = np.bincount(number, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(number, scores, bins) / count
        observed = np.bincount(number, truth, bins) / count
        low, high = wilson_interval(observed, count)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "count": count,
            "mean_score": mean,
            "observed": observed,
            "observed_low": low,
            "observed_high": high,
        }
    )


def expected_calibration_error(predictions: pd.DataFrame, *, bins: int = 10) -> float:
    """Mean distance of probabilities from how often they come true, bin by bin, weighted by the bins' counts.

    Source: Guo et al. 2017 (ICML, arXiv 1706.04599, equation 3), of the probability of a landslide. It depends on the
    bins. Parameters and errors as for `reliability_curve`.
    """
    curve = reliability_curve(predictions, bins=bins)
    apart = (curve["observed"] - curve["mean_score"]).abs().fillna(0)
    return float((apart * curve["count"]).sum() / curve["count"].sum())


def brier_score(predictions: pd.DataFrame) -> float:
    """Mean square of the difference between probability and truth (Brier 1950): 0 is perfect.

    It depends on the share of landslides p: always saying p gives p (1 - p). Parameters and errors as for
    `reliability_curve`.
    """
    from sklearn.metrics import brier_score_loss

    truth, scores = _probabilities(predictions)
    return float(brier_score_loss(truth, scores, pos_label=1))


def wilson_interval(
    share: NDArray[np.float64], count: NDArray[np.int64], *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidence interval of a share of independent cases (Wilson 1927): lower and upper ends; NaN of no case."""
    z2 = norm.ppf((1 + level) / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (share + z2 / (2 * count)) / (1 + z2 / count)
        half = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    # Rounding must not leave a share of 0 or 1 outside of its own interval.
    return np.where(share == 0, 0.0, centre - half), np.where(share == 1, 1.0, centre + half)


def _probabilities(predictions: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, scores = truth_and_scores(predictions)
    scored = ~np.isnan(scores)
    if not scored.any():
        raise InputError(f"there is nothing to evaluate: none of {len(scores)} rows has a score")
    truth, kept = truth[scored], scores[scored].astype(np.float64)
    if kept.min() < 0 or kept.max() > 1:
        raise InputError(f"scores must be probabilities, 0 to 1, not {kept.min():g} to {kept.max():g}")
    return truth, kept
