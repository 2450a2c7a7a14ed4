"""The same to the bit: torch's deterministic algorithms and random state, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Have torch use deterministic algorithms alone, and put back what was set, and its random state, afterwards.

    On CUDA an operation that has none is warned of rather than refused.
    """
    was_on, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fastest = torch.backends.cudnn.benchmark
    devices = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    try:
        torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
        torch.backends.cudnn.benchmark = False  # it chooses algorithms by their time, which varies
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=warned)
        torch.backends.cudnn.benchmark = fastest


def seed_dropout(seed: int, epoch: int) -> None:
    """Set torch's random state, from which dropout draws, to what seed and epoch say."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
