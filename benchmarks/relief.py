"""Fractal relief: a power spectrum that falls with the wavelength, as real mountains' does, of any size."""

import dask
import dask.array as da
import numpy as np
import scipy.fft
from numpy.typing import NDArray

RELIEF = 2000.0  # metres from the lowest to the highest point
_ROUGHNESS = 0.65  # Hurst exponent: with 2 km of relief on 40 km, a median slope of 20 to 25 degrees
_SHORTEST = 6.0  # pixels; nothing below: 60 m on a grid of 10 m, what DEMs of 30 m hold
# Two patches that repeat after different lengths: their sum does so after no less than 921 600 pixels.
_PERIODS = (4096, 3600)

Heights = NDArray[np.float32]


def fractal_patch(size: int, *, seed: int) -> Heights:
    """Return a (size, size) patch between 0 and 1 whose opposite edges fit each other."""
    noise = np.random.default_rng(seed).standard_normal((size, size), dtype=np.float32)
    spectrum = scipy.fft.rfft2(noise, workers=2)
    frequency = np.hypot(scipy.fft.fftfreq(size)[:, None], scipy.fft.rfftfreq(size)).astype(np.float32)
    frequency[0, 0] = np.inf  # no mean
    spectrum *= frequency ** -(_ROUGHNESS + 1) * (frequency < 1 / _SHORTEST)
    patch: Heights = scipy.fft.irfft2(spectrum, s=(size, size), workers=2)
    patch -= patch.min()
    patch /= patch.max()
    return patch


def lazy_relief(shape: tuple[int, int], *, chunk: int, seed: int) -> da.Array:
    """Return (y, x) float32 metres, from 0 to about `RELIEF`, of a whole scene; a chunk is at most 3600 pixels."""
    # Wrapped on by a chunk, so that every chunk is a plain piece of it.
    patches = [np.pad(fractal_patch(period, seed=seed + n), (0, chunk), "wrap") for n, period in enumerate(_PERIODS)]

    def heights(block_info: dict[None, dict[str, list[tuple[int, int]]]]) -> Heights:
        (r0, r1), (c0, c1) = block_info[None]["array-location"]
        total = np.zeros((r1 - r0, c1 - c0), np.float32)
        for patch, period in zip(patches, _PERIODS, strict=True):
            r, c = r0 % period, c0 % period
            total += patch[r : r + r1 - r0, c : c + c1 - c0]
        return total

    chunks = da.core.normalize_chunks((chunk, chunk), shape, dtype=np.float32)
    name = f"relief-{seed}-{dask.base.tokenize(chunks)}"  # or Dask would read both patches to name them
    raw = da.map_blocks(heights, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0), np.float32), name=name)
    low, high = da.compute(raw.min(), raw.max())
    return (raw - low) * np.float32(RELIEF / (high - low))


def median_slope(heights: Heights, *, resolution: float) -> float:
    """Return the slope in degrees that half of the ground exceeds."""
    down, across = np.gradient(heights, resolution)
    return float(np.degrees(np.arctan(np.median(np.hypot(down, across)))))
