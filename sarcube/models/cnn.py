"""The light convolutional network of Nava et al. 2026 (GMD 19, 167) and its predecessors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.errors import InputError
from sarcube.models.blocks import Block, resize_to_half, resize_to_quarter
from sarcube.models.classifier import WindowClassifier
from sarcube.models.classifier_options import filters_and_dropout
from sarcube.models.fresh import check_options, keras_initialised, named_bands, seeded
from sarcube.models.spec import ModelSpec


class CNN(WindowClassifier):
    """Three blocks of convolution, ReLU and batch normalisation whose outputs are joined at a quarter of the size.

    For 64 x 64 windows: map 1 (F, 64, 64), pooled; map 2 (F, 32, 32), pooled; map 3 (F, 16, 16). Maps 1 and 2 are
    resized to 16 x 16 and joined with map 3 (3F, 16, 16); pooling (3F, 8, 8); flatten; dropout; dense 8F; ReLU;
    one logit. With the option `joined` = 1 map 3 takes the place of maps 1 and 2.
    """

    options: tuple[str, ...] = ("filters", "dropout", "joined")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        check_options(spec, *self.options)
        filters, dropout = filters_and_dropout(spec)
        if spec.window_size % 8:
            raise InputError(
                f"the {spec.architecture} pools three times: its window size must be a multiple of 8, "
                f"not {spec.window_size}"
            )
        joined = spec.options.get("joined", 3)
        if not isinstance(joined, int) or joined not in (1, 3):
            raise InputError(f"joined must be 3, the papers' maps 1, 2 and 3, or 1, map 3 three times; not {joined!r}")
        self.third_alone = joined == 1
        self.block1, self.attention1 = Block(len(spec.bands), filters), self.attention(filters)
        self.block2, self.attention2 = Block(filters, filters), self.attention(filters)
        self.block3, self.attention3 = Block(filters, filters), self.attention(filters)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear((spec.window_size // 8) ** 2 * 3 * filters, 8 * filters)
        self.output = nn.Linear(8 * filters, 1)

    def attention(self, filters: int) -> nn.Module:
        """What follows each block: nothing here, attention in `sarcube.models.cbam`."""
        return nn.Identity()

    def logits(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to logits (n,)."""
        map1 = self.attention1(self.block1(windows.contiguous(memory_format=torch.channels_last)))
        map2 = self.attention2(self.block2(functional.max_pool2d(map1, 2)))
        map3 = self.attention3(self.block3(functional.max_pool2d(map2, 2)))
        others = [map3, map3] if self.third_alone else [resize_to_quarter(map1), resize_to_half(map2)]
        joined = torch.cat([*others, map3], dim=1)
        features = self.dropout(functional.max_pool2d(joined, 2).flatten(1))
        logits: Tensor = self.output(functional.relu(self.dense(features)))
        return logits.squeeze(1)


def cnn_from_spec(spec: ModelSpec, *, seed: int = 0) -> CNN:
    """Make the network of a spec, its fresh weights drawn as Keras does from a seed."""
    return seeded(CNN, spec, seed=seed, initialise=keras_initialised)


def cnn(
    in_channels: int = 4,
    *,
    filters: int = 32,
    dropout: float = 0.5,
    joined: int = 3,
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
    joined : int
        How many different maps are joined: 3, maps 1, 2 and 3 as the papers describe it; or 1, map 3 three times as the
        code of SAR-LRA does, from which its published weights come. The sizes are the same.
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
    options: dict[str, float] = {"filters": filters, "dropout": dropout}
    if joined != 3:
        options["joined"] = joined  # left out otherwise: specs written before there was a choice mean the papers' maps
    return cnn_from_spec(
        ModelSpec("cnn", named_bands(in_channels, bands), window_size=window_size, options=options), seed=seed
    )
