"""Plain torch, window by window: what anyone would write who has a network and an image."""

from collections.abc import Iterator

import numpy as np
import torch

from sarcube.models import WindowClassifier
from sarcube.windows import window_origins

BATCHES = (16, 32, 64, 128, 256)


def plain_scores(image: np.ndarray, model: WindowClassifier, *, stride: int, batch: int) -> np.ndarray:
    """Score all windows of an image (band, y, x) in batches; (n,) float32, row by row."""
    size = model.spec.window_size
    rows, columns = (window_origins(length, size, stride) for length in image.shape[1:])
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    y, x = (places.ravel() for places in np.meshgrid(rows, columns, indexing="ij"))

    def parts() -> Iterator[torch.Tensor]:
        for start in range(0, len(y), batch):
            chosen = windows[:, y[start : start + batch], x[start : start + batch]].swapaxes(0, 1)
            yield torch.sigmoid(model(torch.from_numpy(np.ascontiguousarray(chosen))))

    with torch.inference_mode():
        return torch.cat(list(parts())).numpy()
