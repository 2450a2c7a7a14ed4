"""The network of Nava, Monserrat & Catani 2021 (IEEE GRSL, arXiv 2105.00782): small windows, two classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.errors import InputError
from sarcube.models.classifier import WindowClassifier
from sarcube.models.classifier_options import filters_and_dropout
from sarcube.models.fresh import check_options, keras_initialised, named_bands, seeded
from sarcube.models.spec import ModelSpec

NATIVE = 0  # the options of a spec are numbers: this one says that windows keep their size
SMALLEST = 8  # pixels that three poolings still leave one of


class Nava2021(WindowClassifier):
    """Three blocks of convolution, ReLU and pooling, a dense layer, and a score for each of two classes.

    For windows resampled to 32 x 32: block 1 (F, 16, 16); block 2 (F, 8, 8); block 3 (F, 4, 4); flatten; dropout;
    dense 8F; ReLU; two scores. For native 25 x 25 windows the blocks end at 12, 6 and 3 pixels: a pooling leaves out
    the last row and column where the size is odd.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        filters, dropout = filters_and_dropout(spec)
        resample = spec.options.get("resample", 32)
        if not isinstance(resample, int) or not (resample == NATIVE or SMALLEST <= resample <= 1024):
            raise InputError(
                f"resample must be a size of {SMALLEST} to 1024 pixels, or None for windows as they are, "
                f"not {resample!r}"
            )
        check_options(spec, "filters", "dropout", "resample")
        self.resample = resample
        self.block1 = _pooled_convolution(len(spec.bands), filters)
        self.block2 = _pooled_convolution(filters, filters)
        self.block3 = _pooled_convolution(filters, filters)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(((resample or spec.window_size) // 8) ** 2 * filters, 8 * filters)
        self.output = nn.Linear(8 * filters, 2)

    def class_scores(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to scores (n, 2): no landslide, landslide; softmax comes after."""
        x = windows.contiguous(memory_format=torch.channels_last)
        if self.resample != NATIVE:
            x = functional.interpolate(x, (self.resample, self.resample), mode="bilinear", align_corners=False)
        x = self.block3(self.block2(self.block1(x)))
        scores: Tensor = self.output(functional.relu(self.dense(self.dropout(x.flatten(1)))))
        return scores

    def logits(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to logits (n,): the landslide's score less the other one."""
        scores = self.class_scores(windows)
        return scores[:, 1] - scores[:, 0]


def _pooled_convolution(in_channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def nava2021_from_spec(spec: ModelSpec, *, seed: int = 0) -> Nava2021:
    """Make the network of a spec, its fresh weights drawn as Keras does from a seed."""
    return seeded(Nava2021, spec, seed=seed, initialise=keras_initialised)


def nava2021(
    in_channels: int = 3,
    *,
    filters: int = 32,
    dropout: float = 0.5,
    bands: Sequence[str] | None = ("vh_pre", "vh_post", "vh_diff"),
    window_size: int = 25,
    resample: int | None = 32,
    seed: int = 0,
) -> Nava2021:
    """Make the network of Nava, Monserrat & Catani 2021 with fresh weights.

    25 x 25 windows are resampled to 32 x 32 (bilinear, pixel centres half a pixel inside the edges, no antialiasing)
    and pass three blocks of convolution, ReLU and max pooling, a dense layer, and a softmax over two classes. The
    letter's text was not at hand: 3 x 3 kernels, F filters in every block as in its successor `cnn`, the dense layer
    of 8F units and the dropout are our choices.

    As a window classifier it gives one logit, the landslide's score less that of the other class. The softmax
    probability of the landslide is exactly the sigmoid of this logit, and the cross-entropy of the two classes exactly
    its binary cross-entropy, so that `sarcube.TrainConfig(loss="bce")` trains it as the letter does.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    filters : int
        Filters of every convolution, F.
    dropout : float
        Share of the features before the dense layer that is dropped in training.
    bands : sequence of str, optional
        What the channels hold. By default VH before, VH after and their difference. None takes the later papers' bands
        for 2 and 4 channels.
    window_size : int
        Pixels along a side of a window.
    resample : int, optional
        Pixels along a side after resampling; None leaves windows as they are.
    seed : int
        The fresh weights follow from it; torch's own random state is left alone.

    Returns
    -------
    Nava2021
        A `WindowClassifier`, in training mode, without normalisation: `sarcube.train` fits one.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Nava, Monserrat & Catani 2021, IEEE GRSL, doi:10.1109/LGRS.2021.3127073, arXiv:2105.00782.
    """
    options = {"filters": filters, "dropout": dropout, "resample": NATIVE if resample is None else resample}
    return nava2021_from_spec(
        ModelSpec("nava2021", named_bands(in_channels, bands), window_size=window_size, options=options), seed=seed
    )
