"""The shared convolution in torch: on any device, in float32 or bfloat16."""

import torch
from torch import Tensor
from torch.nn import functional

from sarcube.detection.shared.levels import Convolve, Maps
from sarcube.detection.shared.plan import Layer

CACHED = 2**20
"""Values of a map that are made before they are pooled, on the CPU: as many as its caches hold."""


def torch_convolve(layer: Layer, device: torch.device, dtype: torch.dtype) -> Convolve:
    """Make a layer's convolution run on a device, for images of a type."""
    weight = layer.weight.to(device, dtype, memory_format=torch.channels_last)
    bias = layer.bias.to(device, dtype)
    low, high = (bound.to(device, dtype)[:, None, None] for bound in (layer.low, layer.high))

    def convolve(images: Tensor, *, step: int = 2, maximum: bool = True, mean: bool = False) -> Maps:
        rows, columns = ((length - 4) // step + 1 for length in images.shape[1:3])
        found = [images.new_empty(len(images), rows, columns, len(weight)) for wanted in (maximum, mean) if wanted]
        for part, tiles in _parts(images, step, rows, len(weight)):
            maps = functional.conv2d(part.permute(0, 3, 1, 2), weight, bias)
            results = []
            if maximum:
                results.append(functional.max_pool2d(maps, 2, step).clamp(low, high))
            if mean:
                results.append(functional.avg_pool2d(maps.clamp(low, high), 2, step))
            for whole, result in zip(found, results, strict=True):
                whole[tiles] = result.permute(0, 2, 3, 1)
        return found

    return convolve


def _parts(images: Tensor, step: int, rows: int, filters: int) -> list[tuple[Tensor, tuple[slice, slice]]]:
    """Cut images so that the map of a part stays in the caches; and say which tiles come of each."""
    number, _, width, _ = images.shape
    everything = slice(None)
    if images.is_cuda:
        return [(images, (everything, everything))]
    row = width * filters * step
    if number > 1:  # many small ones
        each = max(1, CACHED // (row * rows))
        return [(images[n : n + each], (slice(n, n + each), everything)) for n in range(0, number, each)]
    each = max(1, CACHED // row)
    return [
        (images[:, y * step : (min(y + each, rows) - 1) * step + 4], (everything, slice(y, y + each)))
        for y in range(0, rows, each)
    ]
