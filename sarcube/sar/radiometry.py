"""Backscatter between linear power and decibel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_db(power: NDArray[Any]) -> NDArray[Any]:
    """Linear power to decibel; what is not finite and > 0 is not a measurement and becomes NaN. Keeps the dtype."""
    valid = np.isfinite(power) & (power > 0)
    result: NDArray[Any] = np.where(valid, power, np.nan)
    np.log10(result, out=result)
    result *= 10
    return result


def from_db(decibel: NDArray[Any]) -> NDArray[Any]:
    """Decibel to linear power; NaN stays NaN. Keeps the dtype."""
    result: NDArray[Any] = np.power(10, decibel / 10, dtype=decibel.dtype)
    return result
