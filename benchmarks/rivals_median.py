"""What `benchmarks.median` compares with: the same median by other libraries, each at several settings.

Blocks of rows keep what a library copies in the cache. `time_last` copies a block so that a pixel's dates lie side by
side, which is what bottleneck, numbagg and torch read fastest; the copy counts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import bottleneck
import dask.array as da
import numbagg
import numpy as np
import torch
import xarray as xr
from dask.array import reductions
from numpy.typing import NDArray

from benchmarks.geometry_parts import on_threads

Array = NDArray[np.float32]
Median = Callable[[Array], Array]
Work = Callable[[], Array]
Settings = dict[str, Work]

ROWS = (16, 64, 256)  # of a block
LOWER_MIDDLE = ("torch",)  # who returns the lower of the two middle values where the number of dates is even


def chunk_sizes(size: int) -> tuple[int, ...]:
    """Return the sides of the chunks that are tried with Dask: 512, 1024 and 2048 for 4096 pixels."""
    return tuple(max(1, size // parts) for parts in (8, 4, 2))


def lazy(values: Array, chunk: int) -> da.Array:
    """Return (time, y, x) values in memory as a Dask array whose chunks hold all dates."""
    return da.from_array(values, chunks=(-1, chunk, chunk), name=False)  # a name would read all values


def rival_settings(values: Array, *, chunks: tuple[int, ...], threads: int) -> dict[str, Settings]:
    """Return all ways to take the median of (time, y, x) values without NaN: by rival, then by setting."""
    named: dict[str, Settings] = {
        "numpy": _whole_and_rows(numpy_median, values),
        "numpy_2_threads": _rows(numpy_median, values, threads=threads),
        "bottleneck": _whole_and_rows(bottleneck_median, values),
        "bottleneck_2_threads": _rows(bottleneck_median, values, threads=threads),
        "numbagg": _whole_and_rows(numbagg_median, values),
        "torch": _whole_and_rows(torch_median, values),
    }
    for name, median in (("bottleneck", _bottleneck_last), ("numbagg", _numbagg_last), ("torch", _torch_last)):
        named[name]["time_last"] = partial(by_rows, median, values, rows=ROWS[1], threads=1)
    named["bottleneck_2_threads"]["time_last"] = partial(
        by_rows, _bottleneck_last, values, rows=ROWS[1], threads=threads
    )
    cube = xr.DataArray(values, dims=("time", "y", "x"))
    chunked = {f"chunks_{n}": xr.DataArray(lazy(values, n), dims=("time", "y", "x")) for n in chunks}
    for suffix, settings in (("", {"whole": cube}), ("_dask", chunked)):
        works = {setting: partial(xarray_median, values) for setting, values in settings.items()}
        named[f"xarray{suffix}"] = works
        named[f"xarray{suffix}_without_numbagg"] = {
            setting: partial(without_numbagg, work) for setting, work in works.items()
        }
    return named


def by_rows(median: Median, values: Array, *, rows: int, threads: int) -> Array:
    """Take the median of some rows at a time."""
    out = np.empty(values.shape[1:], values.dtype)

    def work(first: int) -> None:
        out[first : first + rows] = median(values[:, first : first + rows])

    firsts = range(0, values.shape[1], rows)
    if threads > 1:
        on_threads(work, firsts, threads=threads)
    else:
        for first in firsts:
            work(first)
    return out


def numpy_median(values: Array) -> Array:
    """numpy's."""
    return np.nanmedian(values, axis=0)


def bottleneck_median(values: Array) -> Array:
    """bottleneck's."""
    return bottleneck.nanmedian(values, axis=0)


def numbagg_median(values: Array) -> Array:
    """numbagg's, on as many threads as numba takes."""
    return numbagg.nanmedian(values, axis=0)


def torch_median(values: Array) -> Array:
    """torch's, on its own threads; the lower of the two middle values where the number of dates is even."""
    return torch.nanmedian(torch.from_numpy(values), dim=0).values.numpy()


def xarray_median(cube: xr.DataArray) -> Array:
    """xarray's; it and Dask use numbagg where that is installed, and never bottleneck for a median."""
    return cube.median("time").values


def without_numbagg(work: Callable[[], Any]) -> Any:
    """Do xarray's work as where numbagg is not installed: numpy does it then."""
    # Dask has no option against numbagg.
    with xr.set_options(use_numbagg=False), mock.patch.object(reductions, "HAS_NUMBAGG", False):
        return work()


def _bottleneck_last(values: Array) -> Array:
    return bottleneck.nanmedian(_time_last(values), axis=-1)


def _numbagg_last(values: Array) -> Array:
    return numbagg.nanmedian(_time_last(values), axis=-1)


def _torch_last(values: Array) -> Array:
    return torch.nanmedian(torch.from_numpy(_time_last(values)), dim=-1).values.numpy()


def _time_last(values: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _rows(median: Median, values: Array, *, threads: int) -> Settings:
    return {f"rows_{rows}": partial(by_rows, median, values, rows=rows, threads=threads) for rows in ROWS}


def _whole_and_rows(median: Median, values: Array) -> Settings:
    return {"whole": partial(median, values), **_rows(median, values, threads=1)}
