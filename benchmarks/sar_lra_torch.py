"""A twin in torch of SAR-LRA's network, behind its pipeline, for where no TensorFlow is at hand; it does not count.

python -m benchmarks.sar_lra_torch IMAGE.npy WEIGHTS.npz THREADS
"""

import sys

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.detector_serving import serve
from benchmarks.sar_lra_pipeline import Predict, works

EPSILON = 1e-3  # of Keras' batch normalisation


def twin(weights: dict[str, np.ndarray]) -> Predict:
    """Return a function from windows (n, y, x, band) to probabilities (n,), for weights in Keras' order."""
    tensors = {name: torch.from_numpy(values) for name, values in weights.items()}
    kernels = {n: tensors[f"convolution{n}_kernel"].permute(3, 2, 0, 1).contiguous() for n in (1, 2, 3)}

    def block(x: Tensor, number: int) -> Tensor:
        x = functional.relu(functional.conv2d(x, kernels[number], tensors[f"convolution{number}_bias"], padding=1))
        mean, variance, gamma, beta = (
            tensors[f"normalisation{number}_{name}"] for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)

    def forward(windows: Tensor) -> Tensor:
        x = windows.permute(0, 3, 1, 2)  # in memory it stays (y, x, channel)
        for number in (1, 2):
            x = functional.max_pool2d(block(x, number), 2)
        x = block(x, 3)
        x = functional.max_pool2d(torch.cat([x, x, x], dim=1), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = functional.relu(x @ tensors["dense_kernel"] + tensors["dense_bias"])
        return torch.sigmoid(x @ tensors["output_kernel"] + tensors["output_bias"])[:, 0]

    def predict(windows: np.ndarray, batch: int) -> np.ndarray:
        with torch.inference_mode():
            parts = [forward(torch.from_numpy(windows[i : i + batch])) for i in range(0, len(windows), batch)]
        return torch.cat(parts).numpy()

    return predict


def main(image: str, weights: str, threads: str) -> None:
    """Build, and serve."""
    torch.set_num_threads(int(threads))
    with np.load(weights) as arrays:
        predict = twin(dict(arrays))
    serve(works(image, predict))


if __name__ == "__main__":
    main(*sys.argv[1:])
