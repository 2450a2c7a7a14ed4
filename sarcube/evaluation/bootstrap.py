"""How sure a number is: confidence intervals by drawing blocks of ground again.

Windows that lie beside or over one another, and two tracks' views of one slope, are not independent, so that drawing
windows would give intervals that are too narrow. Blocks of ground are drawn instead, with everything that lies in them:
the block bootstrap (Kunsch 1989, Annals of Statistics 17, 1217; for squares of ground Hall 1985, Stochastic Processes
and their Applications 20, 231), with intervals between percentiles (Efron and Tibshirani 1993, chapter 13).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.evaluation.predictions import require_columns, truth_and_scores
from sarcube.evaluation.resampling import Statistic, draw_blocks, resampled
from sarcube.labels.ground import corners_on_the_ground

MIN_BLOCKS = 10
"""Fewer blocks than this say too little of how much blocks differ."""
_MAY_BE_UNDEFINED = 0.05
_SIDES = ("left", "bottom", "right", "top")


@dataclass(frozen=True)
class Interval:
    """A number and how sure it is.

    Attributes
    ----------
    estimate : float
        Of all rows that have a score.
    low, high : float
        Ends of the confidence interval.
    level : float
        Its confidence, such as 0.95.
    blocks : int
        How many blocks of ground were drawn from.
    """

    estimate: float
    low: float
    high: float
    level: float
    blocks: int

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.level:.0%}: {self.low:.3f} to {self.high:.3f}, {self.blocks} blocks)"


def block_bootstrap(
    predictions: pd.DataFrame,
    statistic: Statistic = "auprc",
    *,
    threshold: float | None = None,
    block_m: float = 3200.0,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of a statistic, by drawing squares of ground with replacement.

    Parameters
    ----------
    predictions : pandas.DataFrame
        From `sarcube.score_patches` or `window_predictions`, of one or more events and tracks. Rows without a score are
        left out.
    statistic : {"auprc", "auroc", "accuracy", "precision", "recall", "f1"}
    threshold : float, optional
        Score from which a row is predicted a landslide; all but "auprc" and "auroc" need it.
    block_m : float
        Side of a block, metres: larger than a landslide and than what two windows share. A block is an event's, and
        holds all tracks' rows whose centre lies in it. Infinite: whole events, for what to expect of another event,
        which takes many events.
    repeats : int
        Draws.
    level : float
        Confidence of the interval.
    seed : int
        Decides the draws.

    Returns
    -------
    Interval
        Between percentiles of the draws' statistics. Draws whose statistic is not defined, such as F1 without a
        landslide, are left out. The interval speaks of ground like that of these events, labels and model as they are:
        not of other events, nor of a training with another seed.

    Raises
    ------
    InputError
        If rows know no place, there are fewer than 10 blocks, or the statistic is not defined for all rows or for more
        than one draw in twenty; if an argument cannot be used.

    Notes
    -----
    Blocks are taken for independent. Where they are few, or what ties neighbours together reaches across their edges,
    an interval between percentiles holds the truth less often than its level says: an end near 0 decides little.
    """
    _check(block_m, repeats, level, seed)
    truth, scores = truth_and_scores(predictions)
    scored = ~np.isnan(scores)
    block = ground_blocks(predictions[scored], block_m)
    times = _draws(block, block_m, repeats, seed)
    values = resampled(statistic, truth[scored], scores[scored], block, times, threshold=threshold)
    return _interval(values, times.shape[1], level, statistic)


def block_bootstrap_difference(
    predictions: pd.DataFrame,
    score_a: str,
    score_b: str,
    statistic: Statistic = "auprc",
    *,
    thresholds: tuple[float, float] | None = None,
    block_m: float = 3200.0,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of how far one model is ahead of another on the same rows: statistic of a minus that of b.

    Both are computed for each draw of blocks, so that ground which is hard for both does not widen the interval.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As for `block_bootstrap`, with a column of scores per model. Rows that lack either score are left out.
    score_a, score_b : str
        The two columns. Of scores that are no probabilities, such as a map of change, the order is used and the
        threshold.
    statistic, block_m, repeats, level, seed
        As for `block_bootstrap`.
    thresholds : (float, float), optional
        Of a and of b; all but "auprc" and "auroc" need them.

    Returns
    -------
    Interval
        Where it lies above 0, a is ahead; below 0, b is; where it holds 0, the rows do not decide.

    Raises
    ------
    InputError
        As `block_bootstrap` does.
    """
    _check(block_m, repeats, level, seed)
    if thresholds is not None and np.shape(thresholds) != (2,):
        raise InputError(f"thresholds must be two, that of {score_a} and that of {score_b}, not {thresholds!r}")
    truth, a = truth_and_scores(predictions, score_a)
    _, b = truth_and_scores(predictions, score_b)
    scored = ~(np.isnan(a) | np.isnan(b))
    block = ground_blocks(predictions[scored], block_m)
    times = _draws(block, block_m, repeats, seed)
    limits = (None, None) if thresholds is None else thresholds
    of_a, of_b = (
        resampled(statistic, truth[scored], scores[scored], block, times, threshold=threshold)
        for scores, threshold in zip((a, b), limits, strict=True)
    )
    return _interval(of_a - of_b, times.shape[1], level, statistic)


def ground_blocks(predictions: pd.DataFrame, block_m: float) -> NDArray[np.int64]:
    """Number the squares of ground that rows lie in, by their centres, each event's by themselves.

    Squares begin at multiples of their side in the event's coordinates, so that a row's neighbours in a block do not
    depend on which other rows there are; in coordinates that are no metres, such as degrees, they begin at the row
    of the lowest left. The order of rows changes nothing.

    Parameters
    ----------
    predictions : pandas.DataFrame
        With event, left, bottom, right, top, crs.
    block_m : float
        Side of a square, metres; infinite for whole events.

    Returns
    -------
    (n,) int64 array
        From 0.

    Raises
    ------
    InputError
        If rows know no place, or those of one event lie 2000 km apart.
    """
    require_columns(predictions, "event", *_SIDES, "crs")
    nowhere = predictions[["crs", *_SIDES]].isna().any(axis=1) | (predictions["crs"] == "")
    if nowhere.any():
        raise InputError(
            f"{int(nowhere.sum())} of {len(predictions)} rows do not know where they lie, as patches made of arrays do "
            "not: blocks of ground need left, bottom, right, top and crs"
        )
    places = predictions[["crs", *_SIDES]].reset_index(drop=True)
    events = predictions["event"].astype(object).where(predictions["event"].notna(), "").to_numpy()
    block, blocks = np.empty(len(predictions), np.int64), 0
    for event in sorted(set(events), key=str):
        here = places[events == event].sort_values(["crs", *_SIDES])
        centres = corners_on_the_ground(here, str(event)).mean(axis=1)
        squares = np.unique(np.floor(centres / block_m).astype(np.int64), axis=0, return_inverse=True)[1].reshape(-1)
        block[here.index] = blocks + squares
        blocks += int(squares.max()) + 1
    return block


def _draws(block: NDArray[np.int64], block_m: float, repeats: int, seed: int) -> NDArray[np.int64]:
    """Return all blocks once, which gives the estimate, and then the draws."""
    blocks = int(block.max(initial=-1)) + 1
    if not blocks:
        raise InputError("there is nothing to draw from: no row has a score")
    if blocks < MIN_BLOCKS:
        raise InputError(
            f"the rows lie in {blocks} blocks of {block_m:g} m, and an interval needs {MIN_BLOCKS} at least; evaluate "
            "more ground, or take a smaller block_m"
        )
    return np.concatenate([np.ones((1, blocks), np.int64), draw_blocks(blocks, repeats, seed)])


def _interval(values: NDArray[np.float64], blocks: int, level: float, statistic: str) -> Interval:
    estimate, drawn = float(values[0]), values[1:]
    undefined = float(np.isnan(drawn).mean())
    if np.isnan(estimate) or undefined > _MAY_BE_UNDEFINED:
        which = "all rows" if np.isnan(estimate) else f"{undefined:.0%} of the draws"
        raise InputError(
            f'"{statistic}" is not defined for {which}: too few blocks hold landslides (or, for precision, '
            "predictions); evaluate more ground, or take a smaller block_m"
        )
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, blocks)


def _check(block_m: float, repeats: int, level: float, seed: int) -> None:
    if not block_m > 0:
        raise InputError(f"block_m must be > 0 metres, not {block_m}")
    if repeats < 1 or seed < 0:
        raise InputError(f"repeats must be 1 or more and seed 0 or more, not {repeats} and {seed}")
    if not 0 < level < 1:
        raise InputError(f"level must be a confidence in (0, 1), such as 0.95, not {level}")
