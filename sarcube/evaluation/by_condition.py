"""What is found and what is falsely alarmed under each condition, with how sure that is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.evaluation.predictions import require_columns, truth_and_scores
from sarcube.evaluation.reliability import wilson_interval
from sarcube.metrics import confusion


def evaluate_by_condition(
    predictions: pd.DataFrame, column: str, *, threshold: float, bins: Sequence[float] | None = None
) -> pd.DataFrame:
    """Count what is found, missed and falsely alarmed under each condition.

    Parameters
    ----------
    predictions : pandas.DataFrame
        From `sarcube.score_patches`, described by `sarcube.describe_patches`.
    column : str
        The condition: numbers, or classes such as distortion and land_cover.
    threshold : float
        Score from which a row is predicted a landslide.
    bins : sequence of float, optional
        Edges that cut a column of numbers, rising; a bin holds its lower edge and not its upper one. Without them every
        value of the column is a class.

    Returns
    -------
    pandas.DataFrame
        A row per bin, also of empty ones, or per class that occurs: the column; positives, found (of these), recall
        with recall_low and recall_high; negatives, false_alarms (of these), false_alarm_rate with
        false_alarm_rate_low and false_alarm_rate_high; precision; unscored, which enter no other number. A last row,
        whose bin or class is missing, counts what is in none, where there is any. NaN where nothing defines a number.

    Raises
    ------
    InputError
        If the table lacks a column, the bins do not rise, or they cut what is no number.

    Notes
    -----
    Intervals are Wilson's, of 95 % (Wilson 1927, J. Am. Stat. Assoc. 22, 209), as if rows were independent. Windows
    that overlap or lie on one landslide are not, so that the true intervals are wider: see `sarcube.block_bootstrap`.
    """
    require_columns(predictions, column)
    truth, scores = truth_and_scores(predictions)
    condition = pd.Categorical(predictions[column] if bins is None else _cut(predictions[column], bins))
    numbers = [*range(len(condition.categories)), *[-1] * bool((condition.codes == -1).any())]
    rows = [_count(truth[here], scores[here], threshold) for here in (condition.codes == n for n in numbers)]
    labels = pd.Series([*condition.categories, None][: len(numbers)], dtype=object, name=column)
    return pd.concat([labels, pd.DataFrame(rows)], axis=1)


def _cut(values: pd.Series, bins: Sequence[float]) -> pd.Series:
    edges = np.asarray(bins, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"bins must be two or more edges that rise, such as (0, 15, 30, 90), not {bins!r}")
    if not pd.api.types.is_numeric_dtype(values):
        raise InputError(f'"{values.name}" holds no numbers to cut into bins: leave bins out to count its classes')
    cut: pd.Series = pd.cut(values, edges.tolist(), right=False)
    return cut


def _count(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]], threshold: float) -> dict[str, float]:
    scored = ~np.isnan(scores)
    counts = confusion(truth[scored], scores[scored], threshold=threshold) if scored.any() else None
    found, alarms, missed, clear = (0, 0, 0, 0) if counts is None else counts
    return {
        "positives": found + missed,
        "found": found,
        **_share("recall", found, found + missed),
        "negatives": alarms + clear,
        "false_alarms": alarms,
        **_share("false_alarm_rate", alarms, alarms + clear),
        "precision": np.nan if counts is None else counts.precision,
        "unscored": int((~scored).sum()),
    }


def _share(name: str, part: int, whole: int) -> dict[str, float]:
    """Return a share and the ends of its interval."""
    share = part / whole if whole else np.nan
    low, high = wilson_interval(np.array([share]), np.array([whole]))
    return {name: share, f"{name}_low": float(low[0]), f"{name}_high": float(high[0])}
