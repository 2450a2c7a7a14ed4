"""Scores of many trainings: medians over seeds, with their range, by whatever the runs differ in."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sarcube.errors import InputError
from sarcube.events import BUFFERS
from sarcube.plotting.charts import REFERENCE, chart, finish, styles

_CHANCE = "chance"
_METRICS = {"f1": "F1", "auprc": "AUPRC", "auroc": "AUROC"}
_LABELS = {"buffer": "days before and after the event", "steps": "dates on each side of the event"}
_NO_RADAR = "no radar"  # in place of 0 steps
_PANEL, _HEIGHT, _NARROWEST = 6.5, 5.0, 9.0  # inches: of a panel, and width of a figure
_APART = 0.1  # of the way from one place of the axis to the next, between series
_PAPERS = [f"{pre}-{post}" for pre, post in BUFFERS]


def plot_sweep(
    runs: pd.DataFrame,
    *,
    metric: str = "f1",
    x: str = "buffer",
    by: str = "bands",
    panels: str | None = None,
    title: str | None = None,
    simulated: bool = False,
) -> Figure:
    """Draw a score of many trainings: medians over seeds, with their range.

    By buffer, bands and orbit (``panels="orbit"``) it is the form of figures 2 and 3 of Nava et al. 2026 (GMD 19, 167);
    by time steps and inputs (``x="steps", by="inputs", metric="auprc"``), that of figure 4 of Boehm et al. 2022 (arXiv
    2211.02869).

    Parameters
    ----------
    runs : pandas.DataFrame
        From `sarcube.sweep`: one row per training, with its labels and scores. Rows that differ in what is not named
        here, such as settings, are pooled. A row without a score is a run that failed, or whose score nothing defines.
    metric : str
        A score on the test patches, such as "f1" or "auprc", or any column of numbers, such as "validation_f1".
    x : str
        Column along the axis. Buffers ("60-12": days before and after) come in the papers' order
        (`sarcube.events.BUFFERS`), others behind them; numbers rise; anything else comes as it does in the table.
    by : str
        Column whose values are a line each.
    panels : str, optional
        Column whose values are a panel each.
    title : str, optional
        By default what is drawn.
    simulated : bool
        Stamp the figure: its data are simulated.

    Returns
    -------
    matplotlib.figure.Figure
        A line through the medians, with a bar from the lowest run to the highest. Behind an AUPRC whose chance level
        the table has (test_chance beside test_auprc), the median of that. The title counts the runs without a score.

    Raises
    ------
    InputError
        If a column is missing, or a run has no value in x, by or panels; if the metric holds no numbers, or no run has
        a score.
    """
    metric = metric if metric in runs else f"test_{metric}"
    labels = [column for column in (x, by, panels) if column is not None]
    if missing := [column for column in (*labels, metric) if column not in runs]:
        raise InputError(
            f"the table of runs lacks {', '.join(missing)}; it holds {', '.join(map(str, runs.columns)) or 'nothing'}"
        )
    if not pd.api.types.is_numeric_dtype(runs[metric]):
        raise InputError(f'"{metric}" holds no numbers: name a score, such as f1')
    if unnamed := [column for column in labels if runs[column].isna().any()]:
        raise InputError(f'some runs have no "{unnamed[0]}", so that they have no place: leave them out, or fill it')
    scored = runs[runs[metric].notna()]
    if scored.empty:
        raise InputError(f'none of the {len(runs)} runs has a score "{metric}"')
    places, series = _places(runs, x), list(runs[by].unique())
    parts = [("", scored)] if panels is None else [(str(name), part) for name, part in scored.groupby(panels)]

    name = _name(metric)
    title = title or f"{name} by {', '.join(labels)}"
    if failed := len(runs) - len(scored):
        title += f"; {failed} of {len(runs)} runs without a score"
    figure = chart(max(_PANEL * len(parts), _NARROWEST), _HEIGHT, title=title, simulated=simulated)
    axes = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0].tolist()
    chance = metric.removesuffix("auprc") + "chance"
    for ax, (panel, part) in zip(axes, parts, strict=True):
        for number, (value, style) in enumerate(zip(series, styles(len(series)), strict=True)):
            shift = _APART * (number - (len(series) - 1) / 2)
            _draw_series(ax, part[part[by] == value], str(value), (x, metric), places, shift, style)
        if metric.endswith("auprc") and chance in part:
            medians = part.groupby(x)[chance].median().reindex(places)
            ax.plot(range(len(places)), medians, **REFERENCE, label=_CHANCE)
        ax.set_title(panel, fontsize=12)
        ax.set_xticks(range(len(places)), [_NO_RADAR if x == "steps" and not place else str(place) for place in places])
        ax.set_xlim(-0.5, len(places) - 0.5)
        finish(ax, x=_LABELS.get(x, x), y=name if ax is axes[0] else "")
        _draw_key(ax)
    return figure


def _places(runs: pd.DataFrame, x: str) -> list[Any]:
    """Return what stands along the axis, in order."""
    values = list(runs[x].unique())
    if pd.api.types.is_numeric_dtype(runs[x]):
        return sorted(values)
    known = [name for name in _PAPERS if name in values]
    return known + [value for value in values if value not in known]


def _draw_series(
    ax: Axes,
    runs: pd.DataFrame,
    name: str,
    columns: tuple[str, str],
    places: list[Any],
    shift: float,
    style: dict[str, Any],
) -> None:
    """Draw the runs of one series: each of them, their medians, and the range at each place."""
    if runs.empty:
        return
    x, metric = columns
    spread = runs.groupby(x)[metric].agg(["min", "median", "max"]).reindex(places)
    ends = np.array([spread["median"] - spread["min"], spread["max"] - spread["median"]])
    along = np.arange(len(places)) + shift
    label = f"{name}, n = {len(runs)} runs"
    ax.errorbar(along, spread["median"], yerr=ends, capsize=3, elinewidth=1, label=label, **style)


def _draw_key(ax: Axes) -> None:
    """Draw the key, chance at its end; by itself Matplotlib lists lines before bars."""
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda n: labels[n] == _CHANCE)
    ax.legend([handles[n] for n in order], [labels[n] for n in order], fontsize=9)


def _name(metric: str) -> str:
    """What a column of scores is called: "test_f1" is F1 on the test set."""
    part, _, score = metric.rpartition("_")
    return f"{_METRICS.get(score, score)} ({part})" if part else _METRICS.get(score, score)
