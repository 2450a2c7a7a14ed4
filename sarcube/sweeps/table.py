"""What a sweep says: median and standard deviation of groups of runs, and which group is ahead of which."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sarcube.errors import InputError
from sarcube.sweeps.naming import Label, label_columns


def sweep_table(results: pd.DataFrame, *, by: Sequence[str], metric: str = "f1") -> pd.DataFrame:
    """Take the median and the standard deviation of a metric over the runs of each group, as the papers' tables do.

    Parameters
    ----------
    results : pandas.DataFrame
        From `sarcube.sweep`.
    by : sequence of str
        Labels that make the groups. Whatever is not named is pooled: without the labels of the settings the spread is
        over settings and seeds, which is the papers'; with all of them it is over seeds alone.
    metric : str
        A score on the test patches, such as "f1" or "auprc", or any column of numbers, such as "validation_f1".

    Returns
    -------
    pandas.DataFrame
        Indexed by `by`, groups in the order in which they come in `results`: median; std, with n - 1, NaN of a single
        run; n, runs with a number; missing, runs without, which failed or whose metric is undefined; text, such as
        "0.81 ± 0.02". ``table["text"].unstack("bands")`` makes columns of a label.

    Raises
    ------
    InputError
        If a column is not there.
    """
    column = _metric(results, metric)
    by = _labels(results, by)
    rows = []
    for key, group in results.groupby(by, sort=False, dropna=False):
        values = group[column].dropna().to_numpy(np.float64)
        median, std = _median(values), _std(values)
        text = "none" if not len(values) else f"{median:.2f}" if len(values) == 1 else f"{median:.2f} ± {std:.2f}"
        numbers = {"median": median, "std": std, "n": len(values), "missing": len(group) - len(values)}
        rows.append({**dict(zip(by, _tuple(key), strict=True)), **numbers, "text": text})
    return pd.DataFrame(rows).set_index(by)


def compare_groups(
    results: pd.DataFrame, *, column: str, a: Label, b: Label, by: Sequence[str] = (), metric: str = "f1"
) -> pd.DataFrame:
    """Say of two groups of runs which one is ahead, or that their difference is below the spread over seeds.

    Parameters
    ----------
    results : pandas.DataFrame
        From `sarcube.sweep`.
    column : str
        The label by which the groups differ.
    a, b : str, int, float or bool
        Its values.
    by : sequence of str
        Labels within whose values they are compared: a row for each. The rest is pooled.
    metric : str
        As `sweep_table` takes it; more is better.

    Returns
    -------
    pandas.DataFrame
        Indexed by `by` (one row, 0, without any): difference, a less b; spread; n_a, n_b, runs with a number;
        paired; verdict on a: "ahead", "behind" or "undecided".

    Raises
    ------
    InputError
        If a column is not there, or a value nowhere in it; if the runs of a and of b differ in other labels too, such
        as ten buffers of the one and a single buffer of the other, whose difference would be put down to `column`.

    Notes
    -----
    Runs are paired if each run of a has one of b with the same seed and the same other labels. Then `difference` is the
    median of the pairs' differences and `spread` their standard deviation. Otherwise `difference` is that of the two
    medians and `spread` the pooled standard deviation, sqrt(((n_a - 1) s_a² + (n_b - 1) s_b²) / (n_a + n_b - 2)).
    Standard deviations are with n - 1. The verdict is "undecided" if |difference| <= spread, or if there are fewer than
    two pairs, or two runs on a side. It is no test: docs/sweeps.md tells how often it decides where there is no
    difference, which is often with few seeds. And it is about repeated training on one set of patches: that other
    events would say the same it does not tell; for that see `sarcube.block_bootstrap`.
    """
    scores = _metric(results, metric)
    (column,) = _labels(results, [column])
    for value in (a, b):
        if not (results[column] == value).any():
            raise InputError(
                f"no run has {column} {value!r}; there are: {', '.join(map(repr, results[column].unique()))}"
            )
    within = _labels(results, by) if by else []
    if column in within:
        raise InputError(f"by= must not hold {column}, by which the groups differ")
    pair_by = [name for name in (*label_columns(results), "seed") if name != column]
    chosen = results[(results[column] == a) | (results[column] == b)]
    groups = chosen.groupby(within, sort=False, dropna=False) if within else [((0,), chosen)]
    rows = []
    for key, group in groups:
        ours, theirs = (group.loc[group[column] == value, [*pair_by, scores]] for value in (a, b))
        _check_alike(ours, theirs, pair_by[:-1], f"{column} {a!r} and {b!r}")
        rows.append({**dict(zip(within or ["group"], _tuple(key), strict=True)), **_compared(ours, theirs, scores)})
    return pd.DataFrame(rows).set_index(within or ["group"])


def verdict_on(difference: float, spread: float) -> str:
    """Return "ahead", "behind", or "undecided" where a difference is not larger than its spread, or either is NaN."""
    if not abs(difference) > spread:
        return "undecided"
    return "ahead" if difference > 0 else "behind"


def _check_alike(a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str], what: str) -> None:
    """Refuse runs whose other labels are not the same: a mixture of other buffers is no rival."""
    if not len(a) or not len(b):  # nothing to compare, which the row says
        return
    if differing := [name for name in labels if set(a[name]) != set(b[name])]:
        raise InputError(
            f"the runs of {what} also differ in {', '.join(differing)}; compare within their values with by=, choose "
            "rows that have both, or drop the column if it only describes what is compared"
        )


def _compared(a: pd.DataFrame, b: pd.DataFrame, scores: str) -> dict[str, Any]:
    a, b = a.dropna(subset=scores), b.dropna(subset=scores)
    keys = [name for name in a.columns if name != scores]
    pairs = a.merge(b, on=keys, how="inner", suffixes=("_a", "_b"))
    paired = len(pairs) == len(a) == len(b) > 0
    x, y = a[scores].to_numpy(np.float64), b[scores].to_numpy(np.float64)
    if paired:
        apart = (pairs[f"{scores}_a"] - pairs[f"{scores}_b"]).to_numpy(np.float64)
        difference, spread = _median(apart), _std(apart)
    else:
        difference, spread = _median(x) - _median(y), _pooled_std(x, y)
    numbers = {"difference": difference, "spread": spread, "n_a": len(x), "n_b": len(y)}
    return {**numbers, "paired": paired, "verdict": verdict_on(difference, spread)}


def _pooled_std(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    if min(len(x), len(y)) < 2:
        return float("nan")
    squares = (len(x) - 1) * _std(x) ** 2 + (len(y) - 1) * _std(y) ** 2
    return float(np.sqrt(squares / (len(x) + len(y) - 2)))


def _median(values: np.ndarray[Any, Any]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _std(values: np.ndarray[Any, Any]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _metric(results: pd.DataFrame, metric: str) -> str:
    column = metric if metric in results else f"test_{metric}"
    if column not in results or not pd.api.types.is_numeric_dtype(results[column]):
        known = [str(name).removeprefix("test_") for name in results if str(name).startswith("test_")]
        raise InputError(f'these runs have no metric "{metric}"; they have: {", ".join(known) or "none"}')
    return column


def _labels(results: pd.DataFrame, names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not names:
        raise InputError(f'by= takes a sequence of labels, such as ("bands", "buffer"), not {names!r}')
    if missing := [name for name in names if name not in results]:
        raise InputError(
            f"these runs have no label {', '.join(missing)}; they have: {', '.join(label_columns(results))}"
        )
    return list(names)


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)
