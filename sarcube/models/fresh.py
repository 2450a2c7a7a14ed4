"""What the makers of fresh models share: named bands, known options, weights that follow from a seed."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from sarcube.errors import InputError
from sarcube.models.network import Network
from sarcube.models.spec import BANDS, ModelSpec

M = TypeVar("M", bound=Network)


def named_bands(in_channels: int, bands: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a model's bands: those given, or the papers' own for 2 and 4 channels.

    Raises
    ------
    InputError
        If they are not as many as the channels, or none are given for another number of channels.
    """
    if bands is None:
        if in_channels not in BANDS:
            raise InputError(f"name the bands of {in_channels} channels with bands=; only 2 and 4 have a usual meaning")
        bands = BANDS[in_channels]
    if len(bands) != in_channels:
        raise InputError(f"in_channels={in_channels}, but bands= names {len(bands)}: {tuple(bands)}")
    return tuple(bands)


def check_options(spec: ModelSpec, *known: str) -> None:
    """Refuse options that an architecture does not have.

    Raises
    ------
    InputError
        If there are any.
    """
    unknown = set(spec.options) - set(known)
    if unknown:
        raise InputError(
            f"the {spec.architecture} has no option {', '.join(sorted(unknown))}; it has {' and '.join(known)}"
        )


def keras_initialised(model: nn.Module) -> None:
    """Draw weights as Keras does: Glorot uniform, biases 0."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def seeded(make: Callable[[ModelSpec], M], spec: ModelSpec, *, seed: int, initialise: Callable[[nn.Module], None]) -> M:
    """Make the network of a spec with weights that follow from a seed; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(spec)
        initialise(model)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
