"""The Convolutional Block Attention Module of Woo et al. 2018 (ECCV, arXiv 1807.06521)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

REDUCTION = 8  # channels to one unit of the hidden layer
KERNEL = 7  # pixels: sec. 3.1 and table 2 of the paper


class BlockAttention(nn.Module):
    """Maps times their channel attention, then times the spatial attention of the product (eq. 1 of the paper).

    Parameters
    ----------
    channels : int
        Channels of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channel, y, x) to maps of the same shape, nowhere larger in magnitude."""
        x = x * self.channel(x)
        attended: Tensor = x * self.spatial(x)
        return attended


class ChannelAttention(nn.Module):
    """Which channels matter: one perceptron judges their means and their maxima (eq. 2, M_c; without biases, as there).

    The hidden layer has an eighth of the channels, and one unit at least.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, max(1, channels // REDUCTION), bias=False)
        self.output = nn.Linear(max(1, channels // REDUCTION), channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channel, y, x) to weights (n, channel, 1, 1) in (0, 1)."""
        of_means = self.output(functional.relu(self.hidden(x.mean(dim=(2, 3)))))
        of_maxima = self.output(functional.relu(self.hidden(x.amax(dim=(2, 3)))))
        return torch.sigmoid(of_means + of_maxima)[:, :, None, None]


class SpatialAttention(nn.Module):
    """Where it matters: a 7 x 7 convolution over the channels' mean and maximum (eq. 3, M_s; without bias)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, KERNEL, padding=KERNEL // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channel, y, x) to weights (n, 1, y, x) in (0, 1)."""
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.convolution(pooled))
