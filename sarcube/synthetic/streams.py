"""Random streams that hang on names alone, so that no order of work and no number of threads changes a byte."""

import zlib

import numpy as np
from numpy.random import Generator, Philox, SeedSequence


def stream(seed: int, *names: object) -> Generator:
    """Return the generator of one purpose: the same seed and names give the same numbers, others independent ones."""
    words = [zlib.crc32(repr(name).encode()) for name in names]
    return np.random.Generator(Philox(SeedSequence([seed, *words])))
