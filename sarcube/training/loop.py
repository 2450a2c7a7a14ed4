"""One epoch of training, and one look at the validation patches."""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcube.errors import InputError
from sarcube.labels.order import draw_epoch, reading_order
from sarcube.labels.patches import Patches
from sarcube.metrics import average_precision, best_f1_threshold
from sarcube.models.classifier import WindowClassifier
from sarcube.models.network import Network
from sarcube.training.augment import augmented
from sarcube.training.config import TrainConfig
from sarcube.training.deterministic import seed_dropout
from sarcube.training.feed import batches, read_share
from sarcube.training.losses import loss_of_sums, loss_sums
from sarcube.training.pixel_scores import BINS, average_precision_of, best_f1_threshold_of, count_scores

Floats = NDArray[np.float32]


def run_epoch(
    model: Network,
    patches: Patches,
    epoch: int,
    config: TrainConfig,
    *,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> float:
    """Train on the patches of one epoch; everything drawn follows from the seed and the epoch's number.

    Returns
    -------
    float
        Loss over the whole epoch, as the weights were when each batch came.

    Raises
    ------
    InputError
        If a window is not finite.
    """
    model.train()
    draws = np.random.default_rng([config.seed, epoch])
    seed_dropout(config.seed, epoch)
    chosen = draw_epoch(patches.labels, config.max_background_ratio, draws)
    order = reading_order(patches.tiles, chosen, draws=draws, at_once=_whole_batches(config))
    by_pixel = _by_pixel(model)
    total = torch.zeros(2, dtype=torch.float64)
    with closing(_batches(patches, order, config, by_pixel, "training")) as feed:
        for images, truth in feed:
            images, masks = augmented(images, truth if by_pixel else None, config.augment, draws)
            logits, judged = _judge(model, images, truth if masks is None else masks, config)
            if not len(logits):
                continue  # zoomed to where nothing is valid
            optimiser.zero_grad()
            sums = loss_sums(logits, judged, config)
            scaler.scale(loss_of_sums(sums, config)).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimiser)
            scaler.update()
            total += sums.detach().cpu().double()
    return float(loss_of_sums(total, config))


def validate(model: Network, patches: Patches, config: TrainConfig) -> tuple[float, float]:
    """Return loss and area under the precision-recall curve of all windows, or of all valid pixels.

    The latter is NaN where the loss is not finite.

    Raises
    ------
    InputError
        If a window is not finite, or no pixel is valid.
    """
    by_pixel = _by_pixel(model)
    total = torch.zeros(2, dtype=torch.float64)
    counts = np.zeros((2, BINS), np.int64)
    scored: list[tuple[Floats, NDArray[np.bool_]]] = []
    for logits, truth in _judged(model, patches, config):
        total += loss_sums(logits, truth, config).cpu().double()
        scores, labels = logits.cpu().numpy(), truth.cpu().numpy() > 0
        if not np.isfinite(scores).all():
            return float("nan"), float("nan")
        if by_pixel:
            counts += count_scores(scores, labels)
        else:
            scored.append((scores, labels))
    if by_pixel:
        if not counts.any():
            raise InputError("no pixel of the validation patches is valid: nothing can be judged")
        precision = average_precision_of(counts)
    else:
        windows, labels = (np.concatenate(part) for part in zip(*scored, strict=True))
        precision = average_precision(labels, windows)
    return float(loss_of_sums(total, config)), precision


def best_threshold(model: Network, patches: Patches, config: TrainConfig) -> float:
    """Return the probability from which on F1 over the patches, or their valid pixels, is highest.

    Raises
    ------
    InputError
        If no valid pixel is a landslide's.
    """
    model.eval()
    if isinstance(model, WindowClassifier):
        shares = reading_order(patches.tiles, np.arange(len(patches)), at_once=config.at_once)
        probabilities = np.empty(len(patches), np.float32)
        for share in shares:
            images, _ = read_share(patches, share, by_pixel=False, name="validation")
            probabilities[share] = model.probabilities(images)
        return best_f1_threshold(patches.labels, probabilities)[0]
    counts = np.zeros((2, BINS), np.int64)
    for logits, truth in _judged(model, patches, config):
        counts += count_scores(logits.cpu().numpy(), truth.cpu().numpy() > 0)
    if not counts[1].any():
        raise InputError("no valid pixel of the validation patches is a landslide's: no threshold can be chosen")
    return best_f1_threshold_of(counts)


def _judged(model: Network, patches: Patches, config: TrainConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Judge all patches, tile by tile, batch by batch."""
    model.eval()
    order = reading_order(patches.tiles, np.arange(len(patches)), at_once=_whole_batches(config))
    with closing(_batches(patches, order, config, _by_pixel(model), "validation")) as feed:
        for images, truth in feed:
            with torch.inference_mode():
                logits, judged = _judge(model, images, truth, config)
            yield logits, judged


def _judge(model: Network, images: Floats, truth: Floats, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Return logits and truth of windows (n,), or of all pixels that are valid and to be judged (m,)."""
    device = torch.device(config.device)
    on_device, expected = torch.from_numpy(images).to(device), torch.from_numpy(truth).to(device)
    with _autocast(config):
        logits = model(on_device)
    logits = logits.float()
    if expected.ndim > 1:
        valid = ~(torch.isnan(on_device).any(dim=1) | torch.isnan(expected))
        logits, expected = logits[valid], expected[valid]
    return logits, expected


def _autocast(config: TrainConfig) -> AbstractContextManager[None]:
    if config.precision == "fp32":
        return nullcontext()
    kind = torch.bfloat16 if config.precision == "bf16" else torch.float16
    return torch.autocast(torch.device(config.device).type, dtype=kind)


def _batches(
    patches: Patches, order: list[NDArray[np.int64]], config: TrainConfig, by_pixel: bool, name: str
) -> Generator[tuple[Floats, Floats], None, None]:
    return batches(patches, order, batch_size=config.batch_size, by_pixel=by_pixel, name=name)


def _whole_batches(config: TrainConfig) -> int:
    """Patches in a share: whole batches, so that only an epoch's last one is smaller."""
    return max(config.at_once // config.batch_size, 1) * config.batch_size


def _by_pixel(model: Network) -> bool:
    return not isinstance(model, WindowClassifier)
