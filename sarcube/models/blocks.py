"""What the networks after the papers' light CNN share: its convolution block, and the resizing of its maps."""

from torch import Tensor, nn
from torch.nn import functional

BATCH_NORM_EPSILON = 1e-3  # Keras' default, with which the papers trained


class Block(nn.Module):
    """Convolution 3 x 3, ReLU, batch normalisation, in this order; maps keep their size.

    Parameters
    ----------
    in_channels, filters : int
        Channels that come in and go out.
    """

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, filters, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(filters, eps=BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, y, x) to maps (n, filters, y, x)."""
        normalised: Tensor = self.normalisation(functional.relu(self.convolution(x)))
        return normalised


def resize_to_half(x: Tensor) -> Tensor:
    """Bilinear without antialiasing: an output pixel's centre lies between four input pixels, so it is their mean."""
    return functional.avg_pool2d(x, 2)


def resize_to_quarter(x: Tensor) -> Tensor:
    """Bilinear without antialiasing, likewise: pixels 4i + 1 and 4i + 2 of each axis are those around the centre."""
    return functional.avg_pool2d(x[:, :, 1:, 1:], 2, stride=4)
