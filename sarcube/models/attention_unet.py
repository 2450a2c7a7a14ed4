"""The Attention U-Net of Nava et al. 2022 (Remote Sensing 14, 1449)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.errors import InputError
from sarcube.models.blocks import BATCH_NORM_EPSILON
from sarcube.models.fresh import check_options, named_bands, seeded
from sarcube.models.segmenter import Segmenter
from sarcube.models.spec import ModelSpec


class AttentionUNet(Segmenter):
    """A U-Net of depth 4 whose three deeper skips pass attention gates.

    Down: twice 3 x 3 convolution, batch normalisation and ReLU with F, F, 2F, 2F and 4F filters, max pooling between.
    Up: a transposed 3 x 3 convolution of stride 2 with ReLU, to F, 2F, F and F filters, is joined with the gated skip;
    the last one with the first maps themselves. No convolutions follow the joints. A 1 x 1 convolution gives the logit.
    All this, with the third gate's signal taken from the same maps as the second's, is the authors' published code.
    """

    multiple = 16

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        filters = spec.options.get("filters", 16)
        if not isinstance(filters, int) or not 1 <= filters <= 256:
            raise InputError(f"filters must be a whole number from 1 to 256, not {filters!r}")
        if spec.window_size % self.multiple:
            raise InputError(
                f"the attention_unet halves an image four times: its window size must be a multiple of "
                f"{self.multiple}, not {spec.window_size}"
            )
        check_options(spec, "filters")
        self.down1 = _double_convolution(len(spec.bands), filters)
        self.down2 = _double_convolution(filters, filters)
        self.down3 = _double_convolution(filters, 2 * filters)
        self.down4 = _double_convolution(2 * filters, 2 * filters)
        self.centre = _double_convolution(2 * filters, 4 * filters)
        self.gate4 = AttentionGate(2 * filters, 4 * filters, 4 * filters, signal_stride=1)
        self.up4 = _UpConvolution(4 * filters, filters)
        self.gate3 = AttentionGate(2 * filters, 3 * filters, 2 * filters, signal_stride=1)
        self.up3 = _UpConvolution(3 * filters, 2 * filters)
        self.gate2 = AttentionGate(filters, 3 * filters, filters, signal_stride=2)
        self.up2 = _UpConvolution(4 * filters, filters)
        self.up1 = _UpConvolution(2 * filters, filters)
        self.head = nn.Conv2d(2 * filters, 1, 1)

    def logits(self, images: Tensor) -> Tensor:
        """Normalised images (n, band, y, x) to logits (n, y, x)."""
        map1 = self.down1(images.contiguous(memory_format=torch.channels_last))
        map2 = self.down2(functional.max_pool2d(map1, 2))
        map3 = self.down3(functional.max_pool2d(map2, 2))
        map4 = self.down4(functional.max_pool2d(map3, 2))
        centre = self.centre(functional.max_pool2d(map4, 2))
        eighth = torch.cat([self.up4(centre), self.gate4(map4, centre)], dim=1)
        quarter = torch.cat([self.up3(eighth), self.gate3(map3, eighth)], dim=1)
        half = torch.cat([self.up2(quarter), self.gate2(map2, eighth)], dim=1)
        full = torch.cat([self.up1(half), map1], dim=1)
        logits: Tensor = self.head(full)
        return logits[:, 0]


class AttentionGate(nn.Module):
    """Weigh each pixel of a skip by a coefficient that deeper maps decide (Oktay et al. 2018, section 2, figure 2).

    Skip and signal are brought to half the skip's size and added; ReLU, a 1 x 1 convolution to one channel and the
    sigmoid give the coefficients, which are repeated to the skip's size. Additive attention as in the paper's equations
    1 and 2; the 3 x 3 transposed convolution of the signal, the repetition in place of a linear interpolation and the
    1 x 1 convolution with batch normalisation of the weighted skip are Nava et al.'s code.

    Parameters
    ----------
    skip_channels, signal_channels : int
        Of the maps that come in. The skip goes out with as many channels as it had.
    inner_channels : int
        Of the sum.
    signal_stride : int
        How many times the skip's half is larger than the signal: 1 or 2.
    """

    def __init__(self, skip_channels: int, signal_channels: int, inner_channels: int, *, signal_stride: int) -> None:
        super().__init__()
        self.signal = nn.Sequential(
            nn.Conv2d(signal_channels, signal_channels, 1),
            nn.BatchNorm2d(signal_channels, eps=BATCH_NORM_EPSILON),
            nn.ReLU(),
        )
        self.signal_projection = nn.Conv2d(signal_channels, inner_channels, 1)
        self.signal_resizing = _transposed_convolution(inner_channels, inner_channels, stride=signal_stride)
        self.skip_projection = nn.Conv2d(skip_channels, inner_channels, 2, stride=2)
        self.score = nn.Conv2d(inner_channels, 1, 1)
        self.output = nn.Sequential(
            nn.Conv2d(skip_channels, skip_channels, 1), nn.BatchNorm2d(skip_channels, eps=BATCH_NORM_EPSILON)
        )

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        """Skip (n, skip_channels, y, x) and signal (n, signal_channels, ...) to the gated skip, of the skip's shape."""
        gated: Tensor = self.output(self.coefficients(skip, signal) * skip)
        return gated

    def coefficients(self, skip: Tensor, signal: Tensor) -> Tensor:
        """Attention (n, 1, y, x) from 0 to 1 that each pixel of the skip gets, the same for every 2 x 2 of them."""
        resized = self.signal_resizing(self.signal_projection(self.signal(signal)))
        scores = self.score(functional.relu(resized + self.skip_projection(skip)))
        return functional.interpolate(torch.sigmoid(scores), scale_factor=2.0, mode="nearest")


class _UpConvolution(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = _transposed_convolution(in_channels, out_channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.convolution(x))


class _DoublingConvolution(nn.ConvTranspose2d):
    """Transposed 3 x 3 convolution of stride 2 to exactly twice the size, cut where Keras' padding "same" cuts it."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x, output_size)[:, :, :-1, :-1]


def _transposed_convolution(in_channels: int, out_channels: int, *, stride: int) -> nn.ConvTranspose2d:
    if stride == 2:
        return _DoublingConvolution(in_channels, out_channels)
    return nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1)


def _double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPSILON),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPSILON),
        nn.ReLU(),
    )


def _glorot_initialised(model: nn.Module) -> None:
    """Draw weights after Glorot, biases 0: normal as in the published code; its gates' are uniform, Keras' default."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
            in_gate = name.startswith("gate") and ".signal." not in name
            (nn.init.xavier_uniform_ if in_gate else nn.init.xavier_normal_)(layer.weight)
            nn.init.zeros_(layer.bias)


def attention_unet_from_spec(spec: ModelSpec, *, seed: int = 0) -> AttentionUNet:
    """Make the network of a spec, its fresh weights drawn from a seed."""
    return seeded(AttentionUNet, spec, seed=seed, initialise=_glorot_initialised)


def attention_unet(
    in_channels: int = 4,
    *,
    filters: int = 16,
    bands: Sequence[str] | None = None,
    window_size: int = 128,
    seed: int = 0,
) -> AttentionUNet:
    """Make an Attention U-Net with fresh weights: it judges pixels.

    Theirs are the layers, their sizes and the initialisation, from the code that the authors published
    (lorenzonava96/Landslide-mapping-on-SAR-data-by-Attention-U-Net); they tried 4, 8, 16 and 32 filters on tiles of 64
    pixels, trained with the Dice loss. Ours are the defaults of 16 filters and chips of 128 pixels, torch's momentum of
    the batch normalisation, and that whoever trains it chooses the loss. Oktay et al. 2018, whose gates these are, gate
    another U-Net, in three dimensions.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    filters : int
        Filters of the first convolution, F.
    bands : sequence of str, optional
        What the channels hold. By default the papers' bands: VV alone for 2 channels, VV and VH for 4.
    window_size : int
        Pixels along a side of the chips that it is trained on, a multiple of 16. Images to judge may be larger.
    seed : int
        The fresh weights follow from it; torch's own random state is left alone.

    Returns
    -------
    AttentionUNet
        A `Segmenter`, in training mode, without normalisation.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Nava, Bhuyan, Meena, Monserrat & Catani 2022, Remote Sensing 14, 1449, doi:10.3390/rs14061449; Oktay et al. 2018,
    MIDL, arXiv:1804.03999.
    """
    spec = ModelSpec(
        "attention_unet", named_bands(in_channels, bands), window_size=window_size, options={"filters": filters}
    )
    return attention_unet_from_spec(spec, seed=seed)
