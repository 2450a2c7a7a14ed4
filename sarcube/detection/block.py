"""The scores of the windows of one block of a stack, in memory."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from scipy.special import logit

from sarcube.detection.judges import Flags, Floats, Places, cut_windows, judge_of
from sarcube.detection.one_thread import one_thread
from sarcube.gaps import MAX_GAPS, count_gaps, fill_gaps
from sarcube.models.classifier import WindowClassifier, probabilities_of

Precision: TypeAlias = Literal["float32", "bfloat16", "screened"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

MARGIN = 0.2
"""Logits below the threshold's from which a window is near it, at least: 0.05 in probability at 0.5."""
ERRORS = 4.0
"""The margin is so many times the largest error that was seen in the block, at least."""
SAMPLE = 32
"""Windows of a block that are judged twice wherever they stand, so that errors are seen where nothing is near."""
MOST_ALONE = 0.25
"""Share of a block's windows up to which they are judged again one by one, not all together."""


@dataclass(frozen=True)
class Scoring:
    """What a block needs to know.

    Attributes
    ----------
    model : WindowClassifier
        In evaluation mode, on the device where it is to run.
    precision : {"float32", "bfloat16", "screened"}
    threshold : float
        Probability from which screened scores are those of float32.
    """

    model: WindowClassifier
    precision: Precision
    threshold: float


def score_image(image: Floats, rows: Places, columns: Places, scoring: Scoring) -> Floats:
    """Score windows of an image in memory, with one thread.

    Parameters
    ----------
    image : (band, y, x) float32 array
        NaN where not valid.
    rows, columns : int arrays
        First pixels of the windows along each axis.
    scoring : Scoring

    Returns
    -------
    (len(rows), len(columns)) float32 array
        NaN for windows with more than one pixel that is not valid.
    """
    image = np.asarray(image, np.float32)
    gaps = count_gaps(image, rows, columns, scoring.model.spec.window_size)
    logits = np.full(gaps.shape, np.nan, np.float32)
    with one_thread():
        _judge_whole(image, rows, columns, gaps == 0, scoring, logits)
        _judge_filled(image, rows, columns, (gaps > 0) & (gaps <= MAX_GAPS), scoring, logits)
    return probabilities_of(logits, scoring.model.spec.temperature)


def _judge_whole(image: Floats, rows: Places, columns: Places, whole: Flags, scoring: Scoring, logits: Floats) -> None:
    """Judge the windows without a gap, into `logits`."""
    if not whole.any():
        return
    i, j = (np.flatnonzero(whole.any(axis=axis)) for axis in (1, 0))
    part, wanted = np.ix_(i, j), whole[np.ix_(i, j)]
    if scoring.precision == "screened":
        found = _screened(image, rows[i], columns[j], wanted, scoring)
    else:
        dtype = torch.float32 if scoring.precision == "float32" else torch.bfloat16
        found = judge_of(scoring.model, dtype).everywhere(image, rows[i], columns[j], wanted)
    logits[part] = np.where(wanted, found, logits[part])


def _judge_filled(
    image: Floats, rows: Places, columns: Places, single: Flags, scoring: Scoring, logits: Floats
) -> None:
    """Judge the few windows with a single gap, each filled as its own pixels say, in float32, into `logits`."""
    i, j = np.nonzero(single)
    if len(i):
        windows = fill_gaps(cut_windows(image, rows[i], columns[j], scoring.model.spec.window_size))
        logits[i, j] = judge_of(scoring.model, torch.float32).alone(windows)


def _screened(image: Floats, rows: Places, columns: Places, wanted: Flags, scoring: Scoring) -> Floats:
    """Judge all windows in bfloat16, and again in float32 those near the threshold or above it.

    What counts as near follows from the errors of those that were judged twice, a sample of all among them: the margin
    grows until it is some times the largest.
    """
    spec = scoring.model.spec
    exact = judge_of(scoring.model, torch.float32)
    logits = judge_of(scoring.model, torch.bfloat16).everywhere(image, rows, columns, wanted)
    coarse, again = logits.copy(), np.zeros(wanted.shape, bool)
    sample = np.flatnonzero(wanted)
    sample = sample[np.linspace(0, len(sample) - 1, min(SAMPLE, len(sample)), dtype=np.int64)]
    pending = np.zeros(wanted.shape, bool)
    pending.flat[sample] = True
    margin = MARGIN
    while True:
        pending |= wanted & (coarse >= spec.temperature * logit(scoring.threshold) - margin)
        pending &= ~again
        if not pending.any():
            return logits
        if np.count_nonzero(pending | again) > MOST_ALONE * wanted.size:
            return exact.everywhere(image, rows, columns, wanted)
        i, j = np.nonzero(pending)
        logits[i, j] = exact.alone(cut_windows(image, rows[i], columns[j], spec.window_size))
        again |= pending
        margin = max(margin, ERRORS * float(np.abs(coarse - logits)[again].max()))
