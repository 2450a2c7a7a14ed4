"""What a model expects and where it comes from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any

from sarcube.errors import InputError
from sarcube.radiometry import GAMMA0_DB

BANDS = {2: ("vv_post", "vv_diff"), 4: ("vv_post", "vh_post", "vv_diff", "vh_diff")}
"""The papers' bands by their number: VV alone, VV and VH."""
_TEXTS = ("architecture", "radiometry", "trained_on", "licence", "card")
_LARGEST, _SMALLEST = 3.4e38, 1.2e-38
"""What single precision, in which the model computes, still holds and divides by."""


@dataclass(frozen=True)
class ModelSpec:
    """What a model expects of its input, and where it comes from.

    Parameters
    ----------
    architecture : str
        Name in `sarcube.models.ARCHITECTURES`.
    bands : tuple of str
        Bands of the stack, in the order of the model's input.
    window_size : int
        Pixels along a side of a window.
    options : mapping
        Numbers that the architecture is built with, such as filters and dropout.
    radiometry : str
        Radiometry and unit of the input that it was trained on, in the words of `sarcube.radiometry`.
    mean, std : tuple of float, optional
        Per band, in the input's unit: the model itself subtracts and divides. Without them the input is used as it is.
    threshold : float
        Probability from which a window counts as a landslide.
    temperature : float
        What logits are divided by before they become probabilities, > 0 (Guo et al. 2017; `sarcube.calibrate`).
    trained_on : str
        Events, or a simulation, that the weights come from.
    simulated_only : bool
        No real landslide was seen in training.
    licence : str
        Licence of the weights: an SPDX identifier, or what is known where there is none.
    card : str
        What else a user should know: intended use, limits.
    """

    architecture: str
    bands: tuple[str, ...]
    window_size: int = 64
    options: Mapping[str, float] = field(default_factory=dict)
    radiometry: str = GAMMA0_DB
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    threshold: float = 0.5
    temperature: float = 1.0
    trained_on: str = "nothing: fresh weights"
    simulated_only: bool = False
    licence: str = ""
    card: str = ""

    def __post_init__(self) -> None:
        self._check_types()
        object.__setattr__(self, "bands", tuple(self.bands))
        object.__setattr__(self, "options", dict(self.options))
        if not all(isinstance(band, str) for band in self.bands):
            raise InputError(f"the bands of a model must be names, not {self.bands}")
        if not self.bands or len(set(self.bands)) != len(self.bands):
            raise InputError(f"a model needs at least one band and none twice, not {self.bands}")
        if not all(isinstance(value, int | float) and _is_finite(value) for value in self.options.values()):
            raise InputError(f"the options of a model must be finite numbers, not {self.options}")
        if not isinstance(self.window_size, int) or not 8 <= self.window_size <= 1024:
            raise InputError(f"the window size must be from 8 to 1024 pixels, not {self.window_size!r}")
        if (self.mean is None) != (self.std is None):
            raise InputError("a normalisation needs both the mean and the standard deviation of every band")
        if self.mean is not None and self.std is not None:
            object.__setattr__(self, "mean", tuple(self.mean))
            object.__setattr__(self, "std", tuple(self.std))
            if len(self.mean) != len(self.bands) or len(self.std) != len(self.bands):
                raise InputError(
                    f"the normalisation must have one mean and one std for each of {len(self.bands)} bands"
                )
            if not all(_is_finite(v) for v in (*self.mean, *self.std)) or min(self.std) < _SMALLEST:
                raise InputError(
                    "the normalisation must be finite with std > 0, in single precision too, not "
                    f"{self.mean} and {self.std}"
                )
            object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
            object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if not _is_finite(self.threshold) or not 0 <= self.threshold <= 1:
            raise InputError(f"the threshold must be a probability, not {self.threshold!r}")
        if not _is_finite(self.temperature) or self.temperature < _SMALLEST:
            raise InputError(
                f"the temperature must be a number > 0, finite in single precision, not {self.temperature!r}"
            )
        object.__setattr__(self, "temperature", float(self.temperature))
        try:
            self.to_json().encode()
        except (TypeError, ValueError) as error:  # numbers of NumPy, halves of surrogate pairs
            raise InputError(f"the description of a model cannot be written as JSON: {error}") from error

    def _check_types(self) -> None:
        """Refuse what JSON may hold in a place, but a spec may not: a text is also a sequence, and true a number."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        if wrong := [name for name in _TEXTS if not isinstance(values[name], str)]:
            raise InputError(f"the {wrong[0]} of a model must be a text, not {values[wrong[0]]!r}")
        if not isinstance(values["simulated_only"], bool):
            raise InputError(f"simulated_only must be true or false, not {self.simulated_only!r}")
        bands, options = values["bands"], values["options"]
        if isinstance(bands, str | Mapping):
            raise InputError(f"the bands of a model must be a sequence of names, not {bands!r}")
        if not isinstance(options, Mapping):
            raise InputError(f"the options of a model must be names with numbers, not {options!r}")

    def to_json(self) -> str:
        """Write the spec as JSON, keys in order, so that equal specs give equal text.

        A temperature of 1, which changes nothing, is left out: a model that was never calibrated keeps the text, and
        with it the hash, that it had before specs knew temperatures.
        """
        values = asdict(self)
        if self.temperature == 1:
            del values["temperature"]
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            If it is not the JSON of a spec.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the model's description is not JSON: {error}") from error
        known = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or not {"architecture", "bands"} <= set(values) <= known:
            raise InputError(
                "the model's description must be a JSON object with architecture and bands, and no keys other than "
                f"{', '.join(sorted(known))}"
            )
        try:
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise InputError(f"the model's description holds a value of the wrong type: {error}") from error


def _is_finite(value: Any) -> bool:
    """Whether a value is a number that single precision holds; true and false are none."""
    is_number, is_truth_value = isinstance(value, Real), isinstance(value, bool)
    return is_number and not is_truth_value and bool(abs(value) <= _LARGEST)
