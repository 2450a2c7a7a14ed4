"""A small residual network for windows, after He et al. 2016."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.models.blocks import BATCH_NORM_EPSILON
from sarcube.models.classifier import WindowClassifier
from sarcube.models.classifier_options import filters_and_dropout
from sarcube.models.fresh import check_options, keras_initialised, named_bands, seeded
from sarcube.models.spec import ModelSpec


class ResNet(WindowClassifier):
    """A convolution, three residual blocks of F, 2F and 4F filters, global average pooling, two dense layers.

    For 64 x 64 windows: convolution 3 x 3, batch normalisation, ReLU (F, 64, 64); block 1 (F, 64, 64); block 2
    (2F, 32, 32); block 3 (4F, 16, 16); mean over all pixels (4F); dropout; dense 8F; ReLU; one logit.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        filters, dropout = filters_and_dropout(spec)
        check_options(spec, "filters", "dropout")
        self.convolution = nn.Conv2d(len(spec.bands), filters, 3, padding=1, bias=False)
        self.normalisation = nn.BatchNorm2d(filters, eps=BATCH_NORM_EPSILON)
        self.block1 = _ResidualBlock(filters, filters, stride=1)
        self.block2 = _ResidualBlock(filters, 2 * filters, stride=2)
        self.block3 = _ResidualBlock(2 * filters, 4 * filters, stride=2)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(4 * filters, 8 * filters)
        self.output = nn.Linear(8 * filters, 1)

    def logits(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to logits (n,)."""
        x = self.convolution(windows.contiguous(memory_format=torch.channels_last))
        x = functional.relu(self.normalisation(x))
        x = self.block3(self.block2(self.block1(x)))
        features = self.dropout(x.mean(dim=(2, 3)))
        logits: Tensor = self.output(functional.relu(self.dense(features)))
        return logits.squeeze(1)


class _ResidualBlock(nn.Module):
    """ReLU of the input plus what two convolutions add to it; the first one halves the maps where the stride is 2.

    He et al. 2016, fig. 2 and eq. 2. Where shapes differ, a 1 x 1 convolution brings the input to that of the sum
    (their option B).
    """

    def __init__(self, in_channels: int, filters: int, *, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels, filters, 3, stride=stride, padding=1, bias=False)
        self.normalisation1 = nn.BatchNorm2d(filters, eps=BATCH_NORM_EPSILON)
        self.convolution2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.normalisation2 = nn.BatchNorm2d(filters, eps=BATCH_NORM_EPSILON)
        self.shortcut = nn.Sequential()  # the input as it is
        if stride != 1 or in_channels != filters:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, filters, 1, stride=stride, bias=False),
                nn.BatchNorm2d(filters, eps=BATCH_NORM_EPSILON),
            )

    def forward(self, x: Tensor) -> Tensor:
        added = functional.relu(self.normalisation1(self.convolution1(x)))
        added = self.normalisation2(self.convolution2(added))
        return functional.relu(self.shortcut(x) + added)


def resnet_from_spec(spec: ModelSpec, *, seed: int = 0) -> ResNet:
    """Make the network of a spec, its fresh weights drawn as Keras does from a seed."""
    return seeded(ResNet, spec, seed=seed, initialise=keras_initialised)


def resnet(
    in_channels: int = 4,
    *,
    filters: int = 32,
    dropout: float = 0.5,
    bands: Sequence[str] | None = None,
    window_size: int = 64,
    seed: int = 0,
) -> ResNet:
    """Make a small residual network with fresh weights.

    The supplement of Nava et al. 2024 compares the light CNN with a residual network; its text was not at hand, and
    this is our reading: the residual network of He et al. 2016 for small images (sec. 4.2: a 3 x 3 convolution at full
    size, three stages of F, 2F and 4F filters, each after the first halving the maps, global average pooling) at the
    scale of the light CNN, which is one block in each stage. Filters double where maps halve so that all stages cost
    about the same, as there. Nothing is pooled before the first block, because many landslides are a few pixels wide.
    The dropout and the dense layer of 8F units before the logit are those of the light CNN.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    filters : int
        Filters of the first stage, F.
    dropout : float
        Share of the features before the dense layer that is dropped in training.
    bands : sequence of str, optional
        What the channels hold. By default the papers' bands: VV alone for 2 channels, VV and VH for 4.
    window_size : int
        Pixels along a side of a window; the weights do not depend on it.
    seed : int
        The fresh weights follow from it; torch's own random state is left alone.

    Returns
    -------
    ResNet
        A `WindowClassifier`, in training mode, without normalisation: `sarcube.train` fits one.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    He et al. 2016, CVPR, arXiv:1512.03385, sec. 3.2, 3.3 and 4.2; Nava et al. 2024, preprint gmd-2024-230, supplement.
    """
    options = {"filters": filters, "dropout": dropout}
    return resnet_from_spec(
        ModelSpec("resnet", named_bands(in_channels, bands), window_size=window_size, options=options), seed=seed
    )
