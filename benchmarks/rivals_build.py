"""What `benchmarks.build` compares with: the floor, and the same cube by odc-stac and by stackstac, at their best.

All write what `write_cube` wrote: its codecs, read from a store of its own; every chunk; power rounded alike.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import rasterio
import stackstac
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

Encoding = Mapping[str, Any]


def encoding_of(store: Path) -> Encoding:
    """Return how a store holds VV: chunks and codecs, as zarr and xarray take them."""
    array = zarr.open_array(store / "vv", mode="r")
    return {
        "chunks": array.chunks,
        "filters": array.filters,
        "serializer": array.serializer,
        "compressors": array.compressors,
    }


def round_power(values: np.ndarray, *, keep_bits: int) -> np.ndarray:
    """Round float32 to some bits of the mantissa, half to even, in as few passes as numpy allows."""
    drop = 23 - keep_bits
    bits = values.view(np.uint32)
    result = bits >> np.uint32(drop)
    result &= np.uint32(1)
    result += np.uint32((1 << (drop - 1)) - 1)
    result += bits
    result &= np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return result.view(np.float32)


def decode_files(files: Sequence[Path], *, threads: int) -> None:
    """Decode every file once, whole, into a buffer that each thread keeps."""
    kept = threading.local()

    def decode(file: Path) -> None:
        with rasterio.open(file) as dataset:
            if not hasattr(kept, "buffer") or kept.buffer.shape != dataset.shape:
                kept.buffer = np.empty(dataset.shape, np.float32)
            dataset.read(1, out=kept.buffer)

    _in_threads(decode, files, threads)


def decode_blocks(files: Sequence[Path], *, threads: int, side: int) -> None:
    """Decode every file once, by blocks, into a buffer that each thread keeps."""
    kept = threading.local()

    def decode(file: Path) -> None:
        if not hasattr(kept, "buffer"):
            kept.buffer = np.empty((side, side), np.float32)
        with rasterio.open(file) as dataset:
            rows, columns = dataset.shape
            for row in range(0, rows, side):
                for column in range(0, columns, side):
                    window = Window(column, row, min(side, columns - column), min(side, rows - row))
                    dataset.read(1, window=window, out=kept.buffer[: window.height, : window.width])

    _in_threads(decode, files, threads)


def write_plain(dates: np.ndarray, path: Path, *, encoding: Encoding) -> None:
    """Write (time, y, x) values in one call of zarr-python."""
    _create(dates, path, encoding)[:] = dates


def write_by_dates(dates: np.ndarray, path: Path, *, encoding: Encoding, threads: int) -> None:
    """Write (time, y, x) values a date at a time, on threads."""
    array = _create(dates, path, encoding)

    def write(date: int) -> None:
        array[date] = dates[date]

    _in_threads(write, range(len(dates)), threads)


def build_odc(
    items: Sequence[pystac.Item], path: Path, *, geobox: GeoBox, chunk: int, encoding: Encoding, keep_bits: int
) -> None:
    """Build the cube with odc-stac and xarray."""
    cube = odc.stac.load(items, bands=["vv"], geobox=geobox, chunks={"y": chunk, "x": chunk})
    _write(cube["vv"], path, chunk=chunk, encoding=encoding, keep_bits=keep_bits)


def build_stackstac(
    items: Sequence[pystac.Item], path: Path, *, geobox: GeoBox, chunk: int, encoding: Encoding, keep_bits: int
) -> None:
    """Build the cube with stackstac and xarray."""
    stack = stackstac.stack(
        [_plain(item) for item in items],
        assets=["vv"],
        epsg=geobox.crs.to_epsg(),
        bounds=tuple(geobox.boundingbox),
        resolution=(geobox.affine.a, -geobox.affine.e),
        snap_bounds=False,
        chunksize=chunk,
        dtype=np.dtype(np.float32),
        fill_value=np.float32("nan"),
        rescale=False,
        xy_coords="center",
        properties=False,
        band_coords=False,
        errors_as_nodata=(),
    )
    cube = stack.isel(band=0).reset_coords(drop=True)
    _write(cube, path, chunk=chunk, encoding=encoding, keep_bits=keep_bits)


def _write(cube: xr.DataArray, path: Path, *, chunk: int, encoding: Encoding, keep_bits: int) -> None:
    cube = cube.where(cube > 0)
    rounded = cube.data.map_blocks(round_power, keep_bits=keep_bits, dtype=np.float32)
    dataset = cube.copy(data=rounded).to_dataset(name="vv").drop_encoding()
    dataset["vv"].attrs = {}
    # A chunk on disk may not be written by two tasks: those smaller than ours make smaller files.
    chunks = tuple(min(size, chunk, length) for size, length in zip(encoding["chunks"], cube.shape, strict=True))
    dataset.to_zarr(
        path,
        mode="w",
        zarr_format=3,
        consolidated=False,
        encoding={"vv": {**encoding, "chunks": chunks}},
        write_empty_chunks=True,
    )


def _plain(item: pystac.Item) -> dict[str, Any]:
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    # pystac renames it, and stackstac knows the old name alone.
    document["properties"]["proj:epsg"] = int(document["properties"]["proj:code"].removeprefix("EPSG:"))
    return document


def _create(dates: np.ndarray, path: Path, encoding: Encoding) -> zarr.Array:
    return zarr.create_array(
        path,
        shape=dates.shape,
        dtype=dates.dtype,
        zarr_format=3,
        fill_value=np.nan,
        config={"write_empty_chunks": True},
        **encoding,
    )


def _in_threads(work: Any, tasks: Any, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, tasks):
            pass
