"""Evaluation event by event, track by track, or by any other column: the form of the papers' tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.evaluation.predictions import require_columns, truth_and_scores
from sarcube.evaluation.summary import Evaluation, summarise

ALL = "all"
"""What the last row has in place of a group's name."""
_NUMBERS = ("accuracy", "precision", "recall", "f1", "auprc", "chance", "auroc")


def evaluate_groups(
    predictions: pd.DataFrame, *, by: str | Sequence[str] = ("event", "track"), threshold: float
) -> pd.DataFrame:
    """Evaluate each group of a predictions table, and all of it together.

    Parameters
    ----------
    predictions : pandas.DataFrame
        From `sarcube.score_patches` or `window_predictions`; several are joined with `pandas.concat`.
    by : str or sequence of str
        Columns whose values tell the groups apart; bins of a number come from `pandas.cut`.
    threshold : float
        Score from which a row is predicted a landslide.

    Returns
    -------
    pandas.DataFrame
        A row per group, sorted, and a last one with "all" in each column of `by`: negatives, positives, unscored,
        accuracy, precision, recall, f1, auprc, chance, auroc, as `Evaluation` has them. NaN where a number is not
        defined. The form of Table 5 of Nava et al. 2026 (GMD 19, 167).

    Raises
    ------
    InputError
        If the table is empty or lacks a column.
    """
    names = names_of(by, predictions)
    truth, scores = truth_and_scores(predictions)
    if not len(predictions):
        raise InputError("there is nothing to evaluate: the predictions table is empty")
    keys, number = group_numbers(predictions, names)
    parts = [number == i for i in range(len(keys))]
    found = [summarise(truth[here], scores[here], threshold=threshold) for here in parts]
    return table_of(keys, found, summarise(truth, scores, threshold=threshold))


def names_of(by: str | Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the columns that tell groups apart; an InputError if there is none, or the table lacks one."""
    names = [by] if isinstance(by, str) else list(by)
    if not names:
        raise InputError('by must name a column or more that tell the groups apart, such as "event"')
    require_columns(table, *names)
    return names


def group_numbers(table: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Number the groups of a table's rows.

    Returns
    -------
    keys : pandas.DataFrame
        The columns `names`, a row per group that occurs, sorted.
    number : (n,) int64 array
        Which of them each row is in.
    """
    groups = table.groupby(list(names), sort=True, dropna=False, observed=True)
    number: NDArray[np.int64] = np.asarray(groups.ngroup(), np.int64)
    first = np.unique(number, return_index=True)[1]
    return table[list(names)].iloc[first].reset_index(drop=True), number


def table_of(keys: pd.DataFrame, groups: Sequence[Evaluation], everything: Evaluation) -> pd.DataFrame:
    """Put evaluations of groups, and of all, into one table."""
    last = pd.DataFrame({name: [ALL] for name in keys.columns}, index=[0])
    labels = pd.concat([keys.astype(object), last.astype(object)], ignore_index=True)
    numbers = pd.DataFrame([_row(one) for one in (*groups, everything)])
    return pd.concat([labels, numbers], axis=1)


def _row(one: Evaluation) -> Mapping[str, Any]:
    counts = {"negatives": one.n - one.positives, "positives": one.positives, "unscored": one.unscored}
    return counts | {name: getattr(one, name) for name in _NUMBERS}
