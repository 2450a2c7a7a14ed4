"""Training a window classifier on patches, the same to the bit for the same seed on one machine."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sarcube.errors import BandError, InputError
from sarcube.labels.patches import Patches
from sarcube.metrics import average_precision, best_f1_threshold
from sarcube.models.classifier import WindowClassifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are made for a CPU; Nava et al. 2026 use 500 epochs, batches of 500, patience 30.

    Parameters
    ----------
    epochs : int
        Passes over the training patches, at most.
    batch_size : int
        Patches in one step. On a CPU small batches are faster per patch as well: they stay in the cache.
    learning_rate : float
        Of Adam (AdamW where `weight_decay` is not 0).
    loss : "focal" or "bce"
        Focal loss (Lin et al. 2017) on logits, or binary cross-entropy.
    focal_alpha, focal_gamma : float
        Weight of the landslide class, and how strongly easy patches are played down.
    weight_decay : float
        Decoupled weight decay.
    patience : int
        Training stops after so many epochs without a lower validation loss.
    max_background_ratio : float, optional
        Background patches per landslide patch in an epoch, at most; each epoch draws its own. None takes all.
    augment : tuple of str
        "flip_y" mirrors half of the patches north to south. A radar looks sideways, across its nearly north-south
        track: that mirror keeps the side from which slopes are seen, with their bright and dark flanks. An east-west
        mirror or a rotation would show slopes lit from a side from which no track of that stack sees them, so
        neither is offered.
    seed : int
        Decides order, draws, flips and dropout.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    loss: Literal["focal", "bce"] = "focal"
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    weight_decay: float = 0.0
    patience: int = 30
    max_background_ratio: float | None = 5.0
    augment: tuple[Literal["flip_y"], ...] = ("flip_y",)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise InputError(
                f"learning_rate must be > 0 and weight_decay >= 0, not {self.learning_rate} and {self.weight_decay}"
            )
        if self.loss not in ("focal", "bce"):
            raise InputError(f'the loss must be "focal" or "bce", not {self.loss!r}')
        if not 0 < self.focal_alpha < 1 or self.focal_gamma < 0:
            raise InputError(
                f"focal_alpha must be in (0, 1) and focal_gamma >= 0, not {self.focal_alpha} and {self.focal_gamma}"
            )
        if self.max_background_ratio is not None and not self.max_background_ratio > 0:
            raise InputError(f"max_background_ratio must be > 0 or None, not {self.max_background_ratio}")
        if not set(self.augment) <= {"flip_y"}:
            raise InputError(f'augment knows "flip_y" alone, which keeps the look direction, not {self.augment!r}')


def train(
    training: Patches,
    validation: Patches,
    *,
    model: WindowClassifier,
    config: TrainConfig | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> WindowClassifier:
    """Train a copy of a model; the model that is given stays as it is.

    Parameters
    ----------
    training : Patches
        Patches to learn from. If the model has no normalisation yet, mean and standard deviation of its bands are
        taken from all of them and written into the spec; a model that has one keeps it, as its weights rely on it.
    validation : Patches
        Patches to choose by: the weights of the epoch with the lowest validation loss are kept, and the threshold
        with the best F1 on these very patches becomes the spec's. It suits a share of landslides like theirs, so
        validate at the prevalence that is expected in use.
    model : WindowClassifier
        Where to start: `sarcube.models.cnn(...)`, or a trained model.
    config : TrainConfig, optional
    progress : callable, optional
        Called after every epoch with its entry of the history.

    Returns
    -------
    WindowClassifier
        In evaluation mode. Its `history` has per epoch: epoch, loss, validation_loss, validation_auprc.

    Raises
    ------
    BandError
        If the patches do not hold the model's bands.
    InputError
        If their size is not the model's, one of the two sets lacks a class or is not finite, or training diverges.
    """
    config = config or TrainConfig()
    for name, patches in (("training", training), ("validation", validation)):
        _check_patches(patches, name, model)
    model = copy.deepcopy(model).train()
    if model.spec.mean is None:
        mean, std = _moments(training.images)
        model.spec = replace(model.spec, mean=mean, std=std)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    images = torch.from_numpy(training.images)
    labels = torch.from_numpy(training.labels.astype(np.float32))
    draws = np.random.default_rng(config.seed)

    history: list[dict[str, float]] = []
    best_loss, best_epoch, best_weights = inf, 0, model.state_dict()
    with torch.random.fork_rng(devices=[]):  # dropout draws from torch's global state
        torch.manual_seed(config.seed)
        for epoch in range(1, config.epochs + 1):
            loss = _run_epoch(model, optimiser, images, labels, config, draws)
            logits = _predict(model, validation.images, config.batch_size)
            validation_loss = float(_loss(logits, torch.from_numpy(validation.labels.astype(np.float32)), config))
            if not isfinite(validation_loss):
                raise InputError(
                    f"training diverged in epoch {epoch}: the validation loss is {validation_loss}; "
                    f"is learning_rate={config.learning_rate} too high?"
                )
            entry = {
                "epoch": float(epoch),
                "loss": loss,
                "validation_loss": validation_loss,
                "validation_auprc": average_precision(validation.labels, logits.numpy()),
            }
            history.append(entry)
            log.info("epoch %d: loss %.5f, validation loss %.5f, AUPRC %.3f", epoch, *list(entry.values())[1:])
            if progress is not None:
                progress(entry)
            if validation_loss < best_loss:
                best_loss, best_epoch = validation_loss, epoch
                best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            elif epoch - best_epoch >= config.patience:
                log.info("no lower validation loss for %d epochs; epoch %d is kept", config.patience, best_epoch)
                break
    model.load_state_dict(best_weights)
    model.eval()
    threshold, _ = best_f1_threshold(validation.labels, model.probabilities(validation.images))
    model.spec = replace(model.spec, threshold=threshold)
    model.history = history
    return model


def _run_epoch(
    model: WindowClassifier,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    draws: np.random.Generator,
) -> float:
    model.train()
    chosen = torch.from_numpy(_draw_epoch(labels.numpy() > 0.5, config.max_background_ratio, draws))
    total = 0.0
    for batch in torch.split(chosen, config.batch_size):
        windows, truth = images[batch], labels[batch]
        if "flip_y" in config.augment:
            windows = _mirror_some(windows, draws)
        optimiser.zero_grad()
        loss = _loss(model(windows), truth, config)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(batch)
    return total / len(chosen)


def _mirror_some(windows: Tensor, draws: np.random.Generator) -> Tensor:
    """Mirror about half of the windows (n, band, y, x) north to south."""
    chosen = torch.from_numpy(draws.random(len(windows)) < 0.5)[:, None, None, None]
    return torch.where(chosen, windows.flip(2), windows)


def _draw_epoch(labels: NDArray[np.bool_], max_ratio: float | None, draws: np.random.Generator) -> NDArray[np.int64]:
    """Draw the indices of one epoch, in random order: all landslides, background up to the cap."""
    positive, negative = np.flatnonzero(labels), np.flatnonzero(~labels)
    if max_ratio is not None:
        count = min(len(negative), max(1, round(max_ratio * len(positive))))
        negative = draws.choice(negative, count, replace=False)
    return draws.permutation(np.concatenate([positive, negative]))


def _loss(logits: Tensor, truth: Tensor, config: TrainConfig) -> Tensor:
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if config.loss == "bce":
        return cross_entropy.mean()
    # Lin et al. 2017, eq. 5: -alpha_t (1 - p_t)^gamma log p_t, where exp(-cross entropy) is p_t
    weight = config.focal_alpha * truth + (1 - config.focal_alpha) * (1 - truth)
    return (weight * (1 - torch.exp(-cross_entropy)) ** config.focal_gamma * cross_entropy).mean()


def _predict(model: WindowClassifier, images: NDArray[np.float32], batch_size: int) -> Tensor:
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in torch.split(torch.from_numpy(images), batch_size)])


def _moments(images: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band, in double precision, one patch in memory at a time."""
    count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = images.sum(axis=(0, 2, 3), dtype=np.float64) / count
    squares = np.zeros_like(mean)
    for image in images:
        squares += np.square(image - mean[:, None, None]).sum(axis=(1, 2))
    std = np.sqrt(squares / count)
    if not (std > 0).all():
        raise InputError(
            f"every band must vary over the training patches; their standard deviations are {std.tolist()}"
        )
    return tuple(mean.tolist()), tuple(std.tolist())


def _check_patches(patches: Patches, name: str, model: WindowClassifier) -> None:
    if patches.bands != model.spec.bands:
        raise BandError(f"the {name} patches hold the bands {patches.bands}, but the model expects {model.spec.bands}")
    if len(patches) and patches.size != model.spec.window_size:
        raise InputError(
            f"the {name} patches are {patches.size} pixels wide, but the model expects {model.spec.window_size}"
        )
    if not isfinite(float(patches.images.sum(dtype=np.float64))):
        raise InputError(f"the {name} patches hold values that are not finite; sample_patches leaves those out")
    positive = int(patches.labels.sum())
    if not 0 < positive < len(patches):
        raise InputError(
            f"the {name} patches need both landslides and background; {positive} of {len(patches)} are landslides"
        )
