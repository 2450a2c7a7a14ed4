"""Layers as Cloud Optimized GeoTIFFs, block by block: a map may be larger than memory."""

import zlib
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import rasterio
import rioxarray  # noqa: F401 (gives layers their .rio)
import xarray as xr
from rasterio import shutil as raster_shutil
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises; it has no public name
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from sarcube.atomic import replacing
from sarcube.errors import InputError, StoreError

_TILE = 512
# Speckle hardly compresses: a lower level is more than twice as fast, for a file a few percent larger.
_COG = {"compress": "deflate", "level": 1, "predictor": "yes", "blocksize": _TILE}
# By default GDAL halves a stack in pieces so small that it compresses its tiles again and again.
_GDAL = {"GDAL_PAM_ENABLED": "NO", "GDAL_CACHEMAX": 256 << 20, "GDAL_OVR_CHUNK_MAX_SIZE": 50_000_000}  # bytes


class _Blocks:
    """Takes the blocks that Dask stores, and remembers what each was; Dask wants an object here."""

    def __init__(self, dataset: DatasetWriter) -> None:
        self._dataset = dataset
        self.sums: dict[Window, int] = {}

    def __setitem__(self, place: tuple[slice, slice, slice], block: np.ndarray[Any, Any]) -> None:
        _, rows, columns = place
        window = Window.from_slices(rows, columns)
        self._dataset.write(block, window=window)
        self.sums[window] = zlib.crc32(block.tobytes())


def write_cog(layer: xr.DataArray, path: str | Path) -> Path:
    """Write a layer, or a stack of layers, as a Cloud Optimized GeoTIFF: tiled, deflated, with overviews.

    Parameters
    ----------
    layer : (y, x) or (band, y, x) DataArray
        On a georeferenced grid. If it is lazy it is computed here, once, and never held as a whole.
    path : str or Path
        Should end in ``.tif``. An existing file is replaced.

    Returns
    -------
    Path
        The file, of the layer's dtype; in floats NaN is the nodata value. Bands are described by their names (a layer
        by its `long_name`) and units; the attributes are the file's tags.

    Raises
    ------
    InputError
        If the dimensions are others, there is no CRS, or the suffix is another one.
    StoreError
        If the file cannot be written, or not every block arrives; what was there before is left as it was.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f'a Cloud Optimized GeoTIFF is written as .tif, not "{path.name}"')
    if layer.dims not in (("band", "y", "x"), ("y", "x")) or layer.rio.crs is None:
        raise InputError(f"a layer is ([band,] y, x) with a coordinate reference system; this one has {layer.dims}")
    alone = str(layer.attrs.get("long_name", layer.name or ""))
    names = [str(name) for name in layer["band"].values] if "band" in layer.dims else [alone]
    # A block holds all bands, as the file's tiles do: each tile is written once.
    data = da.asarray(layer.data if layer.ndim == 3 else layer.data[None]).rechunk({0: -1})
    floating = np.issubdtype(data.dtype, np.floating)
    profile = {
        "driver": "GTiff",
        "height": data.shape[1],
        "width": data.shape[2],
        "count": len(names),
        "dtype": data.dtype,
        "crs": layer.rio.crs,
        "transform": layer.rio.transform(),
        "nodata": np.nan if floating else None,
    }
    tiled = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "interleave": "pixel", "bigtiff": "if_safer"}
    with (
        replacing(path, errors=(rasterio.errors.RasterioError, CPLE_BaseError)) as file,
        rasterio.Env(**_GDAL),
    ):
        # The COG driver copies whole files only: blocks go to a plain file first.
        plain = file.with_name("blocks.tif")
        with rasterio.open(plain, "w", **profile, **tiled) as dataset:
            _describe(dataset, names, layer.attrs)
            blocks = _Blocks(dataset)
            da.store(data, blocks, lock=True)  # type: ignore[arg-type]  # it takes whatever has __setitem__
        resampling = "average" if floating else "nearest"
        raster_shutil.copy(plain, file, driver="COG", overview_resampling=resampling, **_COG)
        plain.unlink()
        with rasterio.open(file) as dataset:
            lost = _lost(dataset, blocks.sums)
        if lost:
            raise StoreError(f'{lost} of {len(blocks.sums)} blocks did not arrive in "{path}"; is the disk full?')
    return path


def _describe(dataset: DatasetWriter, names: list[str], attrs: dict[str, Any]) -> None:
    dataset.descriptions = names
    dataset.units = [str(attrs.get("units", ""))] * len(names)
    dataset.update_tags(**{key: _text(value) for key, value in attrs.items()})


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _lost(dataset: DatasetReader, sums: dict[Window, int]) -> int:
    """Count the blocks that do not read back: on a full disk GDAL may only log that it could not write."""
    return sum(zlib.crc32(dataset.read(window=window).tobytes()) != expected for window, expected in sums.items())
