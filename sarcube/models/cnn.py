"""The light convolutional network of Nava et al. 2026 (GMD 19, 167) and its predecessors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.errors import InputError
from sarcube.models.classifier import WindowClassifier
from sarcube.models.fresh import check_options, keras_initialised, named_bands, seeded
from sarcube.models.spec import ModelSpec

BATCH_NORM_EPSILON = 1e-3  # Keras' default, with which the papers trained


class CNN(WindowClassifier):
    """Three blocks of convolution, ReLU and batch normalisation whose outputs are joined at a quarter of the size.

    For 64 x 64 windows: map 1 (F, 64, 64), pooled; map 2 (F, 32, 32), pooled; map 3 (F, 16, 16). Maps 1 and 2 are
    resized to 16 x 16 and joined with map 3 (3F, 16, 16); pooling (3F, 8, 8); flatten; dropout; dense 8F; ReLU;
    one logit.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        filters, dropout = spec.options.get("filters", 32), spec.options.get("dropout", 0.5)
        if not isinstance(filters, int) or not 1 <= filters <= 1024:
            raise InputError(f"filters must be a whole number from 1 to 1024, not {filters!r}")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be a share in [0, 1), not {dropout!r}")
        if spec.window_size % 8:
            raise InputError(
                f"the cnn pools three times: its window size must be a multiple of 8, not {spec.window_size}"
            )
        check_options(spec, "filters", "dropout")
        self.block1 = _Block(len(spec.bands), filters)
        self.block2 = _Block(filters, filters)
        self.block3 = _Block(filters, filters)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear((spec.window_size // 8) ** 2 * 3 * filters, 8 * filters)
        self.output = nn.Linear(8 * filters, 1)

    def logits(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to logits (n,)."""
        map1 = self.block1(windows.contiguous(memory_format=torch.channels_last))
        map2 = self.block2(functional.max_pool2d(map1, 2))
        map3 = self.block3(functional.max_pool2d(map2, 2))
        joined = torch.cat([_resize_to_quarter(map1), _resize_to_half(map2), map3], dim=1)
        features = self.dropout(functional.max_pool2d(joined, 2).flatten(1))
        logits: Tensor = self.output(functional.relu(self.dense(features)))
        return logits.squeeze(1)


class _Block(nn.Module):
    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, filters, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(filters, eps=BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.normalisation(functional.relu(self.convolution(x)))
        return normalised


def _resize_to_half(x: Tensor) -> Tensor:
    """Bilinear without antialiasing: an output pixel's centre lies between four input pixels, so it is their mean."""
    return functional.avg_pool2d(x, 2)


def _resize_to_quarter(x: Tensor) -> Tensor:
    """Bilinear without antialiasing, likewise: pixels 4i + 1 and 4i + 2 of each axis are those around the centre."""
    return functional.avg_pool2d(x[:, :, 1:, 1:], 2, stride=4)


def cnn_from_spec(spec: ModelSpec, *, seed: int = 0) -> CNN:
    """Make the network of a spec, its fresh weights drawn as Keras does from a seed."""
    return seeded(CNN, spec, seed=seed, initialise=keras_initialised)


def cnn(
    in_channels: int = 4,
    *,
    filters: int = 32,
    dropout: float = 0.5,
    bands: Sequence[str] | None = None,
    window_size: int = 64,
    seed: int = 0,
) -> CNN:
    """Make the papers' light CNN with fresh weights.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    filters : int
        Filters of every convolution, F; the papers use 32 and 64.
    dropout : float
        Share of the features before the dense layer that is dropped in training.
    bands : sequence of str, optional
        What the channels hold. By default the papers' bands: VV alone for 2 channels, VV and VH for 4.
    window_size : int
        Pixels along a side of a window, a multiple of 8.
    seed : int
        The fresh weights follow from it; torch's own random state is left alone.

    Returns
    -------
    CNN
        A `WindowClassifier`, in training mode, without normalisation: `sarcube.train` fits one.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Nava et al. 2021, IEEE GRSL, doi:10.1109/LGRS.2021.3127073; Nava et al. 2026, GMD 19, 167.
    """
    options = {"filters": filters, "dropout": dropout}
    return cnn_from_spec(
        ModelSpec("cnn", named_bands(in_channels, bands), window_size=window_size, options=options), seed=seed
    )
