"""What is trained: an architecture, its options, and how; and the papers' grid of these. Takes no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from sarcube.errors import InputError
from sarcube.sweeps.naming import Label, checked_labels
from sarcube.training.config import NAVA_2026, TrainConfig


@dataclass(frozen=True)
class SweepSetting:
    """One way to train a network.

    Parameters
    ----------
    labels : mapping of str to str, int, float or bool
        What tells it apart from the other settings of a sweep: columns of the table of runs.
    architecture : str
        A name in `sarcube.models.ARCHITECTURES`.
    options : mapping
        What its maker takes beside bands, window size and seed: ``{"filters": 32, "dropout": 0.5}`` for
        `sarcube.models.cnn`, ``{"encoder": "resnet18"}`` for `sarcube.models.unet`.
    config : TrainConfig
        How to train. Its seed is not used: each run has one of its own.

    Raises
    ------
    InputError
        If a label cannot be a column.
    """

    labels: Mapping[str, Label]
    architecture: str = "cnn"
    options: Mapping[str, float | str] = field(default_factory=dict)
    config: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self.labels, "a setting"))
        object.__setattr__(self, "options", dict(self.options))


def nava_2026_settings(
    *,
    learning_rates: Sequence[float] = (1e-3, 1e-4),
    architecture: str = "cnn",
    config: TrainConfig = NAVA_2026,
) -> list[SweepSetting]:
    """List the combinations that Nava et al. 2026 (GMD 19, 167, section 3) try: 24, or 36 of three learning rates.

    32 and 64 filters, 4, 5 and 6 background patches per landslide patch, dropout of 0.5 and 0.7, two learning rates.

    Parameters
    ----------
    learning_rates : sequence of float
        The papers' text writes 10e-4 and 10e-5 in one place, 10⁻⁴ and 10⁻⁵ in another, and 0.001 in Table 4. The
        default reads "10e-4, 10e-5" as it is written, 1e-3 and 1e-4: the rate of Table 4 is then among those tried,
        which 1e-4 and 1e-5 would exclude. (1e-3, 1e-4, 1e-5) is all that may have been meant, in 36 settings.
    architecture : str
        Of those with filters and dropout: "cnn", "cbam", "resnet" or "nava2021".
    config : TrainConfig
        All else: `sarcube.training.config.NAVA_2026`, up to 500 epochs, by default.

    Returns
    -------
    list of SweepSetting
        With the labels filters, imbalance, dropout and learning_rate.

    Raises
    ------
    InputError
        If there is no learning rate, or one twice.
    """
    if not learning_rates or len(set(learning_rates)) < len(learning_rates):
        raise InputError(f"learning_rates must be one or more, each once, not {tuple(learning_rates)}")
    return [
        SweepSetting(
            {"filters": filters, "imbalance": imbalance, "dropout": dropout, "learning_rate": rate},
            architecture,
            {"filters": filters, "dropout": dropout},
            replace(config, max_background_ratio=float(imbalance), learning_rate=rate),
        )
        for filters, imbalance, dropout, rate in product((32, 64), (4, 5, 6), (0.5, 0.7), learning_rates)
    ]
