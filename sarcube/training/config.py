"""How to train: settings with their checks, and those of the papers. Takes no torch."""

import re
from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias, get_args

from sarcube.errors import InputError
from sarcube.labels.order import AT_ONCE

Loss: TypeAlias = Literal["focal", "focal_on_probabilities", "bce", "dice"]
Schedule: TypeAlias = Literal["plateau"]
Transformation: TypeAlias = Literal["flip_y", "flip_x", "rotate", "zoom", "translate"]
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are made for a CPU; the papers' settings are `NAVA_2026`, `BOEHM_2022`, `NAVA_2021`.

    Parameters
    ----------
    epochs : int
        Passes over the training patches, at most.
    batch_size : int
        Patches in one step. On a CPU small batches are faster per patch as well: they stay in the cache.
    learning_rate : float
        Of Adam.
    loss : {"focal", "focal_on_probabilities", "bce", "dice"}
        See `sarcube.training.losses`: focal loss (Lin et al. 2017) on logits; the formula of SAR-LRA's first version,
        which takes probabilities for logits; binary cross-entropy; soft dice over the batch.
    focal_alpha, focal_gamma : float
        Weight of the landslide class, and how strongly easy patches are played down.
    weight_decay : float
        L2 penalty, added to the gradient before Adam scales it, as the papers' Adam has it (not AdamW).
    schedule : "plateau", optional
        Divides the learning rate by 10 once the **training** loss has not fallen for 10 epochs: torch's
        ReduceLROnPlateau with its defaults, watching what Boehm et al.'s public code watches.
    patience : int
        Training stops after so many epochs without a lower validation loss.
    max_background_ratio : float, optional
        Background patches per landslide patch in an epoch, at most; each epoch draws its own. None takes all.
    augment : tuple of {"flip_y", "flip_x", "rotate", "zoom", "translate"}
        See `sarcube.training.augment`. "flip_y", "zoom" and "translate" keep the side from which slopes are lit;
        "flip_x" and "rotate" show slopes lit from where no track of that stack lights them.
    precision : {"fp32", "bf16", "fp16"}
        Of the network's arithmetic in training and validation; weights and loss are fp32 throughout. "fp16", with its
        loss scaled, needs CUDA.
    device : str
        Where to train: "cpu", "cuda", "cuda:1" or "mps".
    at_once : int
        Patches that are in memory at once and shuffled among each other, rounded down to whole batches; while they are
        trained on, as many more are read.
    seed : int
        Decides order, draws, augmentation and dropout.

    Raises
    ------
    InputError
        If a setting cannot be used.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    loss: Loss = "focal"
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    weight_decay: float = 0.0
    schedule: Schedule | None = None
    patience: int = 30
    max_background_ratio: float | None = 5.0
    augment: tuple[Transformation, ...] = ("flip_y",)
    precision: Precision = "fp32"
    device: str = "cpu"
    at_once: int = AT_ONCE
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", tuple(self.augment))
        for name in ("epochs", "batch_size", "patience", "at_once"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.seed < 0:
            raise InputError(f"seed must be 0 or more, not {self.seed}")
        if not self.learning_rate > 0 or not isfinite(self.learning_rate) or not self.weight_decay >= 0:
            raise InputError(
                f"learning_rate must be > 0 and weight_decay >= 0, not {self.learning_rate} and {self.weight_decay}"
            )
        if not 0 < self.focal_alpha < 1 or not self.focal_gamma >= 0:
            raise InputError(
                f"focal_alpha must be in (0, 1) and focal_gamma >= 0, not {self.focal_alpha} and {self.focal_gamma}"
            )
        if self.max_background_ratio is not None and not self.max_background_ratio > 0:
            raise InputError(f"max_background_ratio must be > 0 or None, not {self.max_background_ratio}")
        _check_name("loss", self.loss, get_args(Loss))
        _check_name("schedule", self.schedule, (None, *get_args(Schedule)))
        _check_name("precision", self.precision, get_args(Precision))
        for name in self.augment:
            _check_name("a transformation of augment", name, get_args(Transformation))
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", self.device):
            raise InputError(f'device must be "cpu", "cuda", "cuda:N" or "mps", not {self.device!r}')
        if self.precision == "fp16" and not self.device.startswith("cuda"):
            raise InputError(f'precision="fp16" needs a device of CUDA, not "{self.device}"; take "bf16" or "fp32"')


def _check_name(what: str, name: str | None, known: tuple[str | None, ...]) -> None:
    if name not in known:
        raise InputError(f"{what} must be one of {', '.join(map(repr, known))}, not {name!r}")


NAVA_2026 = TrainConfig(
    epochs=500,
    batch_size=500,
    learning_rate=1e-3,
    loss="focal",
    focal_alpha=0.25,
    focal_gamma=2.0,
    patience=30,
    max_background_ratio=5.0,
)
"""Nava et al. 2026 (GMD 19, 167, section 3): Adam, early stopping after 30 epochs, five background patches for each
landslide patch. The names of the published weights say batches of 512; the first version of the public code computes
`loss="focal_on_probabilities"`. The mirror is our default."""

BOEHM_2022 = TrainConfig(
    epochs=100,
    batch_size=64,
    learning_rate=0.01,
    loss="dice",
    weight_decay=1e-4,
    schedule="plateau",
    patience=100,
    max_background_ratio=None,
    augment=(),
)
"""Boehm et al. 2022 (arXiv 2211.02869) and its public code: Adam with weight decay, no augmentation, no early stopping.
The code offers dice over both classes and cross-entropy; `loss="bce"` is the latter."""

NAVA_2021 = TrainConfig(loss="bce", augment=("flip_y", "flip_x", "rotate", "zoom", "translate"))
"""Nava, Monserrat & Catani 2021 (IEEE GRSL, arXiv 2105.00782): cross-entropy of two classes, which is binary
cross-entropy of their difference, and augmentation by flips, rotation, zoom, translation. All else is our default."""
