"""What every model has in common: a spec, and the normalisation that it sets."""

import torch
from torch import Tensor, nn

from sarcube.models.spec import ModelSpec


class Network(nn.Module):
    """Base of all models.

    Attributes
    ----------
    spec : ModelSpec
        Setting it also sets the normalisation that the model applies to its input.
    history : list of dict
        One entry per epoch of the training that made it; empty otherwise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(0), persistent=False)  # the spec keeps them, not the weights
        self.register_buffer("std", torch.empty(0), persistent=False)
        self.spec = spec
        self.history: list[dict[str, float]] = []

    @property
    def spec(self) -> ModelSpec:
        """What the model expects and where it comes from."""
        return self._spec

    @spec.setter
    def spec(self, spec: ModelSpec) -> None:
        self._spec = spec
        bands = len(spec.bands)
        self.mean = torch.tensor(spec.mean or (0.0,) * bands).reshape(1, bands, 1, 1).to(self.mean.device)
        self.std = torch.tensor(spec.std or (1.0,) * bands).reshape(1, bands, 1, 1).to(self.std.device)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (n, band, y, x) in the spec's unit, with mean 0 and standard deviation 1 where the spec knows them."""
        return (images - self.mean) / self.std
