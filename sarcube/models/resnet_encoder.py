"""The residual networks of He et al. 2016 without their classifier: maps of an image at six resolutions."""

from torch import Tensor, nn
from torch.nn import functional

ENCODERS = {"resnet18": 18, "resnet50": 50}
"""Layers by the encoder's usual name."""

_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)


class ResNetEncoder(nn.Module):
    """ResNet-18 or ResNet-50 for any number of bands.

    The layers are those of the paper's table 1 up to the last stage: a 7 x 7 convolution of stride 2, max pooling, four
    stages of residual blocks. In the bottlenecks of ResNet-50 the 3 x 3 convolution carries the stride, not the first
    1 x 1: the placement known as version 1.5, with which the usual weights were trained.

    Parameters
    ----------
    in_channels : int
        Bands of the images.
    layers : int
        18 or 50.

    Attributes
    ----------
    channels : tuple of int
        Channels of the six maps that `forward` returns.

    References
    ----------
    He et al. 2016, CVPR, arXiv:1512.03385, table 1 and figure 5.
    """

    def __init__(self, in_channels: int, *, layers: int) -> None:
        super().__init__()
        block: type[BasicBlock | Bottleneck] = BasicBlock if layers == 18 else Bottleneck
        widths = tuple(width * block.expansion for width in _WIDTHS)
        self.channels = (in_channels, _WIDTHS[0], *widths)
        self.convolution = nn.Conv2d(in_channels, _WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.normalisation = nn.BatchNorm2d(_WIDTHS[0])
        self.stages = nn.ModuleList()
        before = _WIDTHS[0]
        for number, (width, count) in enumerate(zip(_WIDTHS, _BLOCKS[layers], strict=True)):
            first = block(before, width, stride=2 if number else 1)
            before = width * block.expansion
            self.stages.append(nn.Sequential(first, *(block(before, width, stride=1) for _ in range(count - 1))))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (n, band, y, x) to maps at 1, 1/2, 1/4, 1/8, 1/16 and 1/32 of their size; the first is the images."""
        x = functional.relu(self.normalisation(self.convolution(images)))
        maps = [images, x]
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut: ResNet-18."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.normalisation1 = nn.BatchNorm2d(width)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.normalisation2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, y, x) to (n, width, y / stride, x / stride)."""
        y = functional.relu(self.normalisation1(self.convolution1(x)))
        y = self.normalisation2(self.convolution2(y))
        return functional.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, beside a shortcut: ResNet-50."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.normalisation1 = nn.BatchNorm2d(width)
        self.convolution2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.normalisation2 = nn.BatchNorm2d(width)
        self.convolution3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.normalisation3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut = _shortcut(in_channels, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, y, x) to (n, 4 * width, y / stride, x / stride)."""
        y = functional.relu(self.normalisation1(self.convolution1(x)))
        y = functional.relu(self.normalisation2(self.convolution2(y)))
        y = self.normalisation3(self.convolution3(y))
        return functional.relu(y + self.shortcut(x))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )
