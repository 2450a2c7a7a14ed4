"""What each pixel of a window adds to its logit, against baselines: DeepLIFT-SHAP, held to its sum."""

import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.explanation.rules import deep_lift_rules

if TYPE_CHECKING:
    from sarcube.models.classifier import WindowClassifier

TOLERANCE = 1e-3
"""Of a logit: how far contributions may be from what they must add up to."""
LANES = 16
"""Images in one pass, a window and baselines: what fits a core's cache. Baselines beyond take further passes."""


class Attribution(NamedTuple):
    """Contributions (n, band, size, size) float32 of windows, and their logits (n,), computed in double precision."""

    contributions: NDArray[np.float32]
    logits: NDArray[np.float64]


def attribute(windows: NDArray[np.float32], baselines: NDArray[np.float32], model: "WindowClassifier") -> Attribution:
    """Say what each pixel of each band contributes to the logit of its window.

    For each baseline DeepLIFT (Shrikumar et al. 2017, arXiv:1704.02685) divides the difference of both logits among the
    pixels; the mean over the baselines approximates SHAP values with the baselines as background (DeepSHAP: Lundberg &
    Lee 2017, arXiv:1705.07874, sec. 4.2). A window's contributions depend on nothing but the window, the baselines and
    the model: each goes through the network by itself, in batches whose sizes follow from the number of baselines.

    Parameters
    ----------
    windows : (n, band, size, size) float32 array
        In the unit of the model's spec, finite.
    baselines : (m, band, size, size) float32 array
        Likewise, one at least.
    model : WindowClassifier
        In evaluation mode and without gradients (`sarcube.models.weights.frozen_copy`). It is not changed, so threads
        may share it.

    Returns
    -------
    Attribution
        The contributions of a window add up to its logit minus the mean logit of the baselines, within `TOLERANCE`.

    Raises
    ------
    InputError
        If they do not, in double precision neither: the model does something for which there is no rule.
    """
    with torch.inference_mode(mode=False):  # a caller's is the copy's for good
        exact = copy.deepcopy(model).double()
    base, logits = _logits(baselines, exact).mean(), _logits(windows, exact)
    contributions = np.empty(windows.shape, np.float32)
    for number, window in enumerate(windows):
        expected = logits[number] - base
        found = _contributions(window, baselines, model)
        if not _adds_up(found, expected):  # logits so large that single precision does not hold the tolerance?
            found = _contributions(window.astype(np.float64), baselines.astype(np.float64), exact)
        if not _adds_up(found, expected):
            raise InputError(
                f"contributions must add up to the window's logit minus that of the baselines, {expected:.4f}, within "
                f"{TOLERANCE}; those of this {model.spec.architecture} add up to {found.sum(dtype=np.float64):.4f}: it "
                "does something not linear for which sarcube.explanation.rules has no rule; build it of ReLU, sigmoid, "
                "max pooling, maxima and products, or add the rule"
            )
        contributions[number] = found
    return Attribution(contributions, logits)


def base_value(baselines: NDArray[np.float32], model: "WindowClassifier") -> float:
    """Mean logit of the baselines, in double precision: what contributions are counted from."""
    return float(_logits(baselines, copy.deepcopy(model).double()).mean())


def _logits(windows: NDArray[np.float32], model: "WindowClassifier") -> NDArray[np.float64]:
    """Logits (n,) float64 of windows, in batches of one size: none depends on its company."""
    result = np.empty(len(windows))
    with torch.inference_mode():
        for start in range(0, len(windows), LANES):
            part = windows[start : start + LANES]
            batch = torch.zeros((LANES, *windows.shape[1:]), dtype=model.mean.dtype)
            batch[: len(part)] = torch.from_numpy(part)
            result[start : start + len(part)] = model(batch.to(model.mean.device))[: len(part)].cpu().numpy()
    return result


@torch.inference_mode(mode=False)  # whatever callers have set for networks of their own
@torch.enable_grad()
def _contributions(
    window: NDArray[np.floating], baselines: NDArray[np.floating], model: "WindowClassifier"
) -> NDArray[np.float32]:
    image = torch.from_numpy(np.ascontiguousarray(window)).to(model.mean.device)
    total = torch.zeros(image.shape, dtype=torch.float64, device=image.device)
    for start in range(0, len(baselines), LANES - 1):
        group = torch.from_numpy(np.ascontiguousarray(baselines[start : start + LANES - 1])).to(image.device)
        lanes = torch.cat([image[None], group]).requires_grad_()
        with deep_lift_rules():
            (multipliers,) = torch.autograd.grad(model(lanes)[1:].sum(), lanes)
        total += ((image - group) * multipliers[1:]).sum(dim=0, dtype=torch.float64)
    found: NDArray[np.float32] = (total / len(baselines)).cpu().numpy().astype(np.float32)
    return found


def _adds_up(contributions: NDArray[np.float32], expected: float) -> bool:
    return bool(abs(contributions.sum(dtype=np.float64) - expected) <= TOLERANCE)
