"""What every model that judges windows has in common."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from sarcube.errors import InputError
from sarcube.models.network import Network

BATCH = 16
"""Windows in one forward pass: what fits a core's cache, 2.6 times faster on 64 x 64 x 4 windows than 256 of them."""


def probabilities_of(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return the sigmoid of logits that are divided by a temperature, float32.

    scipy takes one after the other, so that a value does not depend on its place: torch rounds those that do not fill
    a vector of the processor otherwise.
    """
    probabilities: NDArray[np.float32] = expit(logits / np.float32(temperature))
    return probabilities


class WindowClassifier(Network):
    """Base of the models that give each window one logit; a subclass defines `logits`."""

    def logits(self, windows: Tensor) -> Tensor:
        """Normalised windows (n, band, size, size) to logits (n,)."""
        raise NotImplementedError

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, band, size, size) in the spec's unit to logits (n,)."""
        return self.logits(self.normalised(windows))

    def probabilities(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of a landslide in each window: the sigmoid of its logit, divided by the spec's temperature.

        Parameters
        ----------
        windows : (n, band, size, size) float32 array
            In the unit of `spec.radiometry`, without NaN, bands as in `spec.bands`.

        Returns
        -------
        (n,) float32 array

        Raises
        ------
        InputError
            If the shape is not that of the spec's windows.
        """
        return probabilities_of(self.window_logits(windows), self.spec.temperature)

    def window_logits(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logit of each window, before the spec's temperature.

        Windows go through the network in batches of one fixed size, the last one filled up: kernels round differently
        for other sizes, so that a window's logit would depend on its company.

        Parameters, what comes back and what raises are as in `probabilities`.
        """
        windows = np.asarray(windows, np.float32)
        expected = (len(self.spec.bands), self.spec.window_size, self.spec.window_size)
        if windows.ndim != 4 or windows.shape[1:] != expected:
            raise InputError(f"windows must have the shape (n, {', '.join(map(str, expected))}), not {windows.shape}")
        was_training = self.training
        if was_training:
            self.eval()
        result = np.empty(len(windows), np.float32)
        try:
            with torch.inference_mode():
                for start in range(0, len(windows), BATCH):
                    batch = windows[start : start + BATCH]
                    count = len(batch)
                    if count < BATCH:
                        batch = np.concatenate([batch, np.zeros((BATCH - count, *expected), np.float32)])
                    logits = self(torch.from_numpy(np.require(batch, requirements=["C", "W"])).to(self.mean.device))
                    result[start : start + count] = logits[:count].float().cpu().numpy()
        finally:
            if was_training:
                self.train()
        return result
