"""Losses: pure functions on tensors.

Each is a ratio of two sums over what is judged, windows or pixels, so that the loss of a set is exactly that of its
batches' sums added up, whatever the batches are.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sarcube.training.config import TrainConfig

DICE_SMOOTHING = 1.0


def focal(logits: Tensor, truth: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Focal loss of each logit.

    Lin et al. 2017 (ICCV, arXiv 1708.02002), eq. 5: -alpha_t (1 - p_t)^gamma log p_t, where p_t is the probability of
    the true class and alpha_t is alpha for landslides, 1 - alpha for background.

    Parameters
    ----------
    logits, truth : tensors of one shape
        Truth is 1 or 0.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    weight = alpha * truth + (1 - alpha) * (1 - truth)
    return weight * (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy


def focal_on_probabilities(logits: Tensor, truth: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Loss of each logit as the first version of SAR-LRA's public code computes it.

    There the network ends in a sigmoid, and its probability p is taken for a logit once more: the cross-entropy is that
    of sigmoid(p), which lies between 0.5 and 0.73; one alpha weighs both classes. The second version of that code takes
    p for what it is.

    Parameters
    ----------
    logits, truth : tensors of one shape
        Truth is 1 or 0.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(torch.sigmoid(logits), truth, reduction="none")
    return alpha * (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy


def loss_sums(logits: Tensor, truth: Tensor, config: TrainConfig) -> Tensor:
    """Return the two sums of which the loss of a set is made; sums of several batches may be added.

    Parameters
    ----------
    logits, truth : tensors of one shape
        Truth is 1 or 0.

    Returns
    -------
    (2,) tensor
        For dice twice the intersection of probability and truth, and the sum of both; else sum and number of terms.
    """
    if config.loss == "dice":
        p = torch.sigmoid(logits)
        return torch.stack([2 * (p * truth).sum(), p.sum() + truth.sum()])
    if config.loss == "bce":
        terms = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    elif config.loss == "focal":
        terms = focal(logits, truth, alpha=config.focal_alpha, gamma=config.focal_gamma)
    else:
        terms = focal_on_probabilities(logits, truth, alpha=config.focal_alpha, gamma=config.focal_gamma)
    return torch.stack([terms.sum(), terms.new_tensor(float(terms.numel()))])


def loss_of_sums(sums: Tensor, config: TrainConfig) -> Tensor:
    """Return the loss that sums stand for: the mean of the terms, or soft dice.

    Dice (Milletari et al. 2016, arXiv 1606.04797) is 1 - (2 |P T| + s) / (|P| + |T| + s) over all that is judged
    together, landslides alone, with one pixel of agreement s = 1 added, so that a batch without a landslide also has a
    gradient. Boehm et al. 2022 average it over landslide and background, and leave a class out that a batch lacks.
    """
    if config.loss == "dice":
        return 1 - (sums[0] + DICE_SMOOTHING) / (sums[1] + DICE_SMOOTHING)
    return sums[0] / sums[1]
