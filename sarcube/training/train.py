"""Training a model on patches, the same to the bit for the same seed on one machine."""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TypeVar

import torch

from sarcube.errors import BandError, InputError, StoreError
from sarcube.labels.patches import Patches
from sarcube.lock import writing
from sarcube.models.classifier import WindowClassifier
from sarcube.models.network import Network
from sarcube.models.segmenter import Segmenter
from sarcube.models.spec import ModelSpec
from sarcube.training.checkpoint import fingerprint, first_pixels, read_checkpoint, write_checkpoint
from sarcube.training.config import TrainConfig
from sarcube.training.deterministic import deterministic
from sarcube.training.loop import best_threshold, run_epoch, validate
from sarcube.training.moments import band_moments
from sarcube.training.record import recording
from sarcube.training.state import Entry, State, as_dict, begin, copied_weights, restore

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Network)


def train(
    training: Patches,
    validation: Patches,
    *,
    model: M,
    config: TrainConfig | None = None,
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    progress: Callable[[Entry], None] | None = None,
) -> M:
    """Train a copy of a model; the model that is given stays as it is.

    Parameters
    ----------
    training : Patches
        Patches to learn from, in memory or not: the weights are the same to the bit. If the model has no normalisation
        yet, mean and standard deviation of its bands are taken from all of them, NaN left out, and written into the
        spec; a model that has one keeps it, as its weights rely on it.
    validation : Patches
        Patches to choose by: the weights of the epoch with the lowest validation loss are kept, and the threshold
        with the best F1 on these very patches becomes the spec's. It suits a share of landslides like theirs, so
        validate at the prevalence that is expected in use.
    model : WindowClassifier or Segmenter
        Where to start: fresh, such as `sarcube.models.cnn(...)`, or a trained model. One that judges windows learns the
        labels of patches, one that judges pixels their masks; pixels that are not valid in all bands count nowhere.
    config : TrainConfig, optional
    checkpoint : str or Path, optional
        A file, written after every epoch. The same call goes on from it after an interruption, to the very weights that
        it would have reached without one; a training that is done is returned at once.
    log : str or Path, optional
        Gets the history as it grows: a file ending in ``.csv``, or a folder of TensorBoard event files.
    progress : callable, optional
        Called after every epoch with its entry of the history.

    Returns
    -------
    WindowClassifier or Segmenter
        In evaluation mode, on the CPU. Its `history` has per epoch: epoch, loss, validation_loss, validation_auprc,
        learning_rate.

    Raises
    ------
    BandError
        If the patches do not hold the model's bands.
    InputError
        If their size does not fit the model, masks that it learns from are missing, a set lacks a class or holds
        windows that are not finite; if training diverges; if the device is not there; if the checkpoint is of another
        call.
    ReadError
        If the checkpoint is damaged.
    StoreError
        If checkpoint or log cannot be written, or another process writes the checkpoint.
    """
    config = config or TrainConfig()
    for name, patches in (("training", training), ("validation", validation)):
        _check_patches(patches, name, model)
    if "" not in (training.radiometry, validation.radiometry) and training.radiometry != validation.radiometry:
        raise InputError(
            f'the training patches hold "{training.radiometry}", those for validation "{validation.radiometry}"; '
            "both must be of one kind"
        )
    _check_device(config)
    path = None if checkpoint is None else Path(checkpoint)
    with _alone(path), deterministic(torch.device(config.device)):
        trained = copy.deepcopy(model)
        made_by = {} if path is None else fingerprint(training, validation, model, config)
        kept = None if path is None else read_checkpoint(path, made_by)
        if kept is None:
            # A temperature is of the weights that it was fitted to.
            trained.spec = replace(_spec_for(training, trained), temperature=1.0)
        state = begin(trained, config)
        if kept is not None:
            restore(state, kept["state"])
            logger.info("%d epochs were trained before", len(state.history))
        if kept is None or not kept["finished"]:
            pixels = "" if path is None else first_pixels(training, validation)
            if kept is not None and kept.get("pixels") != pixels:
                raise InputError(
                    f'the checkpoint "{path}" is of patches of the same places and labels with other pixels; repeat '
                    "that call to go on with it, name another file, or delete this one"
                )
            with recording(log, state.history) as record:
                for entry in _epochs(state, training, validation, config):
                    if path is not None:
                        unfinished = {"finished": False, "pixels": pixels, "state": as_dict(state)}
                        write_checkpoint(path, unfinished, made_by)
                    record(entry)
                    if progress is not None:
                        progress(dict(entry))
            trained.load_state_dict(state.best_weights)
            trained.spec = replace(trained.spec, threshold=best_threshold(trained, validation, config))
            if path is not None:
                write_checkpoint(path, {"finished": True, "state": as_dict(state)}, made_by)
    trained.history = state.history
    return trained.to("cpu").eval()


def _epochs(state: State, training: Patches, validation: Patches, config: TrainConfig) -> Iterator[Entry]:
    """Train epoch after epoch, from where the state is to the last one; give each one's entry of the history."""
    while len(state.history) < config.epochs:
        if len(state.history) - state.best_epoch >= config.patience:
            logger.info("no lower validation loss for %d epochs; epoch %d is kept", config.patience, state.best_epoch)
            return
        epoch = len(state.history) + 1
        rate = float(state.optimiser.param_groups[0]["lr"])
        loss = run_epoch(state.model, training, epoch, config, optimiser=state.optimiser, scaler=state.scaler)
        validation_loss, precision = validate(state.model, validation, config)
        if not isfinite(validation_loss):
            raise InputError(
                f"training diverged in epoch {epoch}: the validation loss is {validation_loss}; "
                f"is learning_rate={config.learning_rate} too high?"
            )
        if state.scheduler is not None:
            state.scheduler.step(loss)
        if validation_loss < state.best_loss:
            state.best_loss, state.best_epoch = validation_loss, epoch
            state.best_weights = copied_weights(state.model)
        entry = {
            "epoch": float(epoch),
            "loss": loss,
            "validation_loss": validation_loss,
            "validation_auprc": precision,
            "learning_rate": rate,
        }
        state.history.append(entry)
        logger.info("epoch %d: loss %.5f, validation loss %.5f, AUPRC %.3f", epoch, loss, validation_loss, precision)
        yield entry


def _spec_for(training: Patches, model: Network) -> ModelSpec:
    """Return the spec that a model is trained with: one without normalisation is what its patches make it."""
    if model.spec.mean is not None:
        return model.spec
    mean, std = band_moments(training, by_pixel=isinstance(model, Segmenter))
    return replace(model.spec, mean=mean, std=std, radiometry=training.radiometry or model.spec.radiometry)


def _alone(path: Path | None) -> AbstractContextManager[None]:
    if path is None:
        return nullcontext()
    if not path.parent.is_dir():
        raise StoreError(f'cannot write the checkpoint "{path}": its folder does not exist; make it first')
    return writing(path)


def _check_device(config: TrainConfig) -> None:
    device = torch.device(config.device)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise InputError(f'this machine has no device "{config.device}" that torch can use; take device="cpu"')


def _check_patches(patches: Patches, name: str, model: Network) -> None:
    if patches.bands != model.spec.bands:
        raise BandError(f"the {name} patches hold the bands {patches.bands}, but the model expects {model.spec.bands}")
    if model.spec.mean is not None and patches.radiometry not in ("", model.spec.radiometry):
        raise InputError(
            f'the {name} patches hold "{patches.radiometry}", but the model was trained on "{model.spec.radiometry}"; '
            "cut stacks of what it expects, or start from a fresh model"
        )
    positive = int(patches.labels.sum())
    if isinstance(model, WindowClassifier):
        if len(patches) and patches.size != model.spec.window_size:
            raise InputError(
                f"the {name} patches are {patches.size} pixels wide, but the model expects {model.spec.window_size}"
            )
        if not 0 < positive < len(patches):
            raise InputError(
                f"the {name} patches need both landslides and background; {positive} of {len(patches)} are landslides"
            )
    elif isinstance(model, Segmenter):
        if patches.masks is None:
            raise InputError(
                f"the {name} patches have no masks of landslide pixels, from which a model that judges pixels learns; "
                "sarcube.sample_chips makes some that do"
            )
        if patches.size % model.multiple:
            raise InputError(
                f"the {name} patches are {patches.size} pixels wide, but the model needs a multiple of {model.multiple}"
            )
        if not positive:
            raise InputError(f"none of the {len(patches)} {name} patches is a landslide's")
    else:
        raise InputError(f"a model to train is a WindowClassifier or a Segmenter, not a {type(model).__name__}")
