"""What every model that judges pixels has in common."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcube.errors import InputError
from sarcube.models.network import Network


class Segmenter(Network):
    """Base of the models that give each pixel one logit; a subclass defines `logits` and `multiple`.

    A pixel that is not valid (not finite) in a band is taken for the band's mean, as Boehm et al. 2022 do: 0 once it is
    normalised. What the model says there is worth nothing, and whoever calls it must leave it out.

    Attributes
    ----------
    multiple : int
        Both sides of an image must be a multiple of so many pixels.
    """

    multiple = 1

    def logits(self, images: Tensor) -> Tensor:
        """Normalised images (n, band, y, x) to logits (n, y, x)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, band, y, x) in the spec's unit, NaN where not valid, to logits (n, y, x)."""
        return self.logits(torch.nan_to_num(self.normalised(images), nan=0.0, posinf=0.0, neginf=0.0))

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of a landslide in each pixel, image by image: none depends on another.

        It is the sigmoid of the pixel's logit, divided by the spec's temperature.

        Parameters
        ----------
        images : (n, band, y, x) float32 array
            In the unit of `spec.radiometry`, bands as in `spec.bands`; NaN where not valid.

        Returns
        -------
        (n, y, x) float32 array
            NaN where any band is not valid.

        Raises
        ------
        InputError
            If the bands are not as many as the spec's, or a side is no multiple of `multiple` pixels.
        """
        images = np.asarray(images, np.float32)
        bands = len(self.spec.bands)
        if images.ndim != 4 or images.shape[1] != bands:
            raise InputError(f"images must have the shape (n, {bands}, y, x), not {images.shape}")
        if any(side % self.multiple or not side for side in images.shape[2:]):
            raise InputError(f"the sides of images must be multiples of {self.multiple} pixels, not {images.shape[2:]}")
        was_training = self.training
        if was_training:
            self.eval()
        result = np.empty((len(images), *images.shape[2:]), np.float32)
        try:
            with torch.inference_mode():
                for number in range(len(images)):
                    image = np.require(images[number : number + 1], requirements=["C", "W"])
                    logits = self(torch.from_numpy(image).to(self.mean.device))
                    result[number] = torch.sigmoid(logits / self.spec.temperature)[0].float().cpu().numpy()
        finally:
            if was_training:
                self.train()
        result[~np.isfinite(images).all(axis=1)] = np.nan
        return result
