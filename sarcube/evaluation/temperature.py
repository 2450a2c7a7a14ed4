"""Temperature scaling: one number that makes a model's probabilities mean what they say, and changes no decision."""

import copy
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from sarcube.errors import InputError
from sarcube.evaluation.pixels import count_pixels
from sarcube.evaluation.predictions import check_judged, shares_of
from sarcube.labels.patches import Patches
from sarcube.models.classifier import BATCH, WindowClassifier
from sarcube.models.network import Network
from sarcube.models.segmenter import Segmenter
from sarcube.training.pixel_scores import BINS, RANGE

N = TypeVar("N", bound=Network)
Floats = NDArray[np.float64]

COLDEST, HOTTEST = 1 / 64, 64.0
_ULP = 2.0**-24  # of a probability in single precision


def calibrate(model: N, validation: Patches) -> N:
    """Fit the temperature by which a model's logits are divided before they become probabilities.

    The temperature is the one of the lowest log loss on validation patches. The order of scores, and with it AUPRC and
    AUROC, stay; the threshold is moved so that decisions stay as well, as far as single precision tells scores apart.

    Parameters
    ----------
    model : WindowClassifier or Segmenter
        Not changed.
    validation : Patches
        That the weights were not learnt from, at the share of landslides that is expected in use: it is part of what
        is calibrated. With masks for a Segmenter.

    Returns
    -------
    WindowClassifier or Segmenter
        A copy in evaluation mode, with `spec.temperature` and `spec.threshold`; `sarcube.save_model` keeps both.

    Raises
    ------
    BandError
        If the patches do not hold the model's bands.
    InputError
        If there are no patches, or of one class only; if the model tells the classes apart perfectly or not at all, so
        that no temperature is best; as `sarcube.evaluate` does.

    Notes
    -----
    Source: Guo et al. 2017 (ICML, arXiv 1706.04599, section 4.2), with two classes.
    """
    check_judged(model, validation)
    calibrated = copy.deepcopy(model).eval()
    if isinstance(calibrated, Segmenter):
        logits, counts = _pixel_logits(calibrated, validation)
    elif isinstance(calibrated, WindowClassifier):
        logits, counts = _window_logits(calibrated, validation)
    else:
        raise InputError(f"a model to calibrate is a WindowClassifier or a Segmenter, not a {type(model).__name__}")
    temperature = fit_temperature(logits, counts)
    calibrated.spec = replace(
        model.spec,
        temperature=temperature,
        threshold=moved_threshold(model.spec.threshold, model.spec.temperature, temperature),
    )
    return calibrated


def fit_temperature(logits: Floats, counts: Floats) -> float:
    """Find the temperature of the lowest log loss.

    Parameters
    ----------
    logits : (n,) float64 array
    counts : (2, n) array
        How many of background, and of landslides, have each of the logits.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a class is missing, a logit not finite, or no temperature from 1/64 to 64 is best.
    """
    negative, positive = counts
    if not negative.sum() or not positive.sum():
        raise InputError(
            f"calibration needs landslides and background with a score; there are {int(positive.sum())} and "
            f"{int(negative.sum())}"
        )
    if not np.isfinite(logits).all():
        raise InputError("the model gives logits that are not finite: are the images finite, and the weights?")

    def log_loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        total = positive @ np.logaddexp(0, -scaled) + negative @ np.logaddexp(0, scaled)
        return float(total / counts.sum())

    ends = np.log(COLDEST), np.log(HOTTEST)
    # In 1/T the loss is convex, so that what is found is the lowest there is.
    found = minimize_scalar(log_loss, bounds=ends, method="bounded", options={"xatol": 1e-7})
    if min(abs(found.x - end) for end in ends) < 1e-3:
        how = "perfectly; take more of them" if found.x < 0 else "not at all, or the wrong way round"
        raise InputError(f"no temperature is best: the model tells landslides from background {how}")
    return float(np.exp(found.x))


def moved_threshold(threshold: float, before: float, after: float) -> float:
    """Probability at one temperature whose logit is that of `threshold` at another.

    A threshold is often the very score of a window: it is lowered by what single precision may round away, so that the
    window stays above it. 1 is then what rounds to 1, as nearly all scores of a model do that is too sure; 0 stays.
    """
    if threshold <= 0:
        return threshold
    # A sigmoid is off by 1.5 units near 1, and by 3 of its own size near 0; a logit by one of its own, each time
    # that it is divided.
    lowest = logit(threshold * (1 - _ULP * (3 - 1.5 * threshold))) * before / after
    return float(expit(lowest - 2 * _ULP * abs(lowest)) * (1 - 3 * _ULP))


def _window_logits(model: WindowClassifier, patches: Patches) -> tuple[Floats, Floats]:
    if patches.size != model.spec.window_size:
        raise InputError(f"the patches are {patches.size} pixels wide, but the model expects {model.spec.window_size}")
    logits = np.empty(len(patches), np.float64)
    with torch.inference_mode():
        for share in shares_of(patches):
            images = torch.from_numpy(patches.read(share)).to(model.mean.device)
            parts = [model(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
            logits[share] = torch.cat(parts).cpu().numpy()
    return logits, np.stack([~patches.labels, patches.labels]).astype(np.float64)


def _pixel_logits(model: Segmenter, chips: Patches) -> tuple[Floats, Floats]:
    """Middles of the bins of logits that occur, and how many pixels of each class are in each."""
    model.spec = replace(model.spec, temperature=1.0)
    counts = count_pixels(model, chips, np.zeros(len(chips), np.int64))[0].bins
    there = counts.any(axis=0)
    middles = (np.arange(BINS, dtype=np.float64) + 0.5) * (2 * RANGE / BINS) - RANGE
    return middles[there], counts[:, there].astype(np.float64)
