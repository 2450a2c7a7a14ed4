"""What `benchmarks.composite` compares with: the composite as one writes it with xarray, and reading alone."""

from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

import sarcube as sc
from benchmarks.geometry_parts import on_threads
from sarcube.cube.store.read import read_chunk

# How zarr-python reads: rows of chunks in one call or each alone, and how many of a call's chunks it has in flight.
READS = {"zarr_chunks": (False, 10), "zarr_rows": (True, 10), "zarr_rows_2": (True, 2)}
OWN_READ = "own_chunks"


def natural_composite(cube: xr.Dataset, event: sc.Event, *, pre_days: float, post_days: float) -> xr.DataArray:
    """Return VV and VH after, then their differences, in dB, (band, y, x), with nothing but xarray."""
    power = cube[["vv", "vh"]]
    power = power.where((power > 0) & np.isfinite(power))
    decibel = 10 * np.log10(power)
    moment = np.datetime64(event.last_before.replace(tzinfo=None), "ns")
    before, after = (np.timedelta64(round(days * 86400), "s") for days in (pre_days, post_days))
    old = decibel.sel(time=slice(moment - before, moment)).median("time")
    new = decibel.sel(time=slice(moment, moment + after)).median("time")
    change = new - old
    return xr.concat(
        [new["vv"], new["vh"], change["vv"], change["vh"]], dim="band", coords="minimal", compat="override"
    )


def read_own(store: Path, layer: str, *, threads: int) -> None:
    """Read and decode every chunk of a layer once and drop it, as `sc.open_cube` reads them."""
    array = zarr.open_array(store / layer, mode="r")

    def read(index: tuple[int, ...]) -> None:
        read_chunk(
            store=str(store),
            layer=layer,
            whole_shape=array.shape,
            whole_chunks=array.chunks,
            kind=array.dtype.str,
            is_whole=True,
            block_id=index,
        )

    on_threads(
        read, product(*(range(-(-n // c)) for n, c in zip(array.shape, array.chunks, strict=True))), threads=threads
    )


def read_zarr(store: Path, layer: str, *, rows: bool, concurrency: int, threads: int) -> None:
    """Read every chunk of a layer once and drop it, by zarr-python: a date's row of chunks or a chunk at a time."""
    with zarr.config.set({"async.concurrency": concurrency}):
        array = zarr.open_array(store / layer, mode="r")
        steps = (*array.chunks[:2], array.shape[2] if rows else array.chunks[2])

        def read(place: tuple[int, ...]) -> None:
            array[tuple(slice(first, first + step) for first, step in zip(place, steps, strict=True))]

        places = product(*(range(0, size, step) for size, step in zip(array.shape, steps, strict=True)))
        on_threads(read, places, threads=threads)
