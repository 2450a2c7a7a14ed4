"""Layers for the tests of the native convolution, and what they make of images in float64."""

import numpy as np
import torch
from torch.nn import functional

from sarcube.detection.shared.native import convolve_and_pool, prepare_layer


def some_layer(channels, filters, seed=0):
    """A layer (weight, bias, low, high) some of whose filters are clamped from below and some from above."""
    random = np.random.default_rng(seed)
    weight = (random.normal(size=(filters, channels, 3, 3)) / np.sqrt(9 * channels)).astype(np.float32)
    bias = random.normal(size=filters).astype(np.float32)
    rising = random.random(filters) < 0.5
    low, high = np.where(rising, -0.3, -np.inf), np.where(rising, np.inf, 0.6)
    return weight, bias, low.astype(np.float32), high.astype(np.float32)


def some_images(number, height, width, channels, seed=1):
    return np.random.default_rng(seed).normal(size=(number, height, width, channels)).astype(np.float32)


def in_float64(images, layer, step):
    """The maxima and means of tiles, and the largest sum of magnitudes that a value is the sum of."""
    weight, bias, low, high = (torch.from_numpy(values.astype(np.float64)) for values in layer)
    pixels = torch.from_numpy(images.astype(np.float64)).permute(0, 3, 1, 2)
    values = functional.conv2d(pixels, weight, bias).clamp(low[:, None, None], high[:, None, None])
    magnitude = functional.conv2d(pixels.abs(), weight.abs(), bias.abs()).max().item()
    pooled = (
        pool(values, 2, step).permute(0, 2, 3, 1).numpy() for pool in (functional.max_pool2d, functional.avg_pool2d)
    )
    return *pooled, magnitude


def assert_agrees(channels, filters, size, step):
    layer, images = some_layer(channels, filters), some_images(*size, channels)
    maximum, mean, magnitude = in_float64(images, layer, step)
    found = convolve_and_pool(images, prepare_layer(*layer), step=step, mean=True)
    for values, expected in zip(found, (maximum, mean), strict=True):
        assert values.dtype == np.float32
        assert values.shape == expected.shape
        assert np.abs(values - expected).max() <= 1e-6 * magnitude
