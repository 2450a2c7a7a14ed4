"""The papers' light CNN with attention: a Convolutional Block Attention Module after each convolution block."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.errors import InputError
from sarcube.models.block_attention import BlockAttention
from sarcube.models.blocks import Block, resize_to_half, resize_to_quarter
from sarcube.models.classifier import WindowClassifier
from sarcube.models.classifier_options import filters_and_dropout
from sarcube.models.fresh import check_options, keras_initialised, named_bands, seeded
from sarcube.models.spec import ModelSpec


class CBAM(WindowClassifier):
    """The light CNN, with channel and spatial attention on each of its three maps.

    For 64 x 64 windows: map 1 (F, 64, 64), attended, pooled; map 2 (F, 32, 32), attended, pooled; map 3 (F, 16, 16),
    attended. Attended maps 1 and 2 are resized to 16 x 16 and joined with map 3 (3F, 16, 16); pooling (3F, 8, 8);
    flatten; dropout; dense 8F; ReLU; one logit.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        filters, dropout = filters_and_dropout(spec)
        if spec.window_size % 8:
            raise InputError(
                f"the cbam pools three times: its window size must be a multiple of 8, not {spec.window_size}"
            )
        check_options(spec, "filters", "dropout")
        self.block1 = Block(len(spec.bands), filters)
        self.attention1 = BlockAttention(filters)
        self.block2 = Block(filters, filters)
        self.attention2 = BlockAttention(filters)
        self.block3 = Block(filters, filters)
        self.attention3 = BlockAttention(filters)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear((spec.window_size // 8) ** 2 * 3 * filters, 8 * filters)
        self.output = nn.Linear(8 * filters, 1)

    def logits(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to logits (n,)."""
        map1 = self.attention1(self.block1(windows.contiguous(memory_format=torch.channels_last)))
        map2 = self.attention2(self.block2(functional.max_pool2d(map1, 2)))
        map3 = self.attention3(self.block3(functional.max_pool2d(map2, 2)))
        joined = torch.cat([resize_to_quarter(map1), resize_to_half(map2), map3], dim=1)
        features = self.dropout(functional.max_pool2d(joined, 2).flatten(1))
        logits: Tensor = self.output(functional.relu(self.dense(features)))
        return logits.squeeze(1)


def cbam_from_spec(spec: ModelSpec, *, seed: int = 0) -> CBAM:
    """Make the network of a spec, its fresh weights drawn as Keras does from a seed."""
    return seeded(CBAM, spec, seed=seed, initialise=keras_initialised)


def cbam(
    in_channels: int = 4,
    *,
    filters: int = 32,
    dropout: float = 0.5,
    bands: Sequence[str] | None = None,
    window_size: int = 64,
    seed: int = 0,
) -> CBAM:
    """Make the light CNN with attention (CBAM) with fresh weights.

    The supplement of Nava et al. 2024 describes such a network; its text was not at hand. The blocks, the joined maps
    and the dense layers are those of `cnn`, and the attention module is that of Woo et al. 2018: channel attention,
    then spatial attention with a 7 x 7 kernel. Ours are these choices: a module stands after each of the three blocks,
    on the normalised map, before it is pooled and before it is joined; the hidden layer of the channel attention has
    an eighth of the channels, and one unit at least (Woo et al. divide by 16, which would leave 2 of 32); its two
    layers and the 7 x 7 convolution have no biases, as in the equations of Woo et al., and no batch normalisation.

    The papers train with binary cross-entropy: `sarcube.TrainConfig(loss="bce")`.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    filters : int
        Filters of every block, F.
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
    CBAM
        A `WindowClassifier`, in training mode, without normalisation: `sarcube.train` fits one.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Woo et al. 2018, ECCV, arXiv:1807.06521, sec. 3; Nava et al. 2024, preprint gmd-2024-230, and 2026, GMD 19, 167.
    """
    options = {"filters": filters, "dropout": dropout}
    return cbam_from_spec(
        ModelSpec("cbam", named_bands(in_channels, bands), window_size=window_size, options=options), seed=seed
    )
