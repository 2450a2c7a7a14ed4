"""Functions of a block's dates on NumPy and on Dask arrays."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np

from sarcube.change.planes import Array, Blocks
from sarcube.errors import InputError


def over_time(block: Callable[..., Array], values: Any, dtype: Any, *, leading: int | None = None) -> Any:
    """Apply a function of blocks along time, (time, y, x) each; lazily where `values` is.

    It gives (y, x), or (leading, y, x) where the length of a leading axis is told.

    `block` takes the parts of a block along time and `threads`, how many it may use: one for Dask, which has its own.
    The chunks along time of a Dask array are given to it as they are: y and x keep their chunks, nothing is
    rechunked or joined, and no more than one column of chunks per thread of the scheduler is in memory.
    """
    if not isinstance(values, da.Array):
        return block([values], threads=None)
    axes = {} if leading is None else {"leading": leading}
    meta = np.empty((0,) * (2 + len(axes)), dtype)
    return da.blockwise(
        _call,
        (*axes, "y", "x"),
        values,
        ("time", "y", "x"),
        function=block,
        new_axes=axes,
        concatenate=False,
        dtype=dtype,
        meta=meta,
    )


def _call(parts: Blocks | Array, *, function: Callable[..., Array]) -> Array:
    return function(parts if isinstance(parts, list) else [parts], threads=1)


def check_dates(values: Any) -> None:
    """Refuse what is not a float array (time, y, x) with a date."""
    if not isinstance(values, (np.ndarray, da.Array)):
        raise InputError(f"expected a NumPy or Dask array (time, y, x), not {type(values).__name__}; pass its .data")
    if isinstance(values, np.ma.MaskedArray):
        raise InputError("expected NaN where a value is missing, not a masked array; pass values.filled(np.nan)")
    if values.ndim != 3 or values.shape[0] == 0:
        raise InputError(f"expected an array (time, y, x) with at least one date, not one of shape {values.shape}")
    if values.dtype not in (np.float32, np.float64):
        raise InputError(f"expected float32 or float64, where NaN is missing, not {values.dtype}; convert with astype")
