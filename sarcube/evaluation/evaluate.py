"""One evaluation of a model on patches, or of all windows of a stack."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.evaluation.predictions import score_patches, truth_and_scores, window_predictions
from sarcube.evaluation.summary import Evaluation, summarise
from sarcube.labels.patches import Patches

if TYPE_CHECKING:
    from sarcube.models.network import Network


def evaluate(model: "Network", patches: Patches, *, threshold: float | None = None) -> Evaluation:
    """Score patches and compare with their labels, or their pixels with their masks.

    Parameters
    ----------
    model : WindowClassifier or Segmenter
        One that judges windows is held against `patches.labels`, one that judges pixels against their masks.
    patches : Patches
        Their share of landslides is what precision, F1 and AUPRC refer to. Read share by share where not in memory.
    threshold : float, optional
        By default the model's own.

    Returns
    -------
    Evaluation
        Of pixels, the areas under the curves are those of counts in bins of the logit
        (`sarcube.training.pixel_scores`), so that memory does not grow with the chips.

    Raises
    ------
    BandError
        If the patches do not hold the model's bands.
    InputError
        If there are no patches, or they are of another size than the model's windows or of another radiometry than the
        model was trained on; if nothing has a score.
    """
    from sarcube.evaluation.pixels import count_pixels  # takes torch, as the model does
    from sarcube.models.segmenter import Segmenter

    if isinstance(model, Segmenter):
        everything = np.zeros(len(patches), np.int64)
        result = count_pixels(model, patches, everything, threshold=threshold)[0].summary()
    else:
        predictions = score_patches(model, patches)
        chosen = model.spec.threshold if threshold is None else threshold
        result = summarise(*truth_and_scores(predictions), threshold=chosen)
    return _not_empty(result)


def evaluate_scores(
    scores: xr.DataArray,
    label: NDArray[np.uint8],
    *,
    threshold: float | None = None,
    min_landslide_fraction: float = 0.05,
) -> Evaluation:
    """Compare the scores of all windows of a stack with the truth, at the prevalence that nature has there.

    Parameters
    ----------
    scores, label, min_landslide_fraction
        As `window_predictions` takes them.
    threshold : float, optional
        By default that of the model that gave the scores.

    Returns
    -------
    Evaluation
        Windows whose score is NaN are counted as `unscored` and left out of the rest.

    Raises
    ------
    InputError
        If the label has another shape than the stack had, or no window has a score.
    """
    predictions = window_predictions(scores, label, min_landslide_fraction=min_landslide_fraction)
    chosen = float(scores.attrs["threshold"]) if threshold is None else threshold
    return _not_empty(summarise(*truth_and_scores(predictions), threshold=chosen))


def _not_empty(result: Evaluation) -> Evaluation:
    if not result.n:
        raise InputError(f"there is nothing to evaluate: none of {result.unscored} {result.judged} has a score")
    return result
