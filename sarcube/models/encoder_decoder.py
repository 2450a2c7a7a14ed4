"""What the U-Nets on a residual encoder share: encoder, decoder block, head, options."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.errors import InputError
from sarcube.models.fresh import check_options, named_bands
from sarcube.models.resnet_encoder import ENCODERS, ResNetEncoder
from sarcube.models.segmenter import Segmenter
from sarcube.models.spec import ModelSpec

DECODER_CHANNELS = (256, 128, 64, 32, 16)
"""Channels of the decoder's maps at 1/16, 1/8, 1/4, 1/2 and all of the image's size."""


class EncoderDecoder(Segmenter):
    """A residual encoder, a decoder that joins its maps, and a 3 x 3 convolution to one logit per pixel.

    With two classes the logit is the difference of their scores: its sigmoid is the softmax probability of a landslide,
    and its binary cross-entropy the cross-entropy of both.

    Parameters
    ----------
    spec : ModelSpec
        Options: `encoder_layers`, 18 or 50; `classes`, 1 or 2.
    decoder : callable
        Makes the decoder from the channels of the encoder's six maps.
    """

    multiple = 32

    def __init__(self, spec: ModelSpec, decoder: Callable[[Sequence[int]], nn.Module]) -> None:
        super().__init__(spec)
        layers, classes = spec.options.get("encoder_layers", 18), spec.options.get("classes", 1)
        if not isinstance(layers, int) or layers not in ENCODERS.values():
            raise InputError(f"encoder_layers must be 18 or 50, not {layers!r}")
        if not isinstance(classes, int) or classes not in (1, 2):
            raise InputError(
                f"classes must be 1 (landslide or not, as one score) or 2 (a score for each), not {classes!r}"
            )
        if spec.window_size % self.multiple:
            raise InputError(
                f"the {spec.architecture} halves an image five times: its window size must be a multiple of "
                f"{self.multiple}, not {spec.window_size}"
            )
        check_options(spec, "encoder_layers", "classes")
        self.encoder = ResNetEncoder(len(spec.bands), layers=layers)
        self.decoder = decoder(self.encoder.channels)
        self.head = nn.Conv2d(DECODER_CHANNELS[-1], classes, 3, padding=1)

    def logits(self, images: Tensor) -> Tensor:
        """Normalised images (n, band, y, x) to logits (n, y, x)."""
        return landslide_logits(self.class_scores(images))

    def class_scores(self, images: Tensor) -> Tensor:
        """Normalised images (n, band, y, x) to scores (n, class, y, x): of a landslide alone, or of none and of one."""
        maps = self.encoder(images.contiguous(memory_format=torch.channels_last))
        scores: Tensor = self.head(self.decoder(maps))
        return scores


class DecoderBlock(nn.Module):
    """A map at twice its size, joined with the skips, then twice 3 x 3 convolution, batch normalisation and ReLU.

    Parameters
    ----------
    in_channels, skip_channels, out_channels : int
        Of the map, of all skips together, of the result.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels + skip_channels, out_channels, 3, padding=1, bias=False)
        self.normalisation1 = nn.BatchNorm2d(out_channels)
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.normalisation2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Map (n, in_channels, y, x) and skips (n, ..., 2 y, 2 x) to (n, out_channels, 2 y, 2 x)."""
        x = torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), *skips], dim=1)
        x = functional.relu(self.normalisation1(self.convolution1(x)))
        return functional.relu(self.normalisation2(self.convolution2(x)))


def landslide_logits(scores: Tensor) -> Tensor:
    """Scores (n, 1, y, x) of a landslide, or (n, 2, y, x) of none and of one, to logits (n, y, x) of a landslide."""
    if scores.shape[1] == 1:
        return scores[:, 0]
    return scores[:, 1] - scores[:, 0]


def kaiming_initialised(model: nn.Module) -> None:
    """Draw weights for layers with ReLU (He et al. 2015), and for the head, which has none, after Glorot, bias 0."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            if layer.bias is None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)


def encoder_decoder_spec(
    architecture: str, in_channels: int, *, encoder: str, classes: int, bands: Sequence[str] | None, window_size: int
) -> ModelSpec:
    """Describe a fresh network with a residual encoder.

    Raises
    ------
    InputError
        If there is no such encoder, or the bands are not as many as the channels.
    """
    if encoder not in ENCODERS:
        raise InputError(f'no encoder is called "{encoder}"; there are: {", ".join(ENCODERS)}')
    options = {"encoder_layers": ENCODERS[encoder], "classes": classes}
    return ModelSpec(architecture, named_bands(in_channels, bands), window_size=window_size, options=options)
