"""The U-Net of Ronneberger et al. 2015 on a residual encoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from sarcube.models.encoder_decoder import (
    DECODER_CHANNELS,
    DecoderBlock,
    EncoderDecoder,
    encoder_decoder_spec,
    kaiming_initialised,
)
from sarcube.models.fresh import seeded
from sarcube.models.spec import ModelSpec


class UNet(EncoderDecoder):
    """Going up again from the encoder's smallest map, each step sees the encoder's map of its own size."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, _Decoder)


class _Decoder(nn.Module):
    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        below = (channels[-1], *DECODER_CHANNELS)
        skips = (*reversed(channels[1:-1]), 0)  # the image itself is no skip
        self.steps = nn.ModuleList(
            DecoderBlock(below[i], skips[i], DECODER_CHANNELS[i]) for i in range(len(DECODER_CHANNELS))
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        x = maps[-1]
        for number, step in enumerate(self.steps):
            level = len(maps) - 2 - number
            x = step(x, [maps[level]] if level else [])
        return x


def unet_from_spec(spec: ModelSpec, *, seed: int = 0) -> UNet:
    """Make the network of a spec, its fresh weights drawn from a seed."""
    return seeded(UNet, spec, seed=seed, initialise=kaiming_initialised)


def unet(
    in_channels: int = 4,
    *,
    encoder: str = "resnet18",
    classes: int = 1,
    bands: Sequence[str] | None = None,
    window_size: int = 128,
    seed: int = 0,
) -> UNet:
    """Make a U-Net with fresh weights: it judges pixels.

    Five steps up with 256, 128, 64, 32 and 16 channels, each a nearest-neighbour upsampling, the encoder's map of that
    size (the last step has none), and twice 3 x 3 convolution, batch normalisation and ReLU; then a 3 x 3 convolution
    to the logits. Layers and parameters are those of segmentation_models_pytorch's Unet with its defaults, 32 521 105
    for ResNet-50, 3 channels and 1 class. Ronneberger's own network has a plain encoder, no padding and no
    normalisation.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    encoder : str
        "resnet18" or "resnet50".
    classes : int
        Scores that the last layer gives: 1, or 2 as the papers' softmax has; the model gives one logit either way.
    bands : sequence of str, optional
        What the channels hold. By default the papers' bands: VV alone for 2 channels, VV and VH for 4.
    window_size : int
        Pixels along a side of the chips that it is trained on, a multiple of 32. Images to judge may be larger.
    seed : int
        The fresh weights follow from it; torch's own random state is left alone.

    Returns
    -------
    UNet
        A `Segmenter`, in training mode, without normalisation.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Ronneberger et al. 2015, MICCAI, arXiv:1505.04597; He et al. 2016, CVPR, arXiv:1512.03385.
    """
    spec = encoder_decoder_spec(
        "unet", in_channels, encoder=encoder, classes=classes, bands=bands, window_size=window_size
    )
    return unet_from_spec(spec, seed=seed)
