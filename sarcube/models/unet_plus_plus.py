"""The U-Net++ of Zhou et al. 2018 on a residual encoder: the network that Boehm et al. 2022 trained."""

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

_DEEPEST = 5  # level of the encoder's smallest map, 1/32


class UNetPlusPlus(EncoderDecoder):
    """A U-Net whose skips are themselves convolved, with all earlier maps of their size (Zhou et al. 2018, figure 1a).

    Node X(i, j) lies at level i, 1 / 2^i of the image's size, in column j; column 0 is the encoder. It joins X(i + 1,
    j - 1) at twice its size with X(i, j - 1), ..., X(i, 0). The last column of each level is the decoder of the plain
    U-Net and has its channels, the nodes between have those of the encoder. Level 0 has one node and no skip.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, _Decoder)


class _Decoder(nn.Module):
    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()

        def width(level: int, column: int) -> int:
            last = column and level + column == _DEEPEST
            return DECODER_CHANNELS[_DEEPEST - 1 - level] if last else channels[level]

        self.nodes = nn.ModuleDict(
            {
                _name(i, j): DecoderBlock(width(i + 1, j - 1), j * channels[i], width(i, j))
                for j in range(1, _DEEPEST)
                for i in range(1, _DEEPEST + 1 - j)
            }
        )
        self.last = DecoderBlock(width(1, _DEEPEST - 1), 0, DECODER_CHANNELS[-1])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        row = {i: [maps[i]] for i in range(1, _DEEPEST + 1)}  # of each level, the newest first
        for j in range(1, _DEEPEST):
            for i in range(1, _DEEPEST + 1 - j):  # from the top, so that the level below is still one column behind
                row[i].insert(0, self.nodes[_name(i, j)](row[i + 1][0], row[i]))
        result: Tensor = self.last(row[1][0], [])
        return result


def _name(level: int, column: int) -> str:
    return f"level{level}_column{column}"


def unet_plus_plus_from_spec(spec: ModelSpec, *, seed: int = 0) -> UNetPlusPlus:
    """Make the network of a spec, its fresh weights drawn from a seed."""
    return seeded(UNetPlusPlus, spec, seed=seed, initialise=kaiming_initialised)


def unet_plus_plus(
    in_channels: int = 4,
    *,
    encoder: str = "resnet18",
    classes: int = 1,
    bands: Sequence[str] | None = None,
    window_size: int = 128,
    seed: int = 0,
) -> UNetPlusPlus:
    """Make a U-Net++ with fresh weights: it judges pixels.

    Boehm et al. 2022 call their network a U-Net with a ResNet-50 and give 48 982 754 parameters. That is the U-Net++ of
    segmentation_models_pytorch, which their code (iprapas/landslide-sar-unet) builds, for 2 channels and 2 classes:
    `unet_plus_plus(2, encoder="resnet50", classes=2)` has as many; the plain U-Net has 32 518 114. Theirs began with
    ImageNet's weights, the library's default; here they are drawn. They trained on chips of 128 pixels.

    Zhou et al. also average the logits of several columns (deep supervision) to prune the network: not done here,
    nor by Boehm et al.

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
    UNetPlusPlus
        A `Segmenter`, in training mode, without normalisation.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Zhou et al. 2018, DLMIA, arXiv:1807.10165, section 3; Boehm et al. 2022, arXiv:2211.02869.
    """
    spec = encoder_decoder_spec(
        "unet_plus_plus", in_channels, encoder=encoder, classes=classes, bands=bands, window_size=window_size
    )
    return unet_plus_plus_from_spec(spec, seed=seed)
