"""Fractal relief for tests: power-law spectrum, periodic."""

import numpy as np


def fractal(seed, shape, *, relief=600.0, decay=1.8):
    """Heights (y, x) float32 from 0 to `relief` metres."""
    rng = np.random.default_rng(seed)
    size = 2 ** int(np.ceil(np.log2(max(shape))))
    ky, kx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    k = np.hypot(ky, kx)
    k[0, 0] = 1
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / k**decay, (size, size))
    field = field[: shape[0], : shape[1]]
    return ((field - field.min()) / np.ptp(field) * relief).astype(np.float32)
