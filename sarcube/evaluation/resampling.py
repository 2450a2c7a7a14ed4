"""Statistics of predictions whose blocks are drawn again and again: arrays in, arrays out.

A block that is drawn k times counts k times. Scores are sorted once; a draw only changes how much each of them counts.
"""

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.metrics import Confusion, auroc_of_steps, average_precision_of_steps

Statistic: TypeAlias = Literal["auprc", "auroc", "accuracy", "precision", "recall", "f1"]
Times: TypeAlias = NDArray[np.int64]

STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
_OF_RANKS = ("auprc", "auroc")


def draw_blocks(blocks: int, repeats: int, seed: int) -> Times:
    """Draw as many blocks as there are, with replacement: how often each comes, (repeats, block) int64."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=repeats)


def resampled(
    statistic: Statistic,
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    block: NDArray[np.int64],
    times: Times,
    *,
    threshold: float | None,
) -> NDArray[np.float64]:
    """Compute a statistic for every draw of blocks.

    Parameters
    ----------
    statistic : {"auprc", "auroc", "accuracy", "precision", "recall", "f1"}
    truth : (n,) bool array
    scores : (n,) float array
        Finite.
    block : (n,) int64 array
        Which block each is in, from 0.
    times : (repeats, block) int64 array
        How often each block counts.
    threshold : float, optional
        Score from which a row is predicted positive; "auprc" and "auroc" need none.

    Returns
    -------
    (repeats,) float64 array
        NaN where the statistic of a draw is not defined: but for "accuracy", without a positive.

    Raises
    ------
    InputError
        If the statistic is unknown, or needs a threshold and has none.
    """
    if statistic not in STATISTICS:
        raise InputError(f'the statistic must be one of {", ".join(STATISTICS)}, not "{statistic}"')
    if statistic in _OF_RANKS:
        return _of_ranks(statistic, truth, scores, block, times)
    if threshold is None or not np.isfinite(threshold):
        raise InputError(
            f'"{statistic}" needs a finite threshold=, the score from which a row is predicted a landslide'
        )
    predicted = scores >= threshold
    cells = (truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted)
    per_block = np.stack([np.bincount(block[cell], minlength=times.shape[1]) for cell in cells], axis=1)
    drawn = times @ per_block
    values = np.array([getattr(Confusion(*counts), statistic) for counts in drawn.tolist()], np.float64)
    if statistic != "accuracy":
        values[drawn[:, 0] + drawn[:, 2] == 0] = np.nan  # F1 and precision are 0 whatever the model says: no finding
    return values


def _of_ranks(
    statistic: str,
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    block: NDArray[np.int64],
    times: Times,
) -> NDArray[np.float64]:
    order = np.argsort(-scores, kind="stable")
    ranked, truth, block = scores[order], truth[order], block[order]
    last_of_ties = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)
    area = average_precision_of_steps if statistic == "auprc" else auroc_of_steps
    result = np.empty(len(times))
    for number, counts in enumerate(times):
        weight = counts[block]
        hits = np.cumsum(weight * truth)[last_of_ties]
        result[number] = area(hits, np.cumsum(weight)[last_of_ties])
    return result
