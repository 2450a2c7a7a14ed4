"""Reliability of probabilities: how often what was given a probability is a landslide."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sarcube.errors import InputError
from sarcube.plotting.charts import REFERENCE, chart, finish, styles

_COLUMNS = ("low", "high", "count", "mean_score", "observed", "observed_low", "observed_high")


def plot_reliability(
    curves: pd.DataFrame | Mapping[str, pd.DataFrame], *, title: str | None = None, simulated: bool = False
) -> Figure:
    """Draw the share of landslides among patches against the probability that they were given.

    Parameters
    ----------
    curves : pandas.DataFrame or mapping of them by name
        From `sarcube.reliability_curve`: one row per bin with low, high, count, mean_score, observed, observed_low and
        observed_high. Several, such as ``{"before": ..., "after": ...}`` temperature scaling, are drawn together.
    title : str, optional
    simulated : bool
        Stamp the figure: its data are simulated.

    Returns
    -------
    matplotlib.figure.Figure
        Above, a point for each bin that holds patches, with the interval of its share; on the diagonal, probabilities
        are what they say. Below, how many patches each bin holds, on a logarithmic axis.

    Raises
    ------
    InputError
        If there is no curve, or one lacks a column or holds no patch.
    """
    named = {"patches": curves} if isinstance(curves, pd.DataFrame) else dict(curves)
    _check(named)
    figure = chart(8.0, 9.0, title=title or "Reliability of probabilities", simulated=simulated)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1)).tolist()
    above.plot([0, 1], [0, 1], **REFERENCE, label="probabilities as they say")
    for (name, curve), style in zip(named.items(), styles(len(named)), strict=True):
        held = curve[curve["count"] > 0]
        score, observed = held["mean_score"], held["observed"]
        # Rounding may put an interval's end a hair beyond its estimate, which is no error bar.
        ends = np.array([observed - held["observed_low"], held["observed_high"] - observed]).clip(min=0)
        label = f"{name}, n = {int(held['count'].sum())}"
        above.errorbar(score, observed, yerr=ends, capsize=3, elinewidth=1, label=label, **style)
        edges = np.append(curve["low"], curve["high"].iloc[-1])
        line = {key: style[key] for key in ("color", "linestyle", "linewidth")}
        below.stairs(curve["count"], edges, baseline=None, **line)
    above.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    finish(above, x="", y="share that is a landslide")
    finish(below, x="probability given", y="patches")
    below.set_yscale("log")
    below.set_ylim(bottom=0.7)
    above.legend(loc="upper left", fontsize=9)
    return figure


def _check(curves: Mapping[str, pd.DataFrame]) -> None:
    if not curves:
        raise InputError("there is no curve to draw: give what sc.reliability_curve returned")
    for name, curve in curves.items():
        if missing := [column for column in _COLUMNS if column not in curve]:
            raise InputError(f"the curve of {name} lacks {', '.join(missing)}: give what sc.reliability_curve returned")
        if not curve["count"].sum():
            raise InputError(f"the curve of {name} holds no patch: none had a score")
